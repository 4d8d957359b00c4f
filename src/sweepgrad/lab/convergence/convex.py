"""Convex problems with known constants: least squares and logistic regression.

Both are means of row losses, L(w) = 1/n Σ loss(xᵢᵀw, yᵢ), with a 1 appended to each row for the bias.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit

from sweepgrad import rng
from sweepgrad.autograd.value import Array, Value
from sweepgrad.errors import UserError


@dataclass(frozen=True)
class LeastSquares:
    """The mean of ½ (xᵢᵀw - yᵢ)² over rows.

    Arguments:
        X: (n, d), the last column is 1.
        y: (n,).
    """

    X: Array
    y: Array

    @property
    def hessian(self) -> Array:
        """The Hessian XᵀX / n, (d, d), the same for all w."""
        product: Array = self.X.T @ self.X / len(self.y)
        return product

    @property
    def K(self) -> float:
        """The Lipschitz constant of the gradient: the largest eigenvalue of the Hessian."""
        return float(np.linalg.eigvalsh(self.hessian)[-1])

    @property
    def mu(self) -> float:
        """The constant of strong convexity: the smallest eigenvalue of the Hessian."""
        return float(np.linalg.eigvalsh(self.hessian)[0])

    @property
    def K_rows(self) -> float:
        """The largest Lipschitz constant of the gradient of a row: the largest |xᵢ|²."""
        return float((self.X**2).sum(axis=1).max())

    @cached_property
    def optimum(self) -> Array:
        """The best weights w*, (d,)."""
        solved: Array = np.linalg.lstsq(self.X, self.y)[0]
        return solved

    def errors(self, scores: Value, y: Value) -> Value:
        """Return the derivative of the row losses with respect to the scores xᵢᵀw."""
        return scores - y

    def losses(self, w: Array) -> Array:
        """Return L(w) - L(w*) for each column of w (d, T); (T,)."""
        offset = w - self.optimum[:, None]
        excess: Array = 0.5 * (offset * (self.hessian @ offset)).sum(axis=0)
        return excess

    def excess(self, w: Value) -> Value:
        """Return the same as `losses`, as a graph, (T,)."""
        offset = w - self.optimum.reshape(-1, 1)
        return 0.5 * (offset * (Value(self.hessian) @ offset)).sum(axis=0)

    def row_gradients(self, w: Array) -> Array:
        """Return the gradient of each row's loss at w (d,); (n, d)."""
        return self.X * (self.X @ w - self.y)[:, None]


@dataclass(frozen=True)
class Logistic:
    """The mean of log(1 + exp((1 - 2yᵢ) xᵢᵀw)) over rows: the `linear` model of sweepgrad.

    Arguments:
        X: (n, d), the last column is 1.
        y: (n,), 0 or 1, of classes that are not linearly separable.
    """

    X: Array
    y: Array

    @property
    def K(self) -> float:
        """Upper bound of the Lipschitz constant of the gradient: λ_max(XᵀX / n) / 4, as p (1 - p) ≤ ¼."""
        return float(np.linalg.eigvalsh(self.X.T @ self.X / len(self.y))[-1]) / 4

    @property
    def variance(self) -> float:
        """Upper bound of the variance of a row's gradient at any w: the mean of |xᵢ|², as |p - y| ≤ 1."""
        return float((self.X**2).sum(axis=1).mean())

    @cached_property
    def optimum(self) -> Array:
        """The best weights w*, (d,), by Newton's method.

        Raises:
            ValueError: the classes are linearly separable, so there are none.
        """
        w = np.zeros(self.X.shape[1])
        for _ in range(100):
            p = expit(self.X @ w)
            hessian = (self.X.T * (p * (1 - p))) @ self.X
            if np.linalg.norm(w) > 1e3 or np.linalg.cond(hessian) > 1e12:
                raise ValueError("the classes are linearly separable, so no finite weights are best")
            step = np.linalg.solve(hessian, self.X.T @ (p - self.y))
            w = w - step
            if np.abs(step).max() < 1e-14 * max(1.0, np.abs(w).max()):
                break
        return w

    def errors(self, scores: Value, y: Value) -> Value:
        """Return the derivative of the row losses with respect to the scores: p - y."""
        return scores.sigmoid() - y

    def losses(self, w: Array) -> Array:
        """Return L(w) - L(w*) for each column of w (d, T); (T,)."""
        signs = (1 - 2 * self.y)[:, None]
        best = np.logaddexp(0, signs * (self.X @ self.optimum[:, None])).mean()
        excess: Array = np.logaddexp(0, signs * (self.X @ w)).mean(axis=0) - best
        return excess

    def excess(self, w: Value) -> Value:
        """Return the same as `losses`, as a graph, (T,)."""
        signs = (1 - 2 * self.y)[:, None]
        best = float(np.logaddexp(0, signs * (self.X @ self.optimum[:, None])).mean())
        return ((Value(self.X) @ w) * signs).softplus().mean(axis=0) - best

    def row_gradients(self, w: Array) -> Array:
        """Return the gradient of each row's loss at w (d,); (n, d)."""
        return self.X * (expit(self.X @ w) - self.y)[:, None]


