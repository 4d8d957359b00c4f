"""Check coverage of intervals and errors of comparisons: `python -m benchmarks.coverage`, some minutes.

It simulates runs of candidates with known true accuracy, and counts how often intervals contain it, how often
one of several equal candidates is declared the winner, how often a better one is, and how far the best
validation accuracy exceeds the true one.

A run is correct on a row if a normal number is below a quantile. The number is a sum of effects of the row
(its difficulty, for all candidates), of its unit, of the row for this candidate, of the seed of the run, and
of noise. Their shares of the variance are given, so the true accuracy is the probability of that quantile.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from sweepgrad import rng
from sweepgrad.stats.metrics import accuracy_interval
from sweepgrad.stats.selection import Candidate, Choice, choose

REPETITIONS, CANDIDATES, BETTER = 1000, 200, 0.05
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """A setting of the simulation.

    Attributes:
        sizes: number of rows of each unit; all 1 for independent rows.
        seeds: number of seeds of each candidate.
        row, unit, own, seed: shares of the variance; the rest is noise of each run and row.
    """

    sizes: NDArray[np.int64]
    seeds: int = 1
    row: float = 0.0
    unit: float = 0.0
    own: float = 0.0
    seed: float = 0.0
    label: str = field(default="", kw_only=True)

    @property
    def units(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def right(self, truth: Floats, draw: np.random.Generator) -> NDArray[np.bool_]:
        """Simulate where runs of candidates with true accuracies `truth` (C,) are correct, (C, seeds, N)."""
        c, s, n = len(truth), self.seeds, len(self.units)
        kind = np.float32
        total = np.sqrt(kind(1 - self.row - self.unit - self.own - self.seed)) * draw.standard_normal(
            (c, s, n), dtype=kind
        )
        for share, shape in ((self.row, (1, 1, n)), (self.own, (c, 1, n)), (self.seed, (c, s, 1))):
            if share:
                total += np.sqrt(kind(share)) * draw.standard_normal(shape, dtype=kind)
        if self.unit:
            effects = draw.standard_normal(len(self.sizes), dtype=kind)
            total += np.sqrt(kind(self.unit)) * effects[self.units]
        return np.asarray(total < ndtri(truth)[:, None, None].astype(kind), dtype=np.bool_)


def rows(n: int) -> NDArray[np.int64]:
    return np.ones(n, dtype=np.int64)


def unequal(n_units: int) -> NDArray[np.int64]:
    """Return sizes from 2 to 60, evenly spaced on a logarithmic scale."""
    return np.geomspace(2, 60, n_units).round().astype(np.int64)


def chosen(right: NDArray[np.bool_], setting: Setting, repetition: int) -> Choice:
    candidates = [Candidate(1, runs.astype(np.float64)) for runs in right]
    return choose(candidates, setting.units, "best", rng.key(repetition, "coverage"))


def share(held: Sequence[bool] | Sequence[float]) -> float:
    return float(np.mean(held))


def intervals_of_accuracy(repetitions: int, draw: np.random.Generator) -> list[list[Any]]:
    """Measure the coverage of `metrics.accuracy_interval`."""
    found = []
    for truth in (0.7, 0.95):
        for setting in (
            Setting(rows(300), label="300 independent rows"),
            Setting(rows(1200), label="1,200 independent rows"),
            Setting(np.full(100, 12), unit=0.3, label="100 units of 12"),
            Setting(np.full(20, 60), unit=0.3, label="20 units of 60"),
            Setting(unequal(60), unit=0.3, label="60 units of 2 to 60"),
            Setting(unequal(20), unit=0.3, label="20 units of 2 to 60"),
            Setting(unequal(20), label="20 units of 2 to 60 that mean nothing"),
        ):
            held = []
            for _ in range(repetitions):
                y = np.ones(len(setting.units))
                p = setting.right(np.array([truth]), draw)[0, 0].astype(np.float64)
                low, high = accuracy_interval(y, p, units=setting.units)
                held.append(low <= truth <= high)
            found.append([f"{setting.label}, accuracy {truth}", share(held)])
    return found


def intervals_of_standings(repetitions: int, draw: np.random.Generator) -> list[list[Any]]:
    """Measure the coverage of a candidate's interval, and of its difference from the best ± 1.96 errors."""
    found = []
    for truth in (np.array([0.85, 0.75]), np.array([0.9] + [0.75] * 19)):
        for setting in (
            Setting(rows(300), 1, row=0.4, own=0.3, label="300 rows, 1 seed"),
            Setting(rows(1200), 1, row=0.4, own=0.3, label="1,200 rows, 1 seed"),
            Setting(np.full(100, 12), 1, unit=0.3, own=0.3, label="100 units of 12, 1 seed"),
            Setting(np.full(20, 60), 1, unit=0.3, own=0.3, label="20 units of 60, 1 seed"),
            Setting(rows(1200), 3, row=0.4, own=0.3, label="1,200 rows, 3 seeds, all alike"),
            Setting(rows(1200), 3, row=0.4, own=0.3, seed=0.002, label="1,200 rows, 3 seeds, a little apart"),
            Setting(rows(1200), 3, row=0.4, own=0.3, seed=0.02, label="1,200 rows, 3 seeds, far apart"),
            Setting(rows(1200), 10, row=0.4, own=0.3, seed=0.02, label="1,200 rows, 10 seeds, far apart"),
            Setting(np.full(100, 12), 3, unit=0.3, own=0.2, seed=0.01, label="100 units of 12, 3 seeds"),
        ):
            held, differs = [], []
            for repetition in range(repetitions):
                choice = chosen(setting.right(truth, draw), setting, repetition)
                worse = choice.standings[1]
                low, high = worse.interval
                held.append(low <= truth[1] <= high)
                if choice.best == 0:
                    off = worse.behind - (truth[0] - truth[1])
                    differs.append(abs(off) <= 1.96 * worse.behind_error)
            found.append([f"{len(truth)} candidates, {setting.label}", share(held), share(differs)])
    return found


