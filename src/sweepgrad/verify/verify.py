"""Training runs again, and holding what is kept of them beside what that gives, bit for bit."""

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
from sweepgrad.sweep import threads
from sweepgrad.sweep.halving import Rungs
from sweepgrad.sweep.job import Job, Outcome, Running
from sweepgrad.training.experiment import dtype_of
from sweepgrad.verify.compare import findings
from sweepgrad.verify.differences import TOLERANCE
from sweepgrad.verify.sources import Copy, Kept

Kind = Literal["bit-equal", "equal to rounding", "differs"]


@dataclass(frozen=True)
class Verdict:
    """What came of training a run again.

    Attributes:
        environment: what rounds otherwise here than where it was trained, in words; empty for nothing.
        findings: what differs, in words, the first and by how much.
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
    """That the rows which the runs were trained on are the rows that are there now.

    Raises:
        UserError: naming the tables that are not, and runs that never trained.
    """
    empty = [run.name for run in kept if run.record.data is None or not run.record.history]
    if empty:
        raise UserError(
            f"{', '.join(empty)}: ended before its first epoch, so there is nothing to train again"
        )
    lines: dict[str, None] = {}
    for run in kept:
        config, data = run.config, run.record.data
        assert data is not None
        training = open_training(config.data, config.split, dtype_of(config))
        if how := changed(training.digests, Digests(**data.digests)):
            lines[f"\n  {training.source} is not what {run.name} was trained on: {how}"] = None
    if lines:
        raise UserError(f"nothing was trained again.{''.join(lines)}\nPut the old table back, or train anew")


def verify(kept: Sequence[Kept], workers: int) -> Iterator[Running | Verdict]:
    """Train runs again, so many side by side, and say how that goes; each ends with a verdict.

    Each is trained as a job of a sweep is, to the epoch in which it ended, in a folder that is gone then.

    Raises:
        UserError: a recorded configuration is none.
    """
    for name, dtype in dict.fromkeys((run.config.engine.name, dtype_of(run.config)) for run in kept):
        engine.load(name, dtype)
    with tempfile.TemporaryDirectory(prefix="sweepgrad-verify-") as scratch:
        jobs = [_job(number, run, Path(scratch, str(number))) for number, run in enumerate(kept)]
        for event in threads.run(jobs, workers, Rungs(None, "accuracy", jobs), Event()):
            if isinstance(event, Outcome):
                yield _judged(kept[event.job.number], event)
            else:
                yield event


def _job(number: int, run: Kept, folder: Path) -> Job:
    config = run.config
    # As a sweep's, whatever it was: then no pictures are drawn of it.
    config = config.model_copy(update={"sweep": config.sweep.model_copy(update={"id": "verify"})})
    return Job(number, run.name, (), config, folder, id=f"verify/{number}", until=len(run.record.history))


def _judged(run: Kept, outcome: Outcome) -> Verdict:
    epochs = len(run.record.history)
    if outcome.status == "FAILED":
        return Verdict(run, "differs", epochs, (), (f"training it again failed: {outcome.problem}",))
    again = records.read(outcome.job.folder)
    here = Copy("trained again", outcome.job.folder, records.MODEL, again)
    environment = provenance.differences(run.record.environment, again.environment)
    exact = findings(run, here, 0.0)
    if not exact:
        return Verdict(run, "bit-equal", epochs, environment)
    if not environment:
        return Verdict(run, "differs", epochs, (), tuple(exact))
    beyond = findings(run, here, TOLERANCE[run.config.engine.dtype])
    if not beyond:
        return Verdict(run, "equal to rounding", epochs, environment, tuple(exact))
    return Verdict(run, "differs", epochs, environment, tuple(beyond))
