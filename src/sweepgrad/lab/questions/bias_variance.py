"""Bias and variance of overparametrised networks, and methods that improve the trade-off.

docs/lab/bias_variance.md derives the claims.
"""

import logging
from dataclasses import replace
from functools import partial

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.value import Array
from sweepgrad.lab.environment import Lab
from sweepgrad.lab.finding import Claim, Finding, table
from sweepgrad.lab.generalization import pictures
from sweepgrad.lab.generalization.decomposition import (
    PARTS,
    Estimate,
    Parts,
    difference,
    interval,
    seed_share,
)
from sweepgrad.lab.generalization.methods import ADD_DATA, AVERAGE, CONSTRAIN, Method, methods
from sweepgrad.lab.generalization.peak import by_number_of_features, of_features, spanned
from sweepgrad.lab.generalization.world import Settings, World

log = logging.getLogger(__name__)


def answer(settings: Settings, lab: Lab) -> Finding:
    """Decompose the error by method, by width, and by the number of random features."""
    world = World.of(settings)
    log.info(f"{settings.ensemble} networks on each of {settings.replicates} training sets …")
    seeds = world.ensemble()
    base = seeds[:, 0]
    log.info("seven methods for a better trade-off …")
    found = methods(world, seeds)
    log.info(f"{len(settings.widths)} widths …")
    by_width = {
        w: base if w == settings.width else world.predictions(replace(settings.recipe, width=w))
        for w in settings.widths
    }
    log.info(f"{len(settings.feature_widths)} numbers of random features …")
    fits = by_number_of_features(world)
    lines = {w: {part: interval(p, world.truth, part) for part in PARTS} for w, p in by_width.items()}
    whole = Parts.of(base, world.truth)
    return Finding(
        claims=(
            adds_up(world, base),
            *of_methods(found),
            *of_seeds(world, seeds, found),
            *of_widths(world, by_width),
            *of_features(world, fits),
        ),
        numbers={
            "noise": world.noise,
            "base/bias2": whole.bias2,
            "base/variance": whole.variance,
            **{f"{m.name.replace(' ', '_')}/error": m.parts(world.truth).error for m in found},
        },
        notes=tuple(_not_tested(settings)),
        tables=(_by_method(world, base, found), _changes(found)),
        pictures={
            "bias_variance_methods": partial(pictures.differences, methods=found),
            "bias_variance_widths": partial(pictures.widths, world=world, found=lines),
            "bias_variance_features": partial(pictures.features, world=world, fits=fits),
            "bias_variance_noise": partial(pictures.noise, world=world, fits=fits),
        },
    )


def adds_up(world: World, base: Array) -> Claim:
    """Compare the squared error of predicting new labels with the sum of its parts."""
    labels = rng.uniform(rng.key(world.settings.seed, "lab/bias_variance/fresh"), base.shape) < world.truth
    squared = ((labels - base) ** 2).mean(axis=1)
    parts = Parts.of(base, world.truth)
    expected = world.noise + parts.error
    # Bias² and variance are of the same fits, so only the randomness of the labels is left in the difference.
    off = squared - world.noise - ((base - world.truth) ** 2).mean(axis=1)
    error = float(off.std(ddof=1) / np.sqrt(len(off)))
    return Claim(
        "sum of parts",
        "The squared error of predicting new labels is the sum of noise, bias² and variance.",
        f"{squared.mean():.4f} ± {error:.4f} (standard error); {world.noise:.4f} + {parts.bias2:.4f} + {parts.variance:.4f} = {expected:.4f}",
        abs(float(squared.mean()) - expected) <= 4 * error,
    )


def of_methods(found: list[Method]) -> list[Claim]:
    """State what each group of methods changes."""
    constrain, average, add = (
        [method for method in found if method.group == group] for group in (CONSTRAIN, AVERAGE, ADD_DATA)
    )
    by_name = {method.name: method for method in found}
    more, augmented = by_name["more rows"], by_name["augmented rows"]
    return [
        Claim(
            "methods and error",
            "Each of the seven methods lowers the sum of bias² and variance.",
            _listed(found, "error"),
            all(method.error.high < 0 for method in found),
        ),
        Claim(
            "constraints and variance",
            "Constrain: weight decay, dropout and early stopping each lower the variance.",
            _listed(constrain, "variance"),
            all(method.variance.high < 0 for method in constrain),
        ),
        Claim(
            "constraints and bias",
            "Constrain: weight decay, dropout and early stopping each raise bias².",
            _listed(constrain, "bias2"),
            all(method.bias2.low > 0 for method in constrain),
        ),
        Claim(
            "averages and variance",
            "Average: the mean over seeds and the mean over resamples (bagging) each lower the variance.",
            _listed(average, "variance"),
            all(method.variance.high < 0 for method in average),
        ),
        Claim(
            "data and variance",
            "Add data: more rows and augmented rows each lower the variance.",
            _listed(add, "variance"),
            all(method.variance.high < 0 for method in add),
        ),
        Claim(
            "rows and bias",
            "Add data: more rows lower bias².",
            str(more.bias2),
            more.bias2.high < 0,
        ),
        Claim(
            "augmentation and bias",
            "Add data: augmented rows raise bias².",
            str(augmented.bias2),
            augmented.bias2.low > 0,
        ),
    ]


