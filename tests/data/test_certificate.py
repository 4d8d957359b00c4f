import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweepgrad.config import FileData
from sweepgrad.data import certificate as certificates
from sweepgrad.data.certificate import certify
from sweepgrad.data.learn import learn
from sweepgrad.data.pace import silent
from sweepgrad.data.preprocess import Numeric, Preprocessor
from sweepgrad.data.split import Parts
from sweepgrad.data.table import read
from sweepgrad.doctor import in_words

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
    learned = learn(table.columns, table.y, table.roles, parts.mask("train"), unexamined=(), tell=silent)
    return certify(table, parts, learned.preprocessor, unexamined=(), tell=silent)


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
        return type("Leaky", (), {"preprocessor": Preprocessor(tuple(fitted), ()), "objections": ()})

    parts = parts_by(np.arange(N) // 3)
    monkeypatch.setattr(certificates, "learn", leaky)
    learned = leaky(table.columns, table.y, table.roles, parts.mask("train")).preprocessor
    found = certify(table, parts, learned, unexamined=(), tell=silent)
    assert any("mean" in name for name in found.moved)
    assert found.found
    assert "preprocessing and" not in in_words(found, blind=True)


def test_what_is_left_out_of_a_big_table_is_said(table, monkeypatch):
    monkeypatch.setattr(certificates, "MOST_ROWS", 100)
    found = certified(table, parts_by(np.arange(N) // 3))
    assert (found.looked_at, found.moved, found.rows["train"]) == (100, (), 180)
    assert "first 100 of 300 rows" in found.to_json()["left_out"][0]
    assert "its first 100 rows" in found.to_json()["preprocessing"]["proven"]
