"""Bias and variance of overparametrised networks, and methods that improve the trade-off.

docs/lab/bias_variance.md derives the claims.
"""

import logging
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.special import betaincinv

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Claim, Finding, table
from sweepgrad.lab.generalization import random_features
from sweepgrad.lab.generalization.decomposition import Parts, difference, seed_share
from sweepgrad.lab.generalization.pictures import picture
from sweepgrad.lab.generalization.replicates import drawn, jittered, of_all, resampled
from sweepgrad.lab.generalization.world import Method, Settings, World
from sweepgrad.training.loop import Examples

log = logging.getLogger(__name__)

BOOTSTRAPPED = 2
"""Number of training sets that are resampled."""


def answer(settings: Settings, lab: Lab) -> Finding:
    """Decompose the error of networks by width and by method."""
    world = World.of(settings)
    log.info(f"{settings.replicates} training sets for each of {len(settings.widths)} widths …")
    by_width = {w: world.predictions(replace(settings.recipe, width=w))[:, 0] for w in settings.widths}
    log.info("six methods for a better trade-off …")
    many = world.predictions(settings.recipe, seeds=settings.ensemble, first=10_000)
    base = many[:, 0]  # methods are compared on the same training sets and, if possible, seeds
    methods = _methods(world, many)
    errors, smallest = _of_random_features(world)
    boot = _bootstrap(world)
    return Finding(
        claims=(
            _adds_up(world, base),
            _descends_twice(settings, errors),
            _by_width(world, by_width),
            *(_method(world, method, base) for method in methods),
            _ensemble(settings, many, base, world),
        ),
        numbers={
            "noise": world.noise,
            "base/bias2": Parts.of(base, world.truth).bias2,
            "base/variance": Parts.of(base, world.truth).variance,
            "bootstrap/variance": boot,
            **{
                f"{method.name.replace(' ', '_')}/error": Parts.of(method.predictions, world.truth).error
                for method in methods
            },
        },
        tables=(_table(world, base, methods), _of_bootstrap(boot, base, world)),
        pictures={"bias_variance": picture(world, by_width, errors, smallest, base, methods)},
    )


def _methods(world: World, many: Array) -> list[Method]:
    settings, recipe = world.settings, world.settings.recipe
    more = [drawn(settings.more * settings.rows, world.key("more", r)) for r in range(settings.replicates)]
    augmented = [
        jittered(rows, settings.copies, settings.jitter, world.key("jitter", r))
        for r, rows in enumerate(world.sets)
    ]
    return [
        Method(
            "weight decay", world.predictions(replace(recipe, weight_decay=settings.weight_decay))[:, 0], True
        ),
        Method("dropout", world.predictions(replace(recipe, dropout=settings.dropout))[:, 0], True),
        Method("early stopping", world.predictions(replace(recipe, stopped=True))[:, 0], True),
        Method("ensembling", many.mean(axis=1), False),
        Method("more data", world.predictions(recipe, more)[:, 0], False),
        Method("augmented data", world.predictions(recipe, augmented)[:, 0], False),
    ]


def _of_random_features(world: World) -> tuple[dict[int, Array], dict[int, float]]:
    """Return, by width, the squared error of each fit, (R,), and the median smallest singular value."""
    settings, errors, smallest = world.settings, {}, {}
    extra = settings.features - 2

    def widened(X: Array, key: int) -> Array:
        return np.concatenate([X, 2 * rng.uniform(key, (len(X), extra)) - 1], axis=1)

    points = widened(world.points, rng.key(settings.seed, "lab/bias_variance/extra points"))
    sets = [Examples(widened(rows.X, world.key("extra", r)), rows.y) for r, rows in enumerate(world.sets)]
    for width in settings.feature_widths:
        keys = [world.key("directions", r) for r in range(settings.replicates)]
        fits = [
            random_features.predictions(rows, points, width, key)
            for rows, key in zip(sets, keys, strict=True)
        ]
        errors[width] = ((np.stack(fits) - world.truth) ** 2).mean(axis=1)
        values = [
            random_features.smallest_singular_value(rows, width, key)
            for rows, key in zip(sets, keys, strict=True)
        ]
        smallest[width] = float(np.median(values))
    return errors, smallest


def _adds_up(world: World, base: Array) -> Claim:
    labels = rng.uniform(rng.key(world.settings.seed, "lab/bias_variance/fresh"), base.shape) < world.truth
    squared = ((labels - base) ** 2).mean(axis=1)
    parts = Parts.of(base, world.truth)
    expected = world.noise + parts.error
    # Bias² and variance are of the same fits, so only the randomness of the labels is left in the difference.
    off = squared - world.noise - ((base - world.truth) ** 2).mean(axis=1)
    error = float(off.std(ddof=1) / np.sqrt(len(off)))
    return Claim(
        f"The squared error of predicting new labels, {squared.mean():.4f}, is the sum of noise ({world.noise:.4f}),"
        f" bias² ({parts.bias2:.4f}) and variance ({parts.variance:.4f}), {expected:.4f}, within {4 * error:.4f}.",
        abs(float(squared.mean()) - expected) <= 4 * error,
    )


