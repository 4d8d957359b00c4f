"""Ranking: means and standard errors over seeds, from the runs that finished, by validation alone."""

import itertools
import json
from dataclasses import replace
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepgrad import leaderboard
from sweepgrad.errors import UserError
from sweepgrad.tracking import Logged

numbers = itertools.count()


def run(accuracy=0.7, nll=0.5, status="FINISHED", **settings) -> Logged:
    """A run as MLflow would give it."""
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


def test_mean_and_standard_error_are_those_of_the_books():
    values = [0.70, 0.74, 0.78]
    (entry,) = leaderboard.rank([run(value) for value in values])
    mean = sum(values) / 3
    deviation = sqrt(sum((value - mean) ** 2 for value in values) / 2)
    assert entry.accuracy.mean == pytest.approx(mean, rel=1e-12)
    assert entry.accuracy.standard_error == pytest.approx(deviation / sqrt(3), rel=1e-12)
    assert str(entry.accuracy) == "0.7400 ± 0.0231"


def test_one_seed_has_no_standard_error():
    (entry,) = leaderboard.rank([run(0.7)])
    assert entry.accuracy.standard_error is None
    assert str(entry.accuracy) == "0.7000"


def test_the_highest_mean_comes_first_not_the_luckiest_seed():
    entries = leaderboard.rank(
        [
            run(value, hidden=hidden)
            for value, hidden in [(0.9, "[9]"), (0.5, "[9]"), (0.75, "[4]"), (0.76, "[4]")]
        ]
    )
    assert [entry.settings["hidden"] for entry in entries] == ["[4]", "[9]"]


def test_equal_accuracies_are_told_apart_by_the_loss():
    entries = leaderboard.rank([run(0.7, 0.6, a="x"), run(0.7, 0.4, a="y"), run(0.7, 0.5, a="z")])
    assert [entry.settings["a"] for entry in entries] == ["y", "z", "x"]


def test_within_an_entry_the_best_run_comes_first():
    (entry,) = leaderboard.rank([run(0.6), run(0.8, 0.5), run(0.8, 0.4), run(0.7)])
    assert [r.metrics["best/val/accuracy"] for r in entry.runs] == [0.8, 0.8, 0.7, 0.6]
    assert entry.runs[0].metrics["best/val/nll"] == 0.4


@pytest.mark.parametrize("status", ["FAILED", "KILLED", "RUNNING"])
def test_only_runs_that_finished_count(status):
    (entry,) = leaderboard.rank([run(0.6), run(0.99, status=status)])
    assert len(entry.runs) == 1
    with pytest.raises(UserError, match="none of the 1 runs finished"):
        leaderboard.rank([run(0.99, status=status)])


def test_only_keys_that_differ_are_shown_and_never_the_seed():
    entries = leaderboard.rank([run(model__dropout=0.0, b="same"), run(model__dropout=0.5, b="same")])
    assert [set(entry.settings) for entry in entries] == [{"model.dropout"}] * 2


def test_a_key_that_some_runs_lack_is_shown():
    entries = leaderboard.rank([run(optimizer__beta1=0.9), run()])
    assert {entry.settings["optimizer.beta1"] for entry in entries} == {"0.9", ""}


def test_the_seeds_of_split_and_data_are_settings_like_any_other():
    assert len(leaderboard.rank([run(split__seed=0), run(split__seed=1)])) == 2


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(8)))
def test_the_order_of_the_runs_has_no_say(order):
    runs = [run(0.5 + i / 20, 0.5 - i / 50, hidden=i // 2) for i in range(8)]
    expected = [entry.settings["hidden"] for entry in leaderboard.rank(runs)]
    assert [entry.settings["hidden"] for entry in leaderboard.rank([runs[i] for i in order])] == expected


def test_json_and_csv_hold_full_precision():
    entries = leaderboard.rank([run(1 / 3, hidden="[6, 6]"), run(1 / 7, hidden="[9]")])
    listed = json.loads(leaderboard.as_json(run(), entries))["entries"]
    assert [entry["val/accuracy"] for entry in listed] == [1 / 3, 1 / 7]
    assert [entry["val/accuracy_se"] for entry in listed] == [None, None]
    header, first, _ = leaderboard.as_csv(entries).splitlines()
    assert header.startswith("rank,hidden,")
    assert first.startswith('1,"[6, 6]",37,1,0,0.3333333333333333,,')


def test_markup_in_a_value_is_shown_as_it_is():
    from rich.console import Console

    entries = leaderboard.rank([run(data__name="[bold]x[/bold]"), run(data__name="y")])
    console = Console(width=200)
    with console.capture() as captured:
        console.print(leaderboard.as_table("[red]sweep", entries))
    assert "[bold]x[/bold]" in captured.get()
    assert "[red]sweep" in captured.get()


def test_a_configuration_that_some_seeds_did_not_finish_stands_behind():
    lucky = [run(0.9, hidden="[9]", seed=1), run(0.1, status="FAILED", hidden="[9]", seed=2)]
    steady = [run(0.6, hidden="[6]", seed=1), run(0.7, hidden="[6]", seed=2)]
    first, second = leaderboard.rank([*lucky, *steady])
    assert (first.settings, first.unfinished) == ({"hidden": "[6]"}, 0)
    assert (second.settings, second.unfinished) == ({"hidden": "[9]"}, 1)


def test_runs_on_different_rows_are_not_comparable():
    tags = {f"sweepgrad.digest.{part}": part for part in ("table", "train", "val", "test")}
    a, b = replace(run(), tags=tags), replace(run(), tags={**tags, "sweepgrad.digest.val": "other"})
    assert leaderboard.comparable([a, a])
    assert not leaderboard.comparable([a, b])
