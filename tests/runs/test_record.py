"""Writing the record of a run and reading it again."""

import json
from dataclasses import replace
from hashlib import sha256
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
    file.write_bytes(records.seal(file.read_bytes().replace(b'"layer_statistics"', b'"signs"')))
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


def test_every_changed_byte_of_a_record_is_found(record, tmp_path):
    records.write(tmp_path, record)
    content = (tmp_path / records.RECORD).read_bytes()
    assert records.parse(content) == record
    for place in range(len(content)):
        for flip in (1, 0x20):
            with pytest.raises(ValueError, match=r"."):
                records.parse(content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"."):
            records.parse(content[:place] + content[place + 1 :])
        with pytest.raises(ValueError, match=r"."):
            records.parse(content[:place])
    for more in (b" ", b"\n", b"{}"):
        with pytest.raises(ValueError, match=r"."):
            records.parse(content + more)


def test_a_checksum_is_that_of_the_file_without_its_digits(record, tmp_path):
    records.write(tmp_path, record)
    content = (tmp_path / records.RECORD).read_bytes()
    checksum = records.read(tmp_path).checksum
    assert checksum == sha256(content.replace(checksum.encode(), b"")).hexdigest()


def test_a_record_whose_checksum_was_removed_is_not_one_of_0_1_0(record, tmp_path):
    records.write(tmp_path, replace(record, files={"validation.npy": "0"}))
    file = tmp_path / records.RECORD
    values = json.loads(file.read_text())
    del values["checksum"]
    file.write_text(json.dumps(values))
    with pytest.raises(records.Changed, match=r"record.json was changed .*: its checksum was removed"):
        records.read(tmp_path)
    file.write_text(json.dumps({**values, "checksum": "0" * 64, "stopped": False}, sort_keys=True))
    with pytest.raises(records.Changed, match="its last field is not its checksum"):
        records.read(tmp_path)


def test_a_file_that_no_run_has_is_refused(record, tmp_path):
    records.write(tmp_path, replace(record, files={"../../elsewhere": "0"}))
    with pytest.raises(ValueError, match=r"unknown files: \.\./\.\./elsewhere"):
        records.read(tmp_path)
