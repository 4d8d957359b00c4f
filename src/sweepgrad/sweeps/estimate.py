"""Describe a sweep before it runs: its jobs and the estimated training time."""

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from math import isnan, nan

import numpy as np

from sweepgrad.compose.plan import Plan
from sweepgrad.config.schema import Config
from sweepgrad.sweeps.memory import free
from sweepgrad.sweeps.progress import readable
from sweepgrad.training.experiment import prepare
from sweepgrad.training.loop import Diverged, Examples

log = logging.getLogger(__name__)

_SAMPLES = 4  # jobs
_STEPS = 64  # of each, or fewer of a large network
_MULTIPLICATIONS = 500_000_000  # some tenths of a second
_LISTED = 40  # jobs
_WRITING = 0.003  # seconds to write a job into its folder


def summary(todo: Plan, workers: int) -> str:
    """Return the number of runs and the estimated training time, in a line."""
    estimated = seconds([job.config for job in todo.jobs], workers)
    if not todo.complete:  # the jobs are samples of what a search may ask for
        estimated *= todo.n_jobs / len(todo.jobs)
    cores = "1 core" if workers == 1 else f"{workers} cores"
    runs = "1 run" if todo.n_jobs == 1 else f"{todo.n_jobs} runs"
    if isnan(estimated):
        return runs
    duration = "less than 1 s" if estimated < 1 else f"about {readable(estimated)}"
    return f"{runs}, {duration} of training on {cores}"


def listed(todo: Plan, trained: Collection[int]) -> Iterator[str]:
    """Yield a line for each job with the values of the keys that vary.

    Arguments:
        trained: the indices of jobs that were trained before.
    """
    if not todo.complete:
        yield f"{todo.n_jobs} jobs, chosen by the search from " + ", ".join(todo.varying)
        return
    for number, job in enumerate(todo.jobs[:_LISTED], 1):
        values = dict(line.split("=", 1) for line in job.overrides if "=" in line)
        before = "  (trained before)" if number - 1 in trained else ""
        yield f"[{number}/{todo.n_jobs}] " + " ".join(f"{k}={values[k]}" for k in todo.varying) + before
    if todo.n_jobs > _LISTED:
        yield f"… and {todo.n_jobs - _LISTED} more"


def seconds(configs: Sequence[Config], workers: int) -> float:
    """Estimate the training time by timing a few steps of a few jobs, from the smallest to the largest.

    The time to record a step and to finish a job is included. MLflow is not: it is written in parallel.
    Returns NaN if no job can be timed.
    """
    sizes = np.array([_size(config) for config in configs])
    order = np.argsort(sizes, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, _SAMPLES).astype(int))]
    chosen = [index for index in chosen if prepare(configs[index]).n_bytes < free() / 4]
    tried = [(index, _timed(configs[index])) for index in chosen]
    chosen, timed = [index for index, t in tried if t], [t for _, t in tried if t]
    if not timed:
        return nan
    known = sizes[chosen].astype(float)
    per_step = np.interp(sizes, known, [step for _, step, _ in timed])
    fixed = np.interp(sizes, known, [once for once, _, _ in timed])
    rows = timed[0][2]
    steps = np.array([c.train.epochs * -(-rows // c.train.batch_size) for c in configs])
    return float(np.sum(fixed + steps * per_step)) / min(workers, len(configs))


def _size(config: Config) -> int:
    """Return a proxy for the time of a step: multiplications of the hidden layers, times rows."""
    widths = config.model.hidden
    return config.train.batch_size * (1 + sum(widths) + sum(a * b for a, b in pairwise(widths)))


def _timed(config: Config) -> tuple[float, float, int] | None:
    """Return a job's fixed time and its time per step with evaluation, in seconds, and its training rows.

    None if the job diverges or fails, or needs more memory than available.
    """
    start = time.perf_counter()
    experiment = prepare(config)
    n_steps = max(1, min(_STEPS, _MULTIPLICATIONS // _size(config)))
    rows, n = n_steps * config.train.batch_size, len(experiment.train.y)
    part = replace(
        experiment,
        config=config.model_copy(
            update={"train": config.train.model_copy(update={"epochs": 2, "patience": None})}
        ),
        train=_first(experiment.train, rows),
        val=_first(experiment.val, max(1, rows * len(experiment.val.y) // n)),
    )
    fits = part.fits()
    try:
        first = next(fits)
        middle = time.perf_counter()
        next(fits)
        end = time.perf_counter()
        part.summary(first)
    except (Diverged, MemoryError):
        return None
    except Exception:
        log.debug("a job cannot be timed", exc_info=True)
        return None
    epoch = end - middle
    once = max(0.0, middle - start - epoch) + time.perf_counter() - end + _WRITING
    return once, epoch / -(-min(rows, n) // config.train.batch_size), n


def _first(examples: Examples, rows: int) -> Examples:
    return Examples(examples.X[:rows], examples.y[:rows])