Problem = LeastSquares | Logistic


def drawn(rows: int, features: int, noise: float, seed: int) -> tuple[LeastSquares, Logistic]:
    """Draw one problem of each kind with the same standard normal features and the same true weights.

    Raises:
        UserError: the classes are linearly separable, so that logistic regression has no best weights.
    """
    X = rng.normal(rng.key(seed, "lab/convex", 0), (rows, features))
    X = np.concatenate([X, np.ones((rows, 1))], axis=1)
    w = rng.normal(rng.key(seed, "lab/convex", 1), (features + 1,))
    y = X @ w + noise * rng.normal(rng.key(seed, "lab/convex", 2), (rows,))
    labels = rng.uniform(rng.key(seed, "lab/convex", 3), (rows,)) < expit(X @ w)
    logistic = Logistic(X, labels.astype(np.float64))
    try:
        _ = logistic.optimum  # raises if there is none
    except ValueError as error:
        raise UserError(f"{error}: use more rows, fewer features, or another seed") from None
    return LeastSquares(X, y), logistic


@dataclass(frozen=True)
class Moments:
    """The exact moments of w - w* under SGD on least squares.

    Attributes:
        mean: (d,).
        second: the mean of (w - w*)(w - w*)ᵀ, (d, d).
    """

    mean: Array
    second: Array


def expected_step(problem: LeastSquares, moments: Moments, rate: float, batch_size: int) -> Moments:
    """Return the moments after a step on a batch drawn with replacement (docs/lab/sgd.md, "exactly")."""
    X, n, B = problem.X, len(problem.y), batch_size
    H, residuals = problem.hessian, problem.y - X @ problem.optimum
    mean, S = moments.mean, moments.second
    fourth = (X.T * np.einsum("ij,jk,ik->i", X, S, X)) @ X / n  # the mean of x xᵀ S x xᵀ
    crossed = (X.T * ((X @ mean) * residuals)) @ X / n  # the mean of x xᵀ m e xᵀ
    noise = (X.T * residuals**2) @ X / n
    HSH = H @ S @ H
    second = S - rate * (H @ S + S @ H) + rate**2 * (HSH + (fourth - HSH - crossed - crossed.T + noise) / B)
    return Moments(mean - rate * (H @ mean), second)


def expected_variance(problem: LeastSquares, moments: Moments, batch_size: int) -> float:
    """Return the variance of a batch's gradient, averaged over w."""
    X, n, H = problem.X, len(problem.y), problem.hessian
    residuals, lengths = problem.y - X @ problem.optimum, (X**2).sum(axis=1)
    of_score = np.einsum("ij,jk,ik->i", X, moments.second, X)  # the mean of (xᵀ(w - w*))²
    squares = lengths @ (of_score - 2 * (X @ moments.mean) * residuals + residuals**2) / n
    return float(squares - np.trace(H @ moments.second @ H)) / batch_size


def expected_excess(problem: LeastSquares, moments: Moments) -> float:
    """Return the mean of L(w) - L(w*)."""
    return 0.5 * float(np.trace(problem.hessian @ moments.second))


def stationary(problem: LeastSquares, rate: float, batch_size: int) -> Moments | None:
    """Return the moments that a step does not change; None if moments grow without limit."""
    d = problem.X.shape[1]
    zero = Moments(np.zeros(d), np.zeros((d, d)))
    constant = expected_step(problem, zero, rate, batch_size).second
    columns = []
    for unit in np.eye(d * d).reshape(-1, d, d):
        moved = expected_step(problem, Moments(np.zeros(d), unit), rate, batch_size).second
        columns.append((moved - constant).reshape(-1))
    step = np.stack(columns, axis=1)
    if np.abs(np.linalg.eigvals(step)).max() >= 1:
        return None
    solved = np.linalg.solve(np.eye(d * d) - step, constant.reshape(-1))
    return Moments(np.zeros(d), solved.reshape(d, d))
