import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweepgrad.config.data import FileData
from sweepgrad.data.audit import certificate as certificates
from sweepgrad.data.audit.certificate import certify, head
from sweepgrad.data.audit.report_text import certificate_text
from sweepgrad.data.leakage.duplicates import Duplicates
from sweepgrad.data.preprocess.fit import fit_preprocessor
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
    train = parts.mask("train")
    fitted = fit_preprocessor(table.columns, table.y, table.roles, train, unexamined=(), progress=print)
    return certify(table, parts, fitted.preprocessor, unexamined=(), progress=print)


def test_a_whole_certificate(table):
    found = certified(table, parts_by(np.arange(N) // 3))
    assert found.found == ()
    assert found.rows == {"train": 180, "val": 60, "test": 60}
    assert found.groups == {"unit": 0}
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["left_out"] == []
    text = certificate_text(found, weights_isolated=True)
    assert "no group is in more than one set" in text
    assert text.endswith("held-out rows do not influence the preprocessing or the weights.")


def test_a_split_that_divides_groups_is_found(table):
    units = np.arange(N) // 3
    units[[10, 20]] += 3  # to another part each
    found = certified(table, parts_by(units))
    assert found.groups == {"unit": 2}
    assert found.found == ("2 groups of equal unit are in more than one set",)
    assert "Leaks were found" in certificate_text(found, weights_isolated=True)
    # Rows by themselves: of units 1 to 99 (rows of the first have none) every fifth lies in training whole.
    assert certified(table, parts_by(np.arange(N))).groups == {"unit": 99 - 19}


def test_preprocessing_that_uses_all_rows_is_found(table, monkeypatch):
    def leaky(columns, y, roles, train, **how):
        everything = np.ones(N, dtype=bool)
        fitted = [Numeric.fit(columns.select([name], everything)[name]) for name in roles.numeric]
        return type("Leaky", (), {"preprocessor": Preprocessor(tuple(fitted), ()), "findings": ()})

    parts = parts_by(np.arange(N) // 3)
    monkeypatch.setattr(certificates, "fit_preprocessor", leaky)
    learned = leaky(table.columns, table.y, table.roles, parts.mask("train")).preprocessor
    found = certify(table, parts, learned, unexamined=(), progress=print)
    assert any("mean" in name for name in found.moved or ())
    assert found.found
    assert "preprocessing or" not in certificate_text(found, weights_isolated=True)


def test_preprocessing_that_uses_the_labels_of_held_out_rows_is_found(table, monkeypatch):
    def leaky(columns, y, roles, train, **how):
        fitted = Numeric("x", mean=float(y @ np.arange(N) ** 2.0), sd=1.0, missing=False)
        return type("Leaky", (), {"preprocessor": Preprocessor((fitted,), ()), "findings": ()})

    parts = parts_by(np.arange(N) // 3)
    monkeypatch.setattr(certificates, "fit_preprocessor", leaky)
    learned = leaky(table.columns, table.y, table.roles, parts.mask("train")).preprocessor
    assert certify(table, parts, learned, unexamined=(), progress=print).moved


def test_the_limits_of_searching_a_big_table_are_stated(table, monkeypatch):
    monkeypatch.setattr(certificates, "MOST_ROWS", 100)
    found = certified(table, parts_by(np.arange(N) // 3))
    assert (found.searched, found.moved, found.rows["train"]) == (100, (), 180)
    duplicates, preprocessing = found.to_json()["left_out"]
    assert "duplicates" in duplicates
    assert "preprocessing" in preprocessing
    assert "100 of 300 rows" in duplicates
    assert "100 of 300 rows" in preprocessing
    assert "100 rows of the table" in found.to_json()["preprocessing"]["proven"]


def test_of_a_big_table_rows_of_every_part_are_searched(table, monkeypatch):
    monkeypatch.setattr(certificates, "MOST_ROWS", 90)
    sorted_by_part = Parts(np.repeat(np.array([0, 1, 2], dtype=np.int8), 100))
    frame, y, parts, rows = head(table, sorted_by_part)
    assert rows.tolist() == [*range(30), *range(100, 130), *range(200, 230)]
    assert [parts.size(part) for part in PARTS] == [30, 30, 30]
    assert np.array_equal(y, table.y[rows])
    everything = table.columns.select(["x"], np.ones(N, dtype=bool))
    assert frame["x"].tolist() == everything["x"][rows].tolist()
    assert certified(table, sorted_by_part).moved == ()
    n_rows = []

    def leaky(columns, y, roles, train, **how):
        n_rows.append(len(train))
        fitted = Numeric("x", mean=float(y @ np.arange(len(y))), sd=1.0, missing=False)
        return type("Leaky", (), {"preprocessor": Preprocessor((fitted,), ()), "findings": ()})

    monkeypatch.setattr(certificates, "fit_preprocessor", leaky)
    assert certify(table, sorted_by_part, Preprocessor((), ()), unexamined=(), progress=print).moved
    assert n_rows == [90, 90]


def test_a_test_that_is_not_possible_claims_nothing(table):
    found = certified(table, Parts(np.zeros(N, dtype=np.int8)))
    content = found.to_json()
    assert content["preprocessing"]["unmoved"] is None
    assert content["preprocessing"]["proven"].startswith("nothing was tested: ")
    assert "was not possible" in content["left_out"][0]
    assert "preprocessing" not in certificate_text(found, weights_isolated=True)


def test_duplicates_as_text_are_none_or_chance_or_few():
    table = Duplicates({"train-val": 0, "train-test": 0}, {"train-val": 0.0, "train-test": 0.0}, 0, 0.0, ())
    few = replace(table, rows={"train-val": 0, "train-test": 12, "val-test": 0}, pairs=12)
    few = replace(few, shares={"train-val": 0.0, "train-test": 0.0099, "val-test": 0.0})
    chance = replace(few, by_chance=100.0)
    for duplicates, text in (
        (table, "no row has a duplicate in another set"),
        (few, "too few rows are equal in every feature to one in another set to matter (12 test rows"),
        (chance, "no more often than by chance"),
    ):
        found = certificates.Certificate("", {}, {"train": 9}, 9, {}, duplicates, table, 0, {}, ())
        assert text in certificate_text(found, weights_isolated=True)
