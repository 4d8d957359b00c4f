"""Methods against vanishing, exploding and noisy gradients; docs/lab/gradients.md explains them."""

import logging
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator
from scipy.special import stdtrit

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.config.data import SimulatedData
from sweepgrad.config.section import Fraction, Section, Seed
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Claim, Finding, table
from sweepgrad.lab.stability.clipping import (
    clipped,
    example_gradients,
    expected_loss_with_dropout,
    penalized_loss,
    with_outliers,
)
from sweepgrad.lab.stability.depth import FUNCTIONS, measured, predicted, weight_variance
from sweepgrad.lab.stability.lipschitz import batch_gradients, flattened
from sweepgrad.lab.stability.pictures import picture
from sweepgrad.lab.stability.tricks import NAMES, Statistics, Trick, statistics, tricks
from sweepgrad.lab.tables import simulated
from sweepgrad.nn.network import Network
from sweepgrad.training.loop import Examples

log = logging.getLogger(__name__)

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]

VANISHED = 1e-3
OUTLIERS, FACTOR = 5, 30.0
"""Number of rows whose labels are flipped, and the factor of their features."""
_EPS = float(np.finfo(np.float64).eps)


class Settings(Section):
    """The settings of `conf/experiment/lab/gradients.yaml`."""

    rows: Annotated[int, Field(ge=50)]
    noise: Annotated[float, Field(ge=0, lt=0.5)]
    hidden: Annotated[tuple[Count, ...], Field(min_length=1)]
    epochs: Annotated[int, Field(ge=8)]
    batch_size: Count
    lr: Positive
    delay: Count
    clip: Positive
    dropout: Fraction
    seeds: Annotated[int, Field(ge=3)]
    depths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)]
    width: Annotated[int, Field(ge=2)]
    seed: Seed

    @model_validator(mode="after")
    def _batches_differ(self) -> "Settings":
        if 2 * self.batch_size > self.rows * 3 // 5:
            raise ValueError(
                f"batch_size: {self.batch_size} gives fewer than two batches of training rows; lower it"
            )
        return self


