"""Ranking: means and standard errors over seeds, from the runs that finished, by validation alone."""

import csv
import io
import itertools
import json
import subprocess
from dataclasses import replace
from math import sqrt
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import SMALL, command, console_script, environment

from sweepgrad.errors import UserError
from sweepgrad.runs import record as records
from sweepgrad.selection import leaderboard, ranking
from sweepgrad.stats.selection import Standing
from sweepgrad.tracking.mapping import Logged

numbers = itertools.count()


def run(accuracy=0.7, nll=0.5, status="FINISHED", **settings) -> Logged:
    """Return a run as MLflow returns it."""
    number = next(numbers)
    params = {"seed": str(number), "n_parameters": "37", "n_features": "2", "optimizer.lr": "0.1"}
    return Logged(
        run_id=f"r{number}",
        name=f"run {number}",
        status=status,
        started=number,
        params=params | {key.replace("__", "."): str(value) for key, value in settings.items()},
        metrics={"best/val/accuracy": accuracy, "best/val/nll": nll, "best/val/roc_auc": accuracy},
        tags={},
    )


LOSSES = {"x": (0.5, 0.7), "y": (0.4, 0.45)}


def test_mean_and_standard_error_are_those_of_the_books():
    values = [0.70, 0.74, 0.78]
    (entry,) = ranking.rank([run(value) for value in values])
    mean = sum(values) / 3
    deviation = sqrt(sum((value - mean) ** 2 for value in values) / 2)
    assert entry.metrics["accuracy"].mean == pytest.approx(mean, rel=1e-12)
    assert entry.metrics["accuracy"].standard_error == pytest.approx(deviation / sqrt(3), rel=1e-12)
    assert str(entry.metrics["accuracy"]) == "0.7400 ± 0.0231"


@pytest.mark.parametrize(
    ("metric", "interval", "shown"),
    [
        ("accuracy", (-0.1, 1.02), (0, 1)),
        ("accuracy", (0.6, 0.8), (0.6, 0.8)),
        ("nll", (-2.5, 0.5), (0, 2.5)),  # of contributions, whose sign is that of higher is better
    ],
)
def test_an_interval_ends_where_the_metric_does(metric, interval, shown):
    (entry,) = ranking.rank([run()])
    standing = Standing(0.5, 0.1, interval, 0.0, 0.0, False)
    (row,) = leaderboard.as_rows([replace(entry, standing=standing)], metric)
    assert (row["by_rows/low"], row["by_rows/high"]) == shown


def test_one_seed_has_no_standard_error():
    (entry,) = ranking.rank([run(0.7)])
    assert entry.metrics["accuracy"].standard_error is None
    assert str(entry.metrics["accuracy"]) == "0.7000"


def test_the_highest_mean_comes_first_not_the_luckiest_seed():
    entries = ranking.rank(
        [
            run(value, hidden=hidden)
            for value, hidden in [(0.9, "[9]"), (0.5, "[9]"), (0.75, "[4]"), (0.76, "[4]")]
        ]
    )
    assert [entry.settings["hidden"] for entry in entries] == ["[4]", "[9]"]


def test_equal_accuracies_are_ranked_by_the_loss():
    entries = ranking.rank([run(0.7, 0.6, a="x"), run(0.7, 0.4, a="y"), run(0.7, 0.5, a="z")])
    assert [entry.settings["a"] for entry in entries] == ["y", "z", "x"]


def test_means_that_differ_by_rounding_alone_are_equal():
    """Then the smaller network goes first, though its mean is lower in its last digit."""
    apart, alike = [0.1, 0.2, 0.3], [0.2, 0.2, 0.2]
    assert fmean(apart) < fmean(alike)
    small = [run(value, a="small", n_parameters=20) for value in apart]
    large = [run(value, a="large", n_parameters=30) for value in alike]
    assert [entry.settings["a"] for entry in ranking.rank([*large, *small])] == ["small", "large"]


def test_how_far_behind_the_leader_is_positive_of_a_loss_too():
    runs = [run(nll=value, a=name, seed=seed) for name in "xy" for seed, value in enumerate(LOSSES[name])]
    leader, other = ranking.rank(runs, "nll")
    assert leader.settings["a"] == "y"
    behind = [x - y for x, y in zip(LOSSES["x"], LOSSES["y"], strict=True)]
    assert other.behind is not None
    assert other.behind.mean == pytest.approx(sum(behind) / 2)
    assert other.behind.mean > 0


