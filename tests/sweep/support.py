"""Jobs for tests of what runs them."""

from collections.abc import Sequence
from pathlib import Path
from threading import Event

import numpy as np
from tests.support import SMALL

from sweepgrad.compose.plan import plan
from sweepgrad.config.schema import Config
from sweepgrad.sweep import threads
from sweepgrad.sweep.halving import Rungs
from sweepgrad.sweep.job import Job, Outcome, Running
from sweepgrad.training.experiment import prepare
from sweepgrad.training.loop import Fit


def jobs(folder: Path, *overrides: str) -> list[Job]:
    """The jobs of a sweep on `SMALL`, with folders of their numbers in `folder`."""
    todo = plan([*SMALL, *overrides], multirun=True)
    return [job_of(number, planned.config, folder) for number, planned in enumerate(todo.jobs)]


def job_of(number: int, config: Config, folder: Path) -> Job:
    config = config.model_copy(update={"sweep": config.sweep.model_copy(update={"id": "mine"})})
    return Job(number, f"job {number}", (), config, folder / str(number), id=f"mine/{number}")


def halving_of(todo: Sequence[Job]) -> Rungs:
    """As the configuration of the jobs says."""
    config = todo[0].config
    return Rungs(config.sweep.halving, config.select.metric, todo)


def run(todo: Sequence[Job], workers: int = 2) -> list[Outcome]:
    """The outcomes, in the order in which the jobs ended."""
    events = threads.run(todo, workers, halving_of(todo), Event())
    return [event for event in events if not isinstance(event, Running)]


def trained(config: Config) -> Fit:
    """The run on its own, without anything of a sweep."""
    *_, last = prepare(config).fits()
    return last


def weights(folder: Path) -> list[bytes]:
    """What was left in a job's folder, to the bit."""
    with np.load(folder / "model" / "weights.npz", allow_pickle=False) as file:
        return [file[name].tobytes() for name in file.files]
