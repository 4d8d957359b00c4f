"""JAX, many models at once on two cores: the same shape vmapped, and different shapes.

A device a core, since XLA does not spread operations as small as these over cores by itself: each device
trains its share of the models, and both are set going before either is waited for.
"""

import os

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks.peers import task
from benchmarks.peers.jax_scan import Weights, key_of, matmul, on_device, train

DTYPE = "float32"


def orders(models: int, batch: int, epochs: int) -> np.ndarray:
    """Return the order of rows of each model, (models, steps, batch)."""
    rng = np.random.default_rng(1)
    steps = task.ROWS // batch
    epoch = lambda: rng.permutation(task.ROWS)[: steps * batch].reshape(steps, batch)  # noqa: E731
    return np.array([np.concatenate([epoch() for _ in range(epochs)]) for _ in range(models)], dtype=np.int32)


def by_hand(h: jax.Array, W: jax.Array) -> jax.Array:
    """Multiply with a product and a sum, which XLA vectorises over a last axis of models."""
    return jnp.sum(h[:, :, None] * W, axis=1)


def widest(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(max(widths) for widths in zip(*shapes, strict=True))


def stacked(shapes: list[tuple[int, ...]], hidden: tuple[int, ...], axis: int) -> Weights:
    """Return the models' initial weights, padded with zeros to the widths `hidden`, along an axis of models.

    Padding changes nothing: a unit whose weights are all zero has zero output and zero gradients.
    """
    models = []
    for seed, shape in enumerate(shapes):
        layers = task.initial(shape, DTYPE, seed)
        target = task.initial(hidden, DTYPE)
        models.append(
            [
                (
                    np.pad(W, [(0, m - n) for n, m in zip(W.shape, V.shape, strict=True)]),
                    np.pad(b, (0, len(c) - len(b))),
                )
                for (W, b), (V, c) in zip(layers, target, strict=True)
            ]
        )
    return jax.tree.map(lambda *arrays: jnp.stack(arrays, axis=axis), *models)


def vmapped(
    hidden: tuple[int, ...], batch: int, axis: int, product: Callable[..., jax.Array]
) -> Callable[..., Weights]:
    one = train(hidden, batch, DTYPE, "hash", product=product)
    return jax.jit(jax.vmap(one, in_axes=(axis, None, None, 0, 0), out_axes=axis), donate_argnums=0)


def halves(shapes: list[tuple[int, ...]], batch: int, epochs: int, axis: int) -> list[list[Any]]:
    """Return the arguments of each device's half of the models."""
    keys = jnp.stack([key_of(seed, "hash") for seed in range(len(shapes))])
    order, (X, y) = orders(len(shapes), batch, epochs), task.data(DTYPE)
    parts = np.array_split(np.arange(len(shapes)), len(jax.devices()))
    return [
        [
            jax.device_put(part, device)
            for part in (
                stacked([shapes[i] for i in some], widest(shapes), axis),
                X,
                y,
                order[some],
                keys[some],
            )
        ]
        for some, device in zip(parts, jax.devices(), strict=True)
    ]


def same_shape_seconds(hidden: tuple[int, ...], models: int, batch: int) -> float:
    """Seconds per model and step, compiled before: the faster of two layouts of the axis of models."""
    times = []
    for axis, product in ((0, matmul), (-1, by_hand)):
        epoch = vmapped(hidden, batch, axis, product)
        devices = halves([hidden] * models, batch, 1, axis)

        def run(epoch: Any = epoch, devices: Any = devices) -> None:
            going = [epoch(*arguments) for arguments in devices]
            for arguments, weights in zip(devices, going, strict=True):
                arguments[0] = jax.block_until_ready(weights)

        times.append(task.fastest(run))
    return min(times) / (models * (task.ROWS // batch))


def compiled_each_seconds(shapes: list[tuple[int, ...]], batch: int, epochs: int) -> float:
    """Seconds from the call to the last weights, each shape compiled for itself, a thread a core."""
    start = time.perf_counter()
    X, y = task.data(DTYPE)
    order = orders(1, batch, epochs)[0]

    def work(seed: int) -> None:
        with jax.default_device(jax.devices()[seed % len(jax.devices())]):
            run = jax.jit(train(shapes[seed], batch, DTYPE, "hash"), donate_argnums=0)
            jax.block_until_ready(
                run(on_device(shapes[seed], DTYPE, seed), X, y, order, key_of(seed, "hash"))
            )

    with ThreadPoolExecutor(len(jax.devices())) as pool:
        list(pool.map(work, range(len(shapes))))
    return time.perf_counter() - start


def padded_seconds(shapes: list[tuple[int, ...]], batch: int, epochs: int) -> float:
    """Do the same with the shapes of a depth padded to the widest and vmapped: one compilation per depth."""
    start = time.perf_counter()
    for _, group in groupby(sorted(shapes, key=len), key=len):
        some = list(group)
        run = vmapped(widest(some), batch, 0, matmul)
        going = [run(*arguments) for arguments in halves(some, batch, epochs, 0)]
        jax.block_until_ready(going)
    return time.perf_counter() - start
