"""The local Lipschitz constant of a gradient, the largest curvature of the loss, by Hessian-vector products."""

import numpy as np

from sweepgrad import engine, rng
from sweepgrad.autograd.functional import margins
from sweepgrad.autograd.value import Array, Value, gradient, shapes_only
from sweepgrad.engine.recorder import record
from sweepgrad.engine.tape import Tape
from sweepgrad.nn.network import Network
from sweepgrad.training.loop import Examples

AT_ONCE = 50
MOST = 1000
_SETTLED = 1e-4


def loss(network: Network, flat: Value, X: Value, y: Value) -> Value:
    """Return the mean loss of rows X (N, D) at weights (n_parameters,), as a graph, without dropout."""
    return margins(y, network.scores(network.divide(flat), X), network.scale).softplus().mean()


def hessian_vector(network: Network, flat: Value, v: Value, X: Value, y: Value) -> Value:
    """Return the Hessian of the loss times v (n_parameters,): the gradient of v · ∇L (Pearlmutter, 1994).

    The second derivative of a ReLU is 0 except at its kink, which is ignored: curvature comes from the loss and
    from the product of layers.
    """
    (g,) = gradient(loss(network, flat, X, y), [flat])
    (product,) = gradient((g * v).sum(), [flat])
    return product


def curvature(network: Network, flat: Array, rows: Examples, key: int) -> float:
    """Return the largest |eigenvalue| of the Hessian at weights (n_parameters,), by power iteration.

    It is the largest change of the gradient per unit of distance, to first order. For a unit vector v, |Hv| is
    at most that, and never falls from one iteration to the next as H is symmetric. So the result is a lower
    bound; the iteration ends when 50 steps raise it by less than one in 10,000.

    Arguments:
        key: random key of the first vector.
    """
    tape = _tape(network, len(rows.y))
    buffer = np.zeros(tape.length)
    for slot, constant in tape.constants:
        slot.of(buffer)[...] = constant
    tape.inputs["weights"].of(buffer)[...] = flat
    start = rng.normal(key, flat.shape)
    tape.inputs["v"].of(buffer)[...] = start / np.linalg.norm(start)
    replay, order = engine.load("native"), np.tile(np.arange(len(rows.y)), AT_ONCE)
    found, targets = 0.0, rows.y.reshape(-1, 1)
    for _ in range(MOST // AT_ONCE):
        _, lengths = replay(tape, buffer, rows.X, targets, order, np.zeros((AT_ONCE, 0)), 0, 1)
        before, found = found, float(lengths[-1, 0])
        if found - before <= _SETTLED * found:
            break
    return found


def _tape(network: Network, rows: int) -> Tape:
    """Record a step of the power iteration: v becomes Hv / |Hv|, and |Hv| is collected."""
    with shapes_only():
        features = Value(np.zeros((network.n_features, rows)), "features")
        targets = Value(np.zeros((1, rows)), "targets")
        w, v = (Value(np.zeros(network.n_parameters), label) for label in ("weights", "v"))
        product = hessian_vector(network, w, v, features.T, targets.reshape(rows))
        length = (product * product).sum() ** 0.5
        return record(
            features=features,
            targets=targets,
            carried=[(v, product / (length + np.finfo(np.float64).tiny))],
            fixed=[w],
            collected=[length],
        )


def flattened(weights: tuple[Array, ...]) -> Array:
    """Return all weights in one vector, (n_parameters,)."""
    return np.concatenate([w.reshape(-1) for w in weights])


def batch_gradients(
    network: Network, flat: Array, rows: Examples, batch_size: int, key: int, *, drop: bool = False
) -> Array:
    """Return the gradient of each batch of a pass in random order, (batches, n_parameters).

    Arguments:
        drop: whether to use dropout, with new masks for each batch.
    """
    w, order = Value(flat), rng.permutation(rng.fold(key, 0), len(rows.y))
    found = []
    for number in range(len(order) // batch_size):
        chosen = order[number * batch_size : (number + 1) * batch_size]
        keys = [rng.fold(key, 1, number, layer) for layer in range(len(network.hidden))] if drop else None
        scores = network.scores(network.divide(w), Value(rows.X[chosen]), keys)
        mean = margins(rows.y[chosen], scores, network.scale).softplus().mean()
        found.append(gradient(mean, [w])[0].data)
    return np.stack(found)
