"""Training a network twice: the same bits, the same function, or another one. docs/lab/twice.md explains it."""

import logging
from dataclasses import dataclass
from itertools import combinations
from statistics import median

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sweepgrad import rng
from sweepgrad.autograd.value import Array, Value
from sweepgrad.errors import UserError
from sweepgrad.lab.convergence.convex import Logistic
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Claim, Finding
from sweepgrad.lab.retraining.symmetry import Activation, Symmetry, balanced, distance, matched, units
from sweepgrad.lab.retraining.teacher import FEATURES, Settings, Teacher, symmetries, trained
from sweepgrad.lab.workers import side_by_side
from sweepgrad.nn.network import Network, Weights
from sweepgrad.nn.optimizers import SGD
from sweepgrad.nn.schedules import CONSTANT
from sweepgrad.training.loop import Examples
from sweepgrad.training.plots import GREY, TRAIN, VAL

log = logging.getLogger(__name__)

SAME_FUNCTION = 0.02
"""Networks whose probabilities differ by at most this count as the same function; others differ by about 0.1."""
SHORT = 20
"""Number of epochs of comparisons up to rounding, which grows with every step."""
HALF_THE_DIGITS = float(np.sqrt(np.finfo(np.float64).eps))
_EPS = float(np.finfo(np.float64).eps)


def answer(settings: Settings, lab: Lab) -> Finding:
    """Compare bits, symmetries, and sources of differences between two runs."""
    teacher = Teacher.of(settings)
    network, X = teacher.network, teacher.rows.X
    log.info(f"training {settings.seeds} networks …")
    *nets, repeated, parallel = side_by_side(
        lambda seed: teacher.trained(seed, settings), [*range(1, settings.seeds + 1), 1, 1]
    )
    permuted, flipped = symmetries(network, rng.key(settings.seed, "lab/twice/coins"))
    start = network.initial(1)
    claims = [
        _same_bits(nets[0], repeated, parallel),
        _other_seeds(nets),
        _same_function(network, nets[0], X, permuted, flipped),
        _training_keeps_symmetries(teacher, settings, start, permuted, flipped),
    ]
    pairs = _Pairs.of(network, nets, X)
    claims.append(pairs.claim())
    log.info("the convex model, and the two engines …")
    claims.append(_convex(teacher.rows, settings))
    claims += _rounding(teacher, settings)
    return Finding(
        claims=tuple(claims),
        numbers={
            "pairs": len(pairs.difference),
            "pairs/same_function": int(pairs.same.sum()),
            "pairs/unmatched_median": float(np.median(pairs.before)),
            "pairs/matched_median": float(np.median(pairs.after)),
        },
        pictures={"twice": _picture(network, nets, pairs)},
    )


def _bits(weights: Weights) -> bytes:
    return b"".join(w.tobytes() for w in weights)


def _same_bits(first: Weights, repeated: Weights, parallel: Weights) -> Claim:
    return Claim(
        "With the same seed the weights are equal to the last bit, also when two threads train at the same time.",
        _bits(first) == _bits(repeated) == _bits(parallel),
    )


def _other_seeds(nets: list[Weights]) -> Claim:
    distances = [distance(a, b) for a, b in combinations(nets, 2)]
    return Claim(
        f"With other seeds the weights differ: the median relative distance of the {len(distances)} pairs of {len(nets)} seeds is"
        f" {median(distances):.2f}, the smallest {min(distances):.2f}.",
        min(distances) > HALF_THE_DIGITS,
    )


def _same_function(network: Network, net: Weights, X: Array, permuted: Symmetry, flipped: Symmetry) -> Claim:
    plain = network.scaled_scores(net, X)
    off, exact = (
        float(np.abs(network.scaled_scores(each.of(net), X) - plain).max()) for each in (permuted, flipped)
    )
    (n_hidden,) = network.hidden
    *_, out, last = net
    hidden = float(np.abs(next(network.layers([Value(w) for w in net], Value(X.T))).data).max())
    # Two sums of H + 1 terms in different orders: each partial sum is rounded.
    allowed = 2 * (n_hidden + 1) * _EPS * (float(np.abs(out).sum()) * hidden + float(np.abs(last).sum()))
    change = "Flipping the signs of" if network.activation == "tanh" else "Rescaling"
    return Claim(
        f"Permuting hidden units changes log-odds by at most {off:.0e}, since sums are rounded in another order (bound"
        f" {allowed:.0e}). {change} a unit's incoming and outgoing weights changes them by {exact:.0e}.",
        off <= allowed and exact == 0,
    )


