"""The bounds of docs/lab/sgd.md as formulas; the page has the proofs.

K is the Lipschitz constant of the gradient, α the rate, σ² a bound of the variance of the stochastic gradient, and
D the distance from the start to an optimum.
"""

import numpy as np

from sweepgrad.autograd.value import Array


def change_bound(products: Array, squares: Array, rate: float, K: float) -> Array:
    """Return -α gᵀ∇L + α²K/2 |g|², which bounds the change of the loss in a step along g.

    Arguments:
        products: gᵀ∇L, of any shape.
        squares: |g|², of the same shape.
    """
    bounds: Array = -rate * products + rate**2 * K / 2 * squares
    return bounds


def sheet_bound(products: Array, squares: Array, rate: float, K: float) -> Array:
    """Return -α/2 gᵀ∇L + α²K/2 |g|², the assignment's form, which holds only if gᵀ∇L ≥ 0, or in expectation."""
    bounds: Array = -rate / 2 * products + rate**2 * K / 2 * squares
    return bounds


def expected_change_bound(square: float, variance: float, rate: float, K: float) -> float:
    """Return -α/2 |∇L|² + Kα²/2 σ², which bounds the expected change of the loss in a step if α ≤ 1/K.

    Arguments:
        square: |∇L|².
    """
    return -rate / 2 * square + K * rate**2 / 2 * variance


def sufficient_square(variance: float, rate: float, K: float) -> float:
    """Return Kα σ² / (2 - Kα): if |∇L|² is at least this, a step does not raise the expected loss."""
    return K * rate / (2 - K * rate) * variance


def average_bound(distance: float, rate: float, variance: float, steps: Array) -> Array:
    """Return D² / (2 α N) + α σ² for each N: the bound of the mean excess loss of N iterates, convex L."""
    bounds: Array = distance**2 / (2 * rate * steps) + rate * variance
    return bounds


def best_rate(distance: float, variance: float, K: float, steps: int) -> float:
    """Return the rate that minimizes `average_bound` among those up to 1/K: min(1/K, D / (σ √(2N)))."""
    return min(1 / K, distance / np.sqrt(2 * steps * variance)) if variance > 0 else 1 / K


def weighted_bound(distance: float, rates: Array, variance: float) -> Array:
    """Return (D² + 2σ² Σ αₜ²) / (2 Σ αₜ) after each step: the bound of the mean excess loss weighted by αₜ."""
    bounds: Array = (distance**2 + 2 * variance * np.cumsum(rates**2)) / (2 * np.cumsum(rates))
    return bounds


def fitted_bound(distance: float, rate: float, K_rows: float, steps: Array) -> Array:
    """Return D² / (2α(1 - αK_rows) N): the bound of the mean excess loss if θ* fits every row.

    Arguments:
        K_rows: the largest Lipschitz constant of the gradient of a row, less than 1/α.
    """
    bounds: Array = distance**2 / (2 * rate * (1 - rate * K_rows) * steps)
    return bounds


def gradient_bound(excess: float, rate: float, variance: float, K: float, steps: Array) -> Array:
    """Return 2(L₀ - L*) / (αN) + αKσ²: the bound of the mean of |∇L|² over N iterates, also of nonconvex L."""
    bounds: Array = 2 * excess / (rate * steps) + rate * K * variance
    return bounds


def linear_bound(excess: float, rate: float, variance: float, K: float, mu: float, steps: Array) -> Array:
    """Return (1 - αμ)ᴺ (L₀ - L*) + αKσ² / (2μ): the bound of the last iterate if |∇L|² ≥ 2μ(L - L*)."""
    bounds: Array = (1 - rate * mu) ** steps * excess + rate * K * variance / (2 * mu)
    return bounds
