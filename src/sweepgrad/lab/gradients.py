"""What keeps gradients from vanishing, exploding and trembling; docs/lab/gradients.md has the arguments."""

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
from sweepgrad.lab.clipping import (
    clipped,
    example_gradients,
    expected_loss_with_dropout,
    penalized_loss,
    with_outliers,
)
from sweepgrad.lab.depth import FUNCTIONS, measured, predicted, weight_variance
from sweepgrad.lab.finding import Claim, Finding, table
from sweepgrad.lab.gradients_picture import picture
from sweepgrad.lab.lipschitz import batch_gradients, flattened
from sweepgrad.lab.questions import Lab
from sweepgrad.lab.tables import simulated
from sweepgrad.lab.tricks import NAMES, Signs, Trick, signs, tricks
from sweepgrad.nn.network import Network
from sweepgrad.training.loop import Examples

log = logging.getLogger(__name__)

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]

VANISHED = 1e-3
OUTLIERS, FACTOR = 5, 30.0
"""Rows whose labels are turned, and what their features are multiplied by."""
_EPS = float(np.finfo(np.float64).eps)


class Settings(Section):
    """What `conf/experiment/lab/gradients.yaml` says."""

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
                f"batch_size: {self.batch_size} leaves fewer than two batches of the training rows"
            )
        return self


