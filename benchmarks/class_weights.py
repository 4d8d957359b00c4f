"""Measure the effect of class weights on probabilities: `python -m benchmarks.class_weights`, half a minute.

The rows follow a known rule with 7 % positives, so true probabilities are known. A linear model and a small
network are trained without weights and with `train.class_weight=balanced`, and evaluated on 100,000 other
rows by the calibration error (ECE) and by the recall of each class. For comparison: the model without weights
with the threshold 1 / (1 + weight), and the weighted one with log(weight) subtracted from its log-odds.
"""

import numpy as np
from scipy.special import expit, logit

from sweepgrad.autograd.value import Array
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import Adam
from sweepgrad.rng import key, normal, uniform
from sweepgrad.stats import metrics
from sweepgrad.stats.calibration import calibration
from sweepgrad.tasks.binary import ClassWeights
from sweepgrad.training.loop import Examples, fit

FEATURES, TRAIN, VAL, JUDGED = 6, 6000, 2000, 100_000


def rows(n: int, purpose: str) -> tuple[Examples, Array]:
    """Return examples and their true probabilities."""
    X = normal(key(0, purpose, 1), (n, FEATURES))
    p = expit(1.2 * X[:, 0] + 0.9 * X[:, 1] - 0.7 * X[:, 2] - 3.6)
    return Examples(X, (uniform(key(0, purpose, 2), (n,)) < p).astype(np.float64)), p


def recalls(y: Array, positive: Array) -> str:
    return f"{np.mean(positive[y == 1]):8.1%} {np.mean(~positive.astype(bool)[y == 0]):9.1%}"


def main() -> None:
    (train, _), (val, _), (judged, truth) = rows(TRAIN, "train"), rows(VAL, "val"), rows(JUDGED, "judged")
    classes = ClassWeights.of(train.y, "balanced")
    weight = classes.positive / classes.negative
    print(
        f"{judged.y.mean():.1%} positive; balanced: a positive row counts {weight:.1f} times a negative one"
    )
    print(
        f"{'':54} {'mean p':>7} {'ECE':>7} {'ROC AUC':>8} {'recall +':>8} {'recall -':>9} {'best epoch':>11}"
    )

    def line(name: str, p: Array, cut: float = 0.5, epoch: int | str = "") -> None:
        error, auc = calibration(judged.y, p).error, metrics.roc_auc(judged.y, p)
        print(f"{name:54} {p.mean():7.3f} {error:7.4f} {auc:8.4f} {recalls(judged.y, p >= cut)} {epoch:>11}")

    line("the true probabilities", truth)
    for network in (Network(FEATURES, (), None), Network(FEATURES, (9,), "relu")):
        kind = "linear" if not network.hidden else "6-9-1"
        found = {}
        for weights in (None, classes):
            *_, last = fit(
                network, Adam(0.005, 0.9, 0.999, 1e-8), train, val, epochs=30, batch_size=32, seed=0,
                class_weights=weights,
            )  # fmt: skip
            found[weights] = network.probabilities(last.weights, judged.X), last.best_epoch
        (plain, one), (weighted, other) = found[None], found[classes]
        line(f"{kind}, class_weight=null", plain, epoch=one)
        line(f"{kind}, null, threshold 1 / (1 + weight)", plain, cut=1 / (1 + weight))
        line(f"{kind}, class_weight=balanced", weighted, epoch=other)
        line(f"{kind}, balanced, log(weight) off the log-odds", expit(logit(weighted) - np.log(weight)))


if __name__ == "__main__":
    main()