@dataclass(frozen=True)
class Ratio:
    """The geometric mean over seeds of a ratio, with its 95 % interval."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(values: Array, base: Array) -> "Ratio":
        logs = np.log(values / base)
        half = float(stdtrit(len(logs) - 1, 0.975)) * float(logs.std(ddof=1)) / np.sqrt(len(logs))
        return Ratio(*(float(np.exp(logs.mean() + sign * half)) for sign in (0, -1, 1)))

    def __str__(self) -> str:
        return f"{self.value:.2g} ({self.low:.2g} to {self.high:.2g})"


def answer(settings: Settings, lab: Lab) -> Finding:
    """Measure gradients by depth, with and without each trick, with clipping and with dropout."""
    data = SimulatedData(
        source="simulated",
        name="simulated",
        kind="moons",
        rows=settings.rows * 5 // 3,
        features=2,
        noise=settings.noise,
        seed=settings.seed,
    )
    rows, _ = simulated(data, settings.seed)
    seeds = range(settings.seed + 1, settings.seed + 1 + settings.seeds)
    log.info(f"{settings.seeds} initial networks of each of {len(settings.depths)} depths …")
    by_depth = {
        name: {depth: measured(name, depth, settings.width, seeds) for depth in settings.depths}
        for name in FUNCTIONS
    }
    kinds = tricks(settings.lr, settings.epochs, settings.delay, settings.clip, settings.dropout)
    found: dict[str, Statistics] = {}
    for name, trick in kinds.items():
        log.info(f"{name}: {settings.seeds} seeds …")
        found[name] = statistics(
            trick, settings.hidden, rows, seeds, epochs=settings.epochs, batch_size=settings.batch_size
        )
    plain = found["plain"]
    noise = {name: Ratio.of(found[name].noise, plain.noise) for name in ("1/√t", "staircase", "Adagrad")}
    first = Ratio.of(found["sigmoid"].ratio, plain.ratio)
    variance = Ratio.of(found["dropout"].variance, plain.variance)
    curvature = Ratio.of(found["dropout"].curvature, plain.curvature)
    claims = [
        _of_depth(by_depth, settings),
        _of_vanishing(by_depth),
        Claim(
            "Decaying and adaptive learning rates reduce the noise: in the last quarter of the epochs, the change of the loss per"
            " epoch, relative to the constant rate, is "
            + ", ".join(f"{ratio} ({name})" for name, ratio in noise.items())
            + ".",
            all(ratio.high < 1 for ratio in noise.values()),
        ),
        _of_stability(kinds, found, settings),
        Claim(
            f"The ratio of the gradient norms of the first and the last layer with sigmoid units is {first} times that with ReLU units.",
            first.high < 1,
        ),
        *_of_clipping(rows, settings),
        _of_linear_dropout(settings),
        Claim(
            f"With dropout, the variance of a batch's gradient is {variance} times as large, and training ends at weights where the"
            f" curvature of the loss without dropout is {curvature} times as large.",
            variance.low > 1 and curvature.high < 1,
        ),
    ]
    lines = [
        [name, *(f"{Ratio.of(getattr(each, key), getattr(plain, key))}" for key in NAMES)]
        for name, each in found.items()
        if name != "plain"
    ]
    medians = ["plain (medians)", *(f"{float(np.median(getattr(plain, key))):.3g}" for key in NAMES)]
    header = [
        "after training",
        "gradient",
        "variance over batches",
        "first / last layer",
        "Lipschitz constant",
        "noise of the loss",
        "loss",
        "weights",
    ]
    return Finding(
        claims=tuple(claims),
        numbers={
            f"{name.replace('/√', '_root_')}/curvature": float(np.median(each.curvature))
            for name, each in found.items()
        },
        tables=(
            "Each trick relative to plain SGD with a constant rate and ReLU units (ratios: geometric means over"
            f" {settings.seeds} paired seeds, with 95 % intervals):\n\n" + table(header, [medians, *lines]),
            "Gradient norm and variance of a batch's gradient by layer (medians):\n\n"
            + _by_layer(found, len(settings.hidden) + 1),
        ),
        pictures={"gradients": picture(by_depth, found, settings.width)},
    )


def _by_layer(found: dict[str, Statistics], n_layers: int) -> str:
    rows = [
        [name, *(f"{norm:.2g}; {variance:.2g}" for norm, variance in np.median(each.layers, axis=0))]
        for name, each in found.items()
    ]
    return table(["after training", *(f"layer {number}" for number in range(1, n_layers + 1))], rows)


def _of_depth(by_depth: dict[str, dict[int, Array]], settings: Settings) -> Claim:
    """Compare gradients at initial weights with the theory of wide layers.

    In layers of width n, logarithms of norms fluctuate by about 5 D / (4 n) around the prediction for infinitely
    wide ones (Hanin & Nica, "Products of many large random matrices and gradients in deep neural networks", 2020).
    """
    worst, texts = 0.0, []
    for name, found in by_depth.items():
        for depth, ratios in found.items():
            logs = np.log(ratios)
            off = abs(float(logs.mean()) - np.log(predicted(name, depth, weight_variance(name))))
            allowed = 4 * float(logs.std(ddof=1)) / np.sqrt(len(logs)) + 1.25 * depth / settings.width
            worst = max(worst, off / allowed)
        deepest = max(found)
        mean, expected = (
            float(np.exp(np.log(found[deepest]).mean())),
            predicted(name, deepest, weight_variance(name)),
        )
        texts.append(f"{mean:.2g} with {name} (predicted {expected:.2g})")
    return Claim(
        f"At initial weights, the gradient norm of hidden matrix 2 divided by that of the last one, with {deepest} hidden layers, is"
        f" {', '.join(texts)}. At all depths the deviation from the theory of wide layers is at most {worst:.0%} of what chance and width allow.",
        worst <= 1,
    )


def _of_vanishing(by_depth: dict[str, dict[int, Array]]) -> Claim:
    def depth_of(name: str, ratios: dict[int, float]) -> int | None:
        return next((depth for depth in sorted(ratios) if ratios[depth] < VANISHED), None)

    found = {
        n: depth_of(n, {d: float(np.exp(np.log(r).mean())) for d, r in f.items()})
        for n, f in by_depth.items()
    }
    theory = {
        n: depth_of(n, {d: predicted(n, d, weight_variance(n)) for d in f}) for n, f in by_depth.items()
    }
    texts = ", ".join(
        f"with {n} at {'none of these depths' if d is None else f'{d} layers'}" for n, d in found.items()
    )
    return Claim(
        f"The ratio falls below a thousandth (gradients vanish) {texts}, as predicted. It explodes nowhere.",
        found == theory,
    )


def _of_stability(kinds: dict[str, Trick], found: dict[str, Statistics], settings: Settings) -> Claim:
    """Check the stability of gradient descent on a quadratic loss: above 2 it would diverge."""
    steps_an_epoch = -(-settings.rows // settings.batch_size)
    n_steps = settings.epochs * steps_an_epoch
    products = {}
    for name in ("plain", "1/√t", "staircase", "tanh", "sigmoid"):
        share = float(kinds[name].schedule.shares(np.array([n_steps - 1]), n_steps, steps_an_epoch)[0])
        products[name] = settings.lr * share * found[name].curvature
    sharper = {
        n: Ratio.of(found[n].curvature, found["plain"].curvature) for n in ("1/√t", "staircase", "Adagrad")
    }
    texts = ", ".join(f"{float(np.median(values)):.2g} ({name})" for name, values in products.items())
    return Claim(
        f"The last learning rate times the Lipschitz constant of the gradient is {texts}, and below 2 in every run. Smaller rates end"
        " at minima with more curvature, not less, at which a larger rate would be unstable. Relative to plain SGD, the constant is "
        + ", ".join(f"{ratio} ({name})" for name, ratio in sharper.items())
        + ".",
        all(values.max() < 2 for values in products.values())
        and all(ratio.low > 1 for ratio in sharper.values()),
    )


def _of_clipping(rows: Examples, settings: Settings) -> list[Claim]:
    network, c = Network(rows.X.shape[1], settings.hidden), settings.clip
    flat = flattened(network.initial(settings.seed))
    n, plain = len(rows.y), example_gradients(network, flat, rows)
    spoiled = example_gradients(network, flat, with_outliers(rows, OUTLIERS, FACTOR))
    moved = float(np.linalg.norm(spoiled.mean(axis=0) - plain.mean(axis=0)))
    kept = float(np.linalg.norm(clipped(spoiled, c).mean(axis=0) - clipped(plain, c).mean(axis=0)))
    allowed = 2 * c * OUTLIERS / n
    spread = float(((clipped(spoiled, c) - clipped(spoiled, c).mean(axis=0)) ** 2).sum(axis=1).mean())
    before = float(((spoiled - spoiled.mean(axis=0)) ** 2).sum(axis=1).mean())
    steeper = of_examples = of_batches = 0.0
    key = rng.key(settings.seed, "lab/gradients/clipping")
    for number in range(10):
        step = rng.normal(rng.fold(key, number), flat.shape)
        moved_weights = flat + 0.1 * step / np.linalg.norm(step)
        other = example_gradients(network, moved_weights, rows)
        lengths = np.linalg.norm(clipped(other, c) - clipped(plain, c), axis=1)
        of_examples = max(of_examples, float((lengths / np.linalg.norm(other - plain, axis=1)).max()))
        means, elsewhere = (
            batch_gradients(network, w, rows, settings.batch_size, rng.fold(key, 99))
            for w in (flat, moved_weights)
        )
        lengths = np.linalg.norm(clipped(means, c) - clipped(elsewhere, c), axis=1)
        of_batches = max(of_batches, float((lengths / np.linalg.norm(means - elsewhere, axis=1)).max()))
        steeper = max(steeper, of_examples, of_batches)
    return [
        Claim(
            f"Clipping each example's gradient to {c:g} bounds the influence of outliers: multiplying {OUTLIERS} of {n} rows by {FACTOR:g} and"
            f" flipping their labels moves the mean gradient by {moved:.3g} without and {kept:.3g} with clipping (bound {allowed:.3g}); the"
            f" variance of an example's gradient is {before:.3g} without and {spread:.3g} with clipping (bound {c**2:.3g}).",
            kept <= allowed * (1 + 1e-12) < moved and spread <= c**2 * (1 + 1e-12),
        ),
        Claim(
            f"Clipping does not raise the Lipschitz constant: over 10 random steps of length 0.1, the change of the clipped gradient is"
            f" at most {of_examples:.3f} (by example) and {of_batches:.3f} (by batch) times that of the gradient.",
            steeper <= 1 + 1e-9,
        ),
    ]


def _of_linear_dropout(settings: Settings) -> Claim:
    worst, p = 0.0, settings.dropout
    for draw in range(20):
        key = rng.key(settings.seed, "lab/gradients/dropout", draw)
        x, w = rng.normal(rng.fold(key, 0), (8,)), rng.normal(rng.fold(key, 1), (8,))
        by_masks, by_formula = (loss(x, 1.0, w, p) for loss in (expected_loss_with_dropout, penalized_loss))
        worst = max(worst, abs(by_masks / by_formula - 1))
    return Claim(
        f"In a linear model with squared loss, dropout of {p:g} on the inputs equals a penalty of ½ · {p / (1 - p):.3g} · Σ xⱼ² wⱼ²: over all"
        f" 256 masks of 8 inputs the expected loss agrees within {worst:.0e}. So dropout adds curvature to this loss.",
        worst <= 1000 * _EPS,
    )
