"""Compare the candidates of a sweep, and their ensembles, on each validation row."""

import json
import logging
from collections.abc import Sequence
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from sweepgrad import rng
from sweepgrad.config.ensembles import BestEnsemble, SeedsEnsemble
from sweepgrad.config.schema import Select
from sweepgrad.data.split import units_of
from sweepgrad.errors import UserError
from sweepgrad.messages import ProgressLog
from sweepgrad.selection import ensembles
from sweepgrad.selection.ensembles import FoldScores
from sweepgrad.selection.evidence import Evidence
from sweepgrad.selection.ranking import Entry, fold_of, folds, seed_of, with_standings
from sweepgrad.stats.metrics import METRICS
from sweepgrad.stats.selection import Candidate, Choice, choose, optimism_of_best
from sweepgrad.stats.standard_errors import settled
from sweepgrad.tracking.mapping import Logged

log = logging.getLogger(__name__)


def compare(evidence: Evidence, entries: Sequence[Entry], select: Select) -> tuple[list[Entry], Choice]:
    """Choose among the leading entries, as far as they are as complete as the first, and their ensembles.

    Arguments:
        entries: ranked; their runs can be compared.

    Returns:
        The entries with their standings, including the ensembles of `select.ensemble` at their ranks; and
        the choice, which refers to entries by their index in that list.

    Raises:
        Damaged: a run of 0.1.0 does not have the metrics of its predictions.
        UserError: a table or a split has changed since training, no seed has a run on every fold, all
            validation rows are in one group, or members of an ensemble were trained on different columns.
    """

    def completeness(entry: Entry) -> tuple[int, set[str]]:
        return entry.unfinished, folds(entry.runs)

    full = list(takewhile(lambda entry: completeness(entry) == completeness(entries[0]), entries))
    units, progress = _units(evidence, full[0].runs), ProgressLog(log, "comparing")
    metric, singles = METRICS[select.metric], list[Candidate]()
    added: list[tuple[Entry, Candidate]] = []
    best: list[tuple[Entry, list[list[FoldScores]]]] = []
    for number, entry in enumerate(full, 1):
        seeds = _seeds(entry.runs)
        if not seeds:
            raise UserError("no seed has a run on every fold: run the sweep again to train the missing runs")
        scored = [[evidence.scores(run) for run in seed] for seed in seeds]
        singles.append(Candidate(entry.n_parameters, ensembles.each(metric, scored)))
        if isinstance(select.ensemble, SeedsEnsemble) and len(seeds) > 1:
            name = f"{len(seeds)} seeds"
            added.append(ensembles.averaged(metric, [(entry, scored)], name, seeds, singles[-1:]))
        if isinstance(select.ensemble, BestEnsemble) and number <= select.ensemble.size:
            best.append((entry, scored))
        progress.tell(f"{number} of {len(full)} configurations compared on validation rows")
    if len(np.unique(units)) < 2:
        raise UserError(
            "all validation rows are in one group, so standard errors cannot be estimated: choose another"
            " split.seed, or smaller groups (data.group)"
        )
    if isinstance(select.ensemble, BestEnsemble) and len(best) == (size := select.ensemble.size):
        seeds = [seed for entry, _ in best for seed in _seeds(entry.runs)]
        _refuse_several_tables(evidence, seeds)
        optimism = optimism_of_best(singles, units, size, rng.key(0, "members"))
        name = f"{size} best"
        added.append(ensembles.averaged(metric, best, name, seeds, singles[:size], optimism))
    found = [*zip(full, singles, strict=True), *added]
    if added:
        found.sort(key=lambda one: (-settled(one[1].contributions.mean()), one[1].n_parameters))
    choice = choose([one for _, one in found], units, select.rule, rng.key(0, "choice"))
    return with_standings([*(entry for entry, _ in found), *entries[len(full) :]], choice), choice


def _seeds(runs: Sequence[Logged]) -> list[list[Logged]]:
    """Return the runs of each seed that has a run on every fold, by fold."""
    n_folds = len(folds(runs))
    by_seed: dict[str, dict[str, Logged]] = {}
    for run in runs:
        by_seed.setdefault(seed_of(run), {})[fold_of(run)] = run
    complete = [by_fold for by_fold in by_seed.values() if len(by_fold) == n_folds]
    return [[by_fold[fold] for fold in sorted(by_fold)] for by_fold in complete]


def _units(evidence: Evidence, runs: Sequence[Logged]) -> NDArray[np.int64]:
    """Return the unit of each validation row, fold after fold; no unit has rows in two folds."""
    by_fold = {fold_of(run): run for run in runs}
    offset, found = 0, []
    for fold in sorted(by_fold):
        rows = evidence.rows(by_fold[fold])
        found.append(units_of(rows.frame, rows.roles.group) + offset)
        offset = int(found[-1].max()) + 1
    return np.concatenate(found)


def _refuse_several_tables(evidence: Evidence, seeds: Sequence[Sequence[Logged]]) -> None:
    """Raise if the runs differ in their data section: an ensemble predicts the rows of one table."""
    if len({json.dumps(evidence.record(run).config["data"]) for seed in seeds for run in seed}) > 1:
        raise UserError(
            "select.ensemble: the best configurations differ in their data section, but an ensemble needs"
            " the same columns for all members. Sweep over one data section, or set select.ensemble=none"
        )