def of_seeds(world: World, seeds: Array, found: list[Method]) -> list[Claim]:
    """Compare the mean over seeds with the law of total variance."""
    averaged = next(method for method in found if method.name == "average over seeds")
    n = world.settings.ensemble
    by_data, by_seed = seed_share(seeds)
    expected = -(1 - 1 / n) * by_seed
    return [
        Claim(
            "seeds and variance",
            f"Averaging {n} seeds keeps the part of the variance that is due to the training set, and 1/{n} of"
            " the part that is due to the seed.",
            f"parts {by_data:.4f} and {by_seed:.4f}: expected change {expected:+.4f}, measured {averaged.variance}",
            averaged.variance.agrees(expected),
        ),
        Claim(
            "seeds and bias",
            "Averaging seeds does not change bias² by more than four standard errors.",
            f"{averaged.bias2.value:+.4f} ± {averaged.bias2.error:.4f} (standard error)",
            averaged.bias2.agrees(0.0),
        ),
    ]


def of_widths(world: World, by_width: dict[int, Array]) -> list[Claim]:
    """State how the parts of the error of trained networks change with the width."""
    widths, rows = list(by_width), world.settings.rows
    first, last = widths[0], widths[-1]
    fewer = max((w for w in widths if 4 * w + 1 < rows), default=None)

    def change(part: str, start: int) -> Estimate:
        return difference(
            by_width[last], by_width[start], world.truth, lambda parts: float(getattr(parts, part))
        )

    bias2, variance = change("bias2", first), change("variance", first)
    claims = [
        Claim(
            "width and bias",
            f"A wider network has less bias² ({last} hidden units against {first}).",
            str(bias2),
            bias2.high < 0,
        ),
        Claim(
            "width and variance",
            f"A wider network has more variance ({last} hidden units against {first}).",
            str(variance),
            variance.low > 0,
        ),
    ]
    if fewer is not None and 4 * last + 1 > rows:
        error = change("error", fewer)
        claims.append(
            Claim(
                "width and error",
                f"The sum of bias² and variance is higher with {last} hidden units ({4 * last + 1} parameters, more than"
                f" the {rows} rows) than with {fewer} ({4 * fewer + 1} parameters, fewer than the rows).",
                str(error),
                error.low > 0,
            )
        )
    return claims


def _not_tested(settings: Settings) -> list[str]:
    """Return what these settings do not test."""
    notes = []
    parameters = [4 * width + 1 for width in settings.widths]
    if not min(parameters) < settings.rows < max(parameters):
        notes.append(
            "No claim compares networks with fewer and with more parameters than rows: `widths` has only one kind."
        )
    if not spanned(settings):
        notes.append(
            "No claim is made about the peak at m = n: `feature_widths` needs fewer features than rows, as many, and"
            f" more ({settings.rows})."
        )
    return notes


def _listed(found: list[Method], part: str) -> str:
    changes = ", ".join(f"{method.name} {getattr(method, part).value:+.4f}" for method in found)
    return f"{changes} (intervals below)"


def _by_method(world: World, base: Array, found: list[Method]) -> str:
    whole = Parts.of(base, world.truth)
    rows = [["", "no method", *(f"{getattr(whole, part):.4f}" for part in PARTS)]]
    for method in found:
        parts = method.parts(world.truth)
        rows.append([method.group, method.name, *(f"{getattr(parts, part):.4f}" for part in PARTS)])
    return table(["way", f"{world.settings.width} hidden units", *PARTS.values()], rows)


def _changes(found: list[Method]) -> str:
    rows = [[method.name, *(str(getattr(method, part)) for part in PARTS)] for method in found]
    return table(["change (95 % interval)", *PARTS.values()], rows)
