import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweepgrad.config.data import FileData
from sweepgrad.data.audit import certificate as certificates
from sweepgrad.data.audit.certificate import certify, head
from sweepgrad.data.audit.report_text import in_words
from sweepgrad.data.leakage.duplicates import Duplicates
from sweepgrad.data.preprocess.fit import learn
from sweepgrad.data.preprocess.transforms import Numeric, Preprocessor
from sweepgrad.data.split import PARTS, Parts
from sweepgrad.data.table import read

N = 300


@pytest.fixture
def table(tmp_path):
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"x": draw.normal(size=N), "z": draw.normal(size=N), "y": np.arange(N) % 2})
    frame["unit"] = [f"u{i // 3}" for i in range(N)]
    frame.loc[:2, "unit"] = None
    frame.to_csv(tmp_path / "t.csv", index=False)
    settings: dict[str, Any] = {
        "name": "t",
        "positive": 1,
        "numeric": None,
        "categorical": None,
        "drop": (),
        "keep": (),
    }
    data = FileData(
        source="file", path=str(tmp_path / "t.csv"), sha256=None, target="y", group="unit", **settings
    )
    return read(data)


def parts_by(units):
    return Parts(np.array([0, 0, 0, 1, 2], dtype=np.int8)[units % 5])


def certified(table, parts):
    learned = learn(table.columns, table.y, table.roles, parts.mask("train"), unexamined=(), tell=print)
    return certify(table, parts, learned.preprocessor, unexamined=(), tell=print)


def test_a_whole_certificate(table):
    found = certified(table, parts_by(np.arange(N) // 3))
    assert found.found == ()
    assert found.rows == {"train": 180, "val": 60, "test": 60}
    assert found.groups == {"unit": 0}
    said = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert said["left_out"] == []
    assert "no group crosses the split" in in_words(found, blind=True)
    assert in_words(found, blind=True).endswith("no say in the preprocessing and the weights.")


def test_a_split_that_divides_groups_is_found_out(table):
    units = np.arange(N) // 3
    units[[10, 20]] += 3  # to another part each
    found = certified(table, parts_by(units))
    assert found.groups == {"unit": 2}
    assert found.found == ("2 groups of equal unit lie in more than one part",)
    assert "Leaks were found" in in_words(found, blind=True)
    # Rows by themselves: of units 1 to 99 (rows of the first have none) every fifth lies in training whole.
    assert certified(table, parts_by(np.arange(N))).groups == {"unit": 99 - 19}


def test_preprocessing_that_looks_at_all_rows_is_found_out(table, monkeypatch):
    def leaky(columns, y, roles, train, **how):
        everything = np.ones(N, dtype=bool)
        fitted = [Numeric.fit(columns.select([name], everything)[name]) for name in roles.numeric]
        return type("Leaky", (), {"preprocessor": Preprocessor(tuple(fitted), ()), "findings": ()})

    parts = parts_by(np.arange(N) // 3)
    monkeypatch.setattr(certificates, "learn", leaky)
    learned = leaky(table.columns, table.y, table.roles, parts.mask("train")).preprocessor
    found = certify(table, parts, learned, unexamined=(), tell=print)
    assert any("mean" in name for name in found.moved or ())
    assert found.found
    assert "preprocessing and" not in in_words(found, blind=True)


def test_preprocessing_that_looks_at_the_labels_of_held_out_rows_is_found_out(table, monkeypatch):
    def leaky(columns, y, roles, train, **how):
        fitted = Numeric("x", mean=float(y @ np.arange(N) ** 2.0), sd=1.0, missing=False)
        return type("Leaky", (), {"preprocessor": Preprocessor((fitted,), ()), "findings": ()})

    parts = parts_by(np.arange(N) // 3)
    monkeypatch.setattr(certificates, "learn", leaky)
    learned = leaky(table.columns, table.y, table.roles, parts.mask("train")).preprocessor
    assert certify(table, parts, learned, unexamined=(), tell=print).moved


def test_what_is_left_out_of_a_big_table_is_said(table, monkeypatch):
    monkeypatch.setattr(certificates, "MOST_ROWS", 100)
    found = certified(table, parts_by(np.arange(N) // 3))
    assert (found.looked_at, found.moved, found.rows["train"]) == (100, (), 180)
    twins, preprocessing = found.to_json()["left_out"]
    assert "twins" in twins
    assert "preprocessing" in preprocessing
    assert "100 of 300 rows" in twins
    assert "100 of 300 rows" in preprocessing
    assert "100 rows of it" in found.to_json()["preprocessing"]["proven"]


def test_of_a_big_table_rows_of_every_part_are_looked_at(table, monkeypatch):
    monkeypatch.setattr(certificates, "MOST_ROWS", 90)
    sorted_by_part = Parts(np.repeat(np.array([0, 1, 2], dtype=np.int8), 100))
    frame, y, parts, rows = head(table, sorted_by_part)
    assert rows.tolist() == [*range(30), *range(100, 130), *range(200, 230)]
    assert [parts.size(part) for part in PARTS] == [30, 30, 30]
    assert np.array_equal(y, table.y[rows])
    everything = table.columns.select(["x"], np.ones(N, dtype=bool))
    assert frame["x"].tolist() == everything["x"][rows].tolist()
    assert certified(table, sorted_by_part).moved == ()
    looked_at = []

    def leaky(columns, y, roles, train, **how):
        looked_at.append(len(train))
        fitted = Numeric("x", mean=float(y @ np.arange(len(y))), sd=1.0, missing=False)
        return type("Leaky", (), {"preprocessor": Preprocessor((fitted,), ()), "findings": ()})

    monkeypatch.setattr(certificates, "learn", leaky)
    assert certify(table, sorted_by_part, Preprocessor((), ()), unexamined=(), tell=print).moved
    assert looked_at == [90, 90]


def test_where_nothing_could_be_shown_nothing_is_claimed(table):
    found = certified(table, Parts(np.zeros(N, dtype=np.int8)))
    said = found.to_json()
    assert said["preprocessing"]["unmoved"] is None
    assert said["preprocessing"]["proven"].startswith("nothing was proven: ")
    assert "was not shown" in said["left_out"][0]
    assert "preprocessing" not in in_words(found, blind=True)


def test_twins_in_words_are_none_or_chance_or_few():
    table = Duplicates({"train-val": 0, "train-test": 0}, {"train-val": 0.0, "train-test": 0.0}, 0, 0.0, ())
    few = replace(table, rows={"train-val": 0, "train-test": 12, "val-test": 0}, pairs=12)
    few = replace(few, shares={"train-val": 0.0, "train-test": 0.0099, "val-test": 0.0})
    chance = replace(few, by_chance=100.0)
    for twins, said in (
        (table, "no row has a twin in another part"),
        (few, "too few rows are equal in every feature to one of another part to move a figure (12 of test"),
        (chance, "no more often than chance makes of such columns"),
    ):
        found = certificates.Certificate("", {}, {"train": 9}, 9, {}, twins, table, 0, {}, ())
        assert said in in_words(found, blind=True)
