"""The claims about gradients that need no training: by depth at initial weights, clipped, and with dropout."""

from collections.abc import Mapping

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.lab.finding import Claim
from sweepgrad.lab.stability.clipping import clipped, example_gradients, opposed, steepest, with_outliers
from sweepgrad.lab.stability.depth import predicted, weight_variance
from sweepgrad.lab.stability.dropout import (
    condition_number,
    expected_loss_with_dropout,
    hessian,
    hessian_with_dropout,
    penalized_loss,
)
from sweepgrad.lab.stability.lipschitz import batch_gradients, flattened
from sweepgrad.nn.network import Network
from sweepgrad.training.loop import Examples

VANISHED = 1e-3
SHIFT = 5 / 4
"""By this times depth / width the mean log-norm of a ReLU network at initial weights differs from the theory."""
OUTLIERS, FACTOR = 5, 30.0
"""Number of rows whose labels are flipped, and the factor of their features."""
POINTS = np.linspace(0, 0.012, 4801)
"""Where the mean of two opposed clipped gradients is compared with the mean of the plain ones."""
_FEATURES, _DRAWS = 8, 20
_ROUNDING = 1000 * float(np.finfo(np.float64).eps)


def depth_claims(by_depth: Mapping[str, Mapping[int, Array]], width: int) -> list[Claim]:
    """Compare gradients at initial weights with the theory of wide layers.

    In layers of finite width n the mean of the logarithm of a norm is shifted, for ReLU by about -5 D / (4 n)
    (Hanin & Nica, "Products of many large random matrices and gradients in deep neural networks", 2020). The same
    is allowed for all three.

    Arguments:
        by_depth: ratios of gradient norms (S,) by activation and number of hidden layers.
    """
    worst, texts = 0.0, []
    means: dict[str, dict[int, float]] = {}
    theory: dict[str, dict[int, float]] = {}
    for name, found in by_depth.items():
        means[name] = {depth: float(np.exp(np.log(ratios).mean())) for depth, ratios in found.items()}
        theory[name] = {depth: predicted(name, depth, weight_variance(name)) for depth in found}
        for depth, ratios in found.items():
            off = abs(np.log(means[name][depth] / theory[name][depth]))
            allowed = 4 * float(np.log(ratios).std(ddof=1)) / np.sqrt(len(ratios)) + SHIFT * depth / width
            worst = max(worst, float(off / allowed))
        deepest = max(found)
        texts.append(f"{name} {means[name][deepest]:.2g} (predicted {theory[name][deepest]:.2g})")
    vanished = {name: _first_below(ratios) for name, ratios in means.items()}
    depths = ", ".join(
        f"{name} at {f'{depth} layers' if depth else 'none of these depths'}"
        for name, depth in vanished.items()
    )
    return [
        Claim(
            "gradients by depth",
            "At initial weights the gradient norm of the second hidden matrix divided by that of the last one is"
            " as predicted for wide layers, at every depth and for each activation, within four standard errors"
            " plus the shift of mean log-norms at finite width: about 5D / (4n) at depth D and width n for ReLU (Hanin &"
            " Nica 2020), allowed for all three.",
            f"At {deepest} layers: {'; '.join(texts)}. Largest deviation at any depth: {worst:.0%} of what is"
            " allowed.",
            worst <= 1,
        ),
        Claim(
            "vanishing gradients",
            f"This ratio of gradient norms, of the second hidden matrix and the last, first falls below {VANISHED:g} at"
            " the predicted number of layers.",
            f"{depths}.",
            vanished == {name: _first_below(ratios) for name, ratios in theory.items()},
        ),
    ]


def _first_below(ratios: Mapping[int, float]) -> int | None:
    return next((depth for depth in sorted(ratios) if ratios[depth] < VANISHED), None)


