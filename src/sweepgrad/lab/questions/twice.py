"""Training a network twice: the same bits, the same function, or another one. docs/lab/twice.md explains it."""

import logging
from functools import partial
from itertools import combinations
from statistics import median

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array, Value
from sweepgrad.errors import UserError
from sweepgrad.lab.convergence.convex import Logistic
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Claim, Finding, table
from sweepgrad.lab.retraining import pictures
from sweepgrad.lab.retraining.pairs import Pairs
from sweepgrad.lab.retraining.sources import HALF_THE_DIGITS, REPEATED, SHORT, Source, sources
from sweepgrad.lab.retraining.symmetry import Symmetry, distance
from sweepgrad.lab.retraining.teacher import FEATURES, Settings, Teacher, symmetries, trained
from sweepgrad.lab.workers import side_by_side
from sweepgrad.nn.network import Network, Weights
from sweepgrad.nn.optimizers import SGD
from sweepgrad.nn.schedules import CONSTANT
from sweepgrad.training.loop import Examples

log = logging.getLogger(__name__)

STEPS = (3, 10, 20, 2000)
"""Numbers of steps of gradient descent on the convex model after which the bound is checked."""
_EPS = float(np.finfo(np.float64).eps)


def answer(settings: Settings, lab: Lab) -> Finding:
    """Compare bits, sources of differences, symmetries and minima."""
    teacher = Teacher.of(settings)
    network, X = teacher.network, teacher.rows.X
    log.info(f"training {settings.seeds} networks …")
    *nets, repeated, parallel = side_by_side(
        lambda seed: teacher.trained(seed, settings), [*range(1, settings.seeds + 1), 1, 1]
    )
    log.info("sources of differences, each alone …")
    found = sources(teacher, settings)
    permuted, flipped = symmetries(network, rng.key(settings.seed, "lab/twice/coins"))
    pairs = Pairs.of(network, nets, X)
    log.info("the convex model …")
    claims = (
        same_bits(nets[0], repeated, parallel),
        other_seeds(nets),
        *of_sources(found),
        order_of_a_sum(settings),
        *same_function(network, nets[0], X, permuted, flipped),
        *training_keeps_symmetries(teacher, settings, permuted, flipped),
        *pairs.claims(),
        *convex(teacher.rows, settings),
    )
    return Finding(
        claims=claims,
        numbers={
            "pairs": len(pairs.difference),
            "pairs/same_function": int(pairs.same.sum()),
            "pairs/unmatched_median": float(np.median(pairs.before)),
            "pairs/matched_median": float(np.median(pairs.after)),
        },
        notes=tuple(_not_tested(settings, pairs)),
        tables=(_by_source(found),),
        pictures={
            "twice_sources": partial(pictures.by_source, found=found),
            "twice_pairs": partial(pictures.distances, pairs=pairs),
            "twice_units": partial(pictures.hidden_units, pairs=pairs, match=False),
            "twice_matched": partial(pictures.hidden_units, pairs=pairs, match=True),
        },
    )


def _bits(weights: Weights) -> bytes:
    return b"".join(w.tobytes() for w in weights)


def same_bits(first: Weights, repeated: Weights, parallel: Weights) -> Claim:
    """State that the same seed gives the same weights."""
    bits = [_bits(weights) for weights in (first, repeated, parallel)]
    return Claim(
        "same bits",
        "With the same seed the weights are equal to the last bit, also while other networks are trained in parallel.",
        f"3 runs, {len(set(bits))} result{'s' if len(set(bits)) > 1 else ''}",
        len(set(bits)) == 1,
    )


def other_seeds(nets: list[Weights]) -> Claim:
    """State that other seeds give other weights."""
    distances = [distance(a, b) for a, b in combinations(nets, 2)]
    return Claim(
        "other seeds",
        f"With other seeds the weights differ by more than rounding, for all pairs of {len(nets)} seeds.",
        f"relative distance {median(distances):.2f} (median), at least {min(distances):.2f}",
        min(distances) > HALF_THE_DIGITS,
    )