def winners(repetitions: int, draw: np.random.Generator) -> list[list[Any]]:
    """Simulate many candidates: ties if all are equal, one winner if one is better, and optimism."""
    found = []
    spread = 0.8 + 0.01 * ndtri((np.arange(CANDIDATES) + 0.5) / CANDIDATES)
    better = np.full(CANDIDATES, 0.8)
    better[7] += BETTER
    for name, truth in (("equal", np.full(CANDIDATES, 0.8)), ("spread", spread), ("one better", better)):
        for setting in (
            Setting(rows(300), 1, label="300 rows, errors independent"),
            Setting(rows(1200), 1, label="1,200 rows, errors independent"),
            Setting(rows(300), 1, row=0.8, label="300 rows, errors correlated"),
            Setting(rows(1200), 1, row=0.8, label="1,200 rows, errors correlated"),
            Setting(rows(5000), 1, row=0.8, label="5,000 rows, errors correlated"),
            Setting(np.full(100, 12), 1, unit=0.3, row=0.4, label="100 units of 12, errors correlated"),
            Setting(rows(1200), 3, row=0.8, seed=0.002, label="1,200 rows, 3 seeds, errors correlated"),
        ):
            ties, among, sole, says, optimism = [], [], [], [], []
            # Fewer repetitions, since each takes more than a tenth of a second.
            for repetition in range(max(repetitions // (4 if len(setting.units) < 5000 else 20), 1)):
                choice = chosen(setting.right(truth, draw), setting, repetition)
                ties.append(len(choice.tied) > 1)
                among.append(len(choice.tied) / CANDIDATES)
                sole.append(choice.tied == (7,))
                says.append(100 * choice.optimism)
                optimism.append(100 * (choice.standings[choice.best].mean - truth[choice.best]))
            row = [share(ties), share(among), share(sole) if name == "one better" else ""]
            found.append([f"{name}: {setting.label}", *row, share(says), share(optimism)])
    return found


TABLES: dict[str, tuple[Callable[[int, np.random.Generator], list[list[Any]]], list[str]]] = {
    "accuracy": (intervals_of_accuracy, ["interval for an accuracy", "held, aim 0.93 to 0.97"]),
    "standings": (
        intervals_of_standings,
        ["standings", "interval held, aim 0.93 to 0.97", "difference held, aim 0.93 to 0.97"],
    ),
    "winners": (
        winners,
        [
            f"{CANDIDATES} candidates",
            "label: tied",
            "share of candidates tied",
            f"{100 * BETTER:.0f} points better and sole winner",
            "optimism, label, points",
            "optimism, true, points",
        ],
    ),
}


def table(head: list[str], found: list[list[Any]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    lines += [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in found]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coverage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--repetitions",
        type=int,
        default=REPETITIONS,
        help=f"default {REPETITIONS}; a quarter of them for many candidates",
    )
    parser.add_argument(
        "--only", nargs="+", choices=TABLES, default=list(TABLES), help="print only these tables"
    )
    options = parser.parse_args(arguments)
    for number, name in enumerate(TABLES):
        if name in options.only:
            simulate, head = TABLES[name]
            start = time.perf_counter()
            found = simulate(options.repetitions, np.random.default_rng(number))
            print(f"{table(head, found)}\n\n{time.perf_counter() - start:.0f} s\n", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
