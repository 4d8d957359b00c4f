"""The accuracy of a procedure over many splits, on validation rows only: test sets stay sealed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.compose.plan import PlannedJob
from sweepgrad.lab.workers import side_by_side
from sweepgrad.training.experiment import Experiment, prepare
from sweepgrad.training.loop import Examples


@dataclass(frozen=True)
class SplitResult:
    """Accuracies on validation rows of one split that chose nothing.

    Attributes:
        accuracy: of the chosen model.
        logistic: of logistic regression.
        by_model: the mean over seeds, by the widths of the hidden layers.
    """

    accuracy: float
    logistic: float
    by_model: dict[tuple[int, ...], float]


def split_results(jobs: Sequence[PlannedJob]) -> list[SplitResult]:
    """Measure each split of a sweep over models, seeds and splits, in the order of the splits."""
    keys = [(job.config.split.seed, job.config.model.hidden) for job in jobs]
    first = {job.config.split.seed: job for job in reversed(jobs)}
    runs, logistic = (
        side_by_side(_run, jobs),
        dict(zip(first, side_by_side(_logistic, first.values()), strict=True)),
    )
    results = []
    for split in sorted(first):
        models = dict.fromkeys(hidden for seed, hidden in keys if seed == split)
        # (models, seeds, halves, [on the half that chooses, on the other half])
        accuracies = np.array(
            [[run for run, key in zip(runs, keys, strict=True) if key == (split, model)] for model in models]
        )
        means = accuracies[..., 1].mean(axis=(1, 2)).tolist()
        accuracy = float(np.mean([chosen(accuracies[:, :, half]) for half in range(2)]))
        results.append(SplitResult(accuracy, logistic[split], dict(zip(models, means, strict=True))))
    return results


def chosen(accuracies: Array) -> float:
    """Return the accuracy of the model that is chosen on some rows, on others.

    As `sweepgrad finalize`, it chooses the architecture with the highest mean over seeds, then its best run.

    Arguments:
        accuracies: (models, seeds, 2): on the rows that choose, and on the others.
    """
    model = accuracies[:, :, 0].mean(axis=1).argmax()
    run = accuracies[model, :, 0].argmax()
    return float(accuracies[model, run, 1])


def in_halves(experiment: Experiment, key: int) -> Array:
    """Train with each half of the validation rows choosing the epoch, and measure on both halves.

    Arguments:
        key: random key, from `rng.key`.

    Returns:
        (2, 2): for each half, the accuracy on the half that chose the epoch, and on the other half.
    """
    val, halves = experiment.val, halves_of(experiment.val, key)
    accuracies = np.empty((2, 2))
    for half in range(2):
        choosing = halves == half
        *_, last = replace(experiment, val=Examples(val.X[choosing], val.y[choosing])).fits()
        correct = (experiment.network.scaled_scores(last.weights, val.X) >= 0) == (val.y == 1)
        accuracies[half] = correct[choosing].mean(), correct[~choosing].mean()
    return accuracies


def halves_of(rows: Examples, key: int) -> Array:
    """Return the half, 0 or 1, of each row (N,), at random; rows with equal features are in one half."""
    distinct, number = np.unique(rows.X, axis=0, return_inverse=True)
    return np.asarray((rng.permutation(key, len(distinct)) % 2)[number.reshape(-1)])


def _key(job: PlannedJob) -> int:
    return rng.key(job.config.split.seed, "lab/spotify/halves")


def _run(job: PlannedJob) -> Array:
    return in_halves(prepare(job.config), _key(job))


def _logistic(job: PlannedJob) -> float:
    experiment = prepare(job.config)
    train, val = experiment.train, experiment.val
    scores = experiment.task.baselines["logistic"].scores(train.X, train.y, val.X)
    correct, halves = (scores >= 0) == (val.y == 1), halves_of(val, _key(job))
    return float(np.mean([correct[halves == half].mean() for half in range(2)]))
