"""The scale of the output sigmoid: its effect on the curve, the gradient, training and prediction.

docs/lab/scale.md derives the claims.
"""

import logging
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.config.data import SimulatedData
from sweepgrad.config.section import Section, Seed
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Claim, Finding, table
from sweepgrad.lab.scaling import pictures
from sweepgrad.lab.scaling.equivalence import (
    EPS,
    OTHERS,
    Runs,
    difference_with_a_hidden_layer,
    mean_loss,
    pull,
    rounding,
    slope,
)
from sweepgrad.lab.tables import simulated
from sweepgrad.nn.optimizers import SGD
from sweepgrad.stats import metrics
from sweepgrad.stats.calibration import greatest_likelihood

log = logging.getLogger(__name__)

Positive = Annotated[float, Field(gt=0, le=1e6)]


class Settings(Section):
    """The settings of `conf/experiment/lab/scale.yaml`."""

    scales: Annotated[
        tuple[Annotated[float, Field(ge=1e-6, le=1e6)], ...], Field(min_length=1, max_length=50)
    ]
    rates: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=50)]
    rows: Annotated[int, Field(ge=50, le=10_000)]
    features: Annotated[int, Field(ge=1, le=100)]
    noise: Annotated[float, Field(gt=0, lt=0.5)]
    epochs: Annotated[int, Field(ge=1, le=2_000)]
    batch_size: Annotated[int, Field(ge=1, le=10_000)]
    seed: Seed

    @model_validator(mode="after")
    def _each_scale_once(self) -> "Settings":
        if len(set(self.scales)) < len(self.scales):
            raise ValueError(f"scales: repeats a value: {list(self.scales)}; give each once")
        if self.scales == (1.0,):
            raise ValueError("scales: 1 alone changes nothing; add another")
        return self