def _descends_twice(settings: Settings, errors: dict[int, Array]) -> Claim:
    """Compare by counting training sets, since the mean error at the peak is dominated by outliers."""
    widths = list(errors)
    peak = min(widths, key=lambda width: abs(width - settings.rows))
    first, last = widths[0], widths[-1]
    worse = [int((errors[peak] > errors[width]).sum()) for width in (first, last)]
    n = settings.replicates
    lowest = [float(betaincinv(k, n - k + 1, 0.025)) if k else 0.0 for k in worse]  # Clopper & Pearson, 1934
    medians = {width: float(np.median(errors[width])) for width in (first, peak, last)}
    return Claim(
        f"Random features show double descent: the median error is {medians[first]:.3g} with {first} features, {medians[peak]:.3g} with"
        f" {peak}, as many as rows, and {medians[last]:.3g} with {last}. The error at the peak is larger than with {first} features for"
        f" {worse[0]} of {n} training sets, and than with {last} for {worse[1]}.",
        min(lowest) > 0.5,
    )


def _by_width(world: World, by_width: dict[int, Array]) -> Claim:
    widths = list(by_width)
    first, last = by_width[widths[0]], by_width[widths[-1]]
    bias2 = difference(last, first, world.truth, lambda parts: parts.bias2)
    variance = difference(last, first, world.truth, lambda parts: parts.variance)
    errors = {width: Parts.of(predictions, world.truth).error for width, predictions in by_width.items()}
    best, worst = min(errors, key=lambda w: errors[w]), max(widths[1:], key=lambda w: errors[w])
    peak = (
        "There is no second descent up to this width"
        if worst == widths[-1]
        else f"Beyond width 1 it is highest at width {worst}"
    )
    return Claim(
        f"Trained networks: from width {widths[0]} to {widths[-1]} ({4 * widths[-1] + 1} parameters on {world.settings.rows} rows)"
        f" bias² changes by {bias2}, variance by {variance}. Their sum is lowest at width {best} ({errors[best]:.4f}), and"
        f" {errors[widths[-1]]:.4f} at width {widths[-1]}. {peak}.",
        bias2.high < 0 < variance.low,
    )


def _method(world: World, method: Method, base: Array) -> Claim:
    bias2 = difference(method.predictions, base, world.truth, lambda parts: parts.bias2)
    variance = difference(method.predictions, base, world.truth, lambda parts: parts.variance)
    error = difference(method.predictions, base, world.truth, lambda parts: parts.error)
    better = variance.high < 0 and error.high < 0
    return Claim(
        f"{method.name.capitalize()} changes variance by {variance}, bias² by {bias2}, their sum by {error}.",
        better and (not method.raises_bias or bias2.low > 0),
    )


def _ensemble(settings: Settings, many: Array, base: Array, world: World) -> Claim:
    by_data, by_seed = seed_share(many)
    expected = -(1 - 1 / settings.ensemble) * by_seed
    bias2 = difference(many.mean(axis=1), base, world.truth, lambda parts: parts.bias2)
    variance = difference(many.mean(axis=1), base, world.truth, lambda parts: parts.variance)
    return Claim(
        f"The variance has a part of {by_seed:.4f} by seed and of {by_data:.4f} by training set. An ensemble of {settings.ensemble} seeds"
        f" reduces the first to 1/{settings.ensemble}: expected {expected:+.4f}, measured {variance}. Bias² does not change ({bias2}).",
        variance.agrees(expected) and bias2.agrees(0.0),
    )


def _bootstrap(world: World) -> float:
    """Return the variance estimated by resampling one training set, averaged over a few training sets."""
    found = []
    for number in range(BOOTSTRAPPED):
        rows, val = world.sets[number], world.vals[number]
        samples = [
            resampled(rows, world.key(f"bootstrap {number}", r)) for r in range(world.settings.replicates)
        ]
        tasks = [
            partial(world.settings.recipe.predictions, sample, val, world.points, 20_000 + r)
            for r, sample in enumerate(samples)
        ]
        found.append(Parts.of(of_all(tasks), world.truth).variance)
    return float(np.mean(found))


def _of_bootstrap(boot: float, base: Array, world: World) -> str:
    fresh = Parts.of(base, world.truth).variance
    return (
        f"The bootstrap needs only one training set and not the truth. It estimates the variance as {boot:.4f} (mean of"
        f" {BOOTSTRAPPED} training sets), {boot / fresh:.0%} of the variance over new training sets, {fresh:.4f}."
    )


def _table(world: World, base: Array, methods: list[Method]) -> str:
    rows = []
    for name, predictions in (
        ("no method", base),
        *((method.name, method.predictions) for method in methods),
    ):
        parts = Parts.of(predictions, world.truth)
        rows.append([name, f"{parts.bias2:.4f}", f"{parts.variance:.4f}", f"{parts.error:.4f}"])
    return table([f"width {world.settings.width}", "bias²", "variance", "sum"], rows)
