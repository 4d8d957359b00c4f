"""Checks and preparations before the first run: tables, folders, the compiled engine."""

import logging
import os
from pathlib import Path

from sweepgrad import engine
from sweepgrad.compose.plan import Plan
from sweepgrad.config.ensembles import BestEnsemble, SeedsEnsemble
from sweepgrad.config.identity import candidate
from sweepgrad.data.access import open_training
from sweepgrad.errors import UserError
from sweepgrad.runs import folders
from sweepgrad.training.experiment import dtype_of

log = logging.getLogger(__name__)


def check_tables(todo: Plan) -> None:
    """Read and split each table once, so that an unusable one is refused before anything trains."""
    configs = [job.config for job in todo.jobs]
    for data, split, dtype in dict.fromkeys((c.data, c.split, dtype_of(c)) for c in configs):
        training = open_training(data, split, dtype)
        for notice in training.notices:
            log.info(f"{data.name}: {notice}")
        for leak in training.certificate.found:
            log.info(f"{data.name}: {leak}; see sweepgrad check")
        log.info(
            f"{data.name}: {training.n_train} training and {training.n_val} validation rows;"
            f" {training.n_test} test rows stay sealed"
        )


def load_engines(todo: Plan) -> None:
    """Compile the engine before the first run, which would seem to hang otherwise."""
    configs = [job.config for job in todo.jobs]
    for name, dtype in dict.fromkeys((c.engine.name, dtype_of(c)) for c in configs):
        engine.load(name, dtype)


def refuse_unwritable(folder: Path) -> None:
    """Check that results can be written.

    Raises:
        UserError: a file is in the way, or the folder is not writable.
    """
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    if not parent.is_dir():
        raise UserError(
            f"cannot write results to {folder}: {parent} is a file. Move it, or work in another folder"
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(
            f"cannot write results to {folder}: no permission to write to {parent}. Work in another folder"
        )
    if (path := folders.in_the_way(folder)) is not None:
        raise UserError(
            f"cannot write results to {folder}: {path.relative_to(folder)} is there, and is not a run's."
            " Choose another folder"
        )


def refuse_nothing_to_average(todo: Plan) -> None:
    """Check that `select.ensemble` has an effect. (Not for a search, whose runs are not known yet.)

    Raises:
        UserError: no ensemble can be made of the runs.
    """
    ensemble = todo.jobs[0].config.select.ensemble
    if not (todo.multirun and todo.complete):
        return
    seeds: dict[str, set[int]] = {}
    configurations: dict[tuple[int, int | None], set[str]] = {}  # by split: an ensemble is of one split
    for config in (job.config for job in todo.jobs):
        settings = candidate(config)
        seeds.setdefault(settings, set()).add(config.seed)
        configurations.setdefault((config.split.seed, config.split.outer_fold), set()).add(settings)
    if isinstance(ensemble, SeedsEnsemble) and max(map(len, seeds.values())) < 2:
        raise UserError("select.ensemble: no configuration has two seeds to average; set seed=1,2,3")
    most = max(map(len, configurations.values()))
    if isinstance(ensemble, BestEnsemble) and most < ensemble.size:
        raise UserError(
            f"select.ensemble: cannot average the {ensemble.size} best of {most} configurations; set a"
            " smaller size, or vary more"
        )
