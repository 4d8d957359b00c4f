"""What must hold before the first run: tables fit, the engine is compiled, and results can be kept."""

import os
from pathlib import Path

from sweepgrad import engine
from sweepgrad.data.doors import open_training
from sweepgrad.errors import UserError
from sweepgrad.experiment import dtype_of
from sweepgrad.preflight import Plan
from sweepgrad.progress import Progress
from sweepgrad.reach import Unreachable
from sweepgrad.tracking import Store


def check_tables(todo: Plan, progress: Progress) -> None:
    """Read and split each table once, so that an unfit one is refused before anything trains."""
    configs = [job.config for job in todo.jobs]
    for data, split, dtype in dict.fromkeys((c.data, c.split, dtype_of(c)) for c in configs):
        training = open_training(data, split, dtype, say=progress.say)
        for notice in training.notices:
            progress.say(f"{data.name}: {notice}")
        progress.say(
            f"{data.name}: {training.n_train} training and {training.n_val} validation rows;"
            f" {training.n_test} test rows stay sealed"
        )


def load_engines(todo: Plan, progress: Progress) -> None:
    """Compile what is not compiled yet before the first run, which would else seem to hang."""
    for name, dtype in dict.fromkeys((job.config.engine.name, dtype_of(job.config)) for job in todo.jobs):
        engine.load(name, dtype, progress.say)


def refuse_unwritable(folder: Path) -> None:
    """Where results will be kept, or the nearest folder above it that is there already."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"results are kept in {folder}, but {there} is a file: move it, or work elsewhere")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"results are kept in {folder}, but {there} is not yours to write to: work elsewhere")


def open_store(todo: Plan, progress: Progress) -> Store | None:
    tracking = todo.jobs[0].config.tracking
    if any(job.config.tracking != tracking for job in todo.jobs):
        raise UserError("tracking.uri and tracking.experiment must be the same for all runs of a sweep")
    try:
        store = Store(tracking.uri, tracking.experiment, progress.say)
        for name in store.close_abandoned():
            progress.say(f"run {name} was left running by a process that died: it is now marked KILLED")
        return store
    except Unreachable as error:
        progress.say(f"{error}; training goes on, and results are kept on disk")
        return None
