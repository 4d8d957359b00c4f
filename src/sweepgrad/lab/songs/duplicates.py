"""The effect of duplicate rows on the validation accuracy, measured in a crossover trial."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.compose.plan import PlannedJob
from sweepgrad.lab.workers import side_by_side
from sweepgrad.training.experiment import Experiment, prepare
from sweepgrad.training.loop import Examples


def duplicate_effect(experiment: Experiment, key: int) -> tuple[float, float]:
    """Measure how much duplicates in the training set raise the validation accuracy, in a crossover trial.

    The validation rows with duplicates are divided into two random halves, and the network is trained twice,
    each time without the duplicates of one half. So each such row is predicted once with its duplicates and once
    without, by models that lack about equally many rows of the same kind. Removing all duplicates would not do:
    songs with duplicates differ from others, so that model would differ in more than the leak.

    Arguments:
        key: random key, from `rng.key`.

    Returns:
        The share of validation rows that have a duplicate, a training row equal in every feature; and the
        difference of the accuracy on these rows with and without their duplicates.
    """
    train, val = experiment.train, experiment.val
    of_train, of_val = ([row.tobytes() for row in np.ascontiguousarray(X)] for X in (train.X, val.X))
    shared = sorted(set(of_train) & set(of_val))
    halves = dict(zip(shared, rng.permutation(key, len(shared)) % 2, strict=True))
    half_of_train, half_of_val = (
        np.array([halves.get(row, 2) for row in rows]) for rows in (of_train, of_val)
    )
    duplicated = half_of_val < 2
    correct = []
    for half in range(2):
        *_, last = replace(experiment, train=without(train, half_of_train, half)).fits()
        log_odds = experiment.network.scaled_scores(last.weights, val.X)
        correct.append(((log_odds >= 0) == (val.y == 1)).astype(np.float64))
    absent, present = np.where(half_of_val == 0, *correct), np.where(half_of_val == 0, *correct[::-1])
    return float(duplicated.mean()), float((present - absent)[duplicated].mean())


def without(rows: Examples, halves: Array, half: int) -> Examples:
    """Return the rows that are not in that half; `halves` (N,) has the half of each row."""
    return Examples(rows.X[halves != half], rows.y[halves != half])


def duplicate_effects(jobs: Sequence[PlannedJob]) -> list[tuple[float, float]]:
    """Return the result of `duplicate_effect` for each split of a sweep, the mean over models and seeds."""

    def effect(job: PlannedJob) -> tuple[float, float]:
        return duplicate_effect(prepare(job.config), rng.key(job.config.split.seed, "lab/spotify"))

    found = np.array(side_by_side(effect, jobs))
    splits = np.array([job.config.split.seed for job in jobs])
    means = [found[splits == split].mean(axis=0) for split in np.unique(splits)]
    return [(float(share), float(gain)) for share, gain in means]