def clipping_claims(
    rows: Examples, hidden: tuple[int, ...], c: float, batch_size: int, seed: int
) -> list[Claim]:
    """Measure what clipping to the norm c does to outliers, variances and Lipschitz constants.

    Arguments:
        hidden: widths of the network, which has its initial weights.
    """
    network = Network(rows.X.shape[1], hidden)
    flat = flattened(network.initial(seed))
    n, plain = len(rows.y), example_gradients(network, flat, rows)
    spoiled = example_gradients(network, flat, with_outliers(rows, OUTLIERS, FACTOR))
    moved = float(np.linalg.norm(spoiled.mean(axis=0) - plain.mean(axis=0)))
    kept = float(np.linalg.norm(clipped(spoiled, c).mean(axis=0) - clipped(plain, c).mean(axis=0)))
    allowed = 2 * c * OUTLIERS / n
    before, after = (_variance(gradients) for gradients in (spoiled, clipped(spoiled, c)))
    by_example = by_batch = 0.0
    key = rng.key(seed, "lab/gradients/clipping")
    for number in range(10):
        step = rng.normal(rng.fold(key, number), flat.shape)
        there = flat + 0.1 * step / np.linalg.norm(step)
        by_example = max(by_example, _stretch(plain, example_gradients(network, there, rows), c))
        order = rng.fold(key, 99)
        batches, others = (batch_gradients(network, w, rows, batch_size, order) for w in (flat, there))
        by_batch = max(by_batch, _stretch(batches, others, c))
    together, short = opposed(POINTS, 1.0)
    slopes = steepest(POINTS, together), steepest(POINTS, short)
    return [
        Claim(
            "outliers",
            f"Clipping each example's gradient to c = {c:g} bounds the influence of {OUTLIERS} of {n} rows, whose"
            f" features are multiplied by {FACTOR:g} and labels flipped, on the mean gradient by"
            f" 2c · {OUTLIERS} / {n}; without clipping they exceed this.",
            f"{kept:.3g} with clipping, {moved:.3g} without; bound {allowed:.3g}.",
            kept <= allowed * (1 + _ROUNDING) < moved,
        ),
        Claim(
            "variance of clipped gradients",
            "With such outliers among the rows, clipping lowers the variance of an example's gradient to at most G = c².",
            f"{after:.3g} with clipping, {before:.3g} without; bound {c**2:.3g}.",
            after <= min(c**2, before) * (1 + _ROUNDING),
        ),
        Claim(
            "clipping a single gradient",
            "The clipped gradient of an example or of a batch changes at most as much as the plain one, over each of"
            " 10 random steps of length 0.1.",
            f"Largest ratio of the changes: {by_example:.3f} by example, {by_batch:.3f} by batch.",
            max(by_example, by_batch) <= 1 + 1e-9,
        ),
        Claim(
            "mean of clipped gradients",
            "Clipping can raise the Lipschitz constant of the mean gradient: for ∇L₁ = 100θ, ∇L₂ = −99θ and"
            " c = 1 from ½ to 49.5, which is below the mean (100 + 99)/2 of the two constants.",
            f"{slopes[0]:.3g} without clipping, {slopes[1]:.3g} with it.",
            abs(slopes[0] - 0.5) < 1e-6 and abs(slopes[1] - 49.5) < 1e-6,
        ),
    ]


def _variance(gradients: Array) -> float:
    return float(((gradients - gradients.mean(axis=0)) ** 2).sum(axis=1).mean())


def _stretch(here: Array, there: Array, c: float) -> float:
    """Return the largest change of a clipped gradient (N, P) divided by that of the plain one."""
    lengths = np.linalg.norm(clipped(there, c) - clipped(here, c), axis=1)
    return float((lengths / np.linalg.norm(there - here, axis=1)).max())


def dropout_claims(p: float, seed: int) -> list[Claim]:
    """Compare dropout of the inputs of linear models, averaged over all masks, with its formulas."""
    worst, before, after = 0.0, [], []
    for draw in range(_DRAWS):
        key = rng.key(seed, "lab/gradients/dropout", draw)
        x, w = rng.normal(rng.fold(key, 0), (_FEATURES,)), rng.normal(rng.fold(key, 1), (_FEATURES,))
        by_masks, by_formula = (loss(x, 1.0, w, p) for loss in (expected_loss_with_dropout, penalized_loss))
        worst = max(worst, abs(by_masks / by_formula - 1))
        # Rows with correlated features of different sizes.
        X = rng.normal(rng.fold(key, 2), (3 * _FEATURES, _FEATURES))
        X = X @ rng.normal(rng.fold(key, 3), (_FEATURES, _FEATURES))
        before.append(condition_number(hessian(X)))
        after.append(condition_number(hessian_with_dropout(X, p)))
    ratios = np.array(after) / np.array(before)
    return [
        Claim(
            "dropout as a penalty",
            f"In a linear model with squared loss, dropout of {p:g} on the inputs equals the penalty"
            f" ½ · {p / (1 - p):.3g} · Σ xⱼ² wⱼ², in the mean over all {2**_FEATURES} masks of {_FEATURES} inputs.",
            f"Largest relative difference in {_DRAWS} draws: {worst:.0e}.",
            worst <= _ROUNDING,
        ),
        Claim(
            "dropout and conditioning",
            "In a linear model with squared loss, the Hessian of the mean loss over masks is never worse conditioned"
            f" than without dropout: in {_DRAWS} random designs with correlated features.",
            f"Condition number divided by that without dropout: {ratios.min():.2g} to {ratios.max():.2g}.",
            bool((ratios <= 1 + 1e-9).all()),
        ),
    ]
