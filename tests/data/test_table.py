import datetime
import hashlib

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from sweepgrad.config.data import FileData, SimulatedData
from sweepgrad.data.schema.column_types import as_level, as_numbers, level_order
from sweepgrad.data.table import read
from sweepgrad.errors import UserError

FRAME = pd.DataFrame(
    {
        "id": ["a1", "a2", "a3", "a4"],
        "age": [31, 40, 28, 55],
        "height": [1.7, None, 1.62, 1.8],
        "city": ["Rome", "Oslo", None, "Rome"],
        "member": [True, False, False, True],
        "left": ["no", "yes", "no", "yes"],
    }
)


def file_data(path, **changes):
    keys = {
        "source": "file",
        "name": "test",
        "path": str(path),
        "sha256": None,
        "target": "left",
        "positive": None,
        "numeric": None,
        "categorical": None,
        "drop": (),
        "group": None,
        "keep": (),
    }
    return FileData(**{**keys, **changes})


def csv(tmp_path, frame=FRAME, **columns):
    path = tmp_path / "people.csv"
    frame.assign(**columns).to_csv(path, index=False)
    return path


def parquet(tmp_path, **columns):
    path = tmp_path / "people.parquet"
    FRAME.assign(**columns).to_parquet(path)
    return path


def everything(table):
    """Return all rows of a table."""
    return table.rows(np.ones(len(table), dtype=bool))


def refusal(data, *parts):
    """Return the message of the error that reading raises; it must contain all of `parts`."""
    with pytest.raises(UserError) as error:
        read(data)
    message = str(error.value)
    for part in (data.path, *parts):
        assert part in message
    return message


@pytest.mark.parametrize("write", [csv, parquet])
def test_roles_by_type(tmp_path, write):
    path = write(tmp_path)
    table = read(file_data(path, group="id"))
    assert table.roles.numeric == ("age", "height")
    assert table.roles.categorical == ("city", "member")
    assert table.roles.group == (("id",),)
    assert table.roles.positive == "yes"
    assert table.y.tolist() == [0, 1, 0, 1]
    assert everything(table).frame.columns.tolist() == ["id", "age", "height", "city", "member"]
    assert table.columns.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert table.source == str(path)
    assert table.notices == (
        "data.positive is not set: using 'yes' as the positive value of 'left'",
        "data.numeric is not set: using the numeric columns age, height",
        "data.categorical is not set: using the categorical columns city, member",
    )


def test_roles_as_given(tmp_path):
    table = read(
        file_data(
            csv(tmp_path),
            positive="no",
            numeric=("member", "age"),
            categorical=("city",),
            drop=("height",),
            group=("id",),
        )
    )
    assert table.roles.numeric == ("member", "age")
    assert table.roles.categorical == ("city",)
    assert table.roles.dropped == ("height",)
    assert table.y.tolist() == [1, 0, 1, 0]
    assert everything(table).frame.columns.tolist() == ["id", "age", "city", "member"]
    assert table.notices == ()


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (None, ()),
        ((), ()),
        ("id", (("id",),)),
        (("id", "city"), (("id", "city"),)),
        ((("id", "city"), ("member",)), (("id", "city"), ("member",))),
    ],
)
def test_group(tmp_path, group, expected):
    assert read(file_data(csv(tmp_path), group=group)).roles.group == expected


def test_numbers_may_be_categories(tmp_path):
    assert read(file_data(csv(tmp_path), categorical=("id", "age", "city", "member"))).roles.numeric == (
        "height",
    )


def test_rows_and_without(tmp_path):
    table = read(file_data(csv(tmp_path)))
    some = table.without(["age"]).rows(np.array([False, True, False, True]))
    assert len(some) == 2
    assert some.y.tolist() == [1, 1]
    assert some.y.dtype == np.float64
    assert some.frame["id"].tolist() == ["a2", "a4"]
    assert some.frame.index.tolist() == [0, 1]
    assert "age" not in some.frame
    assert some.roles.numeric == ("height",)
    assert some.roles.dropped == ("age",)
    with pytest.raises(ValueError, match="read-only"):
        table.y[0] = 0


