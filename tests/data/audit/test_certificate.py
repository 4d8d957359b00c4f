import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweepgrad.config.data import FileData
from sweepgrad.data.audit import certificate as certificates
from sweepgrad.data.audit.certificate import Certificate, certify, head
from sweepgrad.data.audit.report_text import certificate_text
from sweepgrad.data.io import columns as column_files
from sweepgrad.data.io.columns import FrameColumns
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
    assert frame.index.tolist() == list(range(90))
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


def duplicates(rows, shares, named=()):
    """Return duplicates in numbers that are not chance, by pair of parts."""
    pairs = ("train-val", "train-test", "val-test")
    return Duplicates(
        dict(zip(pairs, rows, strict=True)), dict(zip(pairs, shares, strict=True)), sum(rows), 0.0, named
    )


NONE = duplicates((0, 0, 0), (0.0, 0.0, 0.0))
CLEAN = Certificate(
    table="t",
    digests={"train": "a", "val": "b", "test": "c"},
    rows={"train": 60, "val": 20, "test": 20},
    searched=100,
    groups={"song": 0},
    duplicates=NONE,
    near_duplicates=NONE,
    duplicate_rows=0,
    columns={},
    moved=(),
)


@pytest.mark.parametrize(
    ("changes", "leaks"),
    [
        ({}, ()),
        ({"columns": {"a": 0.995}}, ("a alone predicts the target for 99.5% of training rows",)),
        ({"groups": {"song": 3, "artist": 0}}, ("3 groups of equal song are in more than one set",)),
        ({"moved": ("a: mean", "b")}, ("preprocessing depends on held-out rows: a: mean, b",)),
        ({"moved": None}, ()),
        (
            {"duplicates": duplicates((10, 0, 4), (0.5, 0.0, 0.2))},
            (
                "duplicate rows in different sets: 10 validation rows (50.0%) equal a training row,"
                " 4 test rows (20.0%) equal a validation row",
            ),
        ),
        ({"duplicates": duplicates((10, 0, 0), (0.009, 0.0, 0.0))}, ()),
        (
            {"near_duplicates": duplicates((0, 3, 0), (0.0, 0.15, 0.0))},
            ("near-duplicate rows in different sets: 3 test rows (15.0%) nearly equal a training row",),
        ),
    ],
)
def test_each_leak_is_named(changes, leaks):
    certificate = replace(CLEAN, **changes)
    assert certificate.found == leaks
    assert certificate.to_json()["leaks"] == list(leaks)


def test_the_file_has_every_figure():
    named = duplicates((10, 0, 4), (0.5, 0.0, 0.2), named=((1, 70), (2, 71)))
    content = replace(
        CLEAN, groups={"song": 2}, duplicates=named, duplicate_rows=14, columns={"a": 0.995}
    ).to_json()
    del content["leaks"]
    none = {
        "rows": NONE.rows,
        "shares": NONE.shares,
        "pairs": 0,
        "by_chance": 0.0,
        "named": [],
        "beyond_chance": False,
    }
    assert content.pop("preprocessing")["moved"] == []
    assert content == {
        "table": "t",
        "digests": {"train": "a", "val": "b", "test": "c"},
        "rows": {"train": 60, "val": 20, "test": 20},
        "groups_across_parts": {"song": 2},
        "duplicates": {
            **none,
            "rows": named.rows,
            "shares": named.shares,
            "pairs": 14,
            "named": [[1, 70], [2, 71]],
            "beyond_chance": True,
        },
        "near_duplicates": none,
        "rows_with_duplicates": 14,
        "columns_that_tell_the_target": {"a": 0.995},
        "left_out": [],
    }


@pytest.mark.parametrize(
    ("changes", "unmoved", "proven", "left_out"),
    [
        ({}, True, "fitted again on the table with all", []),
        ({"moved": ("a",)}, False, "nothing: the isolation test failed", []),
        ({"moved": None, "untested": "why"}, None, "nothing was tested: why", ["not possible: why"]),
        (
            {"searched": 99},
            True,
            "fitted again on 99 rows of the table with all",
            ["searched for duplicates", "used in the isolation test"],
        ),
        (
            {"searched": 99, "moved": None},
            None,
            "nothing was tested",
            ["searched for duplicates", "not possible"],
        ),
    ],
)
def test_what_was_tested_is_stated_as_far_as_it_was(changes, unmoved, proven, left_out):
    content = replace(CLEAN, **changes).to_json()
    stated = content["preprocessing"]
    assert (stated["unmoved"], stated["proven"].startswith(proven)) == (unmoved, True)
    assert stated["moved"] == list(changes.get("moved") or ())
    assert len(content["left_out"]) == len(left_out)
    assert all(part in line for part, line in zip(left_out, content["left_out"], strict=True))


