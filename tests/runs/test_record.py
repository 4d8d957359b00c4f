"""Writing the record of a run and reading it again."""

import json
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from sweepgrad.runs import record as records
from sweepgrad.runs.record import Record
from sweepgrad.training.epoch import Epoch
from sweepgrad.training.layer_stats import EpochStats, LayerStats

NAMED = {"name": "any"}
CONFIG: dict[str, Any] = {
    **dict.fromkeys(("data", "optimizer", "schedule", "engine"), NAMED),
    "seed": 1,
    "split": {},
    "model": {},
    "train": {"epochs": 1},
    "sweep": {"id": None},
    "tracking": {"uri": "sqlite:///mlflow.db", "experiment": "mine"},
}


@pytest.fixture
def record() -> Record:
    figures = {"nll": 0.5, "accuracy": 0.75}
    return Record(
        digest="d",
        job="j",
        name="one",
        overrides=("seed=1",),
        status="FINISHED",
        started=1,
        ended=2,
        error=None,
        config=CONFIG,
        history=(Epoch(figures, figures),),
        best_epoch=1,
        summary={"best/val/nll": 0.5},
        n_parameters=3,
        data=None,
        environment={"numpy": "2"},
    )


def test_it_is_read_as_it_was_written(record, tmp_path):
    records.write(tmp_path, record)
    assert records.read(tmp_path) == record


STATS = EpochStats((LayerStats(0.5, 0.25, dead_share=0.0),), 0.125, {"positive": 0.5})


def test_layer_statistics_are_read_under_todays_key_and_under_that_of_0_1_0(record, tmp_path):
    figures = {"nll": 0.5, "accuracy": 0.75}
    with_stats = replace(record, history=(Epoch(figures, figures, STATS),))
    records.write(tmp_path, with_stats)
    file = tmp_path / records.RECORD
    (epoch,) = json.loads(file.read_text())["history"]
    assert epoch["layer_statistics"]["layers"][0]["gradient_norm"] == 0.5
    assert "signs" not in epoch
    assert records.read(tmp_path) == with_stats
    file.write_text(file.read_text().replace('"layer_statistics"', '"signs"'))
    assert records.read(tmp_path) == with_stats


@pytest.mark.parametrize("value", [nan, inf])
def test_a_figure_that_is_no_number_is_refused_and_nothing_is_left(value, record, tmp_path):
    for broken in (
        replace(record, summary={"best/val/nll": value}),
        replace(record, history=(Epoch({"nll": value}, {"nll": 0.5}),)),
    ):
        with pytest.raises(ValueError, match="not a finite number"):
            records.write(tmp_path, broken)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [None, "0.5", True])
def test_a_figure_that_is_no_number_is_not_believed(value, record, tmp_path):
    records.write(tmp_path, record)
    file = tmp_path / records.RECORD
    values = json.loads(file.read_text())
    values["history"][0]["val_nll"] = value
    file.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="damaged"):
        records.read(tmp_path)


def test_a_damaged_record_is_described_in_one_line(record, tmp_path):
    records.write(tmp_path, record)
    file = tmp_path / records.RECORD
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "n_parameters": "many", "best_epoch": None}))
    with pytest.raises(ValueError, match="damaged, or of another version: best_epoch: ") as damaged:
        records.read(tmp_path)
    assert "; n_parameters: " in str(damaged.value)
    assert "\n" not in str(damaged.value)
    file.write_text("{")
    with pytest.raises(ValueError, match="Invalid JSON") as cut:
        records.read(tmp_path)
    assert "\n" not in str(cut.value)
