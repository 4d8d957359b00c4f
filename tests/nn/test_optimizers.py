from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sweepgrad.autograd.value import Value, gradient
from sweepgrad.nn.optimizers import OPTIMIZERS, SGD, Adagrad, Adam, Momentum
from sweepgrad.rng import key, normal

W = normal(key(0, "w"), (3, 2))
G1, G2, G3 = (normal(key(0, "g", i), (3, 2)) for i in range(3))
LR = 0.1

ALL: list[Any] = [SGD(LR), Momentum(LR, 0.9), Adagrad(LR, 1e-8), Adam(LR, 0.9, 0.999, 1e-8)]
each_optimizer = pytest.mark.parametrize("optimizer", ALL, ids=lambda o: type(o).__name__)


def three_steps(optimizer, w=W, gradients=(G1, G2, G3), wrap=lambda x: x):
    """Return the weights after each of the first steps."""
    w, state, after = wrap(w), tuple(wrap(s) for s in optimizer.start(w)), []
    for t, g in enumerate(gradients, start=1):
        w, state = optimizer.step(w, wrap(g), state, t)
        after.append(w)
    return after


def test_sgd_subtracts_gradients():
    one, two, three = three_steps(SGD(LR))
    assert_allclose(one, W - 0.1 * G1, rtol=1e-14)
    assert_allclose(two, W - 0.1 * (G1 + G2), rtol=1e-14)
    assert_allclose(three, W - 0.1 * (G1 + G2 + G3), rtol=1e-14)


def test_momentum_remembers_gradients_with_decay():
    one, two, three = three_steps(Momentum(LR, 0.8))
    assert_allclose(one, W - 0.1 * G1, rtol=1e-14)
    assert_allclose(two, W - 0.1 * ((1 + 0.8) * G1 + G2), rtol=1e-14)
    assert_allclose(three, W - 0.1 * ((1 + 0.8 + 0.64) * G1 + (1 + 0.8) * G2 + G3), rtol=1e-14)


def test_adagrad_divides_by_the_root_of_the_sum_of_squares():
    one, two, three = three_steps(Adagrad(LR, 1e-3))
    first = 0.1 * G1 / (np.abs(G1) + 1e-3)
    second = 0.1 * G2 / (np.sqrt(G1**2 + G2**2) + 1e-3)
    third = 0.1 * G3 / (np.sqrt(G1**2 + G2**2 + G3**2) + 1e-3)
    assert_allclose(one, W - first, rtol=1e-13)
    assert_allclose(two, W - first - second, rtol=1e-13)
    assert_allclose(three, W - first - second - third, rtol=1e-13)


def test_adam_divides_weighted_means():
    """Corrected for their start at zero, m and v are means weighted by beta^age."""
    one, two, three = three_steps(Adam(LR, 0.9, 0.99, 1e-3))
    first = 0.1 * G1 / (np.abs(G1) + 1e-3)
    m = (0.9 * G1 + G2) / (0.9 + 1)
    v = (0.99 * G1**2 + G2**2) / (0.99 + 1)
    second = 0.1 * m / (np.sqrt(v) + 1e-3)
    m = (0.81 * G1 + 0.9 * G2 + G3) / (0.81 + 0.9 + 1)
    v = (0.9801 * G1**2 + 0.99 * G2**2 + G3**2) / (0.9801 + 0.99 + 1)
    third = 0.1 * m / (np.sqrt(v) + 1e-3)
    assert_allclose(one, W - first, rtol=1e-12)
    assert_allclose(two, W - first - second, rtol=1e-12)
    assert_allclose(three, W - first - second - third, rtol=1e-12)


@each_optimizer
def test_values_step_as_arrays_do(optimizer):
    """To the bit: the tape records the step made of `Value`s, and replays it where arrays are meant."""
    for array, step in zip(three_steps(optimizer), three_steps(optimizer, wrap=Value), strict=True):
        assert isinstance(step, Value)
        assert_array_equal(step.data, array)


@each_optimizer
def test_nothing_is_changed_in_place(optimizer):
    w, g = W.copy(), G1.copy()
    state = optimizer.start(w)
    before = [s.copy() for s in state]
    optimizer.step(w, g, state, 1)
    assert_array_equal(w, W)
    assert_array_equal(g, G1)
    for s, old in zip(state, before, strict=True):
        assert_array_equal(s, old)
        assert s.shape == w.shape


@each_optimizer
def test_a_gradient_of_zero_moves_nothing(optimizer):
    for w in three_steps(optimizer, gradients=[np.zeros_like(W)] * 3):
        assert_array_equal(w, W)


@pytest.mark.parametrize(
    ("optimizer", "steps"),
    [
        (SGD(0.1), 400),
        (Momentum(0.05, 0.9), 400),
        (Adagrad(3.0, 1e-8), 400),
        (Adam(0.05, 0.9, 0.999, 1e-8), 2000),
    ],
    ids=["sgd", "momentum", "adagrad", "adam"],
)
def test_the_bottom_of_a_bowl_is_found(optimizer, steps):
    """½ wᵀA w - bᵀw with A of eigenvalues 5 and 1 is lowest where A w = b."""
    A, b = np.array([[3.0, 2.0], [2.0, 3.0]]), np.array([1.0, -2.0])
    w = np.array([4.0, 4.0])
    state = optimizer.start(w)
    for t in range(1, steps + 1):
        leaf = Value(w)
        (g,) = gradient(0.5 * (leaf @ A @ leaf) - b @ leaf, [leaf])
        w, state = optimizer.step(w, g.data, state, t)
    assert_allclose(w, np.linalg.solve(A, b), atol=1e-6)


def test_optimizers_are_listed_by_name():
    assert {"sgd": SGD, "momentum": Momentum, "adagrad": Adagrad, "adam": Adam} == OPTIMIZERS