def test_duplicates_of_a_big_table_are_named_by_their_rows_in_it(tmp_path, monkeypatch):
    draw = np.random.default_rng(1)
    frame = pd.DataFrame({"x": draw.normal(size=N), "z": draw.normal(size=N), "y": np.arange(N) % 2})
    frame.loc[200:239, ["x", "z"]] = frame.loc[0:39, ["x", "z"]].to_numpy()
    frame.to_csv(tmp_path / "t.csv", index=False)
    settings: dict[str, Any] = {"numeric": None, "categorical": None, "drop": (), "keep": ()}
    data = FileData(
        source="file",
        path=str(tmp_path / "t.csv"),
        sha256=None,
        name="t",
        target="y",
        positive=1,
        group=(),
        **settings,
    )
    monkeypatch.setattr(certificates, "MOST_ROWS", 90)
    found = certified(read(data), Parts(np.repeat(np.array([0, 1, 2], dtype=np.int8), (200, 60, 40))))
    # 60 of 200 training rows and 18 of 60 validation rows are searched: the first 18 are equal, 200 apart.
    assert found.duplicates.rows["train-val"] == 18
    assert found.duplicate_rows == 18
    assert found.duplicates.named == tuple((n, n + 200) for n in range(1, 19))


def test_a_column_that_alone_predicts_the_target_is_found_unless_it_is_not_examined(table):
    frame = pd.DataFrame({"x": np.where(np.arange(N) == 7, 0.0, table.y), "y": table.y})
    parts = parts_by(np.arange(N) // 3)
    copied = replace(
        table,
        columns=FrameColumns(frame, "digest"),
        roles=replace(table.roles, numeric=("x",), categorical=(), group=()),
    )
    fitted = Preprocessor((Numeric.fit(frame["x"][parts.mask("train")]),), ())
    for unexamined, columns in (((), {"x"}), (("x",), set())):
        found = certify(copied, parts, fitted, unexamined=unexamined, progress=print)
        assert set(found.columns) == columns
        assert found.table == "digest"
        assert found.digests == {part: parts.digest(part) for part in PARTS}
        assert found.searched == N


@pytest.mark.parametrize("part", [0, 2])
def test_the_isolation_test_needs_rows_of_training_and_others(table, part):
    found = certified_without_fit(table, Parts(np.full(N, part, dtype=np.int8)))
    kind = "all" if part == 0 else "none"
    assert (found.moved, found.untested) == (None, f"{kind} of the 300 rows are training rows")


def certified_without_fit(table, parts):
    fitted = Preprocessor(tuple(Numeric(name, 0.0, 1.0, False) for name in table.roles.numeric), ())
    return certify(table, parts, fitted, unexamined=table.roles.features, progress=print)


def test_groups_without_any_value_are_in_one_set(table):
    frame = table.columns.select(["x", "z", "y"], np.ones(N, dtype=bool)).assign(unit=None)
    alone = replace(table, columns=FrameColumns(frame, ""))
    assert certified(alone, parts_by(np.arange(N))).groups == {"unit": 0}


def test_a_table_of_ordinary_size_is_searched_whole(table):
    n = 1200
    frame = pd.DataFrame({"x": np.arange(n) * 1.0, "z": np.arange(n) % 7, "y": np.arange(n) % 2})
    large = replace(
        table, columns=FrameColumns(frame.assign(unit="u"), ""), y=np.arange(n, dtype=np.int8) % 2
    )
    found, _, parts, rows = head(large, Parts((np.arange(n) % 3).astype(np.int8)))
    assert found.index.tolist() == rows.tolist() == list(range(n))
    assert parts.codes.tolist() == [0, 1, 2] * 400


def test_a_table_of_several_blocks_is_searched_whole(table, monkeypatch):
    parts = parts_by(np.arange(N))
    whole, y, taken, rows = head(table, parts)
    monkeypatch.setattr(column_files, "VALUES", 70)  # of two features: blocks of 35 rows
    assert len(list(table.columns.blocks(table.roles.features))) == 9
    frame, found_y, found, found_rows = head(table, parts)
    pd.testing.assert_frame_equal(frame, whole)
    for one, other in ((found_y, y), (found.codes, taken.codes), (found_rows, rows)):
        assert np.array_equal(one, other)


def test_only_labels_of_rows_outside_the_training_set_are_changed(table, monkeypatch):
    parts = parts_by(np.arange(N))
    train = parts.mask("train")
    labels = []

    def fit(frame, y, *arguments, **settings):
        labels.append(y)
        return fit_preprocessor(frame, y, *arguments, **settings)

    monkeypatch.setattr(certificates, "fit_preprocessor", fit)
    certified(table, parts)
    assert labels
    for y in labels:
        assert np.array_equal(y, np.where(train, table.y, 1 - table.y))
