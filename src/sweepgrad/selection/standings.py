"""Rank the runs of a sweep by their validation predictions."""

from collections.abc import Sequence
from typing import NamedTuple

from sweepgrad.data.access import Tables
from sweepgrad.errors import UserError
from sweepgrad.selection.decide import Decision, choose_among, damaged_runs, listed, none_intact
from sweepgrad.selection.evidence import Evidence
from sweepgrad.selection.ranking import Entry, finished, rank
from sweepgrad.selection.run_files import Damaged
from sweepgrad.tasks.binary import BINARY
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.store import Store


class Standings(NamedTuple):
    """The runs of a sweep, ranked.

    Attributes:
        metric: the one that they are ranked by.
        decision: the model that `finalize` would evaluate if no run were damaged; None if it would refuse.
        notice: a remark to the user; empty if there is none.
        unranked: runs that finished and are not as they were written, each with what is wrong.
    """

    entries: list[Entry]
    metric: str
    decision: Decision | None
    notice: str
    unranked: tuple[tuple[Logged, str], ...] = ()


def standings(store: Store, tables: Tables, runs: Sequence[Logged]) -> Standings:
    """Rank the runs of a sweep by their predictions, with intervals over the validation rows.

    If the table cannot be read, they are ranked by the metrics in their records. Runs that are not as they
    were written are not ranked.

    Raises:
        UserError: no run finished, or none of those that did is as it was written.
    """
    if not runs:
        raise UserError("the sweep has no runs that ended: train it first")
    evidence = Evidence(store, tables)
    while True:
        found = evidence.checked(runs)
        first = next((run for run in found if finished(run)), None)
        if first is None:
            problems = listed(evidence, runs)
            raise UserError(f"{none_intact(evidence, runs)}, so there is nothing to rank{problems}")
        try:
            return _standings(evidence, found, first, runs)
        except Damaged as damaged:
            evidence.reject(damaged)


def _standings(
    evidence: Evidence, found: Sequence[Logged], first: Logged, runs: Sequence[Logged]
) -> Standings:
    metric, notices = BINARY.default, list[str]()
    entries, decision = list[Entry](), None
    try:
        select = evidence.config(first).select
    except UserError as error:
        notices.append(f"ranked by {metric}, since the configuration cannot be read: {error}")
        entries = rank(found, metric)
    else:
        metric = select.metric
        entries = rank(found, metric)
        try:
            if evidence.unread:
                raise UserError(f"{evidence.unread}; ranked by the metrics in the runs' records")
            decision = choose_among(evidence, entries, select)
        except UserError as error:
            notices.append(f"no intervals over the validation rows: {error}")
        else:
            entries = decision.entries
            notices += decision.notices
    if n := len(evidence.as_logged):
        notices.append(
            f"ranked by logged metrics, not checked: runs of a version that kept no predictions ({n})"
        )
    if evidence.problems:
        notices.append(f"not ranked, since they are not as they were written:{listed(evidence, runs)}")
    return Standings(entries, metric, decision, "\n".join(notices), tuple(damaged_runs(evidence, runs)))
