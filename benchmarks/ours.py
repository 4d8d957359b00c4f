"""Our engine on the benchmark task: an epoch of `fit` without evaluation, which no library does here."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
from benchmarks.peers import task

from sweepgrad import engine as engines
from sweepgrad import rng
from sweepgrad.engine.tape import DType
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import SGD
from sweepgrad.training.steps import Update, training

DTYPES: dict[str, DType] = {"float64": np.float64, "float32": np.float32}


class Job:
    """One model in training."""

    def __init__(self, hidden: tuple[int, ...], batch: int, dtype: str, engine: Literal["native", "numpy"]):
        number = DTYPES[dtype]
        network = Network(task.FEATURES, hidden, "relu", task.DROPOUT)
        self.replay = engines.load(engine, number)
        self.tape = training(network, Update(SGD(task.LEARNING_RATE)), batch, number)
        self.buffer = np.zeros(self.tape.length, number)
        for slot, constant in self.tape.constants:
            slot.of(self.buffer)[...] = constant
        inputs = {"scale": 1.0, "dropout": task.DROPOUT}
        inputs["weights"] = np.concatenate([w.reshape(-1) for wb in task.initial(hidden, dtype) for w in wb])
        for label, value in inputs.items():
            self.tape.inputs[label].of(self.buffer)[...] = value
        X, y = task.data(dtype)
        self.X, self.y = X, y.reshape(-1, 1)

    def epoch(self, epoch: int, most: int = task.ROWS) -> int:
        """Train for an epoch, or for its first `most` steps; return the number of steps."""
        order = rng.permutation(rng.key(0, "order", epoch), task.ROWS)
        steps = min(task.ROWS // self.tape.rows, most)
        t = np.arange(1, steps + 1)
        scalars = np.stack([np.full(steps, task.LEARNING_RATE), t], axis=1).astype(self.tape.dtype)
        done, _ = self.replay(self.tape, self.buffer, self.X, self.y, order, scalars, 1, 1)
        assert done == steps, "training diverged"
        return steps


def step_seconds(
    hidden: tuple[int, ...], batch: int, dtype: str, engine: Literal["native", "numpy"]
) -> float:
    """Return the seconds per step."""
    job = Job(hidden, batch, dtype, engine)
    if engine == "native":
        return task.fastest(lambda: job.epoch(1)) / (task.ROWS // batch)
    most = max(1, min(task.ROWS // batch, 200))
    return task.fastest(lambda: job.epoch(1, most)) / most


def population_seconds(shapes: list[tuple[int, ...]], batch: int, epochs: int, threads: int) -> float:
    """Return the seconds to train models of all these shapes, with the engine loaded."""
    engines.load("native", np.float32)

    def train(hidden: tuple[int, ...]) -> None:
        job = Job(hidden, batch, "float32", "native")
        for epoch in range(1, epochs + 1):
            job.epoch(epoch)

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(train, shapes))
    return time.perf_counter() - start


def first_step_seconds(hidden: tuple[int, ...]) -> float:
    """Return the seconds from naming an architecture to its first finished step, with the engine loaded."""
    engines.load("native", np.float32)
    start = time.perf_counter()
    Job(hidden, 32, "float32", "native").epoch(1, most=1)
    return time.perf_counter() - start
