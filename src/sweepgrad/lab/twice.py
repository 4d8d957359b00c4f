"""Training the same network twice: the same bits, the same function, or another; docs/lab/twice.md explains it."""

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
from sweepgrad.lab.convex import Logistic
from sweepgrad.lab.finding import Claim, Finding
from sweepgrad.lab.questions import Lab
from sweepgrad.lab.symmetry import Activation, Symmetry, balanced, distance, matched, units
from sweepgrad.lab.teacher import FEATURES, Settings, Teacher, symmetries, trained
from sweepgrad.lab.workers import side_by_side
from sweepgrad.nn.network import Network, Weights
from sweepgrad.nn.optimizers import SGD
from sweepgrad.nn.schedules import CONSTANT
from sweepgrad.training.loop import Examples
from sweepgrad.training.plots import GREY, TRAIN, VAL

log = logging.getLogger(__name__)

SAME_FUNCTION = 0.02
"""Probabilities that differ nowhere by more than this are one function here; other pairs differ by some 0.1."""
SHORT = 20
"""Epochs for what is compared to rounding, which grows with every step."""
HALF_THE_DIGITS = float(np.sqrt(np.finfo(np.float64).eps))
_EPS = float(np.finfo(np.float64).eps)


def answer(settings: Settings, lab: Lab) -> Finding:
    """Bits, symmetries, and what parts two runs."""
    teacher = Teacher.of(settings)
    network, X = teacher.network, teacher.rows.X
    log.info(f"training {settings.seeds} networks …")
    *nets, again, beside = side_by_side(
        lambda seed: teacher.trained(seed, settings), [*range(1, settings.seeds + 1), 1, 1]
    )
    permuted, flipped = symmetries(network, rng.key(settings.seed, "lab/twice/coins"))
    start = network.initial(1)
    claims = [
        _same_bits(nets[0], again, beside),
        _other_seeds(nets),
        _same_function(network, nets[0], X, permuted, flipped),
        _trained_alike(teacher, settings, start, permuted, flipped),
    ]
    pairs = _Pairs.of(network, nets, X)
    claims.append(pairs.claim())
    log.info("the convex model, and the two engines …")
    claims.append(_convex(teacher.rows, settings))
    claims += _rounding(teacher, settings)
    return Finding(
        claims=tuple(claims),
        numbers={
            "pairs": len(pairs.apart),
            "pairs/same_function": int(pairs.same.sum()),
            "pairs/unmatched_median": float(np.median(pairs.before)),
            "pairs/matched_median": float(np.median(pairs.after)),
        },
        pictures={"twice": _picture(network, nets, pairs)},
    )


def _bits(weights: Weights) -> bytes:
    return b"".join(w.tobytes() for w in weights)


def _same_bits(first: Weights, again: Weights, beside: Weights) -> Claim:
    return Claim(
        "With the same seed the weights are the same to the last bit: alone, and twice at once in two threads.",
        _bits(first) == _bits(again) == _bits(beside),
    )


def _other_seeds(nets: list[Weights]) -> Claim:
    apart = [distance(a, b) for a, b in combinations(nets, 2)]
    return Claim(
        f"With other seeds they are others: the {len(apart)} pairs of {len(nets)} seeds are {median(apart):.2f} of their"
        f" length apart at the median, {min(apart):.2f} at least.",
        min(apart) > HALF_THE_DIGITS,
    )


def _same_function(network: Network, net: Weights, X: Array, permuted: Symmetry, flipped: Symmetry) -> Claim:
    plain = network.scaled_scores(net, X)
    off, exact = (
        float(np.abs(network.scaled_scores(each.of(net), X) - plain).max()) for each in (permuted, flipped)
    )
    (n_hidden,) = network.hidden
    *_, out, last = net
    hidden = float(np.abs(next(network.layers([Value(w) for w in net], Value(X.T))).data).max())
    # A sum of H + 1 terms in another order: each partial sum is rounded, twice.
    allowed = 2 * (n_hidden + 1) * _EPS * (float(np.abs(out).sum()) * hidden + float(np.abs(last).sum()))
    change = "turning the sign of" if network.activation == "tanh" else "rescaling"
    return Claim(
        f"Hidden units can be put in another order: log-odds change by {off:.0e} at most, as sums are rounded in another"
        f" order ({allowed:.0e} allowed). And {change} a unit, inside and out, changes them by {exact:.0e}.",
        off <= allowed and exact == 0,
    )


def _trained_alike(
    teacher: Teacher, settings: Settings, start: Weights, permuted: Symmetry, flipped: Symmetry
) -> Claim:
    plain = teacher.trained(1, settings, start=start, epochs=SHORT)
    off = distance(teacher.trained(1, settings, start=permuted.of(start), epochs=SHORT), permuted.of(plain))
    text = (
        f"Training keeps the order: from permuted initial weights it comes to the permuted weights, within {off:.0e}"
        f" of their length after {SHORT} epochs"
    )
    if teacher.network.activation == "relu":  # Adam's steps do not scale as the weights do
        return Claim(f"{text}.", off <= HALF_THE_DIGITS)
    signs = teacher.trained(1, settings, start=flipped.of(start), epochs=SHORT)
    same = _bits(signs) == _bits(flipped.of(plain))
    return Claim(
        f"{text}; from initial weights with other signs it comes to those with other signs,"
        f" {'to the last bit' if same else 'but not to the last bit'}.",
        off <= HALF_THE_DIGITS and same,
    )