def answer(settings: Settings, lab: Lab) -> Finding:
    """Measure the effect of the scale on gradients, training and prediction."""
    data = SimulatedData(
        source="simulated",
        name="simulated",
        kind="linear",
        rows=settings.rows,
        features=settings.features,
        noise=settings.noise,
        seed=settings.seed,
    )
    train, val = simulated(data, settings.seed)
    runs = Runs(train, val, settings.epochs, settings.batch_size, settings.seed)
    scales, rates = settings.scales, settings.rates
    others = tuple(scale for scale in scales if scale != 1)  # scale 1 is what they are compared with
    steppers = (SGD(min(0.05, runs.stable_rate / max(scales) ** 2)), *OTHERS)
    log.info(f"training with {len(others)} scales and {len(steppers)} optimizers …")
    differences = {type(s).__name__: [runs.difference(scale, s) for scale in others] for s in steppers}
    differences["hidden layer"] = [difference_with_a_hidden_layer(train, s, settings.seed) for s in others]
    log.info(f"training with {len(scales)} scales by {len(rates)} rates …")
    losses = [[runs.loss(scale, rate) for rate in rates] for scale in scales]
    fitted = runs.trained(1.0, SGD(0.1), np.zeros(runs.network.n_parameters))
    log_odds = runs.network.scaled_scores(fitted.weights, val.X)
    best = greatest_likelihood(val.y, log_odds)
    steps = settings.epochs * -(-len(train.y) // settings.batch_size)
    allowed = rounding(steps, settings.batch_size, settings.features)
    z = rng.normal(rng.key(settings.seed, "lab/scale/scores"), (100,))
    y = (rng.uniform(rng.key(settings.seed, "lab/scale/labels"), (100,)) < 0.5).astype(np.float64)
    tested = (
        _of_the_curve(scales),
        _of_the_gradient(scales, z, y),
        _to_the_bit(others, differences),
        _up_to_rounding(others, differences["SGD"], allowed),
        _one_rate(runs, others, settings.seed, allowed),
        _from_zero(runs, others, rates, allowed),
        _same_predictions(others, val.y, log_odds),
        _best_at_prediction(scales, val.y, log_odds, best),
    )
    names = ["scale", *differences]
    lines = [[f"{s:g}", *(_short(line[i]) for line in differences.values())] for i, s in enumerate(others)]
    in_bits = [
        d for line in differences.values() for d, s in zip(line, others, strict=True) if is_power_of_two(s)
    ]
    return Finding(
        claims=tuple(claim for claim in tested if isinstance(claim, Claim)),
        numbers={
            "pairs/same_bits": float(sum(d == 0 for d in in_bits)),
            "pairs/powers_of_two": float(len(in_bits)),
            "rounding/allowed": allowed,
            **({} if best is None else {"prediction/best_scale": best}),
        },
        tables=(
            "Largest difference of a weight between the two runs that should be equivalent, relative to the largest"
            " weight:\n\n" + table(names, lines),
        ),
        notes=tuple(note for note in tested if isinstance(note, str)),
        pictures={
            "scale": pictures.curves(scales),
            "scale_rates": pictures.losses(scales, rates, losses),
            "scale_collapse": pictures.losses(scales, rates, losses, collapsed=True),
            "scale_prediction": pictures.prediction(val.y, log_odds, best),
        },
    )


def _of_the_curve(scales: Sequence[float]) -> Claim:
    error = max(abs(slope(scale, 0.0) / (scale / 4) - 1) for scale in scales)
    allowed = 4 * EPS  # three products and a sigmoid, which is exact at 0
    return Claim(
        "slope",
        "The slope of sigmoid(scale · z) at z = 0 is scale / 4.",
        f"relative difference of the gradient of `Value`: at most {_short(error)} (rounding: {allowed:.0e})",
        error <= allowed,
    )


def _of_the_gradient(scales: Sequence[float], z: Array, y: Array) -> Claim:
    error = 0.0
    for scale in scales:
        expected = scale * (1 / (1 + np.exp(-scale * z)) - y)
        error = max(error, float(np.abs(pull(scale, z, y) - expected).max() / scale))
    # p is in [0, 1] and has a few roundings; its argument, scale · z, has one of |scale · z| ulp, which moves
    # p by at most a quarter of that.
    allowed = (8 + max(scales) * float(np.abs(z).max())) * EPS
    return Claim(
        "gradient",
        "The gradient of a row's loss with respect to its score is scale · (p - y).",
        f"difference of the gradient of `Value` at {len(z)} scores: at most {_short(error)} of the scale"
        f" (rounding: {allowed:.0e})",
        error <= allowed,
    )


def _to_the_bit(scales: Sequence[float], differences: dict[str, list[float]]) -> Claim | str:
    found = [
        d for line in differences.values() for d, s in zip(line, scales, strict=True) if is_power_of_two(s)
    ]
    if not found:
        return "Equality to the last bit is not tested: no scale is a power of two."
    return Claim(
        "same bits",
        "A scale that is a power of two is equivalent to another start and another learning rate, to the last bit: for"
        " the linear model scale² times the rate with SGD and momentum, scale times the rate and epsilon / scale with"
        " Adagrad and Adam; and with SGD and a hidden layer, which keeps its rate.",
        f"{sum(d == 0 for d in found)} of {len(found)} pairs of runs end with the same bits",
        max(found) == 0,
    )


def _up_to_rounding(scales: Sequence[float], differences: Sequence[float], allowed: float) -> Claim | str:
    found = [d for d, scale in zip(differences, scales, strict=True) if not is_power_of_two(scale)]
    if not found:
        return "Other scales are not tested: all are powers of two."
    return Claim(
        "other scales",
        "For the linear model and SGD below 2/K, any other scale is equivalent up to rounding, which adds up and does"
        " not grow.",
        f"the weights differ by at most {_short(max(found))} of the largest (estimate of the rounding: {allowed:.0e})",
        max(found) <= allowed,
    )


def _one_rate(runs: Runs, scales: Sequence[float], seed: int, allowed: float) -> Claim:
    found = [difference_with_a_hidden_layer(runs.train, s, seed, one_rate=True) for s in scales]
    return Claim(
        "one rate for all layers",
        "With a hidden layer, scale² times the rate in all layers is not equivalent.",
        f"the weights differ by {min(found):.0%} to {max(found):.0%} of the largest",
        min(found) > allowed,
    )


def _from_zero(runs: Runs, scales: Sequence[float], rates: Sequence[float], allowed: float) -> Claim | str:
    pairs = [
        (scale, rate)
        for scale in scales
        for rate in rates
        if rate <= runs.stable_rate or is_power_of_two(scale)
    ]
    if not pairs:
        return "Training from zero is not tested: no rate is below 2/K, and no scale a power of two."
    difference = max(
        abs(runs.loss(scale, rate / scale**2) / runs.loss(1.0, rate) - 1) for scale, rate in pairs
    )
    return Claim(
        "from zero",
        "From zero weights, the training loss of the linear model with SGD depends on scale and rate only through"
        " scale² · rate: below 2/K up to rounding, and for powers of two at every rate.",
        f"{len(pairs)} pairs of a scale and a rate: relative difference at most {_short(difference)} (estimate of the"
        f" rounding: {allowed:.0e})",
        difference <= allowed,
    )


def _same_predictions(scales: Sequence[float], y: Array, log_odds: Array) -> Claim:
    each = [scale * log_odds for scale in (1.0, *scales)]
    accuracies = {float(((scaled >= 0) == (y == 1)).mean()) for scaled in each}
    areas = {metrics.roc_auc(y, scaled) for scaled in each}
    return Claim(
        "same predictions",
        "Applied to a trained model, a scale changes neither accuracy nor the area under the ROC curve.",
        f"accuracy {_range(accuracies)} and ROC AUC {_range(areas)} at scale 1 and {len(scales)} others",
        len(accuracies) == len(areas) == 1,
    )


def _best_at_prediction(
    scales: Sequence[float], y: Array, log_odds: Array, best: float | None
) -> Claim | str:
    if best is None:
        return "The best scale at prediction is not tested: the log-odds separate the classes, or point away from them."
    least, others = mean_loss(y, best * log_odds), sorted({*scales, 1.0, best / 1.01, best * 1.01})
    return Claim(
        "best scale at prediction",
        "The validation loss of a trained model is lowest at the scale where the mean of (p - y) · z is 0.",
        f"{least:.4f} at scale {best:.3f} (temperature {1 / best:.3f}), {mean_loss(y, log_odds):.4f} at scale 1; it is"
        f" higher at all {len(others)} other scales, 1 % above and below among them",
        all(least < mean_loss(y, scale * log_odds) for scale in others if scale != best),
    )


def is_power_of_two(scale: float) -> bool:
    """Return whether a number is a power of two."""
    return bool(np.frexp(scale)[0] == 0.5)


def _range(values: set[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"


def _short(difference: float) -> str:
    return f"{difference:.0e}" if difference else "0"
