"""Double descent: the error of random features by their number, and the part of it that is amplified noise."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.lab.finding import Claim
from sweepgrad.lab.generalization.random_features import features, noise_variance, prediction_matrix
from sweepgrad.lab.generalization.replicates import truth
from sweepgrad.lab.generalization.world import Settings, World

REDRAWN = 400
"""Number of times that the labels of a training set are drawn again, to measure the variance over them."""


@dataclass(frozen=True)
class Fits:
    """Fits with one number of random features on each training set.

    Attributes:
        errors: the mean squared difference from the truth, of the least-norm fit, (R,).
        penalised: the same of the fit with a penalty, (R,).
        noise: the variance over the noise of the labels by the formula, averaged over points, (R,).
        errors_mean: the mean of `errors` over the noise of the labels, by the formula, (R,).
        redrawn: the ratio of the variance over redrawn labels to `noise`, (R,).
    """

    errors: Array
    penalised: Array
    noise: Array
    errors_mean: Array
    redrawn: Array


def by_number_of_features(world: World) -> dict[int, Fits]:
    """Return the fits for each number of features."""
    return {width: _fits(world, width) for width in world.settings.feature_widths}


def _fits(world: World, width: int) -> Fits:
    settings = world.settings
    points = _widened(
        world.points, settings.features, rng.key(settings.seed, "lab/bias_variance/extra points")
    )
    found = []
    for r, rows in enumerate(world.sets):
        key = world.key("directions", r)
        X = _widened(rows.X, settings.features, world.key("extra", r))
        inputs, at = features(X, width, key), features(points, width, key)
        mapped, shrunk = prediction_matrix(inputs, at), prediction_matrix(inputs, at, settings.penalty)
        p = truth(rows.X)
        noise = noise_variance(mapped, p * (1 - p))
        labels = rng.uniform(world.key("redrawn", r), (len(p), REDRAWN)) < p[:, None]
        redrawn = (mapped @ (labels - 0.5)).var(axis=1, ddof=1).mean()
        errors = [
            float(((m @ (y - 0.5) + 0.5 - world.truth) ** 2).mean())
            for m, y in ((mapped, rows.y), (shrunk, rows.y), (mapped, p))
        ]
        found.append([errors[0], errors[1], noise, errors[2] + noise, redrawn / noise])
    return Fits(*np.array(found).T)


def _widened(X: Array, features: int, key: int) -> Array:
    """Append features that do not matter, uniform from -1 to 1."""
    return np.concatenate([X, 2 * rng.uniform(key, (len(X), features - X.shape[1])) - 1], axis=1)


def of_features(world: World, fits: dict[int, Fits]) -> list[Claim]:
    """State where least-norm fits have their peak, and how much of it is noise.

    Training sets are counted, since a mean at the peak is dominated by a few of them.
    """
    rows, n = world.settings.rows, world.settings.replicates
    ratios = [(f.redrawn.mean(), f.redrawn.std(ddof=1) / np.sqrt(n)) for f in fits.values()]
    off = [abs(mean - 1) / error for mean, error in ratios]
    formula = Claim(
        "noise formula",
        "The variance of least-norm predictions over redrawn labels is the mean over points of"
        " Σⱼ Aᵢⱼ² pⱼ(1 − pⱼ), where A = φᵀΦ⁺ maps labels to predictions.",
        f"ratio between {min(r for r, _ in ratios):.4f} and {max(r for r, _ in ratios):.4f} for {len(fits)} numbers of features,"
        f" at most {max(off):.1f} standard errors from 1",
        max(off) <= 4,
    )
    if not spanned(world.settings):
        return [formula]
    first, last = next(iter(fits)), next(reversed(fits))
    at = fits[rows]
    errors = {m: float(np.median(f.errors)) for m, f in fits.items()}
    worse = {m: int((at.errors > f.errors).sum()) for m, f in fits.items() if m != rows}
    tail = int((fits[last].errors > fits[first].errors).sum())
    smaller = int((at.penalised < at.errors).sum())
    share = at.noise / at.errors_mean
    return [
        formula,
        Claim(
            "peak",
            f"The error of least-norm fits is largest at m = {rows} random features, as many as rows: for most training"
            " sets larger than at any other number.",
            f"median {errors[rows]:.3g}, against {errors[first]:.2g} with {first} and {errors[last]:.2g} with {last}; larger for"
            f" {_at_least(worse.values())} of {n} training sets",
            min(_lowest(k, n) for k in worse.values()) > 0.5,
        ),
        Claim(
            "noise at the peak",
            "At the peak amplified noise is more than half of the error: for most training sets the variance over"
            " labels is the larger part of the mean error over labels.",
            f"median share {np.median(share):.0%}; more than half for {int((share > 0.5).sum())} of {n} training sets",
            _lowest(int((share > 0.5).sum()), n) > 0.5,
        ),
        Claim(
            "after the peak",
            f"The error falls after the peak, but not below that of few features: with {last} it is larger than with"
            f" {first} for most training sets.",
            f"larger for {tail} of {n} training sets",
            _lowest(tail, n) > 0.5,
        ),
        Claim(
            "penalty and peak",
            f"A penalty of {world.settings.penalty:g} on the squared weights lowers the error at m = {rows} for most training sets.",
            f"median {np.median(at.penalised):.3g} in place of {errors[rows]:.3g}; lower for {smaller} of {n} training sets",
            _lowest(smaller, n) > 0.5,
        ),
    ]


def spanned(settings: Settings) -> bool:
    """Return whether there are as many features as rows in between the numbers of features."""
    return settings.rows in settings.feature_widths[1:-1]


def _lowest(count: int, n: int) -> float:
    """Return the lower end of the 95 % interval of a probability (Clopper & Pearson, 1934)."""
    return float(betaincinv(count, n - count + 1, 0.025)) if count else 0.0


def _at_least(counts: Iterable[int]) -> str:
    lowest, highest = min(known := list(counts)), max(known)
    return str(lowest) if lowest == highest else f"at least {lowest}"
