"""The claims about networks that were trained with and without each trick, and tables of their statistics."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from sweepgrad.autograd.value import Array
from sweepgrad.lab.finding import Claim, table
from sweepgrad.lab.stability.ratios import Ratio, listed
from sweepgrad.lab.stability.tricks import NAMES, RATES, Statistics

THRESHOLD = 2.0
"""Above it, the learning rate times the curvature makes gradient descent on a quadratic loss diverge."""
_HEADER = (
    "after training",
    "gradient",
    "variance over batches",
    "first / last layer",
    "‖H‖",
    "noise of the loss",
    "loss",
    "weights",
    "last rate",
)


def relative(found: Mapping[str, Statistics], key: str, names: tuple[str, ...]) -> dict[str, Ratio]:
    """Return a statistic of these tricks relative to plain SGD with the same seeds."""
    return {name: Ratio.of(getattr(found[name], key), getattr(found["plain"], key)) for name in names}


def rate_claims(found: Mapping[str, Statistics], lr: float) -> list[Claim]:
    """Check what decaying and adaptive learning rates do to noise and curvature."""
    noise, curvature = (relative(found, key, RATES) for key in ("noise", "curvature"))
    return [
        Claim(
            "noise of the loss",
            "Decaying and adaptive learning rates reduce the noise: in the last quarter of the epochs the training"
            " loss scatters less around its trend, by the mean of |Lₜ₊₁ − 2Lₜ + Lₜ₋₁|, than with the constant rate.",
            f"Relative to the constant rate, {listed(noise)}.",
            all(ratio.high < 1 for ratio in noise.values()),
        ),
        Claim(
            "curvature with decaying rates",
            "Decaying and adaptive learning rates do not lower ‖H‖: at the settings of this run, training ends where the"
            f" loss is more curved with each of them than with the constant rate {lr:g}.",
            f"‖H‖ relative to the constant rate, {listed(curvature)}.",
            all(ratio.low > 1 for ratio in curvature.values()),
        ),
    ]


def batch_claims(by_size: Mapping[int, Statistics], lr: float, usual: int) -> list[Claim]:
    """Check what the noise of batches does to curvature, at the same rate and number of steps.

    Arguments:
        usual: the batch size at which tricks are compared.
    """
    steps = {
        f"{b} against {a}": Ratio.of(by_size[b].curvature, by_size[a].curvature)
        for a, b in pairwise(sorted(by_size))
    }
    products = lr * by_size[usual].curvature
    return [
        Claim(
            "noise and curvature",
            "The less noise, the more curvature: at the same rate and number of steps, ‖H‖ after training is"
            " larger for each larger batch size.",
            f"Ratio of ‖H‖ by batch size, {listed(steps)}.",
            all(ratio.low > 1 for ratio in steps.values()),
        ),
        Claim(
            "threshold with noise",
            f"With batches of {usual}, training ends far below the threshold of stability, 2: α‖H‖ is less than 1"
            " with every seed.",
            f"Median {float(np.median(products)):.2g}; largest {products.max():.2g}.",
            bool((products < THRESHOLD / 2).all()),
        ),
    ]


def threshold_claim(by_rate: Mapping[float, Statistics]) -> Claim:
    """Check that the curvature follows the threshold of stability where there is no noise.

    Arguments:
        by_rate: gradient descent on all rows.
    """
    medians = {lr: float(np.median(lr * each.curvature)) for lr, each in by_rate.items()}
    return Claim(
        "threshold without noise",
        "Without noise, in gradient descent on all rows, the curvature ends at the threshold of stability:"
        f" the median of α‖H‖ is between 2 and 3 at α = {', '.join(f'{lr:g}' for lr in by_rate)}, each with the"
        " same sum of rates.",
        f"Medians {', '.join(f'{median:.2f}' for median in medians.values())}; smallest and largest of all runs"
        f" {min((lr * each.curvature).min() for lr, each in by_rate.items()):.2f} and"
        f" {max((lr * each.curvature).max() for lr, each in by_rate.items()):.2f}.",
        all(THRESHOLD <= median <= THRESHOLD + 1 for median in medians.values()),
    )


def layer_claim(found: Mapping[str, Statistics]) -> Claim:
    """Compare the gradient of the first layer with that of the last one."""
    (ratio,) = relative(found, "ratio", ("sigmoid",)).values()
    return Claim(
        "first and last layer",
        "After training, the gradient norm of the first layer divided by that of the last one is smaller with"
        " sigmoid units than with ReLU units.",
        f"{ratio} times that with ReLU.",
        ratio.high < 1,
    )


def dropout_effects(
    found: Mapping[str, Statistics], raised: Mapping[str, Array], probability: float
) -> list[Claim]:
    """Check what dropout of hidden units does to noise and curvature.

    Arguments:
        raised: by what masks multiply the variance of a batch's gradient, at the weights after training with
            each of the tricks; (S,).
    """
    ratios = {name: Ratio.of(each) for name, each in raised.items()}
    (curvature,) = relative(found, "curvature", ("dropout",)).values()
    return [
        Claim(
            "variance with dropout",
            f"In this network the masks of dropout {probability:g} raise the variance of a batch's gradient: at the"
            " same weights it is larger with masks than without, both at the weights after plain training and at"
            " those after training with dropout.",
            f"Variance with masks divided by that without, at the weights of each: {listed(ratios)}.",
            all(ratio.low > 1 for ratio in ratios.values()),
        ),
        Claim(
            "curvature with dropout",
            "Training with dropout ends where the loss without dropout is less curved.",
            f"‖H‖ is {curvature} times that without dropout.",
            curvature.high < 1,
        ),
    ]


def table_of_ratios(found: Mapping[str, Statistics]) -> str:
    """Return all statistics of each trick relative to plain SGD."""
    plain = found["plain"]
    names = [*NAMES, "rate"]
    medians = ["plain (medians)", *(f"{float(np.median(getattr(plain, key))):.3g}" for key in names)]
    lines = [
        [
            name,
            *(str(Ratio.of(getattr(each, key), getattr(plain, key))) for key in NAMES),
            "per weight" if np.isnan(each.rate).any() else f"{float(np.median(each.rate)):.2g}",
        ]
        for name, each in found.items()
        if name != "plain"
    ]
    return (
        "Each trick relative to plain SGD with a constant rate and ReLU units (geometric means over"
        f" {len(plain.norm)} paired seeds, with 95 % intervals; the last column is the median rate"
        " itself):\n\n" + table(_HEADER, [medians, *lines])
    )


def table_of_layers(found: Mapping[str, Statistics]) -> str:
    """Return the gradient norm and the variance of a batch's gradient by layer."""
    n_layers = next(iter(found.values())).layers.shape[1]
    header = [f"{what}, layer {number}" for what in ("norm", "variance") for number in range(1, n_layers + 1)]
    rows = [
        [name, *(f"{number:.2g}" for number in np.median(each.layers, axis=0).T.reshape(-1))]
        for name, each in found.items()
    ]
    return "Gradient norm and variance of a batch's gradient by layer (medians):\n\n" + table(
        ["after training", *header], rows
    )


def table_of_batches(by_size: Mapping[int, Statistics], lr: float) -> str:
    """Return the curvature, and what else changes with it, by batch size."""
    rows = [
        [
            str(size),
            str(Ratio.of(lr * each.curvature)),
            *(f"{float(np.median(getattr(each, key))):.3g}" for key in ("variance", "nll", "length")),
        ]
        for size, each in sorted(by_size.items())
    ]
    return (
        "Plain SGD at the same rate for the same number of steps, by batch size (α‖H‖: geometric mean with 95 %"
        " interval; medians otherwise):\n\n"
        + table(["batch size", "α‖H‖", "variance over batches", "loss", "weights"], rows)
    )