def of_sources(found: list[Source]) -> list[Claim]:
    """State which sources of differences matter, each alone."""
    drawn = [source for source in found if source.kind == "random"]
    rounding = [source for source in found if source.kind == "rounding"]
    names = [source.name for source in drawn]
    return [
        Claim(
            "random sources",
            f"Each of these alone changes the weights by more than rounding: {', '.join(names)}.",
            ", ".join(f"{s.name}: at least {s.distances.min():.2g}" for s in drawn),
            all(s.distances.min() > HALF_THE_DIGITS for s in drawn),
        ),
        Claim(
            "rounding",
            f"Another order of sums, and another program for the same formulas, change the weights after {SHORT} epochs,"
            " but by rounding only: by less than half of the digits.",
            ", ".join(f"{s.name}: {s.distances.min():.0e} to {s.distances.max():.0e}" for s in rounding),
            all(0 < s.distances.max() <= HALF_THE_DIGITS for s in rounding),
        ),
    ]


def order_of_a_sum(settings: Settings) -> Claim:
    """Sum the same numbers in two orders."""
    numbers = rng.normal(rng.key(settings.seed, "lab/twice/sum"), (1000,))
    one, other = float(np.add.accumulate(numbers)[-1]), float(np.add.accumulate(numbers[::-1])[-1])
    allowed = len(numbers) * _EPS * float(np.abs(numbers).sum())
    return Claim(
        "order of a sum",
        "The sums of 1,000 numbers from first to last and from last to first differ, by at most nε Σ|xᵢ|.",
        f"{abs(one - other):.0e} (bound {allowed:.0e})",
        0 < abs(one - other) <= allowed,
    )


def same_function(
    network: Network, net: Weights, X: Array, permuted: Symmetry, flipped: Symmetry
) -> list[Claim]:
    """State that symmetric weights have the same function, up to the order of a sum."""
    plain = network.scaled_scores(net, X)
    off, exact = (
        float(np.abs(network.scaled_scores(each.of(net), X) - plain).max()) for each in (permuted, flipped)
    )
    (n_hidden,) = network.hidden
    *_, out, last = net
    hidden = float(np.abs(next(network.layers([Value(w) for w in net], Value(X.T))).data).max())
    # Two sums of H + 1 terms in different orders: each partial sum is rounded.
    allowed = 2 * (n_hidden + 1) * _EPS * (float(np.abs(out).sum()) * hidden + float(np.abs(last).sum()))
    change = "Flipping the signs of" if network.activation == "tanh" else "Rescaling by powers of two"
    return [
        Claim(
            "permuted function",
            "Permuting hidden units changes log-odds only by rounding: sums have another order.",
            f"at most {off:.0e} (bound {allowed:.0e})" if off else "0",
            off <= allowed,
        ),
        Claim(
            "flipped function",
            f"{change} a unit's incoming and outgoing weights changes no log-odds at all.",
            f"{exact:.0e}" if exact else "0",
            exact == 0,
        ),
    ]


def training_keeps_symmetries(
    teacher: Teacher, settings: Settings, permuted: Symmetry, flipped: Symmetry
) -> list[Claim]:
    """Train from symmetric initial weights, with the same order of rows."""
    start = teacher.network.initial(1)
    plain = teacher.trained(1, settings, start=start, epochs=SHORT)
    off = distance(teacher.trained(1, settings, start=permuted.of(start), epochs=SHORT), permuted.of(plain))
    claims = [
        Claim(
            "permuted training",
            f"From permuted initial weights training ends at the permuted weights, up to rounding, after {SHORT} epochs.",
            f"relative difference {off:.0e}",
            off <= HALF_THE_DIGITS,
        )
    ]
    if teacher.network.activation == "tanh":  # Adam's steps do not scale with the weights of ReLU units
        other = teacher.trained(1, settings, start=flipped.of(start), epochs=SHORT)
        same = _bits(other) == _bits(flipped.of(plain))
        claims.append(
            Claim(
                "flipped training",
                "From flipped initial weights training ends at the flipped weights, to the last bit.",
                "the same bits" if same else f"relative difference {distance(other, flipped.of(plain)):.0e}",
                same,
            )
        )
    return claims


