"""Retrain runs and compare the results with what is kept of them, bit for bit."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Literal

from sweepgrad import engine
from sweepgrad.data.access import open_training
from sweepgrad.data.digests import Digests, changed
from sweepgrad.errors import UserError
from sweepgrad.runs import provenance
from sweepgrad.runs import record as records
from sweepgrad.sweeps import threads
from sweepgrad.sweeps.halving import Rungs
from sweepgrad.sweeps.job import Job, Outcome, Running
from sweepgrad.training.experiment import dtype_of
from sweepgrad.verify.compare import findings
from sweepgrad.verify.sources import Copy, Kept

Kind = Literal["bit-equal", "equal to rounding", "differs"]


@dataclass(frozen=True)
class Verdict:
    """The result of retraining a run.

    Attributes:
        environment: differences of the environment that may change rounding, as text.
        findings: differences of the results, as text.
    """

    run: Kept
    kind: Kind
    epochs: int
    environment: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "run": self.run.id,
            "name": self.run.name,
            "verdict": self.kind,
            "epochs": self.epochs,
            "environment": list(self.environment),
            "findings": list(self.findings),
        }


def check_rows(kept: Sequence[Kept]) -> None:
    """Check that the rows that the runs were trained on have not changed.

    Raises:
        UserError: a table was changed, or a run has no epoch.
    """
    empty = [run.name for run in kept if run.record.data is None or not run.record.history]
    if empty:
        raise UserError(f"{', '.join(empty)}: ended before the first epoch, so there is nothing to verify")
    lines: dict[str, None] = {}
    for run in kept:
        config, data = run.config, run.record.data
        assert data is not None
        training = open_training(config.data, config.split, dtype_of(config))
        if how := changed(training.digests, Digests(**data.digests)):
            lines[f"\n  {training.source} has changed since {run.name} was trained: {how}"] = None
    if lines:
        raise UserError(
            f"nothing was retrained.{''.join(lines)}\nRestore the old table, or train from scratch"
        )


def verify(kept: Sequence[Kept], workers: int) -> Iterator[Running | Verdict]:
    """Retrain runs, `workers` at a time, and yield progress and a verdict for each.

    Each is trained as a job of a sweep, up to its last epoch, in a temporary folder.

    Raises:
        UserError: a recorded configuration is not valid.
    """
    for name, dtype in dict.fromkeys((run.config.engine.name, dtype_of(run.config)) for run in kept):
        engine.load(name, dtype)
    with tempfile.TemporaryDirectory(prefix="sweepgrad-verify-") as scratch:
        jobs = [_job(number, run, Path(scratch, str(number))) for number, run in enumerate(kept)]
        for event in threads.run(jobs, workers, Rungs(None, "accuracy", jobs), Event()):
            if isinstance(event, Outcome):
                yield _verdict(kept[event.job.number], event)
            else:
                yield event


def _job(number: int, run: Kept, folder: Path) -> Job:
    config = run.config
    # As a job of a sweep, no pictures are drawn.
    config = config.model_copy(update={"sweep": config.sweep.model_copy(update={"id": "verify"})})
    return Job(number, run.name, (), config, folder, id=f"verify/{number}", until=len(run.record.history))


def _verdict(run: Kept, outcome: Outcome) -> Verdict:
    epochs = len(run.record.history)
    if outcome.status == "FAILED":
        return Verdict(run, "differs", epochs, (), (f"retraining failed: {outcome.problem}",))
    record = records.read(outcome.job.folder)
    copy = Copy("retrained", outcome.job.folder, records.MODEL, record)
    environment = provenance.differences(run.record.environment, record.environment)
    exact = findings(run, copy, 0.0)
    if not exact:
        return Verdict(run, "bit-equal", epochs, environment)
    if not environment:
        return Verdict(run, "differs", epochs, (), tuple(exact))
    beyond = findings(run, copy, provenance.TOLERANCE[run.config.engine.dtype])
    if not beyond:
        return Verdict(run, "equal to rounding", epochs, environment, tuple(exact))
    return Verdict(run, "differs", epochs, environment, tuple(beyond))