def test_a_relative_path_starts_from_the_current_directory(tmp_path, monkeypatch):
    csv(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert read(file_data("people.csv")).source == str(tmp_path / "people.csv")
    refusal(file_data("absent.csv"), str(tmp_path / "absent.csv"), "no such file", "data.path")


def test_simulated():
    data = SimulatedData(source="simulated", name="s", kind="moons", rows=50, features=3, noise=0.1, seed=0)
    table = read(data)
    assert everything(table).frame.columns.tolist() == ["x1", "x2", "x3"] == list(table.roles.numeric)
    assert set(table.y) == {0.0, 1.0}
    assert table.source == "simulated"
    assert read(data).columns.digest == table.columns.digest
    assert read(data.model_copy(update={"seed": 1})).columns.digest != table.columns.digest


@pytest.mark.parametrize(
    ("values", "positive", "expected"),
    [
        ([0, 1, 1, 0], None, 1),
        ([0, 1, 1, 0], 0, 0),
        ([0, 1, 1, 0], 1.0, 1),
        ([0, 1, 1, 0], "1", 1),
        ([0, 1, 1, 0], True, 1),
        ([0.0, 1.0, 1.0, 0.0], 1, 1.0),
        ([10, 9, 9, 10], None, 10),
        ([True, False, False, True], None, True),
        ([True, False, False, True], "False", False),
        (["b", "a", "a", "b"], None, "b"),
    ],
)
def test_positive(tmp_path, values, positive, expected):
    table = read(file_data(csv(tmp_path, left=values), positive=positive))
    assert table.roles.positive == expected
    assert type(table.roles.positive) is type(expected)
    assert {table.roles.positive, table.roles.negative} == set(values)
    assert table.y.tolist() == [float(value == expected) for value in values]


# One bad input each: the content of the file or the configuration, and parts of the message.


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["cannot parse the file as CSV"]),
        ("age,left\n", ["has no rows"]),
        ("age,left,age\n1,a,2\n3,b,4\n", ["repeated column names: age", "Rename"]),
        ("age;left\n1;a\n3;b\n", ["separated by commas", "age;left"]),
        ("age,left\n1,a,7\n3,b,8\n", ["cannot parse the file as CSV", "line 2"]),
        ("age,left\n1,a\n3,b,8\n", ["cannot parse the file as CSV", "line 3"]),
    ],
)
def test_files_that_are_no_table(tmp_path, content, parts):
    path = tmp_path / "people.csv"
    path.write_text(content)
    refusal(file_data(path), *parts)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "people.csv").write_bytes("größe,left\n1,ä\n2,b\n".encode("latin-1"))
    refusal(file_data(tmp_path / "people.csv"), "not UTF-8")
    (tmp_path / "people.parquet").write_bytes(b"age,left\n1,a\n")
    refusal(file_data(tmp_path / "people.parquet"), "cannot read the file as Parquet")
    (tmp_path / "people.xlsx").write_bytes(b"")
    refusal(file_data(tmp_path / "people.xlsx"), "must end in .csv or .parquet", "data.path")
    (tmp_path / "folder.csv").mkdir()
    refusal(file_data(tmp_path / "folder.csv"), "cannot read the file", "data.path")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("age,left\n1,a\n3,b\n", encoding="utf-8-sig")
    assert read(file_data(path)).roles.numeric == ("age",)


def test_digest(tmp_path):
    path = csv(tmp_path)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read(file_data(path, sha256=right.upper())).columns.digest == right
    refusal(file_data(path, sha256="0" * 64), right, "0" * 64, "data.sha256")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"target": "lefft"}, ["data.target: the file has no column 'lefft'", "Did you mean left?"]),
        (
            {"target": "zzz"},
            [
                "data.target: the file has no column 'zzz'",
                "Its columns are id, age, height, city, member, left",
            ],
        ),
        ({"numeric": ("agee",)}, ["data.numeric: the file has no column 'agee'", "Did you mean age?"]),
        ({"categorical": ("town",)}, ["data.categorical: the file has no column 'town'"]),
        ({"drop": ("idd",)}, ["data.drop: the file has no column 'idd'", "Did you mean id?"]),
        (
            {"group": (("id",), ("citi",))},
            ["data.group: the file has no column 'citi'", "Did you mean city?"],
        ),
        ({"keep": ("ages",)}, ["data.keep: the file has no column 'ages'", "Did you mean age?"]),
        ({"keep": ("id",), "drop": ("id",)}, ["data.keep: 'id' is not a feature"]),
        (
            {"transform": {"ages": "quantile_normal"}},
            ["data.transform: the file has no column 'ages'", "Did you mean age?"],
        ),
        (
            {"transform": {"city": "quantile_normal"}},
            ["data.transform: 'city' is not a numeric column", "data.numeric"],
        ),
        (
            {"drop": ("id", "age", "height"), "transform": "quantile_normal"},
            ["data.transform has no effect", "data.transform=standardize"],
        ),
        (
            {"numeric": ("age",), "drop": ("age",)},
            ["'age'", "in data.numeric and in data.drop", "only one of them"],
        ),
        ({"drop": ("left",)}, ["'left'", "in data.target and in data.drop"]),
        ({"numeric": ("age", "age")}, ["'age'", "in data.numeric and in data.numeric"]),
        (
            {"numeric": ("age",)},
            ["columns without a role: height", "data.numeric", "data.categorical", "data.drop"],
        ),
        ({"categorical": ("city",)}, ["columns without a role: id, member"]),
        ({"drop": ("id", "age", "height", "city", "member")}, ["no feature column is left", "data.drop"]),
        ({"positive": "maybe"}, ["data.positive is 'maybe'", "'no' and 'yes'"]),
        ({"positive": True}, ["data.positive is True", "unquoted yes or no", "'no' and 'yes'"]),
        (
            {"numeric": ("age", "height", "city")},
            ["'city'", "row 1", "'Rome'", "data.categorical or data.drop"],
        ),
    ],
)
def test_roles_that_do_not_fit(tmp_path, changes, parts):
    refusal(file_data(csv(tmp_path), **changes), *parts)


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        (
            {"left": ["no"] * 4},
            ["'left' must have two values, but it has 1", "'no' in 4 rows", "data.target"],
        ),
        ({"left": ["a", "b", "c", "a"]}, ["has 3", "'a' in 2 rows", "'b' in 1 rows", "data.target"]),
        ({"left": [0, 1, None, 1]}, ["'left' is missing in 1 of 4 rows", "row 3"]),
        ({"age": [None] * 4}, ["'age' is missing in every row", "data.drop"]),
        ({"age": [31, 40, "n/a?", 55]}, ["'age'", "row 3", "'n/a?'", "data.drop"]),
        ({"height": [1, 2, 3, np.inf]}, ["'height'", "row 4", "infinite"]),
        ({"height": [1, "-inf", 3, 4]}, ["'height'", "row 2", "infinite"]),
    ],
)
@pytest.mark.parametrize(
    "roles", [{}, {"numeric": ("age", "height"), "categorical": ("id", "city", "member")}]
)
def test_values_that_do_not_fit(tmp_path, columns, parts, roles):
    refusal(file_data(csv(tmp_path, **columns), **roles), *parts)


