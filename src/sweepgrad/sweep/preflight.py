"""What must hold before the first run: tables fit, the engine is compiled, and results can be kept."""

import logging
import os
from pathlib import Path

from sweepgrad import engine
from sweepgrad.compose.plan import Plan
from sweepgrad.config.ensembles import BestEnsemble, SeedsEnsemble
from sweepgrad.config.identity import candidate
from sweepgrad.data.access import open_training
from sweepgrad.errors import UserError
from sweepgrad.training.experiment import dtype_of

log = logging.getLogger(__name__)


def check_tables(todo: Plan) -> None:
    """Read and split each table once, so that an unfit one is refused before anything trains."""
    configs = [job.config for job in todo.jobs]
    for data, split, dtype in dict.fromkeys((c.data, c.split, dtype_of(c)) for c in configs):
        training = open_training(data, split, dtype)
        for notice in training.notices:
            log.info(f"{data.name}: {notice}")
        for leak in training.certificate.found:
            log.info(f"{data.name}: {leak}; sweepgrad check says what to do")
        log.info(
            f"{data.name}: {training.n_train} training and {training.n_val} validation rows;"
            f" {training.n_test} test rows stay sealed"
        )


def load_engines(todo: Plan) -> None:
    """Compile what is not compiled yet before the first run, which would else seem to hang."""
    configs = [job.config for job in todo.jobs]
    for name, dtype in dict.fromkeys((c.engine.name, dtype_of(c)) for c in configs):
        engine.load(name, dtype)


def refuse_unwritable(folder: Path) -> None:
    """Where results will be kept, or the nearest folder above it that is there already."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"results are kept in {folder}, but {there} is a file: move it, or work elsewhere")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"results are kept in {folder}, but {there} is not yours to write to: work elsewhere")


def refuse_nothing_to_average(todo: Plan) -> None:
    """See whether jobs can be part of the ensemble that is asked for. (A search may yet find members.)

    Raises:
        UserError: none can, so that the setting would have no effect.
    """
    ensemble = todo.jobs[0].config.select.ensemble
    if not (todo.multirun and todo.complete):
        return
    seeds: dict[str, set[int]] = {}
    configurations: dict[tuple[int, int | None], set[str]] = {}  # of each split: networks of two share none
    for config in (job.config for job in todo.jobs):
        settings = candidate(config)
        seeds.setdefault(settings, set()).add(config.seed)
        configurations.setdefault((config.split.seed, config.split.outer_fold), set()).add(settings)
    if isinstance(ensemble, SeedsEnsemble) and max(map(len, seeds.values())) < 2:
        raise UserError("select.ensemble: no configuration has two seeds to average; say seed=1,2,3")
    most = max(map(len, configurations.values()))
    if isinstance(ensemble, BestEnsemble) and most < ensemble.size:
        raise UserError(
            f"select.ensemble: the {ensemble.size} best of {most} configurations are to be averaged;"
            " say a smaller size, or vary more"
        )
