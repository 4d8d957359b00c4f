from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sweepgrad.autograd.value import Array, Value, gradient
from sweepgrad.rng import key, uniform

Function = Callable[..., Value]


def weighted_sum(y: Value) -> Value:
    """Return a scalar in which every element of y has another weight, so that a wrong order shows."""
    return (y * (0.5 + uniform(key(0, "weights"), y.shape))).sum()


def numeric_gradient(f: Callable[[Array], float], x: Array, step: float = 1e-5) -> Array:
    """Return central differences, one element at a time."""
    result = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = np.array(x), np.array(x)
        up[i] += step
        down[i] -= step
        result[i] = (f(up) - f(down)) / (up[i] - down[i])
    return result


def check_first(f: Function, *arrays: Array) -> None:
    inputs = [Value(x) for x in arrays]
    for k, analytic in enumerate(gradient(weighted_sum(f(*inputs)), inputs)):

        def with_input(x: Array, k: int = k) -> float:
            return weighted_sum(f(*inputs[:k], Value(x), *inputs[k + 1 :])).item()

        numeric = numeric_gradient(with_input, arrays[k])
        assert analytic.shape == np.shape(arrays[k])
        assert_allclose(analytic.data, numeric, rtol=1e-6, atol=1e-9, err_msg=f"input {k}")


def check_second(f: Function, *arrays: Array) -> None:
    for k in range(len(arrays)):

        def slope(*inputs: Value, k: int = k) -> Value:
            return gradient(weighted_sum(f(*inputs)), inputs)[k]

        check_first(slope, *arrays)


@pytest.fixture(scope="session")
def check_gradient() -> Callable[..., None]:
    """Return `check_gradient(f, *arrays)`: it compares gradients of f with central differences, to 1e-6."""
    return check_first


@pytest.fixture(scope="session")
def check_second_gradient() -> Callable[..., None]:
    """Return `check_second_gradient(f, *arrays)`: it does so for the gradients of the gradients of f."""
    return check_second
