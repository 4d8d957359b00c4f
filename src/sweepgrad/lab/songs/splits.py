"""The quality of a procedure over many splits, on validation rows only: test sets stay sealed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.compose.plan import PlannedJob
from sweepgrad.lab.workers import side_by_side
from sweepgrad.selection.evaluation import Mean, corrected_mean
from sweepgrad.stats import metrics
from sweepgrad.training.experiment import Experiment, prepare
from sweepgrad.training.loop import Examples

RATIO = 0.2 / 0.6
"""Validation rows divided by training rows, see `corrected_mean`."""


@dataclass(frozen=True)
class SplitResult:
    """Measurements on the validation rows of one split that chose nothing.

    Attributes:
        accuracy, roc_auc: of the chosen model.
        logistic_accuracy, logistic_roc_auc: of logistic regression.
        by_model: the mean accuracy over seeds, by the widths of the hidden layers.
    """

    accuracy: float
    roc_auc: float
    logistic_accuracy: float
    logistic_roc_auc: float
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
        # (models, seeds, halves, [accuracy on the half that chooses; accuracy, ROC AUC on the other])
        found = np.array(
            [[run for run, key in zip(runs, keys, strict=True) if key == (split, model)] for model in models]
        )
        means = found[..., 1].mean(axis=(1, 2)).tolist()
        accuracy, roc_auc = np.mean([chosen(found[:, :, half]) for half in range(2)], axis=0).tolist()
        by_model = dict(zip(models, means, strict=True))
        results.append(SplitResult(accuracy, roc_auc, *logistic[split], by_model))
    return results


def lead_over_logistic(results: Sequence[SplitResult]) -> Mean:
    """Return by how much the chosen model is more accurate than logistic regression, averaged over splits."""
    return corrected_mean([result.accuracy - result.logistic_accuracy for result in results], RATIO)


def chosen(measures: Array) -> Array:
    """Return what is measured of the model that is chosen by its accuracy on other rows.

    As `sweepgrad finalize`, it chooses the architecture with the highest mean over seeds, then its best run.

    Arguments:
        measures: (models, seeds, 1 + M): the accuracy on the rows that choose, and M measures on the others.

    Returns:
        (M,).
    """
    model = measures[:, :, 0].mean(axis=1).argmax()
    run = measures[model, :, 0].argmax()
    return np.asarray(measures[model, run, 1:])


def in_halves(experiment: Experiment, key: int) -> Array:
    """Train with each half of the validation rows choosing the epoch, and measure on both halves.

    Arguments:
        key: random key, from `rng.key`.

    Returns:
        (2, 3): for each half, the accuracy on the half that chose the epoch, and accuracy and area under the ROC
        curve on the other half.
    """
    val, halves = experiment.val, halves_of(experiment.val, key)
    measures = np.empty((2, 3))
    for half in range(2):
        choosing = halves == half
        *_, last = replace(experiment, val=Examples(val.X[choosing], val.y[choosing])).fits()
        scores = experiment.network.scaled_scores(last.weights, val.X)
        measures[half, 0], _ = _measures(val.y[choosing], scores[choosing])
        measures[half, 1:] = _measures(val.y[~choosing], scores[~choosing])
    return measures


def halves_of(rows: Examples, key: int) -> Array:
    """Return the half, 0 or 1, of each row (N,), at random; rows with equal features are in one half."""
    distinct, number = np.unique(rows.X, axis=0, return_inverse=True)
    return np.asarray((rng.permutation(key, len(distinct)) % 2)[number.reshape(-1)])


def _key(job: PlannedJob) -> int:
    return rng.key(job.config.split.seed, "lab/spotify/halves")


def _run(job: PlannedJob) -> Array:
    return in_halves(prepare(job.config), _key(job))


def _logistic(job: PlannedJob) -> tuple[float, float]:
    experiment = prepare(job.config)
    train, val = experiment.train, experiment.val
    scores = experiment.task.baselines["logistic"].scores(train.X, train.y, val.X)
    halves = halves_of(val, _key(job))
    each = [_measures(val.y[halves == half], scores[halves == half]) for half in range(2)]
    accuracy, roc_auc = np.mean(each, axis=0).tolist()
    return accuracy, roc_auc


def _measures(y: Array, log_odds: Array) -> tuple[float, float]:
    """Return the accuracy and the area under the ROC curve."""
    return float(((log_odds >= 0) == (y == 1)).mean()), metrics.roc_auc(y, log_odds)
