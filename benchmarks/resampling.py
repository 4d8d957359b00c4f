"""Measure the coverage of the interval of `sweepgrad evaluate`: `python -m benchmarks.resampling`.

Each repetition draws a table with normal features and a linear rule, with some labels flipped; the procedure
is logistic regression without intercept. The true accuracy of a model follows from the angle between its
weights and the rule, so the mean over tables of that size is known without test rows. The program counts how
often 95 % intervals contain it, with and without the correction for rows that splits share.
"""

import argparse
from math import pi

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from sweepgrad import rng
from sweepgrad.selection.evaluation import corrected_mean

ROWS, FEATURES, TURNED, SPLITS, TURNS = 250, 5, 0.2, 20, 5
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=1000)
    n = parser.parse_args().repetitions
    kinds = {f"{SPLITS} repeated splits": repeated, f"{TURNS} turns": turns}
    print(f"{n} tables of {ROWS} rows: how often 95 % intervals contain the truth\n")
    print("| | corrected | without correction |\n| --- | ---: | ---: |")
    for name, tested in kinds.items():
        found = [evaluated(key, tested(key)) for key in (rng.key(0, name, number) for number in range(n))]
        truth = float(np.mean([true for _, true in found]))
        held = []
        for ratio in (1 / (TURNS - 1), 0.0):
            means = [corrected_mean(accuracies, ratio) for accuracies, _ in found]
            held.append(float(np.mean([m.low <= truth <= m.high for m in means])))
        print(f"| {name} | {held[0]:.1%} | {held[1]:.1%} |")


def repeated(key: int) -> list[NDArray[np.int64]]:
    """Yield the test rows of each split: a new random fifth."""
    return [rng.permutation(rng.fold(key, 10 + s), ROWS)[: ROWS // TURNS] for s in range(SPLITS)]


def turns(key: int) -> list[NDArray[np.int64]]:
    """Yield the test rows of each outer fold: every row is in one of them."""
    return list(rng.permutation(rng.fold(key, 10), ROWS).reshape(TURNS, -1))


def evaluated(key: int, tested: list[NDArray[np.int64]]) -> tuple[list[float], float]:
    """Return the test accuracies of a table's splits, and the mean of the models' true accuracies."""
    rule = np.eye(FEATURES)[0]
    X = rng.normal(rng.fold(key, 0), (ROWS, FEATURES))
    y = (X @ rule > 0) != (rng.uniform(rng.fold(key, 1), (ROWS,)) < TURNED)
    accuracies, true = [], []
    for rows in tested:
        learned = np.setdiff1d(np.arange(ROWS), rows)
        w: Floats = LogisticRegression(fit_intercept=False).fit(X[learned], y[learned]).coef_[0]
        accuracies.append(float(np.mean((X[rows] @ w > 0) == y[rows])))
        angle = float(np.arccos(w @ rule / np.linalg.norm(w)))
        true.append(1 - TURNED - (1 - 2 * TURNED) * angle / pi)
    return accuracies, float(np.mean(true))


if __name__ == "__main__":
    main()
