"""JAX: a whole epoch in one compiled call, `lax.scan` over its steps, the data and the weights on the device.

Two ways to draw the dropout masks. "Documented" is `jax.random.bernoulli` with a key of its own for each
layer and step. "Tuned" is what one does after finding that this takes more than half of the time: hash a
counter inside the step, one multiply-xor chain a unit, and unroll the loop over the steps where that helps.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks.peers import task

Weights = list[tuple[jax.Array, jax.Array]]
Masks = Literal["bernoulli", "hash", "hash at once"]


def coins(first: int, shape: tuple[int, ...], key: jax.Array, dtype: str) -> jax.Array:
    """0 or 2 by the top bit of a 32-bit hash of a counter."""
    assert task.DROPOUT == 0.5, "one bit is a fair coin"
    word = jnp.arange(first, first + np.prod(shape), dtype=jnp.uint32).reshape(shape) + key
    word = (word ^ (word >> 16)) * jnp.uint32(0x7FEB352D)
    word = (word ^ (word >> 15)) * jnp.uint32(0x846CA68B)
    return (word >> 31).astype(dtype) * 2


def hashed_masks(
    key: jax.Array, t: jax.Array, hidden: tuple[int, ...], batch: int, dtype: str
) -> list[jax.Array]:
    """Draw each layer's mask separately: with a batch of one, this makes the step several times faster."""
    key = key + t * jnp.uint32(batch * sum(hidden))
    firsts = np.cumsum([0, *(batch * width for width in hidden)])
    return [coins(n, (batch, width), key, dtype) for n, width in zip(firsts, hidden, strict=False)]


def masks_hashed_at_once(
    key: jax.Array, t: jax.Array, hidden: tuple[int, ...], batch: int, dtype: str
) -> list[jax.Array]:
    """Draw the masks of all layers at once and split them: faster for narrow layers and larger batches."""
    key = key + t * jnp.uint32(batch * sum(hidden))
    return jnp.split(coins(0, (batch, sum(hidden)), key, dtype), np.cumsum(hidden)[:-1], axis=1)


def bernoulli_masks(
    key: jax.Array, t: jax.Array, hidden: tuple[int, ...], batch: int, dtype: str
) -> list[jax.Array]:
    keys = jax.random.split(jax.random.fold_in(key, t), len(hidden))
    keep = 1 - task.DROPOUT
    return [
        jax.random.bernoulli(k, keep, (batch, width)).astype(dtype) / keep
        for k, width in zip(keys, hidden, strict=True)
    ]


MASKS: dict[Masks, Callable[..., list[jax.Array]]] = {
    "bernoulli": bernoulli_masks,
    "hash": hashed_masks,
    "hash at once": masks_hashed_at_once,
}
TUNED: list[tuple[Masks, int, bool]] = [("hash", 1, False), ("hash", 2, True), ("hash at once", 2, True)]


def key_of(seed: int, masks: Masks) -> jax.Array:
    return jax.random.key(seed) if masks == "bernoulli" else jnp.uint32(0x9E3779B9) * jnp.uint32(seed + 1)


def on_device(hidden: tuple[int, ...], dtype: str, seed: int = 2) -> Weights:
    return [(jnp.asarray(W), jnp.asarray(b)) for W, b in task.initial(hidden, dtype, seed)]


def matmul(h: jax.Array, W: jax.Array) -> jax.Array:
    return h @ W


def train(
    hidden: tuple[int, ...],
    batch: int,
    dtype: str,
    masks: Masks,
    unroll: int = 1,
    gather_first: bool = False,
    product: Callable[[jax.Array, jax.Array], jax.Array] = matmul,
) -> Callable[..., Weights]:
    """Return a function of (weights, X, y, order, key) that returns the weights after the steps of `order`.

    Arguments:
        unroll: steps written out in the body of the loop.
        gather_first: put all rows in order before the loop, instead of a batch in each step.
        product: of activations (batch, inputs) and weights (inputs, outputs).
    """

    def loss(weights: Weights, X: jax.Array, y: jax.Array, kept: list[jax.Array]) -> jax.Array:
        h = X
        for (W, b), mask in zip(weights[:-1], kept, strict=True):
            h = jax.nn.relu(product(h, W) + b) * mask
        scores = (product(h, weights[-1][0]) + weights[-1][1])[:, 0]
        return jnp.mean(jax.nn.softplus(scores) - y * scores)

    def run(weights: Weights, X: jax.Array, y: jax.Array, order: jax.Array, key: jax.Array) -> Weights:
        def step(weights: Weights, inputs: tuple[jax.Array, Any]) -> tuple[Weights, None]:
            t, rows = inputs
            features, labels = rows if gather_first else (X[rows], y[rows])
            gradients = jax.grad(loss)(weights, features, labels, MASKS[masks](key, t, hidden, batch, dtype))
            return jax.tree.map(lambda w, g: w - task.LEARNING_RATE * g, weights, gradients), None

        steps = jnp.arange(len(order), dtype=jnp.uint32)
        rows = (X[order], y[order]) if gather_first else order
        return jax.lax.scan(step, weights, (steps, rows), unroll=unroll)[0]

    return run


def step_seconds(hidden: tuple[int, ...], batch: int, dtype: str, tuned: bool) -> float:
    """Seconds per training step; when tuned, the fastest of three ways to write it."""
    jax.config.update("jax_enable_x64", dtype == "float64")
    X, y = map(jnp.asarray, task.data(dtype))
    order = jnp.asarray(task.order(batch), dtype=jnp.int32)
    ways: list[tuple[Masks, int, bool]] = TUNED if tuned else [("bernoulli", 1, False)]
    times = []
    for masks, unroll, gather_first in ways:
        key = key_of(0, masks)
        epoch = jax.jit(train(hidden, batch, dtype, masks, unroll, gather_first), donate_argnums=0)
        weights = on_device(hidden, dtype)

        def run(epoch: Any = epoch, key: jax.Array = key) -> None:
            nonlocal weights
            weights = jax.block_until_ready(epoch(weights, X, y, order, key))

        times.append(task.fastest(run))
    return min(times) / len(order)


def first_step_seconds(hidden: tuple[int, ...] = ()) -> float:
    """Seconds from naming an architecture to its first finished step, batch 32: trace, compile and run."""
    X, y = map(jnp.asarray, task.data("float32"))
    order = jnp.asarray(task.order(32)[:1], dtype=jnp.int32)
    key = key_of(0, "hash")

    def make(hidden: tuple[int, ...]) -> Callable[[], object]:
        step = jax.jit(train(hidden, 32, "float32", "hash"), donate_argnums=0)
        return lambda: jax.block_until_ready(step(on_device(hidden, "float32"), X, y, order, key))

    return task.first_steps(make)