def _training_keeps_symmetries(
    teacher: Teacher, settings: Settings, start: Weights, permuted: Symmetry, flipped: Symmetry
) -> Claim:
    plain = teacher.trained(1, settings, start=start, epochs=SHORT)
    off = distance(teacher.trained(1, settings, start=permuted.of(start), epochs=SHORT), permuted.of(plain))
    text = (
        f"Training keeps symmetries: from permuted initial weights it ends at the permuted weights, with a relative"
        f" difference of {off:.0e} after {SHORT} epochs"
    )
    if teacher.network.activation == "relu":  # Adam's steps do not scale with the weights
        return Claim(f"{text}.", off <= HALF_THE_DIGITS)
    other = teacher.trained(1, settings, start=flipped.of(start), epochs=SHORT)
    same = _bits(other) == _bits(flipped.of(plain))
    return Claim(
        f"{text}; from flipped initial weights it ends at the flipped weights,"
        f" {'to the last bit' if same else 'but not to the last bit'}.",
        off <= HALF_THE_DIGITS and same,
    )


@dataclass(frozen=True)
class _Pairs:
    """All pairs of trained networks, (P,) each.

    Attributes:
        indices: of the networks.
        difference: the largest difference of their probabilities.
        before, after: the distance of their weights before and after matching the second to the first.
    """

    indices: list[tuple[int, int]]
    difference: Array
    before: Array
    after: Array

    @staticmethod
    def of(network: Network, nets: list[Weights], X: Array) -> "_Pairs":
        p = [network.probabilities(net, X) for net in nets]
        indices = list(combinations(range(len(nets)), 2))
        activation: Activation = "tanh" if network.activation == "tanh" else "relu"
        compared = nets if activation == "tanh" else [balanced(net) for net in nets]
        return _Pairs(
            indices,
            np.array([np.abs(p[a] - p[b]).max() for a, b in indices]),
            np.array([distance(compared[b], compared[a]) for a, b in indices]),
            np.array([distance(matched(nets[b], nets[a], activation), compared[a]) for a, b in indices]),
        )

    @property
    def same(self) -> NDArray[np.bool_]:
        """True for each pair with the same function."""
        return self.difference < SAME_FUNCTION

    def claim(self) -> Claim:
        if not self.same.any():
            return Claim(
                f"None of the {len(self.difference)} pairs of seeds has found the same function.", False
            )
        others = self.after[~self.same]
        rest = (
            f" For the other pairs it is at least {others.min():.2f}: they are different minima."
            if others.size
            else ""
        )
        return Claim(
            f"{int(self.same.sum())} of {len(self.difference)} pairs of seeds have found the same function: their probabilities differ by"
            f" at most {self.difference[self.same].max():.3f}. The median relative distance of their weights is"
            f" {np.median(self.before[self.same]):.2f} as trained, and {np.median(self.after[self.same]):.3f} after matching the hidden"
            f" units (at most {self.after[self.same].max():.3f}).{rest}",
            self.after[self.same].max() < min(0.2, others.min() if others.size else 1.0),
        )


