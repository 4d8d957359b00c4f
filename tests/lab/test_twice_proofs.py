"""The algebra of docs/lab/twice.md, symbolically or on random instances, with counterexamples."""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from scipy.special import expit

from sweepgrad.autograd.value import Array
from sweepgrad.lab.convergence.convex import Logistic
from sweepgrad.lab.questions.twice import farthest
from sweepgrad.lab.retraining.symmetry import Symmetry
from sweepgrad.lab.training import last_weights
from sweepgrad.nn.network import Network, Weights
from sweepgrad.nn.optimizers import SGD, Adam
from sweepgrad.training.loop import Examples
from sweepgrad.training.steps import Update

DRAW = np.random.default_rng(0)
ROWS = Examples(DRAW.normal(size=(30, 3)), (DRAW.uniform(size=30) < 0.5).astype(np.float64))
PERMUTED = Symmetry(np.array([2, 0, 3, 1]), np.ones(4))
FLIPPED = Symmetry(np.arange(4), np.array([-1.0, 1, 1, -1]))
RESCALED = Symmetry(np.arange(4), np.array([2.0, 1, 1, 1]))


def after(optimizer: SGD | Adam, start: Weights, activation: str, epochs: int = 3) -> Weights:
    network = Network(3, (4,), activation)
    return last_weights(network, Update(optimizer), ROWS, epochs=epochs, batch_size=10, seed=1, start=start)


def off(one: Weights, other: Weights) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("optimizer", [SGD(0.3), Adam(0.05, 0.9, 0.999, 1e-8)])
@pytest.mark.parametrize("symmetry", [PERMUTED, FLIPPED])
def test_training_keeps_permutations_and_flips(optimizer, symmetry):
    start = Network(3, (4,), "tanh").initial(2)
    expected = symmetry.of(after(optimizer, start, "tanh"))
    assert off(after(optimizer, symmetry.of(start), "tanh"), expected) < 1e-13
    assert off(after(optimizer, start, "tanh"), start) > 0.01


@pytest.mark.parametrize("optimizer", [SGD(0.3), Adam(0.05, 0.9, 0.999, 1e-8)])
def test_training_does_not_keep_a_rescaling_of_relu_units(optimizer):
    """Give a counterexample: the function is the same, but the path is another one."""
    network = Network(3, (4,), "relu")
    start = network.initial(2)
    scores = [network.scaled_scores(weights, ROWS.X) for weights in (start, RESCALED.of(start))]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-12)
    expected = RESCALED.of(after(optimizer, start, "relu"))
    assert off(after(optimizer, RESCALED.of(start), "relu"), expected) > 1e-3


def test_the_gradient_turns_with_an_orthogonal_symmetry():
    """Take a loss of two weights that a rotation leaves as it is, and one that it does not."""
    x, y, angle = sp.symbols("x y angle", real=True)
    turn = sp.Matrix([[sp.cos(angle), -sp.sin(angle)], [sp.sin(angle), sp.cos(angle)]])
    turned = turn * sp.Matrix([x, y])

    def holds(loss):
        gradient = sp.Matrix([sp.diff(loss, v) for v in (x, y)])
        there = gradient.subs({x: turned[0], y: turned[1]}, simultaneous=True)
        return (there - turn * gradient).applyfunc(sp.simplify) == sp.zeros(2, 1)

    assert holds((x**2 + y**2) ** 2)
    assert not holds(x**2 + 2 * y**2)


def test_adam_does_not_commute_with_a_rotation():
    """Only permutations and signs: the square of a rotated gradient is not the rotated square."""
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    gradient = np.array([1.0, 0.1])

    def step(g: Array) -> Array:
        return g / np.sqrt(g**2)

    assert np.abs(step(turn @ gradient) - turn @ step(gradient)).max() > 0.1
    for symmetry in (np.array([[0, 1], [1, 0]]), np.diag([-1, 1])):
        np.testing.assert_array_equal(step(symmetry @ gradient), symmetry @ step(gradient))


def test_addition_is_not_associative():
    assert (1e16 + 1) - 1e16 == 0
    assert (1e16 - 1e16) + 1 == 1
    assert (0.1 + 0.2) + 0.3 != 0.1 + (0.2 + 0.3)


