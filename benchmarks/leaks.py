"""Measure how many planted leaks are found, and the false alarms: `python -m benchmarks.leaks`, some minutes.

Each kind of leak is planted in 100 random tables, and 100 tables are clean but difficult: heavy tails,
integers with ties, rare levels, 5 % positive rows, correlated columns, only categorical columns so that equal
rows are common, numbers that are rounded, mostly zero, or equal except for the last bit; half of them are
sorted by the target. Each table goes through the same checks as in `sweepgrad check` and every run. A leak
counts as found only if it is named correctly; a false alarm is any finding in a clean table. The thresholds
were tuned on the tables of --first 1000; report those of --first 0.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweepgrad.config.data import FileData
from sweepgrad.config.split import Split
from sweepgrad.data.access import open_check
from sweepgrad.data.audit.certificate import certify
from sweepgrad.data.audit.report import CheckReport
from sweepgrad.data.leakage.perturbation import sees_held_out
from sweepgrad.data.preprocess.fit import fit_preprocessor
from sweepgrad.data.split import Parts
from sweepgrad.data.table import read

SHARES = Split(train=0.6, val=0.2, test=0.2, seed=0, stratify=True)
Draw = np.random.Generator


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=int, default=100, help="number of tables of each kind")
    parser.add_argument("--first", type=int, default=0, help="seed of the first table")
    parser.add_argument("--kinds", nargs="*", choices=[*PLANTED, "clean"], default=[*PLANTED, "clean"])
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.tables)
    print("| planted | found |\n| --- | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for place, kind in enumerate(PLANTED):
            if kind in arguments.kinds:
                missed = [
                    seed
                    for seed in seeds
                    if not PLANTED[kind](np.random.default_rng([seed, place]), Path(folder))
                ]
                which = f" (missed with seeds {missed})" if missed else ""
                print(f"| {kind} | {len(seeds) - len(missed)} of {len(seeds)}{which} |", flush=True)
        if "clean" in arguments.kinds:
            alarms = {}
            for seed in seeds:
                draw = np.random.default_rng([seed, len(PLANTED)])
                table = clean(draw)
                if seed % 2:
                    table = table.sort_values("y", kind="stable", ignore_index=True)
                if said := report(table, Path(folder), split_seed=seed).problems:
                    alarms[seed] = said
            print(f"| nothing: false alarms | {len(alarms)} of {len(seeds)} |")
            for seed, said in alarms.items():
                print(f"  seed {seed}: {'; '.join(said)}")


def clean(draw: Draw, *, rich: bool = False) -> pd.DataFrame:
    """Return a random table without a leak, with the target in column y.

    Arguments:
        rich: with at least two columns of fractions, so that no two rows are equal by chance, and at least 30
            rows of the minority class.
    """
    n = int(np.exp(draw.uniform(np.log(60), np.log(5000))))
    share = float(draw.choice([0.5, 0.35, 0.2, 0.05]))
    if n * share < (30 if rich else 10):
        share = 0.5
    y = draw.permutation(np.arange(n) < max(6, round(share * n))).astype(int)
    common = draw.normal(size=n)  # shared by several columns
    sorts = list(LEVELS if not rich and draw.random() < 0.3 else COLUMNS)
    columns = {}
    for place in range(int(draw.integers(2, 12))):
        columns[f"x{place}"] = sorts[draw.integers(len(sorts))](draw, n, y, common)
    if rich:
        columns |= {f"fraction{i}": draw.normal(size=n) + draw.uniform(0, 1.5) * y for i in range(2)}
    return pd.DataFrame({**columns, "y": np.where(y == 1, "yes", "no")})


def _signal(draw: Draw, y: Any, common: Any) -> Any:
    """Return a number that depends on the target, on the other columns, on both, or on neither."""
    return draw.choice([0, 0.5, 1.5]) * y + draw.choice([0, 0, 1, 3]) * common + draw.normal(size=len(y))


def _normal(draw: Draw, n: int, y: Any, common: Any) -> Any:
    return _signal(draw, y, common)


def _heavy(draw: Draw, n: int, y: Any, common: Any) -> Any:
    return draw.standard_t(1.2, size=n) * np.exp(draw.uniform(0, 3)) + draw.choice([0, 1]) * y


def _lognormal(draw: Draw, n: int, y: Any, common: Any) -> Any:
    return np.exp(draw.uniform(0.5, 3) * _signal(draw, y, common))


def _rounded(draw: Draw, n: int, y: Any, common: Any) -> Any:
    return np.round(_signal(draw, y, common), int(draw.integers(1, 4)))


def _last_bit(draw: Draw, n: int, y: Any, common: Any) -> Any:
    """Return coarse numbers, computed in another way in half of the rows: 3 / 10 is less than 3 * 0.1."""
    k = np.round(draw.uniform(1, 10) * _signal(draw, y, common))
    return np.where(draw.random(n) < 0.5, k / 10, k * 0.1)


def _counts(draw: Draw, n: int, y: Any, common: Any) -> Any:
    return draw.poisson(np.exp(np.clip(draw.uniform(-1, 3) + 0.3 * _signal(draw, y, common), -5, 6)))


def _mostly_zero(draw: Draw, n: int, y: Any, common: Any) -> Any:
    return np.where(draw.random(n) < draw.uniform(0.3, 0.95), 0.0, draw.lognormal(size=n))


def _missing(draw: Draw, n: int, y: Any, common: Any) -> Any:
    return np.where(draw.random(n) < draw.uniform(0.05, 0.6), np.nan, _signal(draw, y, common))


def _boolean(draw: Draw, n: int, y: Any, common: Any) -> Any:
    return _signal(draw, y, common) > draw.normal()


def _grade(draw: Draw, n: int, y: Any, common: Any) -> Any:
    return np.clip(np.round(2 + _signal(draw, y, common)), 0, draw.integers(2, 8)).astype(int)


def _levels(draw: Draw, n: int, y: Any, common: Any) -> Any:
    k = int(draw.integers(2, 20))
    return np.char.add("level", draw.choice(k, size=n, p=draw.dirichlet(np.full(k, 0.7))).astype(str))


def _rare(draw: Draw, n: int, y: Any, common: Any) -> Any:
    k = max(3, min(40, n // 8))
    p = 1 / np.arange(1, k + 1) ** 1.5
    return np.char.add("level", draw.choice(k, size=n, p=p / p.sum()).astype(str))


def _banded(draw: Draw, n: int, y: Any, common: Any) -> Any:
    """Return levels that depend on the shared effect, as a region depends on a town."""
    return np.char.add("band", np.clip(np.floor(common * draw.uniform(1, 3)), -4, 4).astype(int).astype(str))


LEVELS = (_boolean, _grade, _levels, _rare, _banded, _last_bit)
COLUMNS = (_normal, _heavy, _lognormal, _rounded, _counts, _mostly_zero, _missing, *LEVELS)


def file_data(frame: pd.DataFrame, folder: Path, **changes: Any) -> FileData:
    path = folder / "table.csv"
    frame.to_csv(path, index=False)
    settings: dict[str, Any] = {
        "numeric": None,
        "categorical": None,
        "drop": (),
        "group": None,
        "keep": (),
        "sha256": None,
    }
    settings |= {
        "source": "file",
        "name": "t",
        "path": str(path),
        "target": "y",
        "positive": "yes",
        **changes,
    }
    return FileData(**settings)


def report(frame: pd.DataFrame, folder: Path, split_seed: int = 0, **changes: Any) -> CheckReport:
    split = SHARES.model_copy(update={"seed": split_seed})
    return open_check(file_data(frame, folder, **changes), split)


def placed(frame: pd.DataFrame, draw: Draw, name: str, column: Any) -> pd.DataFrame:
    """Return the table with another column at a random place."""
    frame = frame.copy()
    frame.insert(int(draw.integers(frame.shape[1])), name, column)
    return frame


def target_copy(draw: Draw, folder: Path) -> bool:
    frame = clean(draw, rich=True)
    y = (frame["y"] == "yes").to_numpy()
    disguises = (
        lambda: y,
        lambda: np.where(y, "b", "a"),
        lambda: y + draw.uniform(0, 0.9, len(y)),
        lambda: -3.0 * y,
        lambda: np.where(y, np.nan, draw.normal(size=len(y))),
    )
    found = report(placed(frame, draw, "leak", disguises[draw.integers(5)]()), folder)
    return any(o.column == "leak" and o.kind == "revealing" for o in found.findings)


def noisy_copy(draw: Draw, folder: Path) -> bool:
    frame = clean(draw, rich=True)
    y = (frame["y"] == "yes").to_numpy()
    wrong = draw.permutation(len(y)) < round(0.01 * len(y))
    copy = y ^ wrong
    disguises = [lambda: copy, lambda: np.where(copy, "b", "a"), lambda: 7 - 2 * copy]
    if len(y) >= 200:  # with fewer rows many thresholds fit
        disguises.append(lambda: copy + draw.uniform(0, 0.9, len(y)))
    found = report(placed(frame, draw, "leak", disguises[draw.integers(len(disguises))]()), folder)
    refused = {o.column for o in found.findings if o.kind == "revealing"}
    return "leak" in refused | set(found.certificate.columns)


def identifier(draw: Draw, folder: Path) -> bool:
    frame = clean(draw, rich=True)
    n = len(frame)
    disguises = [
        lambda: np.arange(n),
        lambda: draw.permutation(n) + 1000,
        lambda: np.cumsum(draw.integers(1, 1000, n)),
        lambda: np.char.add("customer ", draw.permutation(n).astype(str)),
    ]
    if n >= 300:  # with few rows these are ordinary levels or numbers
        disguises.append(lambda: np.char.add("c", draw.integers(0, n, n).astype(str)))
        disguises.append(lambda: draw.permutation(2 * n)[:n])
    column = disguises[draw.integers(len(disguises))]()
    found = report(placed(frame, draw, "leak", column), folder)
    return any(o.column == "leak" and o.kind == "identifying" for o in found.findings)


def duplicate_rows(draw: Draw, folder: Path) -> bool:
    frame = clean(draw, rich=True)
    again = frame.sample(frac=draw.uniform(0.1, 0.3), random_state=int(draw.integers(2**31)))
    if draw.random() < 0.5:  # labels may differ: a song under another id
        flip = draw.random(len(again)) < 0.2
        again = again.assign(y=np.where(flip, np.where(again["y"] == "yes", "no", "yes"), again["y"]))
    both = pd.concat([frame, again]).sample(frac=1, random_state=int(draw.integers(2**31)))
    return report(both, folder).certificate.duplicates.relevant


def near_duplicate_rows(draw: Draw, folder: Path) -> bool:
    frame = clean(draw, rich=True)
    for i in range(2, 5):  # near-duplicates are reported only if rows vary in several columns
        frame.insert(0, f"fraction{i}", draw.normal(size=len(frame)))
    again = frame.sample(frac=draw.uniform(0.1, 0.3), random_state=int(draw.integers(2**31)))
    moved = [name for name in frame.columns if name.startswith("fraction")]
    again[moved] += draw.normal(scale=0.003, size=(len(again), len(moved)))
    both = pd.concat([frame, again]).sample(frac=1, random_state=int(draw.integers(2**31)))
    return report(both, folder).certificate.near_duplicates.relevant


def broken_split(draw: Draw, folder: Path) -> bool:
    """Pass a split that divides groups to the certificate."""
    frame = clean(draw, rich=True)
    n = len(frame)
    units = draw.integers(0, max(20, n // int(draw.integers(2, 10))), n)
    table = read(file_data(frame.assign(unit=np.char.add("u", units.astype(str))), folder, group="unit"))
    if draw.random() < 0.5:  # ignore groups
        of = draw.choice(3, size=n, p=[0.6, 0.2, 0.2])
    else:  # correct except for one row, which is moved to another set
        of = draw.choice(3, size=units.max() + 1, p=[0.6, 0.2, 0.2])[units]
        big = draw.choice(np.flatnonzero(np.bincount(units, minlength=units.max() + 1)[units] > 1))
        of[big] = (of[big] + 1) % 3
    parts = Parts(of.astype(np.int8))
    features = table.roles.features
    fitted = fit_preprocessor(
        table.columns,
        table.y,
        table.roles,
        parts.mask("train"),
        unexamined=features,
        progress=lambda text: None,
    )
    found = certify(table, parts, fitted.preprocessor, unexamined=features, progress=lambda text: None)
    return any("groups of equal unit" in said for said in found.found)


def fitted_on_all(draw: Draw, folder: Path) -> bool:
    """Test a transform that learns from all rows; the same one on training rows must not be reported."""
    frame = clean(draw, rich=True)
    train = draw.random(len(frame)) < 0.6
    column, text = f"fraction{draw.integers(2)}", draw.random() < 0.3

    def learned(rows: pd.DataFrame) -> Any:
        values = rows[column]
        statistics = (
            lambda: values.mean(),
            lambda: values.std(),
            lambda: np.nanmedian(values),
            lambda: np.nanquantile(values, [0.05, 0.25, 0.75, 0.95]),
            lambda: values.clip(*np.nanquantile(values, [0.1, 0.9])).mean(),
            lambda: {"least": values.min(), "most": values.max()},
            lambda: (
                rows.groupby(pd.cut(values, [-9, -1, 0, 1, 9]), observed=True)["y"].value_counts().to_dict()
            ),
        )
        return [rows["y"].value_counts().to_dict()] if text else statistics[which]()

    which = int(draw.integers(7))
    leaky = sees_held_out(lambda rows, train: learned(rows), frame, train)
    honest = sees_held_out(lambda rows, train: learned(rows[train]), frame, train)
    return bool(leaky) and not honest


PLANTED: dict[str, Callable[[Draw, Path], bool]] = {
    "target copy": target_copy,
    "noisy copy, 99 % agreement": noisy_copy,
    "identifier": identifier,
    "duplicate rows": duplicate_rows,
    "near-duplicate rows": near_duplicate_rows,
    "group across the split": broken_split,
    "statistic of all rows": fitted_on_all,
}


if __name__ == "__main__":
    main()