def _convex(rows: Examples, settings: Settings) -> Claim:
    """Check that gradient descent at 1/K reaches the optimum; the last gradient bounds the distance."""
    X = np.concatenate([rows.X, np.ones((len(rows.y), 1))], axis=1)
    problem, network = Logistic(X, rows.y), Network(FEATURES, (), None)
    seeds = range(1, settings.seeds + 1)
    nets = [trained(network, rows, SGD(1 / problem.K), CONSTANT, 2000, len(rows.y), seed) for seed in seeds]
    flat = [np.concatenate([w.reshape(-1) for w in net]) for net in nets]
    try:
        p = 1 / (1 + np.exp(-X @ problem.optimum))
    except ValueError as error:
        raise UserError(f"{error}: use more rows or another seed") from None
    steepest = np.linalg.eigvalsh((X.T * (p * (1 - p))) @ X / len(p))
    left = max(float(np.linalg.norm(problem.row_gradients(w).mean(axis=0))) for w in flat)
    off = max(float(np.linalg.norm(w - problem.optimum)) for w in flat)
    # |w - w*| is |∇L| / the smallest curvature, to first order; 2 allows for higher orders and rounding of ∇L.
    allowed = 2 * (left + len(p) * _EPS) / float(steepest[0])
    return Claim(
        f"The convex `linear` model always reaches the same weights: after 2,000 steps from {len(nets)} seeds, the distance from the"
        f" optimum, found by Newton's method, is at most {off:.0e} (bound from the last gradient: {allowed:.0e}).",
        off <= allowed and off <= HALF_THE_DIGITS * float(np.linalg.norm(problem.optimum)),
    )


def _rounding(teacher: Teacher, settings: Settings) -> list[Claim]:
    numbers = rng.normal(rng.key(settings.seed, "lab/twice/sum"), (1000,))
    one, other = float(np.add.accumulate(numbers)[-1]), float(np.add.accumulate(numbers[::-1])[-1])
    allowed = 2 * len(numbers) * _EPS * float(np.abs(numbers).sum())
    native, by_numpy = (teacher.trained(1, settings, epochs=SHORT, name=name) for name in ("native", "numpy"))
    off = distance(by_numpy, native)
    return [
        Claim(
            f"The order of a sum matters: the sums of 1,000 numbers from first to last and from last to first differ by"
            f" {abs(one - other):.0e} (bound {allowed:.0e}).",
            0 < abs(one - other) <= allowed,
        ),
        Claim(
            f"So two programs for the same formulas give different bits: after {SHORT} epochs the relative difference between the weights"
            f" of the native engine and of NumPy is {off:.0e}. `sweepgrad verify` reports what may change rounding: processor, Python,"
            " NumPy, Numba, SciPy. The number of workers or threads does not, since a run is one thread.",
            0 < off <= HALF_THE_DIGITS,
        ),
    ]


def _picture(network: Network, nets: list[Weights], pairs: _Pairs) -> Figure:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    before, after, all_pairs = figure.subplots(1, 3)
    best = int(np.argmin(np.where(pairs.same, pairs.after / pairs.before, np.inf)))
    a, b = pairs.indices[best]
    activation: Activation = "tanh" if network.activation == "tanh" else "relu"
    first = nets[a] if activation == "tanh" else balanced(nets[a])
    second = nets[b] if activation == "tanh" else balanced(nets[b])
    for axes, other, title in (
        (before, second, "as trained"),
        (after, matched(nets[b], nets[a], activation), "matched"),
    ):
        for net, color, marker, label in (
            (first, TRAIN, "o", f"seed {a + 1}"),
            (other, VAL, "x", f"seed {b + 1}"),
        ):
            x, y, *_ = units(net).T
            axes.scatter(x, y, color=color, marker=marker, s=60, label=label)
            for n, place in enumerate(zip(x, y, strict=True), start=1):
                axes.annotate(f" {n}", place, color=color)
        axes.axhline(0, color=GREY, linewidth=0.5)
        axes.axvline(0, color=GREY, linewidth=0.5)
        axes.set(xlabel="weight of x1", title=f"hidden units, {title}")
    before.set(ylabel="weight of x2")
    before.legend(frameon=False)
    all_pairs.scatter(pairs.before, pairs.after, c=[VAL if same else GREY for same in pairs.same], s=14)
    all_pairs.plot([0, pairs.before.max()], [0, pairs.before.max()], color=GREY, linewidth=0.5)
    all_pairs.set(xlabel="distance of weights", ylabel="after matching", title="pairs; orange: same function")
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    return figure
