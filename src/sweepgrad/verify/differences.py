"""The first place in which two runs' numbers, arrays or JSON differ, in words: by a bit, or a tolerance."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from sweepgrad.autograd.value import Array

TOLERANCE = {"float64": 1e-6, "float32": 1e-3}
"""What numbers may be apart in another environment, absolute and relative: rounding grows with the steps."""


def of_numbers(
    found: Mapping[tuple[int, str], float], expected: Mapping[tuple[int, str], float], tolerance: float
) -> Iterator[str]:
    """The first of the numbers that is not the expected one; the epochs before their summary.

    Arguments:
        found, expected: by epoch and name; those of the summary at 0.
    """
    order = sorted(expected, key=lambda place: place[0] or math.inf)
    lacking = [place for place in order if place not in found]
    more = [place for place in found if place not in expected]
    apart = [
        place for place in order if place in found and not same(found[place], expected[place], tolerance)
    ]
    for places in (lacking, apart, more):
        if not places:
            continue
        epoch, name = places[0]
        words = f"{name} after epoch {epoch}" if epoch else name
        if places is apart:
            one, other = found[places[0]], expected[places[0]]
            words += f" is {one!r}, and {other!r} when trained again ({abs(one - other):.2g} apart)"
        else:
            words += " is not there" if places is lacking else " is there, and not when trained again"
        yield words + (f"; {len(places)} of {len(order)} numbers are like that" if len(places) > 1 else "")


def same(one: float, other: float, tolerance: float) -> bool:
    if float(one).hex() == float(other).hex():
        return True
    return tolerance > 0 and math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)


def of_leaves(
    found: object, expected: object, name: str, where: str = "when trained again", tolerance: float = 0.0
) -> Iterator[str]:
    """The first place in which two things of JSON differ.

    Arguments:
        name: of the whole.
        where: the expected one is.
    """
    one, other = dict(_leaves(found, name)), dict(_leaves(expected, name))
    for key in (*other, *(key for key in one if key not in other)):
        if key not in one or key not in other:
            yield f"{key} is {'there, and not' if key in one else 'not there, and is'} {where}"
            return
        a, b = one[key], other[key]
        numbers = isinstance(a, float) and isinstance(b, float)
        if not (same(a, b, tolerance) if numbers else a == b and type(a) is type(b)):  # type: ignore[arg-type]
            yield f"{key} is {a!r}, and {b!r} {where}"
            return


def _leaves(value: object, name: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        yield f"{name} (length)", len(value)
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{name}[{place}]")
    else:
        yield name, value


def of_arrays(found: dict[str, Array], expected: dict[str, Array], tolerance: float) -> Iterator[str]:
    """The first array that is not the expected one, and by how much."""
    if found.keys() != expected.keys():
        yield f"has {len(found)} arrays, and {len(expected)} when trained again"
        return
    for name, other in expected.items():
        one = found[name]
        if one.shape != other.shape or one.dtype != other.dtype:
            yield f"{name} are {one.dtype} {one.shape}, and {other.dtype} {other.shape} when trained again"
            return
        if one.tobytes() == other.tobytes():
            continue
        if tolerance and np.allclose(one, other, rtol=tolerance, atol=tolerance):
            continue
        with np.errstate(invalid="ignore", over="ignore"):
            gap = np.abs(one - other)
        n = sum(a.tobytes() != b.tobytes() for a, b in zip(one.ravel(), other.ravel(), strict=True))
        yield f"{name}: {n} of {one.size} numbers differ, by up to {np.max(gap):.2g}"
        return
