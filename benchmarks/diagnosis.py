"""Measure the cost of `train.diagnose`: `python -m benchmarks.diagnosis`, about half a minute.

The same run of fifty epochs is trained alternately with and without `train.diagnose` in one process:
training, evaluation and layer statistics, in seconds of this thread. Other work on the machine does not add
to these, but slows them down, so the ratio of the fastest rounds is printed as well as that of the median
ones. With `--statistics` it prints instead the statistics that the thresholds of training/diagnosis.py are
based on: those of healthy runs, with the architectures, optimizers and activations in conf/, and of runs with
a problem.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import time
from itertools import product
from statistics import median

import numpy as np
from numpy.typing import NDArray

from sweepgrad import engine
from sweepgrad.compose.plan import plan
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import Adam
from sweepgrad.rng import key, normal
from sweepgrad.runs.capture import diagnosis_of
from sweepgrad.training import experiment
from sweepgrad.training.epoch import Epoch
from sweepgrad.training.loop import Examples, fit

FEATURES, ROWS, VAL, BATCH = 14, 3600, 1200, 32
EPOCHS, ROUNDS = 50, 121
HEALTHY = [
    *(f"model={model} optimizer={optimizer}" for model, optimizer in product(
        ("wide", "middle", "deep", "linear"), ("sgd", "momentum", "adagrad", "adam"))),
    *(f"model=deep model.activation={a} optimizer={o}" for a, o in product(
        ("tanh", "sigmoid"), ("sgd", "adam"))),
    *(f"data=simulated model={model}" for model in ("wide", "deep", "linear")),
    "data=simulated model=deep optimizer=sgd train.epochs=3",
    "model=wide model.dropout=0.5",
]  # fmt: skip
UNHEALTHY = (
    "model=middle optimizer.lr=0.2",
    "model=middle optimizer=sgd optimizer.lr=10",
    "model=middle optimizer.lr=1e-6",
    "model=deep model.hidden=[8,8,8,8,8,8,8,8] model.activation=sigmoid optimizer=sgd",
    "model=middle model.activation=tanh optimizer.lr=1",
    "model=linear model.scale=100 optimizer=sgd",
    "model=deep model.hidden=[6,6,6] model.dropout=0.5",
)


def rounds(dtype: str) -> NDArray[np.float64]:
    """Return the seconds per epoch without and with diagnosis, of runs trained alternately; (rounds, 2)."""
    number = {"float64": np.float64, "float32": np.float32}[dtype]
    X = normal(key(0, "X"), (ROWS + VAL, FEATURES)).astype(number)
    y = (X[:, 0] * X[:, 1] + 0.5 * X[:, 2] > 0).astype(number)
    train, val = Examples(X[:ROWS], y[:ROWS]), Examples(X[ROWS:], y[ROWS:])
    network, optimizer = Network(FEATURES, (8, 4), "relu", 0.5), Adam(0.005, 0.9, 0.999, 1e-8)
    replay = engine.load("native", number)

    def seconds(diagnose: bool) -> float:
        settings = {"epochs": EPOCHS, "batch_size": BATCH, "diagnose": diagnose, "engine": replay}
        clock = time.thread_time()
        for _ in fit(network, optimizer, train, val, seed=0, **settings):  # type: ignore[arg-type]
            pass
        return (time.thread_time() - clock) / EPOCHS

    times = np.zeros((ROUNDS, 2))
    for number_of_round in range(ROUNDS):
        for which in (0, 1) if number_of_round % 2 else (1, 0):  # each is first equally often
            times[number_of_round, which] = seconds(bool(which))
    return times[1:]


def statistics(overrides: str) -> tuple[str, list[float]]:
    """Return the verdict and largest step, distance, gradient ratio, saturation of layer and output."""
    (job,) = plan([*overrides.split(), "train.diagnose=true"], multirun=False).jobs
    run = experiment.prepare(job.config)
    *_, result = run.fits()
    history: tuple[Epoch, ...] = result.history
    seen = [epoch.stats for epoch in history if epoch.stats]
    steps = -(-len(run.train.y) // job.config.train.batch_size)
    best = seen[result.best_epoch - 1]
    moves = np.array([[layer.update_ratio for layer in each.layers] for each in seen])
    first, last = (median(each.layers[i].gradient_norm for each in seen) for i in (0, -1))
    saturated = max((layer.saturated_share or 0.0 for layer in best.layers), default=0.0)
    numbers = [moves.max(), steps * moves.sum(axis=0).max(), first / last, saturated, best.output_saturated]
    return diagnosis_of(run, result, run.val_scores(result)), numbers


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--statistics", action="store_true", help="print the statistics of healthy and unhealthy runs"
    )
    if options.parse_args().statistics:
        heading = f"{'step':>8} {'distance':>8} {'first/last':>10} {'layer':>6} {'output':>6}"
        for title, runs in (("healthy", HEALTHY), ("unhealthy", UNHEALTHY)):
            print(f"{heading}  {title}")
            for overrides in runs:
                verdict, (step, distance, gradient, layer, output) = statistics(overrides)
                print(f"{step:8.2g} {distance:8.2g} {gradient:10.2g} {layer:6.2f} {output:6.2f}  {overrides}")
                print(f"{'':43}{verdict}", flush=True)
        return
    for dtype in ("float64", "float32"):
        without, diagnosed = 1e3 * rounds(dtype).T
        low, middle, high = np.quantile(diagnosed / without, (0.25, 0.5, 0.75))
        print(
            f"{dtype}: fastest round {without.min():.3f} ms per epoch without, {diagnosed.min():.3f} with,"
            f" ratio {diagnosed.min() / without.min():.3f}; median round {np.median(without):.3f} and"
            f" {np.median(diagnosed):.3f}, ratio {middle:.3f} (quartiles {low:.3f} to {high:.3f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
