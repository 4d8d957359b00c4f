"""Describe the first difference between numbers, arrays or JSON of two runs, exact or within a tolerance."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from sweepgrad.autograd.value import Array


def of_numbers(
    found: Mapping[tuple[int, str], float],
    expected: Mapping[tuple[int, str], float],
    tolerance: float,
    where: str = "retrained",
) -> Iterator[str]:
    """Yield the first missing, different and additional number each; epochs come before the summary.

    Arguments:
        found, expected: by epoch and name; those of the summary at 0.
        where: where the expected ones are from.
    """
    order = sorted(expected, key=lambda key: key[0] or math.inf)
    missing = [key for key in order if key not in found]
    additional = [key for key in found if key not in expected]
    different = [key for key in order if key in found and not same(found[key], expected[key], tolerance)]
    for keys in (missing, different, additional):
        if not keys:
            continue
        epoch, name = keys[0]
        text = f"{name} after epoch {epoch}" if epoch else name
        if keys is different:
            one, other = found[keys[0]], expected[keys[0]]
            text += f" is {one!r}; {where}: {other!r} (difference {abs(one - other):.2g})"
        else:
            text += " is missing" if keys is missing else f" is present; {where}: missing"
        yield text + (f"; {len(keys)} of {len(order)} numbers are affected" if len(keys) > 1 else "")


def same(one: float, other: float, tolerance: float) -> bool:
    """Return whether two numbers are equal to the bit, or within the tolerance if it is not 0."""
    if float(one).hex() == float(other).hex():
        return True
    return tolerance > 0 and math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)


def of_leaves(
    found: object, expected: object, name: str, where: str = "retrained", tolerance: float = 0.0
) -> Iterator[str]:
    """Yield the first difference between two JSON values.

    Arguments:
        name: of the whole value.
        where: where the expected one is from.
    """
    one, other = dict(_leaves(found, name)), dict(_leaves(expected, name))
    for key in (*other, *(key for key in one if key not in other)):
        if key not in one or key not in other:
            yield f"{key} is {'present' if key in one else 'missing'}; {where}: " + (
                "missing" if key in one else "present"
            )
            return
        a, b = one[key], other[key]
        numbers = isinstance(a, float) and isinstance(b, float)
        if not (same(a, b, tolerance) if numbers else a == b and type(a) is type(b)):  # type: ignore[arg-type]
            yield f"{key} is {a!r}; {where}: {b!r}"
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
    """Yield the first difference between two sets of arrays."""
    if found.keys() != expected.keys():
        yield f"{len(found)} arrays; retrained: {len(expected)}"
        return
    for name, other in expected.items():
        one = found[name]
        if one.shape != other.shape or one.dtype != other.dtype:
            yield f"{name} are {one.dtype} {one.shape}; retrained: {other.dtype} {other.shape}"
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
