"""The result of a launch, and the report on it."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from sweepgrad.runs.record import Status
from sweepgrad.sweeps.job import Outcome
from sweepgrad.sweeps.session import Session
from sweepgrad.tracking.outbox import Outbox

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launched:
    """The result of training the runs of a plan.

    Attributes:
        outcomes: of the runs that ended, in the order of the plan.
        n_jobs: how many runs were planned.
        sweep: the sweep's name; None for a run on its own.
        folder: of the sweep, or of the run.
        status: FINISHED, FAILED, or KILLED after Ctrl-C.
        problem: why training ended early; empty if it did not.
        unsent: what could not be sent to MLflow; empty if everything was sent.
        nothing_left: whether this is a search that had all its trials already.
    """

    outcomes: tuple[Outcome, ...]
    n_jobs: int
    sweep: str | None
    folder: Path | None
    status: Status
    problem: str = ""
    unsent: str = ""
    nothing_left: bool = False

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The outcomes of the runs that failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "FAILED")

    @property
    def n_finished(self) -> int:
        """The number of runs that finished."""
        return sum(outcome.status == "FINISHED" for outcome in self.outcomes)


def report(session: Session, launched: Launched) -> None:
    """Log how training ended, and what to do about what went wrong."""
    reused = sum(outcome.reused for outcome in launched.outcomes)
    assert launched.folder is not None
    folder, total = os.path.relpath(launched.folder), n_runs(launched.n_jobs)
    if launched.problem:
        log.warning(f"{launched.problem}; {launched.n_finished} of {total} finished and kept in {folder}")
    if reused:
        log.info(f"{n_runs(reused)} had been trained before (sweep.resume=false trains them again)")
    if session.saved_by_halving:
        log.info(session.saved_by_halving)
    if launched.failed:
        log.warning(f"{len(launched.failed)} of {total} failed; to run one alone:")
        for outcome in launched.failed:
            log.warning(f"  {session.rerun_command(outcome.job)}")
    if launched.sweep is not None and (launched.problem or launched.failed):
        log.warning("run the same command again to train what is missing")
    if launched.unsent:
        log.warning(
            f"{launched.unsent} could not be sent to MLflow; the results are kept in {folder}. When the store"
            " answers again, send them with: sweepgrad sync"
        )


def unsent(outbox: Outbox) -> str:
    """Describe what could not be sent to MLflow; empty if everything was sent."""
    if not outbox.unsent:
        return ""
    reasons = sorted({reason for reason in outbox.unsent.values() if reason})
    runs = sum(what.startswith("send ") for what in outbox.unsent)
    what = n_runs(runs) if runs else "the sweep's record"
    return f"{what} ({'; '.join(reasons[:3])})" if reasons else what


def n_runs(n: int) -> str:
    """Return the number of runs as text."""
    return "1 run" if n == 1 else f"{n} runs"