def test_all_problems_in_one_message(tmp_path):
    path = csv(tmp_path, age=[1, 2, "x", 4], height=[None] * 4)
    refusal(file_data(path), "'age'", "row 3", "'height' is missing in every row")
    refusal(file_data(path, drop=("agee", "heihgt")), "'agee'", "'heihgt'")


def test_many_values_of_the_target_are_not_all_shown(tmp_path):
    frame = pd.DataFrame({"age": range(500), "left": np.arange(500) / 7})
    assert len(refusal(file_data(csv(tmp_path, frame)), "has 500", "...")) < 500


@pytest.mark.parametrize(
    "values", [[datetime.date(2024, 1, day) for day in (1, 2, 3, 4)], [[1], [2], [3], [4]]]
)
def test_values_that_only_parquet_can_hold(tmp_path, values):
    refusal(file_data(parquet(tmp_path, age=values)), "'age'", "dates or lists", "data.drop")
    refusal(
        file_data(parquet(tmp_path, age=values), categorical=("id", "age", "city", "member")),
        "'age'",
        "dates",
    )
    refusal(file_data(parquet(tmp_path, age=values), numeric=("age", "height")), "'age'", "row 1")
    assert read(file_data(parquet(tmp_path, age=values), drop=("age",))).roles.numeric == ("height",)


def test_numbers_stored_as_text_are_text(tmp_path):
    path = parquet(tmp_path, age=["1", "2", "3", "4"])
    assert "age" in read(file_data(path)).roles.categorical
    refusal(file_data(path, numeric=("age", "height")), "'age'", "row 1", "'1'", "data.categorical")
    assert read(file_data(path, categorical=("id", "age", "city", "member"))).roles.numeric == ("height",)


def test_parquet_with_an_index(tmp_path):
    path = tmp_path / "people.parquet"
    FRAME.set_index("id").to_parquet(path)
    assert everything(read(file_data(path))).frame["id"].tolist() == ["a1", "a2", "a3", "a4"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1, 2]),
        ([True, False], [1, 0]),
        (pd.Series([True, None], dtype=object), [1, np.nan]),
        (pd.Series([1, None], dtype="Int64"), [1, np.nan]),
        (pd.Series([True, None], dtype="boolean"), [1, np.nan]),
        (pd.Categorical([3, 1]), [3, 1]),
        (np.array([0.5, 2], dtype=np.float32), [0.5, 2]),
    ],
)
def test_as_numbers(values, expected):
    numbers = as_numbers(pd.Series(values))
    assert numbers.dtype == np.float64
    assert_array_equal(numbers, expected)


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (1, "1"),
        (1.0, "1"),
        (np.int8(1), "1"),
        ("1", "1"),
        (True, "True"),
        (np.True_, "True"),
        (0.1, "0.1"),
        ("", ""),
    ],
)
def test_as_level(value, level):
    assert as_level(value) == level


def test_level_order():
    ordered = ["-1.5", "9", "10", "a", "inf", "nan", "z"]
    for start in range(len(ordered)):
        assert sorted(ordered[start:] + ordered[:start], key=level_order) == ordered


def test_words_that_are_read_as_missing_are_reported(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("country,x,y\nNA,1,0\nDE,,1\nnull,3,0\n,4,1\n")
    table = read(file_data(path, target="y"))
    assert "column 'country': 2 cells with 'NA', 'null' are read as missing" in table.notices
    assert not [notice for notice in table.notices if notice.startswith("column 'x'")]
