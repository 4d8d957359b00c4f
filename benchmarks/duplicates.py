"""Measure the effect of the same song on both sides of a split: `python -m benchmarks.duplicates`.

A procedure is evaluated on 20 splits that keep songs together and on 20 random splits; for comparison
LightGBM with its defaults (`pip install lightgbm`; left out if it is missing) and logistic regression, with
the same features on the same splits. LightGBM is trained on the training rows, as the procedure's models are,
and also on training and validation rows together, since it does not need validation rows.

    python -m benchmarks.duplicates --procedure experiment=spotify_sweep seed=1,2 --splits 5

evaluates another procedure: the arguments of `sweepgrad train`. With --folder, evaluations are kept there and
reused.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from benchmarks.commands import Failed

from sweepgrad.compose.plan import plan
from sweepgrad.config.data import FileData
from sweepgrad.data.access import open_training
from sweepgrad.data.io.files import locate
from sweepgrad.data.split import split_rows, units_of
from sweepgrad.selection.evaluation import Mean, corrected_mean

PROCEDURE = ("experiment=spotify_sweep",)
IDENTIFY = ("artists", "track_name", "track_id")  # identifies a song; not features
RATIO = 0.2 / 0.8  # test rows divided by the others
NAMES = {
    "procedure": "the procedure",
    "lightgbm": "LightGBM, training rows",
    "lightgbm_more": "LightGBM, and validation rows",
    "logistic": "logistic regression",
    "majority": "majority class",
}
Figures = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--procedure", nargs="+", default=PROCEDURE, metavar="KEY=VALUE")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument(
        "--first",
        type=int,
        default=1000,
        help="split.seed of the first split (default: 1000; the project's own test set is that of 0)",
    )
    parser.add_argument("--folder", type=Path, help="keep evaluations here (default: a temporary folder)")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.splits)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        found = {
            kind: evaluated([*options.procedure, *more], seeds, folder / kind)
            for kind, more in {"grouped": [], "random": at_random()}.items()
        }
    print(f"test accuracy on {options.splits} splits, mean ± sd: {' '.join(options.procedure)}\n")
    print(table(found))


def at_random() -> list[str]:
    """Return the overrides of a random split with the same features as the grouped split."""
    (job,) = plan(["data=spotify"], multirun=False).jobs
    assert isinstance(job.config.data, FileData)
    return ["data.group=null", f"data.drop=[{','.join((*job.config.data.drop, *IDENTIFY))}]"]


def evaluated(overrides: Sequence[str], seeds: range, folder: Path) -> Figures:
    """Return test accuracies by name, one number for each split.

    Raises:
        Failed: a command failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    split_seed = f"split.seed=range({seeds.start},{seeds.stop})"
    kept = folder / "evaluation.json"
    if not kept.exists():
        run(["train", "-m", *overrides, split_seed], folder)
        kept.write_text(run(["evaluate", "--json"], folder), encoding="utf-8")
    evaluation: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    figures = {
        "procedure": [split["test"]["accuracy"] for split in evaluation["splits"]],
        **{
            name: [split["baselines"][name]["accuracy"] for split in evaluation["splits"]]
            for name in evaluation["baselines"]
        },
    }
    if find_spec("lightgbm") is not None:
        both = [lightgbm([*overrides, f"split.seed={seed}"]) for seed in seeds]
        figures["lightgbm"], figures["lightgbm_more"] = ([*each] for each in zip(*both, strict=True))
    return figures


def run(arguments: Sequence[str], folder: Path) -> str:
    """Run `sweepgrad ARGUMENTS` in a folder and return what it prints; its messages are shown."""
    command = [str(Path(sys.executable).with_name("sweepgrad")), *arguments]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout


def lightgbm(overrides: Sequence[str]) -> tuple[float, float]:
    """Return the test accuracy on a split, trained on training rows, and on training and validation rows.

    The test rows are read here again, after `sweepgrad evaluate` recorded its evaluation; the digest shows
    that they are the same.
    """
    from lightgbm import LGBMClassifier

    config = plan(overrides, multirun=True).jobs[0].config
    assert isinstance(config.data, FileData)
    training = open_training(config.data, config.split)
    frame = pd.read_csv(locate(config.data))
    y = (frame[config.data.target] == config.data.positive).to_numpy().astype(float)
    parts = split_rows(y, units_of(frame, training.roles.group), config.split)
    assert parts.digest("test") == training.digests.test
    X_test = training.preprocessor.transform(frame.iloc[parts.test])
    accuracies = []
    for n in (training.n_train, len(training.y)):
        model = LGBMClassifier(random_state=0, n_jobs=1, deterministic=True, verbose=-1)
        model.fit(training.X[:n], training.y[:n])
        p = np.asarray(model.booster_.predict(X_test))  # without the names of columns that arrays do not have
        accuracies.append(float(np.mean((p >= 0.5) == (y[parts.test] == 1))))
    return accuracies[0], accuracies[1]


def table(found: dict[str, Figures]) -> str:
    """Return a table with a row per model: both kinds of split, the difference, and the procedure's lead."""
    grouped, random = found["grouped"], found["random"]
    lines = [
        "| | grouped by song | at random | effect of duplicates | grouped: lead of the procedure |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, label in NAMES.items():
        if name in grouped:
            worth = difference(random[name], grouped[name])
            ahead = "" if name == "procedure" else points(difference(grouped["procedure"], grouped[name]))
            cells = (label, *(f"{share(each[name])}" for each in (grouped, random)), points(worth), ahead)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def difference(one: Sequence[float], other: Sequence[float]) -> Mean:
    """Return the mean difference over paired splits."""
    return corrected_mean([a - b for a, b in zip(one, other, strict=True)], RATIO)


def share(values: Sequence[float]) -> str:
    m = corrected_mean(values, RATIO)
    return f"{m.mean:.1%} ± {100 * m.sd:.1f}"


def points(m: Mean) -> str:
    return f"{100 * m.mean:+.1f} ({100 * m.low:+.1f} to {100 * m.high:+.1f})"


if __name__ == "__main__":
    main()
