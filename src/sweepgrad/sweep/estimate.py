"""What a sweep will be: its jobs, and about how long it will take."""

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from math import isnan, nan

import numpy as np

from sweepgrad.compose.plan import Plan
from sweepgrad.config.schema import Config
from sweepgrad.sweep.memory import free
from sweepgrad.sweep.progress import readable
from sweepgrad.training.experiment import prepare
from sweepgrad.training.loop import Diverged, Examples

log = logging.getLogger(__name__)

_SAMPLES = 4  # jobs
_STEPS = 64  # of each, or fewer of a large network
_MULTIPLICATIONS = 500_000_000  # some tenths of a second
_LISTED = 40  # jobs
_LEAVING = 0.003  # seconds that it takes to leave a job in its folder


def said(todo: Plan, workers: int) -> str:
    """How many jobs there are, and about how long they will take, in a line."""
    about = seconds([job.config for job in todo.jobs], workers)
    if not todo.complete:  # these are samples of what a search may ask for
        about *= todo.n_jobs / len(todo.jobs)
    cores = "1 core" if workers == 1 else f"{workers} cores"
    runs = "1 run" if todo.n_jobs == 1 else f"{todo.n_jobs} runs"
    if isnan(about):
        return runs
    return f"{runs}, {'less than 1 s' if about < 1 else f'about {readable(about)}'} of training on {cores}"


def listed(todo: Plan, trained: Collection[int]) -> Iterator[str]:
    """The jobs by what tells them apart, a line each.

    Arguments:
        trained: the places of those that were trained before.
    """
    if not todo.complete:
        yield f"{todo.n_jobs} jobs chosen as results come in, over " + ", ".join(todo.varying)
        return
    for number, job in enumerate(todo.jobs[:_LISTED], 1):
        values = dict(line.split("=", 1) for line in job.overrides if "=" in line)
        before = "  (trained before)" if number - 1 in trained else ""
        yield f"[{number}/{todo.n_jobs}] " + " ".join(f"{k}={values[k]}" for k in todo.varying) + before
    if todo.n_jobs > _LISTED:
        yield f"… and {todo.n_jobs - _LISTED} more"


def seconds(configs: Sequence[Config], workers: int) -> float:
    """About how long training takes, by a few steps of a few of the jobs: from the smallest to the largest.

    Recording a step and the end of a job are counted, MLflow is not: it is written beside the training. Not a
    number if there is no telling.
    """
    sizes = np.array([_size(config) for config in configs])
    order = np.argsort(sizes, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, _SAMPLES).astype(int))]
    chosen = [place for place in chosen if prepare(configs[place]).n_bytes < free() / 4]
    tried = [(place, _timed(configs[place])) for place in chosen]
    chosen, timed = [place for place, t in tried if t], [t for _, t in tried if t]
    if not timed:
        return nan
    known = sizes[chosen].astype(float)
    a_step = np.interp(sizes, known, [a_step for _, a_step, _ in timed])
    fixed = np.interp(sizes, known, [once for once, _, _ in timed])
    rows = timed[0][2]
    steps = np.array([c.train.epochs * -(-rows // c.train.batch_size) for c in configs])
    return float(np.sum(fixed + steps * a_step)) / min(workers, len(configs))


def _size(config: Config) -> int:
    """Grows with the time that a step takes: multiplications of the hidden layers, times rows."""
    widths = config.model.hidden
    return config.train.batch_size * (1 + sum(widths) + sum(a * b for a, b in pairwise(widths)))


def _timed(config: Config) -> tuple[float, float, int] | None:
    """Seconds that a job takes once, and that a step takes with its share of evaluation; training rows.

    None if it diverges or fails within them, or takes more memory than there is.
    """
    clock = time.perf_counter()
    experiment = prepare(config)
    some = max(1, min(_STEPS, _MULTIPLICATIONS // _size(config)))
    rows, n = some * config.train.batch_size, len(experiment.train.y)
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
    a_pass = end - middle
    once = max(0.0, middle - clock - a_pass) + time.perf_counter() - end + _LEAVING
    return once, a_pass / -(-min(rows, n) // config.train.batch_size), n


def _first(examples: Examples, rows: int) -> Examples:
    return Examples(examples.X[:rows], examples.y[:rows])