@dataclass(frozen=True)
class _Pairs:
    """All pairs of trained networks, (P,) each.

    Attributes:
        which: of the networks.
        apart: the largest difference of their probabilities.
        before, after: the distance of their weights, as they are, and of the second one's matched to the first.
    """

    which: list[tuple[int, int]]
    apart: Array
    before: Array
    after: Array

    @staticmethod
    def of(network: Network, nets: list[Weights], X: Array) -> "_Pairs":
        p = [network.probabilities(net, X) for net in nets]
        which = list(combinations(range(len(nets)), 2))
        activation: Activation = "tanh" if network.activation == "tanh" else "relu"
        shown = nets if activation == "tanh" else [balanced(net) for net in nets]
        return _Pairs(
            which,
            np.array([np.abs(p[a] - p[b]).max() for a, b in which]),
            np.array([distance(shown[b], shown[a]) for a, b in which]),
            np.array([distance(matched(nets[b], nets[a], activation), shown[a]) for a, b in which]),
        )

    @property
    def same(self) -> NDArray[np.bool_]:
        """Which pairs are one function."""
        return self.apart < SAME_FUNCTION

    def claim(self) -> Claim:
        if not self.same.any():
            return Claim(f"No two of the {len(self.apart)} pairs of seeds have found one function.", False)
        others = self.after[~self.same]
        rest = f" The others stay {others.min():.2f} apart at least: other minima." if others.size else ""
        return Claim(
            f"{int(self.same.sum())} of {len(self.apart)} pairs of seeds have found one function, with probabilities that differ by"
            f" {self.apart[self.same].max():.3f} at most. Their weights are {np.median(self.before[self.same]):.2f} of their length"
            f" apart (median), and with the second one's hidden units put in order {np.median(self.after[self.same]):.3f}"
            f" ({self.after[self.same].max():.3f} at most).{rest}",
            self.after[self.same].max() < min(0.2, others.min() if others.size else 1.0),
        )


def _convex(rows: Examples, settings: Settings) -> Claim:
    """Gradient descent at 1/K contracts; what is left of the distance follows from the gradient that is left."""
    X = np.concatenate([rows.X, np.ones((len(rows.y), 1))], axis=1)
    problem, network = Logistic(X, rows.y), Network(FEATURES, (), None)
    seeds = range(1, settings.seeds + 1)
    nets = [trained(network, rows, SGD(1 / problem.K), CONSTANT, 2000, len(rows.y), seed) for seed in seeds]
    flat = [np.concatenate([w.reshape(-1) for w in net]) for net in nets]
    try:
        p = 1 / (1 + np.exp(-X @ problem.optimum))
    except ValueError as error:
        raise UserError(f"{error}: take more rows, or another seed") from None
    steepest = np.linalg.eigvalsh((X.T * (p * (1 - p))) @ X / len(p))
    left = max(float(np.linalg.norm(problem.row_gradients(w).mean(axis=0))) for w in flat)
    off = max(float(np.linalg.norm(w - problem.optimum)) for w in flat)
    # |w - w*| is |∇L| over the smallest curvature, to first order; 2 for the rest, and for rounding of ∇L itself.
    allowed = 2 * (left + len(p) * _EPS) / float(steepest[0])
    return Claim(
        f"The convex `linear` model always comes to the same: in 2,000 steps from {len(nets)} seeds to within {off:.0e} of the optimum that"
        f" Newton's method finds, where the gradients that are left allow {allowed:.0e}.",
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
            f"The order of a sum matters: 1,000 numbers from first to last and from last to first differ by"
            f" {abs(one - other):.0e} ({allowed:.0e} can be).",
            0 < abs(one - other) <= allowed,
        ),
        Claim(
            f"So two programs for the same formulas part: after {SHORT} epochs the weights of the native engine and of NumPy are"
            f" {off:.0e} of their length apart. `sweepgrad verify` names what may round otherwise: processor, Python, NumPy,"
            " Numba, SciPy; not the number of workers or threads, since a run is one thread.",
            0 < off <= HALF_THE_DIGITS,
        ),
    ]


def _picture(network: Network, nets: list[Weights], pairs: _Pairs) -> Figure:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    before, after, all_pairs = figure.subplots(1, 3)
    best = int(np.argmin(np.where(pairs.same, pairs.after / pairs.before, np.inf)))
    a, b = pairs.which[best]
    activation: Activation = "tanh" if network.activation == "tanh" else "relu"
    first = nets[a] if activation == "tanh" else balanced(nets[a])
    second = nets[b] if activation == "tanh" else balanced(nets[b])
    for axes, other, title in (
        (before, second, "as trained"),
        (after, matched(nets[b], nets[a], activation), "put in order"),
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
    all_pairs.set(xlabel="distance of weights", ylabel="put in order", title="pairs; orange: one function")
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    return figure