@dataclass(frozen=True)
class Ratio:
    """The geometric mean over seeds of one thing over another, with its 95 % interval."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(some: Array, others: Array) -> "Ratio":
        logs = np.log(some / others)
        half = float(stdtrit(len(logs) - 1, 0.975)) * float(logs.std(ddof=1)) / np.sqrt(len(logs))
        return Ratio(*(float(np.exp(logs.mean() + sign * half)) for sign in (0, -1, 1)))

    def __str__(self) -> str:
        return f"{self.value:.2g} ({self.low:.2g} to {self.high:.2g})"


def answer(settings: Settings, lab: Lab) -> Finding:
    """Gradients by depth; trained with and without each trick; clipped; and with dropout."""
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
    found: dict[str, Signs] = {}
    for name, trick in kinds.items():
        log.info(f"{name}: {settings.seeds} seeds …")
        found[name] = signs(
            trick, settings.hidden, rows, seeds, epochs=settings.epochs, batch_size=settings.batch_size
        )
    plain = found["plain"]
    trembling = {
        name: Ratio.of(found[name].trembling, plain.trembling) for name in ("1/√t", "staircase", "Adagrad")
    }
    first = Ratio.of(found["sigmoid"].ratio, plain.ratio)
    variance = Ratio.of(found["dropout"].variance, plain.variance)
    flatter = Ratio.of(found["dropout"].curvature, plain.curvature)
    claims = [
        _of_depth(by_depth, settings),
        _of_vanishing(by_depth),
        Claim(
            "Decaying and adaptive rates calm training: over the last quarter the loss changes from epoch to epoch by "
            + ", ".join(f"{ratio} times as much ({name})" for name, ratio in trembling.items())
            + " as with the constant rate.",
            all(ratio.high < 1 for ratio in trembling.values()),
        ),
        _of_stability(kinds, found, settings),
        Claim(
            f"Sigmoid units hand the first layer {first} times as much of the gradient, by the last layer's, as ReLU units do.",
            first.high < 1,
        ),
        *_of_clipping(rows, settings),
        _of_linear_dropout(settings),
        Claim(
            f"In the network a batch's gradient has {variance} times the variance with dropout; and training ends where the loss,"
            f" without dropout, is {flatter} times as curved.",
            variance.low > 1 and flatter.high < 1,
        ),
    ]
    lines = [
        [name, *(f"{Ratio.of(getattr(each, key), getattr(plain, key))}" for key in NAMES)]
        for name, each in found.items()
        if name != "plain"
    ]
    medians = ["plain (medians)", *(f"{float(np.median(getattr(plain, key))):.3g}" for key in NAMES)]
    header = [
        "at the end",
        "gradient",
        "variance over batches",
        "first / last layer",
        "Lipschitz constant",
        "trembling",
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
            "With each trick, times what plain SGD with a constant rate has (ReLU units; geometric mean over"
            f" {settings.seeds} seeds, paired, with 95 % intervals):\n\n" + table(header, [medians, *lines]),
            "Layer by layer, the length of the gradient and the variance of a batch's (medians):\n\n"
            + _by_layer(found, len(settings.hidden) + 1),
        ),
        pictures={"gradients": picture(by_depth, found, settings.width)},
    )


def _by_layer(found: dict[str, Signs], n_layers: int) -> str:
    rows = [
        [name, *(f"{norm:.2g}; {variance:.2g}" for norm, variance in np.median(each.layers, axis=0))]
        for name, each in found.items()
    ]
    return table(["at the end", *(f"layer {number}" for number in range(1, n_layers + 1))], rows)


def _of_depth(by_depth: dict[str, dict[int, Array]], settings: Settings) -> Claim:
    """
    In layers of width n logarithms of lengths fluctuate by some 5 D / (4 n) about the prediction for infinitely wide
    ones (Hanin & Nica, "Products of many large random matrices and gradients in deep neural networks", 2020).
    """
    worst, said = 0.0, []
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
        said.append(f"{name} {mean:.2g} (predicted {expected:.2g})")
    return Claim(
        f"At the initial weights the gradient of hidden matrix 2 over that of the last one is, with {deepest} hidden layers,"
        f" {', '.join(said)}. At all depths the theory of wide layers is met within {worst:.0%} of what chance and width allow.",
        worst <= 1,
    )


def _of_vanishing(by_depth: dict[str, dict[int, Array]]) -> Claim:
    def depth_of(name: str, ratios: dict[int, float]) -> int | None:
        return next((depth for depth in sorted(ratios) if ratios[depth] < VANISHED), None)

    here = {
        n: depth_of(n, {d: float(np.exp(np.log(r).mean())) for d, r in f.items()})
        for n, f in by_depth.items()
    }
    theory = {
        n: depth_of(n, {d: predicted(n, d, weight_variance(n)) for d in f}) for n, f in by_depth.items()
    }
    said = ", ".join(
        f"{n} at {'none of these depths' if d is None else f'{d} layers'}" for n, d in here.items()
    )
    return Claim(
        f"It vanishes, falls below a thousandth, with {said}: as predicted. Nowhere it explodes.",
        here == theory,
    )


def _of_stability(kinds: dict[str, Trick], found: dict[str, Signs], settings: Settings) -> Claim:
    """Of gradient descent on the same quadratic bowl: above 2 it would leave it."""
    steps_an_epoch = -(-settings.rows // settings.batch_size)
    n_steps = settings.epochs * steps_an_epoch
    products = {}
    for name in ("plain", "1/√t", "staircase", "tanh", "sigmoid"):
        share = float(kinds[name].schedule.shares(np.array([n_steps - 1]), n_steps, steps_an_epoch)[0])
        products[name] = settings.lr * share * found[name].curvature
    sharper = {
        n: Ratio.of(found[n].curvature, found["plain"].curvature) for n in ("1/√t", "staircase", "Adagrad")
    }
    said = ", ".join(f"{float(np.median(values)):.2g} ({name})" for name, values in products.items())
    return Claim(
        f"The last rate times the Lipschitz constant of the gradient is {said}, below 2 in every run. Smaller rates do not end where"
        " the loss is flatter, but where it is steeper, which a larger rate would not endure: "
        + ", ".join(f"{ratio} times ({name})" for name, ratio in sharper.items())
        + " the plain constant.",
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
    for way in range(10):
        step = rng.normal(rng.fold(key, way), flat.shape)
        there = flat + 0.1 * step / np.linalg.norm(step)
        other = example_gradients(network, there, rows)
        lengths = np.linalg.norm(clipped(other, c) - clipped(plain, c), axis=1)
        of_examples = max(of_examples, float((lengths / np.linalg.norm(other - plain, axis=1)).max()))
        means, elsewhere = (
            batch_gradients(network, w, rows, settings.batch_size, rng.fold(key, 99)) for w in (flat, there)
        )
        lengths = np.linalg.norm(clipped(means, c) - clipped(elsewhere, c), axis=1)
        of_batches = max(of_batches, float((lengths / np.linalg.norm(means - elsewhere, axis=1)).max()))
        steeper = max(steeper, of_examples, of_batches)
    return [
        Claim(
            f"Clipping each example's gradient to {c:g} bounds what a few can do: {OUTLIERS} of {n} rows made {FACTOR:g} times as large, with"
            f" their labels turned, move the mean gradient by {moved:.3g}, clipped by {kept:.3g} (at most {allowed:.3g}); the variance"
            f" of an example's gradient is {before:.3g} without and {spread:.3g} with it (at most {c**2:.3g}).",
            kept <= allowed * (1 + 1e-12) < moved and spread <= c**2 * (1 + 1e-12),
        ),
        Claim(
            f"Clipping raises no Lipschitz constant, by example or by batch: over 10 steps of 0.1 the change of a clipped gradient"
            f" is {of_examples:.3f} and {of_batches:.3f} of that of the gradient at most.",
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
        f"In a linear model with squared loss, dropout of {p:g} on the inputs is a penalty of ½ · {p / (1 - p):.3g} · Σ xⱼ² wⱼ²: over all 256"
        f" masks of 8 inputs the expected loss is that within {worst:.0e}. Curvature is added, not taken away.",
        worst <= 1000 * _EPS,
    )
