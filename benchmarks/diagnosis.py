"""What looking at training costs: `python -m benchmarks.diagnosis`, about half a minute.

The same run with and without `train.diagnose`, in one process, an epoch of each in turn: training, evaluation
and the signs, in seconds of this thread, which other work on the machine slows down but does not add to.
With `--signs` it prints instead what the thresholds of diagnosis.py were set by: the signs of runs that train
well, over the bundled architectures, optimizers and activations, and of runs that do not.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import time
from itertools import product
from statistics import median

import numpy as np

from sweepgrad import engine, experiment
from sweepgrad.fit import Epoch, Examples, fit
from sweepgrad.nn import Network
from sweepgrad.optim import Adam
from sweepgrad.preflight import plan
from sweepgrad.record import diagnosis_of
from sweepgrad.rng import key, normal

FEATURES, ROWS, VAL, BATCH = 14, 3600, 1200, 32
EPOCHS, WARM, ROUNDS = 1000, 20, 5
HEALTHY = [
    *(f"model={model} optimizer={optimizer}" for model, optimizer in product(
        ("wide", "middle", "deep", "linear"), ("sgd", "momentum", "adagrad", "adam"))),
    *(f"model=deep model.activation={a} optimizer={o}" for a, o in product(
        ("tanh", "sigmoid"), ("sgd", "adam"))),
    *(f"data=simulated model={model}" for model in ("wide", "deep", "linear")),
    "data=simulated model=deep optimizer=sgd train.epochs=3",
    "model=wide model.dropout=0.5",
]  # fmt: skip
SICK = (
    "model=middle optimizer.lr=0.2",
    "model=middle optimizer=sgd optimizer.lr=10",
    "model=middle optimizer.lr=1e-6",
    "model=deep model.hidden=[8,8,8,8,8,8,8,8] model.activation=sigmoid optimizer=sgd",
    "model=middle model.activation=tanh optimizer.lr=1",
    "model=linear model.scale=100 optimizer=sgd",
    "model=deep model.hidden=[6,6,6] model.dropout=0.5",
)


def epochs_of(dtype: str) -> tuple[list[float], list[float]]:
    """Seconds of each epoch, without and with: two runs that are trained in turn, an epoch each."""
    number = {"float64": np.float64, "float32": np.float32}[dtype]
    X = normal(key(0, "X"), (ROWS + VAL, FEATURES)).astype(number)
    y = (X[:, 0] * X[:, 1] + 0.5 * X[:, 2] > 0).astype(number)
    train, val = Examples(X[:ROWS], y[:ROWS]), Examples(X[ROWS:], y[ROWS:])
    network, optimizer = Network(FEATURES, (8, 4), "relu", 0.5), Adam(0.005, 0.9, 0.999, 1e-8)
    replay = engine.load("native", number)
    runs = [
        fit(network, optimizer, train, val, epochs=EPOCHS, batch_size=BATCH, seed=0, diagnose=diagnose,
            engine=replay)
        for diagnose in (False, True)
    ]  # fmt: skip
    times: tuple[list[float], list[float]] = ([], [])
    for epoch in range(EPOCHS):
        for which in (0, 1) if epoch % 2 else (1, 0):  # each goes first as often as the other
            clock = time.thread_time()
            next(runs[which])
            times[which].append(time.thread_time() - clock)
    return times[0][WARM:], times[1][WARM:]


def signs(overrides: str) -> tuple[str, list[float]]:
    """The verdict, and what it goes by: largest step, way, first to last, saturation of layer and output."""
    (job,) = plan([*overrides.split(), "train.diagnose=true"], multirun=False).jobs
    run = experiment.prepare(job.config)
    *_, result = run.fits()
    history: tuple[Epoch, ...] = result.history
    seen = [epoch.signs for epoch in history if epoch.signs]
    steps = -(-len(run.train.y) // job.config.train.batch_size)
    best = seen[result.best_epoch - 1]
    moves = np.array([[layer.update_ratio for layer in each.layers] for each in seen])
    first, last = (median(each.layers[i].gradient_norm for each in seen) for i in (0, -1))
    saturated = max((layer.saturated_share or 0.0 for layer in best.layers), default=0.0)
    numbers = [moves.max(), steps * moves.sum(axis=0).max(), first / last, saturated, best.output_saturated]
    return diagnosis_of(run, result, run.summary(result)), numbers


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--signs", action="store_true")
    if options.parse_args().signs:
        heading = f"{'step':>8} {'way':>8} {'first/last':>10} {'layer':>6} {'output':>6}"
        for title, runs in (("healthy", HEALTHY), ("sick", SICK)):
            print(f"{heading}  {title}")
            for overrides in runs:
                verdict, (step, way, gradient, layer, output) = signs(overrides)
                print(f"{step:8.2g} {way:8.2g} {gradient:10.2g} {layer:6.2f} {output:6.2f}  {overrides}")
                print(f"{'':43}{verdict}", flush=True)
        return
    for dtype in ("float64", "float32"):
        rounds = [epochs_of(dtype) for _ in range(ROUNDS)]
        without, looking = (1e3 * np.concatenate(times) for times in zip(*rounds, strict=True))
        low, middle, high = np.quantile(looking / without, (0.25, 0.5, 0.75))
        print(
            f"{dtype}: {np.median(without):.3f} ms an epoch without, {np.median(looking):.3f} with;"
            f" ratio of neighbours {middle:.3f} (quartiles {low:.3f} to {high:.3f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
