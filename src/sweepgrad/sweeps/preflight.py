"""Checks and preparations before the first run: tables, folders, the compiled engine."""

import logging
import os
import sqlite3
from itertools import pairwise
from pathlib import Path

from sweepgrad import engine
from sweepgrad.compose.plan import Plan
from sweepgrad.config.data import SimulatedData
from sweepgrad.config.ensembles import MOST_MEMBERS, BestEnsemble, NoEnsemble, SeedsEnsemble
from sweepgrad.config.identity import candidate
from sweepgrad.config.schema import Config
from sweepgrad.data.access import open_training
from sweepgrad.errors import UserError
from sweepgrad.runs import folders
from sweepgrad.sweeps.memory import free
from sweepgrad.sweeps.readable import refuse_unreadable_model, refuse_unreadable_run
from sweepgrad.tracking import sqlite_store
from sweepgrad.tracking.relocate import ARTIFACTS
from sweepgrad.training.experiment import dtype_of, prepare

log = logging.getLogger(__name__)

_COPIES = 2  # of a table's features while it is split and checked
_SMALL = 10_000  # weights of a network that fits into any memory


def check_tables(todo: Plan) -> None:
    """Read and split each table once, so that an unusable one is refused before anything trains.

    Raises:
        UserError: a table is unusable, the largest network does not fit into memory, or a result could not
            be read again.
    """
    _refuse_too_large(todo)
    configs = [job.config for job in todo.jobs]
    sizes = {}
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
        sizes[data, split] = len(training.preprocessor.names), refuse_unreadable_model(training)
    for config in configs:
        refuse_unreadable_run(config, *sizes[config.data, config.split])
    _refuse_too_wide(todo)


def _refuse_too_large(todo: Plan) -> None:
    """Check that tables that are simulated fit into memory, before one is drawn.

    Raises:
        UserError: one does not.
    """
    for data in dict.fromkeys(job.config.data for job in todo.jobs):
        if isinstance(data, SimulatedData):
            needed, there = _COPIES * 8 * data.rows * (data.features + 1), free()
            if needed > there:
                raise UserError(
                    f"data.rows: {data.rows:,} rows with {data.features:,} features need about"
                    f" {needed / 1e9:.1f} GB of memory, and {there / 1e9:.1f} GB are free. Set fewer"
                )


def _refuse_too_wide(todo: Plan) -> None:
    """Check that the largest network fits into memory. (Not for another machine, whose memory is not known.)

    Raises:
        UserError: it does not.
    """
    largest = max((job.config for job in todo.jobs), key=_n_weights)
    if todo.address is None and _n_weights(largest) > _SMALL:
        needed, there = prepare(largest).n_bytes, free()
        if needed > there:
            raise UserError(
                f"model.hidden: {[*largest.model.hidden]} needs about {needed / 1e9:.1f} GB of memory, and"
                f" {there / 1e9:.1f} GB are free. Use smaller layers, a smaller train.batch_size, or"
                " engine.dtype=float32"
            )


def _n_weights(config: Config) -> int:
    """Return the number of weights between hidden layers, and of units."""
    widths = config.model.hidden
    return sum(widths) + sum(a * b for a, b in pairwise(widths))


def check_scheduler(todo: Plan) -> None:
    """Check that a Dask scheduler answers, if the plan has the address of one.

    Raises:
        UserError: none does.
    """
    if todo.address is not None:
        from sweepgrad.sweeps.dask.connect import check_answers  # imports Dask

        check_answers(todo.address)


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


def refuse_impossible_store(uri: str) -> None:
    """Check that a store in a file is one, or can be made.

    Raises:
        UserError: another file is in the way, or a folder is not writable.
    """
    if not uri.startswith("sqlite:"):
        return
    file = Path(uri.removeprefix("sqlite:///"))
    if file.exists():
        try:
            sqlite_store.refuse_other(file)
        except sqlite3.Error as error:
            raise UserError(f"tracking.uri: {file} cannot be read: {error}") from None
    parent = next(path for path in file.parents if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        why = "is not writable" if parent.is_dir() else "is a file"
        raise UserError(f"tracking.uri: cannot write {file}: {parent} {why}. Choose another tracking.uri")
    artifacts = file.parent / ARTIFACTS
    if artifacts.exists() and not artifacts.is_dir():
        raise UserError(
            f"tracking.uri: {artifacts} is a file, where the store keeps files of runs. Move it, or choose"
            " another tracking.uri"
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
    networks = max(map(len, seeds.values())) * (ensemble.size if isinstance(ensemble, BestEnsemble) else 1)
    if not isinstance(ensemble, NoEnsemble) and networks > MOST_MEMBERS:
        raise UserError(
            f"select.ensemble: would average {networks:,} networks, and at most {MOST_MEMBERS:,} are allowed;"
            " set fewer seeds, or a smaller size"
        )
