"""Gradients by layer at initial weights: predicted for wide layers, and measured.

The prediction follows Poole, Lahiri, Raghu, Sohl-Dickstein & Ganguli (NIPS 2016) and Schoenholz, Gilmer, Ganguli
& Sohl-Dickstein ("Deep information propagation", ICLR 2017): in wide layers the inputs of units are normal. For the
gradients they assume that the weights used backwards are independent of those used forwards.
"""

from collections.abc import Callable, Sequence

import numpy as np

from sweepgrad import rng
from sweepgrad.autograd.functional import margins
from sweepgrad.autograd.value import Array, Value, gradient
from sweepgrad.nn.network import Network

_POINTS, _WEIGHTS = np.polynomial.hermite_e.hermegauss(200)  # even: no point is at the kink of ReLU
_SHARES = _WEIGHTS / _WEIGHTS.sum()
FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(np.float64)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z))) ** 2),
}
"""Each activation and its derivative."""


def normal_mean(function: Callable[[Array], Array], variance: float) -> float:
    """Return the mean of a function's square over a normal variable with mean 0, by quadrature."""
    return float((_SHARES * function(np.sqrt(variance) * _POINTS) ** 2).sum())


def weight_variance(activation: str) -> float:
    """Return the variance of an initial weight times the number of inputs, in a square layer.

    It is 2 before a ReLU (He), 1 otherwise (Glorot), see `Network.initial`.
    """
    return 2.0 if activation == "relu" else 1.0


def predicted(activation: str, depth: int, first: float) -> float:
    """Predict |∂L/∂W₂| / |∂L/∂W_D| for one row, with D = `depth` hidden layers of the same width.

    The gradient of a matrix is the outer product of the gradient δ at its units' inputs z and the outputs of the
    layer before. From layer to layer the mean square of z becomes n Var(w) E φ(z)², and backwards that of δ is
    multiplied by χ = n Var(w) E φ'(z)².

    Arguments:
        first: the variance of the first layer's z.
    """
    function, slope = FUNCTIONS[activation]
    spread, variances = weight_variance(activation), [first]
    for _ in range(depth - 1):
        variances.append(spread * normal_mean(function, variances[-1]))
    chi = [spread * normal_mean(slope, variance) for variance in variances[1:-1]]  # of the layers 2 to D - 1
    outputs = normal_mean(function, variances[0]) / normal_mean(function, variances[-2])
    return float(np.sqrt(np.prod(chi) * outputs))


def measured(activation: str, depth: int, width: int, seeds: Sequence[int]) -> Array:
    """Return the same ratio of networks with the initial weights of S seeds, each for another row; (S,).

    A gradient that is 0 counts as the smallest positive number.
    """
    network, ratios = Network(width, (width,) * depth, activation), []
    for seed in seeds:
        weights = [Value(w) for w in network.initial(seed)]
        row = Value(rng.normal(rng.key(seed, "lab/gradients/row"), (1, width)))
        loss = margins(np.ones(1), network.scores(weights, row)).softplus().mean()
        second, last = gradient(loss, [weights[2], weights[2 * depth - 2]])
        ratios.append(np.linalg.norm(second.data) / max(np.linalg.norm(last.data), np.finfo(float).tiny))
    return np.maximum(np.array(ratios), np.finfo(np.float64).tiny)
