"""The scale of the output sigmoid: its effect on the curve, the gradient, training and prediction.

docs/lab/scale.md derives the claims.
"""

import logging
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from matplotlib.figure import Figure
from pydantic import Field, model_validator

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.config.data import SimulatedData
from sweepgrad.config.section import Section, Seed
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Claim, Finding, table
from sweepgrad.lab.scaling import EPS, OTHERS, Runs, difference_with_a_hidden_layer, pull, rounding, slope
from sweepgrad.lab.tables import simulated
from sweepgrad.nn.optimizers import SGD
from sweepgrad.stats import metrics
from sweepgrad.stats.calibration import greatest_likelihood
from sweepgrad.training.plots import GREY, VAL

log = logging.getLogger(__name__)

Positive = Annotated[float, Field(gt=0)]


class Settings(Section):
    """The settings of `conf/experiment/lab/scale.yaml`."""

    scales: Annotated[tuple[Positive, ...], Field(min_length=1)]
    rates: Annotated[tuple[Positive, ...], Field(min_length=2)]
    rows: Annotated[int, Field(ge=50)]
    features: Annotated[int, Field(ge=1)]
    noise: Annotated[float, Field(gt=0, lt=0.5)]
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
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
    steppers = (SGD(min(0.05, runs.stable_rate / max(scales) ** 2)), *OTHERS)
    log.info(f"training with {len(scales)} scales and {len(steppers)} optimizers …")
    differences = {type(s).__name__: [runs.difference(scale, s) for scale in scales] for s in steppers}
    differences["hidden layer"] = [difference_with_a_hidden_layer(train, s, settings.seed) for s in scales]
    one_rate = [difference_with_a_hidden_layer(train, s, settings.seed, one_rate=True) for s in scales]
    log.info(f"training with {len(scales)} scales by {len(rates)} rates …")
    losses = [[runs.loss(scale, rate) for rate in rates] for scale in scales]
    difference = max(
        abs(runs.loss(scale, rate / scale**2) / runs.loss(1.0, rate) - 1)
        for scale in scales
        for rate in rates
        if rate <= runs.stable_rate or _is_power_of_two(scale)
    )
    fitted = runs.trained(1.0, SGD(0.1), np.zeros(runs.network.n_parameters))
    log_odds = runs.network.scaled_scores(fitted.weights, val.X)
    best = greatest_likelihood(val.y, log_odds)

    exact = [_is_power_of_two(scale) for scale in scales]
    in_bits = [d for line in differences.values() for d, power in zip(line, exact, strict=True) if power]
    rounded = [d for d, power in zip(differences["SGD"], exact, strict=True) if not power]
    steps = settings.epochs * -(-len(train.y) // settings.batch_size)
    allowed = rounding(steps, settings.batch_size, settings.features)
    z = rng.normal(rng.key(settings.seed, "lab/scale/scores"), (100,))
    y = (rng.uniform(rng.key(settings.seed, "lab/scale/labels"), (100,)) < 0.5).astype(np.float64)
    claims = [_of_the_curve(scales), _of_the_gradient(scales, z, y)]
    if in_bits:
        text = (
            "A scale of the linear model is equivalent to another start and another learning rate, to the last bit if it"
            " is a power of two: scale² times the rate for SGD and momentum, scale times the rate and epsilon / scale for"
            " Adagrad and Adam; hidden layers keep their rate. Of"
            f" {len(in_bits)} pairs of runs, {sum(d == 0 for d in in_bits)} end with the same bits."
        )
        claims.append(Claim(text, max(in_bits) == 0))
    if rounded:
        text = (
            "For other scales this holds up to rounding, which does not grow with SGD on a convex loss: the difference"
            f" is at most {max(rounded):.0e} of the largest weight (bound {allowed:.0e})."
        )
        claims.append(Claim(text, max(rounded) <= allowed))
    claims += [
        Claim(
            "With a hidden layer no single rate is equivalent: with scale² times the rate in all layers, the weights"
            f" differ by up to {max(one_rate):.0%} of the largest weight.",
            max(one_rate) > allowed,
        ),
        Claim(
            f"From zero weights, the loss of the linear model depends only on scale² · rate: over {len(scales)} scales"
            f" and {len(rates)} rates the relative difference is at most {difference:.0e} (bound for rounding"
            f" {allowed:.0e}).",
            difference <= allowed,
        ),
        _of_the_prediction(scales, val.y, log_odds, best),
    ]
    names = ["scale", *differences]
    lines = [[f"{s:g}", *(f"{line[i]:.0e}" for line in differences.values())] for i, s in enumerate(scales)]
    return Finding(
        claims=tuple(claims),
        numbers={
            "pairs/same_bits": float(sum(d == 0 for d in in_bits)),
            "pairs/powers_of_two": float(len(in_bits)),
            "one_rate/difference": max(one_rate),
            "collapse/difference": difference,
            "rounding/allowed": allowed,
            **({} if best is None else {"prediction/best_scale": best}),
        },
        tables=(
            "Largest difference between the two runs, relative to the largest weight:\n\n"
            + table(names, lines),
        ),
        pictures={"scale": _picture(scales, rates, losses, val.y, log_odds, best)},
    )


def _of_the_curve(scales: Sequence[float]) -> Claim:
    error = max(abs(slope(scale, 0.0) / (scale / 4) - 1) for scale in scales)
    return Claim(
        f"The slope of sigmoid(scale · z) at 0 is scale / 4: the relative difference of `Value` is at most {error:.0e}.",
        error <= 4 * EPS,  # three products and a sigmoid, which is exact at 0
    )


def _of_the_gradient(scales: Sequence[float], z: Array, y: Array) -> Claim:
    error = 0.0
    for scale in scales:
        expected = scale * (1 / (1 + np.exp(-scale * z)) - y)
        error = max(error, float(np.abs(pull(scale, z, y) - expected).max() / scale))
    return Claim(
        f"The gradient of a row's loss with respect to its score is scale · (p - y), at most scale: over"
        f" {len(z)} scores the difference of `Value` is at most {error:.0e} of the scale.",
        # p is in [0, 1] and has a few roundings; its argument, scale · z, has one of |scale · z| ulp, which moves
        # p by at most a quarter of that.
        error <= (8 + max(scales) * float(np.abs(z).max())) * EPS,
    )


def _of_the_prediction(scales: Sequence[float], y: Array, log_odds: Array, best: float | None) -> Claim:
    accuracies = {float(((scale * log_odds >= 0) == (y == 1)).mean()) for scale in scales}
    areas = {metrics.roc_auc(y, scale * log_odds) for scale in scales}
    if best is None:
        return Claim(
            "At prediction no scale is best on these validation rows: the classes are separated perfectly.",
            False,
        )
    here = _nll(y, best * log_odds)
    return Claim(
        f"At prediction the scale changes neither the predicted classes nor the order of the rows: accuracy is"
        f" {min(accuracies):.3f} and ROC AUC {min(areas):.3f} for all scales. The loss has one minimum, {here:.4f} at"
        f" scale {best:.3f}, which is temperature {1 / best:.3f}; at scale 1 it is {_nll(y, log_odds):.4f}.",
        len(accuracies) == len(areas) == 1
        and all(here <= _nll(y, scale * log_odds) for scale in (*scales, 1.0)),
    )


def _is_power_of_two(scale: float) -> bool:
    return bool(np.frexp(scale)[0] == 0.5)


def _nll(y: Array, log_odds: Array) -> float:
    return float(np.logaddexp(0, (1 - 2 * y) * log_odds).mean())


def _picture(
    scales: Sequence[float],
    rates: Sequence[float],
    losses: Sequence[Sequence[float]],
    y: Array,
    log_odds: Array,
    best: float | None,
) -> Figure:
    from matplotlib import colormaps

    figure = Figure(figsize=(10, 7), layout="constrained")
    (curve, prediction), (by_rate, collapsed) = figure.subplots(2, 2)
    colors = colormaps["viridis"](np.linspace(0, 0.9, len(scales)))
    z = np.linspace(-4, 4, 201)
    for scale, line, color in zip(scales, losses, colors, strict=True):
        curve.plot(z, 1 / (1 + np.exp(-scale * z)), color=color, label=f"scale {scale:g}")
        by_rate.plot(rates, line, color=color, marker="o", markersize=4)
        collapsed.plot(scale**2 * np.asarray(rates), line, color=color, marker="o", markersize=4)
    curve.set(xlabel="score z", ylabel="sigmoid(scale · z)", title="the curve: slope scale / 4 at 0")
    by_rate.set(xlabel="learning rate", title="training loss from zero weights")
    collapsed.set(xlabel="scale² · learning rate", title="the same, against scale² · rate")
    for axes in (by_rate, collapsed):
        axes.set(xscale="log", ylabel="negative log-likelihood")
    grid = np.geomspace(0.05, 20, 200)
    prediction.plot(grid, [_nll(y, scale * log_odds) for scale in grid], color=VAL)
    prediction.axvline(1, color=GREY, linestyle=":", label="scale 1")
    if best is not None:
        prediction.plot([best], [_nll(y, best * log_odds)], "o", color=VAL, label=f"best: scale {best:.2f}")
    prediction.set(
        xscale="log",
        xlabel="scale applied to a trained model",
        ylabel="validation loss",
        title="at prediction",
    )
    for axes in (curve, prediction, by_rate, collapsed):
        axes.grid(alpha=0.3)
    curve.legend(frameon=False)
    prediction.legend(frameon=False)
    return figure