def test_two_orders_of_a_sum_agree_within_the_bound():
    for n in (10, 1000):
        x = DRAW.normal(size=n) * 10.0 ** DRAW.integers(-3, 4, n)
        exact = float(sum(map(Fraction, x.tolist())))
        bound = n * np.finfo(np.float64).eps * np.abs(x).sum()
        sums = [float(np.add.accumulate(x[DRAW.permutation(n)])[-1]) for _ in range(50)]
        assert max(sums) - min(sums) <= bound
        assert all(abs(total - exact) <= bound / 2 for total in sums)
        assert len(set(sums)) > 1


# Logistic regression


def slope(z: Array) -> Array:
    return expit(z) * (1 - expit(z))


def test_the_slope_falls_at_most_exponentially():
    z = sp.symbols("z", real=True)
    sigma = 1 / (1 + sp.exp(-z))
    assert sp.simplify(sp.diff(sp.log(sigma * (1 - sigma)), z) - (1 - 2 * sigma)) == 0
    at, step = np.meshgrid(np.linspace(-8, 8, 161), np.linspace(-8, 8, 161))
    assert (slope(at + step) >= np.exp(-np.abs(step)) * slope(at) * (1 - 1e-12)).all()


def test_the_integral_of_the_bound():
    t, r = sp.symbols("t r", positive=True)
    assert sp.simplify(sp.integrate(sp.exp(-t * r), (t, 0, 1)) - (1 - sp.exp(-r)) / r) == 0


def test_the_gradient_bounds_the_distance_from_the_minimum():
    close, bounded = 0.0, 0
    for _ in range(30):
        X = np.concatenate([DRAW.normal(size=(60, 3)), np.ones((60, 1))], axis=1)
        y = (DRAW.uniform(size=60) < expit(X @ DRAW.normal(size=4))).astype(np.float64)
        problem = Logistic(X, y)
        optimum = problem.optimum
        R = np.sqrt((X**2).sum(axis=1).max())
        hessian = (X.T * slope(X @ optimum)) @ X / 60
        smallest, direction = (part[..., 0] for part in np.linalg.eigh(hessian))
        for size in (1e-4, 1e-2, 0.3):
            for turned in (direction, DRAW.normal(size=4)):
                w = optimum + size * turned / np.linalg.norm(turned)
                g = R * np.linalg.norm(problem.row_gradients(w).mean(axis=0)) / smallest
                allowed = -math.log1p(-g) / R if g < 1 else math.inf
                assert size <= allowed * (1 + 1e-6)
                assert farthest(problem, w, optimum) >= allowed
                close = max(close, size / allowed)
                bounded += g < 1
    assert close > 0.99  # the bound is reached in the direction of least curvature
    assert bounded > 60


def step_of(problem: Logistic, w: Array, rate: float) -> Array:
    stepped: Array = w - rate * problem.row_gradients(w).mean(axis=0)
    return stepped


def test_a_step_on_a_convex_loss_brings_no_points_farther_apart():
    problem = Logistic(np.concatenate([ROWS.X, np.ones((30, 1))], axis=1), ROWS.y)

    for _ in range(200):
        a, b = 3 * DRAW.normal(size=(2, 4))
        apart = float(np.linalg.norm(a - b))
        moved = step_of(problem, a, 2 / problem.K) - step_of(problem, b, 2 / problem.K)
        assert np.linalg.norm(moved) <= apart * (1 + 1e-12)
    # A counterexample at a larger rate: two equal rows with different labels, near the minimum at 0.
    flat = Logistic(np.array([[1.0], [1.0]]), np.array([0.0, 1.0]))
    a, b = np.array([0.1]), np.array([-0.1])
    assert abs(step_of(flat, a, 3 / flat.K) - step_of(flat, b, 3 / flat.K)) > 0.3
    assert abs(step_of(flat, a, 2 / flat.K) - step_of(flat, b, 2 / flat.K)) <= 0.2


def test_without_a_full_span_there_are_many_minima():
    """Give a counterexample: two equal features, so that only the sum of their weights matters."""
    x = DRAW.normal(size=40)
    problem = Logistic(np.stack([x, x], axis=1), (DRAW.uniform(size=40) < 0.5).astype(np.float64))
    w = np.array([[0.3, 1.3], [0.4, -0.6]])  # two columns with the same sum
    losses = np.log1p(np.exp((1 - 2 * problem.y)[:, None] * (problem.X @ w))).mean(axis=0)
    assert losses[0] == pytest.approx(losses[1], rel=1e-14)