def test_within_an_entry_the_best_run_comes_first():
    (entry,) = ranking.rank([run(0.6), run(0.8, 0.5), run(0.8, 0.4), run(0.7)])
    assert [r.metrics["best/val/accuracy"] for r in entry.runs] == [0.8, 0.8, 0.7, 0.6]
    assert entry.runs[0].metrics["best/val/nll"] == 0.4


@pytest.mark.parametrize("status", ["FAILED", "KILLED", "RUNNING"])
def test_only_runs_that_finished_count(status):
    (entry,) = ranking.rank([run(0.6), run(0.99, status=status)])
    assert len(entry.runs) == 1
    with pytest.raises(UserError, match="the run did not finish"):
        ranking.rank([run(0.99, status=status)])


def test_only_keys_that_differ_are_shown_and_never_the_seed():
    entries = ranking.rank([run(model__dropout=0.0, b="same"), run(model__dropout=0.5, b="same")])
    assert [set(entry.settings) for entry in entries] == [{"model.dropout"}] * 2


def test_a_key_that_some_runs_lack_is_shown():
    entries = ranking.rank([run(optimizer__beta1=0.9), run()])
    assert {entry.settings["optimizer.beta1"] for entry in entries} == {"0.9", ""}


def test_the_seeds_of_split_and_data_are_settings_like_any_other():
    assert len(ranking.rank([run(split__seed=0), run(split__seed=1)])) == 2


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(8)))
def test_the_order_of_the_runs_has_no_say(order):
    runs = [run(0.5 + i / 20, 0.5 - i / 50, hidden=i // 2) for i in range(8)]
    expected = [entry.settings["hidden"] for entry in ranking.rank(runs)]
    assert [entry.settings["hidden"] for entry in ranking.rank([runs[i] for i in order])] == expected


def test_the_table_leaves_out_what_follows_from_an_option_and_the_files_hold_it():
    optimizers = ({"name": "adam", "beta1": "0.9"}, {"name": "sgd"}, {"name": "momentum", "momentum": "0.9"})
    settings = [{f"optimizer__{k}": v for k, v in each.items()} for each in optimizers]
    entries = ranking.rank([run(0.7, optimizer__lr=lr, **each) for each in settings for lr in (0.1, 0.2)])
    headers = [str(column.header) for column in leaderboard.as_table("", entries).columns]
    assert {"optimizer.name", "optimizer.lr"} <= set(headers)
    assert not {"optimizer.beta1", "optimizer.momentum"} & set(headers)
    assert {"optimizer.beta1", "optimizer.momentum"} <= set(leaderboard.as_frame(entries).columns)
    both = ranking.rank([run(0.7, **{**settings[0], "optimizer__beta1": beta}) for beta in (0.8, 0.9)])
    assert "optimizer.beta1" in [str(column.header) for column in leaderboard.as_table("", both).columns]


def test_a_frame_has_numbers_where_all_values_are():
    entries = ranking.rank([run(0.7, a=0.1, b="null", c="x"), run(0.6, a=2, b=3, c=1)])
    frame = leaderboard.as_frame(entries)
    assert frame.index.tolist() == [1, 2]
    assert frame["a"].tolist() == [0.1, 2.0]
    assert frame["b"].isna().tolist() == [True, False]
    assert frame["c"].tolist() == ["x", "1"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_output_that_cannot_be_written_is_an_error_without_a_traceback():
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [console_script(), "lab"],  # the verb that imports least
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 2
    assert result.stderr == "sweepgrad: cannot write to standard output: No space left on device\n"


def test_json_and_csv_hold_full_precision():
    entries = ranking.rank([run(1 / 3, hidden="[6, 6]", seed=1), run(1 / 7, hidden="[9]", seed=1)])
    listed = json.loads(leaderboard.as_json("mine", "id", entries))["entries"]
    assert [entry["val/accuracy"] for entry in listed] == [1 / 3, 1 / 7]
    assert [entry["val/accuracy_se"] for entry in listed] == [None, None]
    header, first, _ = leaderboard.as_csv(entries).splitlines()
    assert header.startswith("rank,hidden,")
    assert first.startswith('1,"[6, 6]",37,1,0,0.3333333333333333,,')


def test_markup_in_a_value_is_shown_as_it_is():
    from rich.console import Console

    entries = ranking.rank([run(data__name="[bold]x[/bold]"), run(data__name="y")])
    console = Console(width=200)
    with console.capture() as captured:
        console.print(leaderboard.as_table("[red]sweep", entries))
    assert "[bold]x[/bold]" in captured.get()
    assert "[red]sweep" in captured.get()


def test_a_configuration_that_some_seeds_did_not_finish_stands_behind():
    lucky = [run(0.9, hidden="[9]", seed=1), run(0.1, status="FAILED", hidden="[9]", seed=2)]
    steady = [run(0.6, hidden="[6]", seed=1), run(0.7, hidden="[6]", seed=2)]
    first, second = ranking.rank([*lucky, *steady])
    assert (first.settings, first.unfinished) == ({"hidden": "[6]"}, 0)
    assert (second.settings, second.unfinished) == ({"hidden": "[9]"}, 1)


def test_runs_on_different_rows_are_not_comparable():
    tags = {f"sweepgrad.digest.{part}": part for part in ("table", "train", "val", "test")}
    a, b = replace(run(), tags=tags), replace(run(), tags={**tags, "sweepgrad.digest.val": "other"})
    assert ranking.comparable([a, a])
    assert not ranking.comparable([a, b])


# Folds


def grid(accuracies: dict[str, dict[tuple[int, int], float]]) -> list[Logged]:
    """Runs by model, seed and fold."""
    return [
        run(accuracy, model=model, seed=seed, split__fold=fold, split__folds=3)
        for model, of in accuracies.items()
        for (seed, fold), accuracy in of.items()
    ]


PAIRS = [(seed, fold) for seed in range(2) for fold in range(3)]
DEEP = dict(zip(PAIRS, [0.70, 0.81, 0.66, 0.72, 0.80, 0.69], strict=True))
WIDE = dict(zip(PAIRS, [0.68, 0.80, 0.67, 0.69, 0.77, 0.66], strict=True))


def test_seeds_and_folds_make_one_entry():
    leader, other = ranking.rank(grid({"wide": WIDE, "deep": DEEP}))
    assert (leader.settings, other.settings) == ({"model": "deep"}, {"model": "wide"})
    for entry, values in ((leader, [*DEEP.values()]), (other, [*WIDE.values()])):
        assert (len(entry.runs), entry.unfinished) == (6, 0)
        assert entry.metrics["accuracy"].mean == pytest.approx(np.mean(values), rel=1e-12)
        assert entry.metrics["accuracy"].standard_error == pytest.approx(
            np.std(values, ddof=1) / sqrt(6), rel=1e-12
        )


def test_the_difference_to_the_leader_is_paired():
    leader, other = ranking.rank(grid({"wide": dict(reversed(WIDE.items())), "deep": DEEP}))
    assert (leader.behind, leader.pairs, other.pairs) == (None, 0, 6)
    differences = np.array([*DEEP.values()]) - np.array([*WIDE.values()])
    assert other.behind is not None
    assert other.behind.mean == pytest.approx(differences.mean(), rel=1e-12)
    assert other.behind.standard_error == pytest.approx(differences.std(ddof=1) / sqrt(6), rel=1e-9)
    # Which is what pairing is for: how hard a fold is drops out.
    assert differences.std(ddof=1) < np.std([*WIDE.values()], ddof=1) / 2


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_only_pairs_that_both_have_are_compared(n):
    of = {"wide": dict([*WIDE.items()][:n]) | {(7, 0): 0.5}, "deep": DEEP}
    leader, other = ranking.rank(grid(of))
    assert leader.settings == {"model": "deep"}
    assert other.pairs == n
    differences = [DEEP[pair] - WIDE[pair] for pair in PAIRS[:n]]
    if n == 0:
        assert other.behind is None
    else:
        assert other.behind is not None
        assert other.behind.mean == pytest.approx(np.mean(differences), rel=1e-12)
        error = np.std(differences, ddof=1) / sqrt(n) if n > 1 else None
        assert other.behind.standard_error == (error and pytest.approx(error, rel=1e-9))


def test_an_entry_that_lacks_pairs_of_others_stands_behind_them():
    easy = {pair: accuracy + 0.1 for pair, accuracy in WIDE.items() if pair != (1, 2)}
    first, second = ranking.rank(grid({"easy": easy, "wide": WIDE}))
    assert (first.settings, first.unfinished) == ({"model": "wide"}, 0)
    assert (second.settings, second.unfinished) == ({"model": "easy"}, 1)
    assert second.behind is not None
    assert second.behind.mean == pytest.approx(-0.1)


def test_an_entry_that_lacks_a_fold_stands_behind_those_that_lack_a_seed():
    of = {
        "no fold 2": {pair: 0.9 for pair in PAIRS if pair[1] != 2},
        "no seed 1": {pair: 0.6 for pair in PAIRS if pair[0] != 1},
        "no fold 0": {pair: 0.7 for pair in PAIRS if pair[1] != 0},
    }
    assert [e.settings["model"] for e in ranking.rank(grid(of))] == [
        "no seed 1",
        "no fold 2",
        "no fold 0",
    ]


def test_a_pair_that_failed_and_was_trained_again_counts_once():
    again = [run(0.7, seed=1), run(status="FAILED", seed=2), run(0.8, seed=2)]
    (entry,) = ranking.rank([*again, again[-1]])
    assert (len(entry.runs), entry.unfinished) == (2, 0)
    assert entry.metrics["accuracy"].standard_error == pytest.approx(
        0.1 / 2
    )  # sqrt(2 * 0.05^2) / sqrt(2) = 0.05


def test_within_an_entry_runs_are_by_fold_and_only_then_by_accuracy():
    (entry,) = ranking.rank(grid({"deep": {(s, f): 0.5 + s / 10 + f / 50 for s, f in PAIRS}}))
    assert [(r.params["seed"], r.params["split.fold"]) for r in entry.runs] == [
        ("1", "0"), ("0", "0"), ("1", "1"), ("0", "1"), ("1", "2"), ("0", "2"),
    ]  # fmt: skip
    tenth = [run(0.9, seed=0, split__fold=10), run(0.1, seed=0, split__fold=9)]
    assert [r.params["split.fold"] for r in ranking.rank(tenth)[0].runs] == ["9", "10"]


def digested(fold: int | None, folds: int = 3, other: str = "") -> Logged:
    """Return a run with the digests of its fold, but for the part `other`."""
    tags = {"table": "t", "test": "e", "train": f"train {fold} of {folds}", "val": f"val {fold} of {folds}"}
    tags = {f"sweepgrad.digest.{part}": "other" if part == other else tags[part] for part in tags}
    return replace(run(split__fold="null" if fold is None else fold, split__folds=folds), tags=tags)


def test_folds_of_the_same_rows_are_comparable():
    assert ranking.comparable([digested(fold) for fold in (0, 1, 2, 0, 1, 2)])
    assert ranking.comparable([digested(None), digested(None)])
    for part in ("table", "test", "train", "val"):
        assert not ranking.comparable([digested(0), digested(1), digested(1, other=part)]), part
    assert not ranking.comparable([digested(0), digested(1, folds=4)])
    assert not ranking.comparable([digested(0), digested(None)])


def test_the_table_says_which_sign_and_the_files_hold_all():
    from rich.console import Console

    entries = ranking.rank(grid({"wide": WIDE, "deep": DEEP}))
    console = Console(width=200)
    with console.capture() as captured:
        console.print(leaderboard.as_table("sweep", entries))
    header, first, second = (line for line in captured.get().splitlines() if "│" in line or "┃" in line)
    assert "behind the leader" in header
    assert "deep" in first
    differences = np.array([*DEEP.values()]) - np.array([*WIDE.values()])
    error = differences.std(ddof=1) / sqrt(6)
    assert f" {differences.mean():.4f} ± {error:.4f} │" in second
    assert "wide" in second
    assert "different folds" not in captured.get()
    listed = json.loads(leaderboard.as_json("mine", "id", entries))["entries"]
    assert listed[1]["behind_leader"] == pytest.approx(differences.mean(), rel=1e-12)
    assert listed[1]["behind_leader_se"] == pytest.approx(error, rel=1e-9)
    assert [entry["pairs_with_leader"] for entry in listed] == [0, 6]
    assert listed[0]["behind_leader"] is None
    rows = list(csv.DictReader(io.StringIO(leaderboard.as_csv(entries))))
    assert float(rows[1]["behind_leader"]) == listed[1]["behind_leader"]
    assert rows[0]["behind_leader"] == ""


def test_a_sweep_over_seeds_and_folds_is_ranked_on_the_command_line(folder):
    varied = ("model=wide,linear", "seed=0,1", "split.fold=range(3)", "split.folds=3")
    assert command("train", "-m", *SMALL, *varied).code == 0
    result = command("leaderboard", "--json")
    listed = json.loads(result.out)
    assert "cannot be compared" not in result.err
    assert listed["comparable"]
    trained = [records.read(path.parent) for path in folder.glob("runs/sweeps/*/*/record.json")]
    assert len(trained) == 12
    frame = pd.DataFrame(
        [
            {
                "hidden": json.dumps(record.config["model"]["hidden"]),
                "pair": (record.config["seed"], record.config["split"]["fold"]),
                "accuracy": record.summary["best/val/accuracy"],
            }
            for record in trained
        ]
    ).pivot(index="pair", columns="hidden", values="accuracy")
    assert frame.shape == (6, 2)
    leader, other = listed["entries"]
    for entry in (leader, other):
        values = frame[entry["model.hidden"]]
        assert (entry["runs"], entry["unfinished"]) == (6, 0)
        assert entry["val/accuracy"] == pytest.approx(values.mean(), rel=1e-12)
        assert entry["val/accuracy_se"] == pytest.approx(values.sem(), rel=1e-9)
    differences = frame[leader["model.hidden"]] - frame[other["model.hidden"]]
    assert other["pairs_with_leader"] == 6
    assert other["behind_leader"] == pytest.approx(differences.mean(), abs=1e-12)
    assert other["behind_leader_se"] == pytest.approx(differences.sem(), rel=1e-9)


def standing(behind: float, *, tied: bool) -> Standing:
    return Standing(0.7 - behind, 0.01, (0.6, 0.8), behind, 0.02 if behind else 0.0, tied)


def ranked(*losses: float) -> list[ranking.Entry]:
    """Return an entry of one run for each loss, with its standing; the second is chosen."""
    found = ranking.rank([run(0.7, nll, seed=1, model__hidden=nll) for nll in losses])
    return [
        replace(entry, standing=standing(place / 100, tied=place < 2), tied=place < 2, chosen=place == 1)
        for place, entry in enumerate(found)
    ]


def shown(entries: list[ranking.Entry]) -> dict[str, list[str]]:
    """Return the cells of each column of the table."""
    columns = leaderboard.as_table("", entries).columns
    return {str(column.header): [str(cell) for cell in column.cells] for column in columns}


def test_the_cells_of_the_table_are_those_of_the_entries():
    first, second, third = ranked(0.4, 0.5, 0.6)
    third = replace(third, unfinished=2)
    found = shown([first, second, third])
    assert found["#"] == ["1", "→ 2", "3"]
    assert found["tied"] == ["yes", "yes", ""]
    assert found["behind the leader"] == ["", "0.0100 ± 0.0200", "0.0200 ± 0.0200"]
    assert found["runs"] == ["1", "1", "1 of 3"]
    assert found["val accuracy"] == ["0.7000 ± 0.0100"] * 3
    assert found["val nll"] == ["0.4000", "0.5000", "0.6000"]
    assert "average of" not in found
    table = leaderboard.as_table("", [first, second, third])
    assert [row.style for row in table.rows] == ["bold", None, None]
    assert str(table.caption).splitlines()[0].startswith("→ finalize takes this one. ±: standard error")
    assert "diagnosis" not in str(table.caption)


def test_a_single_entry_is_behind_nobody_and_no_choice():
    (alone,) = ranked(0.4)
    alone = replace(alone, chosen=True)
    found = shown([alone])
    assert found["#"] == ["1"]
    assert not {"tied", "behind the leader", ""} & found.keys()  # a cell too many has a column without a name
    assert leaderboard.as_table("", [alone]).caption is None


def test_without_a_comparison_by_rows_nobody_is_tied_and_nothing_is_said_of_a_choice():
    entries = ranking.rank([run(0.7, 0.4, model__hidden=1), run(0.6, 0.5, model__hidden=2)])
    found = shown(entries)
    assert "tied" not in found
    assert found["#"] == ["1", "2"]
    assert found["behind the leader"][0] == ""
    assert leaderboard.as_table("", entries).caption is None


def test_an_average_is_named_in_the_table_and_in_the_records():
    first, second = ranked(0.4, 0.5)
    second = replace(second, ensemble="2 seeds")
    assert shown([first, second])["average of"] == ["", "2 seeds"]
    assert [row["ensemble"] for row in leaderboard.as_rows([first, second])] == [None, "2 seeds"]


@pytest.mark.parametrize("as_trained", [True, False])
def test_the_temperature_and_the_threshold_are_told_if_they_are_chosen(as_trained):
    decision: Any = SimpleNamespace(
        as_trained=as_trained, temperature=1.5, bundle=SimpleNamespace(threshold=0.25)
    )
    said = str(leaderboard.as_table("", ranked(0.4, 0.5), decision=decision).caption)
    assert ("takes this one, with temperature 1.500 and threshold 0.250." in said) != as_trained
