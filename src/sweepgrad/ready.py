"""What must hold before the first run: tables fit, the engine is compiled, and results can be kept."""

import os
from collections.abc import Callable
from pathlib import Path

from sweepgrad import engine
from sweepgrad.data.doors import open_training
from sweepgrad.errors import UserError
from sweepgrad.experiment import dtype_of
from sweepgrad.preflight import Plan

Say = Callable[[str], None]


def check_tables(todo: Plan, say: Say) -> None:
    """Read and split each table once, so that an unfit one is refused before anything trains."""
    configs = [job.config for job in todo.jobs]
    for data, split, dtype in dict.fromkeys((c.data, c.split, dtype_of(c)) for c in configs):
        training = open_training(data, split, dtype, say=say)
        for notice in training.notices:
            say(f"{data.name}: {notice}")
        for leak in training.certificate.found:
            say(f"{data.name}: {leak}; sweepgrad check says what to do")
        say(
            f"{data.name}: {training.n_train} training and {training.n_val} validation rows;"
            f" {training.n_test} test rows stay sealed"
        )


def load_engines(todo: Plan, say: Say) -> None:
    """Compile what is not compiled yet before the first run, which would else seem to hang."""
    configs = [job.config for job in todo.jobs]
    for name, dtype in dict.fromkeys((c.engine.name, dtype_of(c)) for c in configs):
        engine.load(name, dtype, say)


def refuse_unwritable(folder: Path) -> None:
    """Where results will be kept, or the nearest folder above it that is there already."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"results are kept in {folder}, but {there} is a file: move it, or work elsewhere")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"results are kept in {folder}, but {there} is not yours to write to: work elsewhere")