def convex(rows: Examples, settings: Settings) -> list[Claim]:
    """Descend to the one minimum of logistic regression from each seed; the last gradient bounds the distance."""
    X = np.concatenate([rows.X, np.ones((len(rows.y), 1))], axis=1)
    problem, network = Logistic(X, rows.y), Network(FEATURES, (), None)
    try:
        optimum = problem.optimum
    except ValueError as error:
        raise UserError(f"{error}: use more rows or another seed") from None
    off, allowed = [], []
    for steps in STEPS:
        seeds = range(1, settings.seeds + 1)
        nets = [
            trained(network, rows, SGD(1 / problem.K), CONSTANT, steps, len(rows.y), seed) for seed in seeds
        ]
        flat = [np.concatenate([w.reshape(-1) for w in net]) for net in nets]
        off.append(np.array([float(np.linalg.norm(w - optimum)) for w in flat]))
        # Newton's result is itself as far from the minimum as its gradient allows.
        own = farthest(problem, optimum, optimum)
        allowed.append(np.array([farthest(problem, w, optimum) + own for w in flat]))
    apart = max(float(np.linalg.norm(a - b)) for a, b in combinations(flat, 2)) / float(
        np.linalg.norm(optimum)
    )
    nearest = [int(np.argmin(bound - distance)) for distance, bound in zip(off, allowed, strict=True)]
    return [
        Claim(
            "convex",
            f"Gradient descent on the convex `linear` model has the same weights after {STEPS[-1]} steps from all {len(nets)} seeds,"
            " to more than half of the digits.",
            f"relative distance at most {apart:.0e}",
            apart <= HALF_THE_DIGITS,
        ),
        Claim(
            "convex bound",
            f"After {', '.join(map(str, STEPS))} steps their distance from the minimum, found by Newton's method, is within the bound"
            " by the gradient.",
            "; ".join(f"{d[i]:.1e} ({b[i]:.1e})" for d, b, i in zip(off, allowed, nearest, strict=True))
            + " (bounds in brackets)",
            all((d <= b).all() for d, b in zip(off, allowed, strict=True)),
        ),
    ]


def farthest(problem: Logistic, w: Array, optimum: Array) -> float:
    """Return a bound of the distance of w from the minimum by the gradient at w; docs/lab/twice.md proves it.

    To the norm of the gradient the rounding of a mean of n gradients of rows is added.
    """
    R = float(np.sqrt((problem.X**2).sum(axis=1).max()))
    p = 1 / (1 + np.exp(-problem.X @ optimum))
    smallest = float(np.linalg.eigvalsh((problem.X.T * (p * (1 - p))) @ problem.X / len(p))[0])
    gradient = float(np.linalg.norm(problem.row_gradients(w).mean(axis=0))) + len(p) * _EPS * R
    share = R * gradient / smallest
    return float(-np.log1p(-share)) / R if share < 1 else float("inf")


def _not_tested(settings: Settings, pairs: Pairs) -> list[str]:
    """Return what these settings do not test."""
    notes = []
    if settings.activation == "relu":
        notes.append("No claim is made about training from rescaled ReLU units: rescaling is not orthogonal.")
    if settings.batch_size >= settings.rows:
        notes.append("The order of the batches is not tested: all rows are one batch.")
    if not pairs.same.any():
        notes.append("Matching is not tested: no two seeds have found the same function.")
    if pairs.same.all():
        notes.append("Matching is not tested: all seeds have found the same function.")
    return notes


def _by_source(found: list[Source]) -> str:
    rows = [
        [
            source.name,
            *(
                f"{number:.2g}"
                for number in (np.median(source.distances), source.distances.min(), source.distances.max())
            ),
        ]
        for source in found
    ]
    return table([f"what alone differs ({REPEATED} pairs of runs)", "median distance", "least", "most"], rows)
