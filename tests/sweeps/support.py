"""Jobs for tests of what runs them."""

from collections.abc import Sequence
from pathlib import Path
from threading import Event

import numpy as np
from tests.support import SMALL

from sweepgrad.compose.plan import plan
from sweepgrad.config.schema import Config
from sweepgrad.sweeps import threads
from sweepgrad.sweeps.halving import Rungs
from sweepgrad.sweeps.job import Job, Outcome, Running
from sweepgrad.training.experiment import prepare
from sweepgrad.training.loop import Fit


def jobs(folder: Path, *overrides: str) -> list[Job]:
    """Return the jobs of a sweep on `SMALL`, with numbered folders in `folder`."""
    todo = plan([*SMALL, *overrides], multirun=True)
    return [job_of(number, planned.config, folder) for number, planned in enumerate(todo.jobs)]


def job_of(number: int, config: Config, folder: Path) -> Job:
    config = config.model_copy(update={"sweep": config.sweep.model_copy(update={"id": "mine"})})
    return Job(number, f"job {number}", (), config, folder / str(number), id=f"mine/{number}")


def halving_of(todo: Sequence[Job]) -> Rungs:
    """Return the rungs of the jobs' configuration."""
    config = todo[0].config
    return Rungs(config.sweep.halving, config.select.metric, todo)


def run(todo: Sequence[Job], workers: int = 2) -> list[Outcome]:
    """Run jobs; return the outcomes in the order in which they ended."""
    events = threads.run(todo, workers, halving_of(todo), Event())
    return [event for event in events if not isinstance(event, Running)]


def trained(config: Config) -> Fit:
    """Train a job on its own, without the code of sweeps."""
    *_, last = prepare(config).fits()
    return last


def weights(folder: Path) -> list[bytes]:
    """Return the bytes of the weights in a job's folder."""
    with np.load(folder / "model" / "weights.npz", allow_pickle=False) as file:
        return [file[name].tobytes() for name in file.files]
