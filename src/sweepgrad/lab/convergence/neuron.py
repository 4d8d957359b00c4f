"""A nonconvex problem with known constants: a single sigmoid neuron with squared error."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from sweepgrad.autograd.value import Array, Value

SLOPE = 4 / 27
"""Maximum of |(p - y) p (1 - p)|, the derivative of a row's loss by its score: p² (1 - p) at p = 2/3."""
CURVATURE = 1 / 16 + 1 / (6 * np.sqrt(3))
"""Upper bound of the second derivative: (p (1 - p))² ≤ 1/16, and |p (1 - p)(1 - 2p)| ≤ 1/(6√3)."""


@dataclass(frozen=True)
class Neuron:
    """The mean of ½ (sigmoid(xᵢᵀw) - yᵢ)² over rows, which is at least 0 and not convex in w.

    Arguments:
        X: (n, d), the last column is 1.
        y: (n,), 0 or 1.
    """

    X: Array
    y: Array

    @property
    def K(self) -> float:
        """Upper bound of the Lipschitz constant of the gradient: λ_max(XᵀX / n) times that of a score."""
        return float(np.linalg.eigvalsh(self.X.T @ self.X / len(self.y))[-1] * CURVATURE)

    @property
    def variance(self) -> float:
        """Upper bound of the variance of a row's gradient at any w."""
        return float(SLOPE**2 * (self.X**2).sum(axis=1).mean())

    def errors(self, scores: Value, y: Value) -> Value:
        """Return the derivative of the row losses with respect to the scores xᵢᵀw."""
        p = scores.sigmoid()
        return (p - y) * p * (1 - p)

    def losses(self, w: Array) -> Array:
        """Return L(w) for each column of w (d, T); (T,)."""
        losses: Array = 0.5 * ((expit(self.X @ w) - self.y[:, None]) ** 2).mean(axis=0)
        return losses

    def excess(self, w: Value) -> Value:
        """Return the same as `losses`, as a graph, (T,): the excess over the lower bound 0."""
        errors = (Value(self.X) @ w).sigmoid() - self.y[:, None]
        return 0.5 * (errors * errors).mean(axis=0)

    def row_gradients(self, w: Array) -> Array:
        """Return the gradient of each row's loss at w (d,); (n, d)."""
        p = expit(self.X @ w)
        return self.X * ((p - self.y) * p * (1 - p))[:, None]

    def squared_gradient(self, w: Value) -> Value:
        """Return |∇L|² for each column of w (d, T), as a graph, (T,)."""
        errors = self.errors(Value(self.X) @ w, Value(self.y[:, None]))
        gradient = Value(self.X.T / len(self.y)) @ errors
        return (gradient * gradient).sum(axis=0)

    def hessian(self, w: Array) -> Array:
        """Return the Hessian at w (d,); (d, d)."""
        p = expit(self.X @ w)
        slope = p * (1 - p)
        curvature = slope**2 + (p - self.y) * slope * (1 - 2 * p)
        product: Array = (self.X.T * curvature) @ self.X / len(self.y)
        return product
