"""DataFrames as Parquet files: values survive, equal frames share a file, and unusable columns are named."""

import datetime
import decimal
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sweepgrad.data.io import frames
from sweepgrad.data.io.parquet import ParquetColumns
from sweepgrad.errors import UserError


def write_frame(frame: pd.DataFrame, folder: Path, name: str) -> Path:
    path, digest = frames.write_frame(frame, folder, name)
    assert sha256(path.read_bytes()).hexdigest() == digest
    return path


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "number": [1.5, np.nan, -0.0],
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "flag": [True, False, True],
            "word": ["a", None, "ü"],
            "kind": pd.Categorical(["x", "y", "x"]),
            "text": pd.array(["p", "q", None], dtype="string"),
        },
        index=[7, 7, 9],
    )


def read(frame: pd.DataFrame, folder) -> pd.DataFrame:
    """Write a frame, and read it as a table is read."""
    columns = ParquetColumns(write_frame(frame, folder, "t"), None)
    return pd.concat(list(columns.blocks(columns.names)))


def test_values_and_missing_values_survive_without_the_index(tmp_path):
    frame, back = table(), read(table(), tmp_path)
    assert back.columns.tolist() == frame.columns.tolist()
    assert back.index.tolist() == [0, 1, 2]
    for name in frame:
        left, right = frame[name].reset_index(drop=True), back[name]
        assert left.isna().tolist() == right.isna().tolist()
        assert left.dropna().tolist() == right.dropna().tolist()


def test_equal_content_has_one_file_and_it_is_written_once(tmp_path):
    first = write_frame(table(), tmp_path, "t")
    written = first.stat().st_mtime_ns
    assert write_frame(table().reset_index(drop=True), tmp_path, "t") == first
    assert first.stat().st_mtime_ns == written
    assert first.name.startswith("t-")
    assert first.is_absolute()
    assert list(tmp_path.iterdir()) == [first]


def negative_nan() -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.copysign(np.array([np.nan, 1.0, 2.0]), [-1.0, 1.0, 1.0])
    return values


def hidden(value: int) -> pd.Series:
    """Return nullable integers with a value under the missing one."""
    return pd.Series(pd.arrays.IntegerArray(np.array([1, value, 3]), np.array([False, True, False])))


WORDS = pd.DataFrame({"x": ["a", None, "ü", "b"], "n": [1, 2, 3, 4]})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (WORDS, pd.concat([WORDS.iloc[:1], WORDS.iloc[1:]])),
        (WORDS.iloc[1:3], pd.DataFrame({"x": [None, "ü"], "n": [2, 3]}).astype({"x": WORDS["x"].dtype})),
        (hidden(7).to_frame("x"), hidden(8).to_frame("x")),
        (pd.DataFrame({"x": negative_nan()}), pd.DataFrame({"x": -negative_nan() * [1, -1, -1]})),
        (
            pd.DataFrame({"x": pd.arrays.FloatingArray(negative_nan(), np.zeros(3, dtype=bool))}),
            pd.DataFrame({"x": pd.arrays.FloatingArray(abs(negative_nan()), np.zeros(3, dtype=bool))}),
        ),
        (
            pd.DataFrame({"x": pd.Categorical(["a", "b"], categories=["a", "b"])}),
            pd.DataFrame({"x": pd.Categorical(["a", "b"], categories=["b", "a"])}),
        ),
    ],
    ids=["concatenated", "sliced", "hidden", "sign of NaN", "sign of NaN, nullable", "categories"],
)
def test_equal_frames_have_one_file_however_memory_holds_them(one, other, tmp_path):
    assert one.reset_index(drop=True).equals(other.reset_index(drop=True))
    assert write_frame(one, tmp_path, "t") == write_frame(other, tmp_path, "t")


def test_threads_write_the_same_frame(tmp_path):
    frame = pd.DataFrame({"x": np.arange(100_000) / 7})
    with ThreadPoolExecutor(8) as threads:
        paths = set(threads.map(lambda _: write_frame(frame, tmp_path, "t"), range(32)))
    assert list(tmp_path.iterdir()) == [*paths]


@pytest.mark.parametrize("content", [b"", b"PAR1", None])
def test_a_file_that_was_changed_is_written_again(content, tmp_path):
    path = write_frame(table(), tmp_path, "t")
    if content is None:
        table().iloc[:2].to_parquet(path)
    else:
        path.write_bytes(content)
    assert write_frame(table(), tmp_path, "t") == path
    assert len(read(table(), tmp_path)) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.assign(number=[1.5, np.nan, 0.5]),
        lambda frame: frame.assign(number=[1.5, 2.0, -0.0]),
        lambda frame: frame.rename(columns={"flag": "flags"}),
        lambda frame: frame[frame.columns[::-1]],
        lambda frame: frame.iloc[::-1],
        lambda frame: frame.iloc[:2],
        lambda frame: frame.assign(flag=[1, 0, 1]),
    ],
)
def test_other_content_has_another_file(change, tmp_path):
    assert write_frame(change(table()), tmp_path, "t") != write_frame(table(), tmp_path, "t")


@given(st.lists(st.floats(), min_size=1), st.lists(st.floats(), min_size=1))
def test_the_name_follows_from_the_values(tmp_path_factory, one, other):
    folder = tmp_path_factory.getbasetemp() / "frames"
    first, second = (write_frame(pd.DataFrame({"x": values}), folder, "t") for values in (one, other))
    a, b = np.array(one), np.array(other)
    same = len(a) == len(b) and np.array_equal(
        np.where(np.isnan(a), 0, a).view(int), np.where(np.isnan(b), 0, b).view(int)
    )
    assert (first == second) == (same and bool(np.array_equal(np.isnan(a), np.isnan(b))))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, "a", None], "column 'bad' mixes values of type int, str; convert them to one type"),
        (
            [[1], [2], None],
            "column 'bad' holds values of type list (dtype object); convert them to numbers or",
        ),
        ([b"x", b"y", None], "of type bytes"),
        ([{"a": 1}, {"a": 2}, None], "of type dict"),
        (
            [10**30] * 3,
            "column 'bad' holds integers of more than 64 bits; convert them, as with frame['bad'].",
        ),
        (pd.period_range("2020", periods=3, freq="D"), "of type Period"),
        (pd.cut(pd.Series([1, 2, 3]), 2).to_numpy(), "of type Interval"),
        (np.array([1j, 2j, 3j]), "of type complex"),
    ],
)
def test_a_column_that_cannot_be_used_is_named(values, message, tmp_path):
    with pytest.raises(UserError) as error:
        write_frame(pd.DataFrame({"good": [1, 2, 3], "bad": values}), tmp_path, "t")
    assert message in str(error.value)
    assert "or leave the column out, as with data=frame.drop(columns='bad')" in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({1: [1]}), "the column name 1 is not a string; rename the columns"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "more than one column is called a"),
        (
            pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])),
            "name ('a', 'b') is not a string",
        ),
        (pd.DataFrame({"a": []}), "the DataFrame has 0 rows and 1 columns"),
        (pd.DataFrame(index=[1, 2]), "the DataFrame has 2 rows and 0 columns"),
    ],
)
def test_a_frame_that_is_no_table_is_refused(frame, message, tmp_path):
    with pytest.raises(UserError) as error:
        write_frame(frame, tmp_path, "t")
    assert message in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        pd.arrays.SparseArray([0, 1, 0]),
        [decimal.Decimal(1), decimal.Decimal(2), None],
        np.array([1, 2, 3], dtype="float16"),
        [datetime.datetime(2020, 1, day) for day in (1, 2, 3)],  # to be dropped by data.drop
        pd.to_timedelta([1, 2, 3], "D"),  # likewise
        np.array([1, np.nan, 3], dtype="float16"),
    ],
)
def test_other_types_are_written(values, tmp_path):
    assert len(read(pd.DataFrame({"x": values}), tmp_path)) == 3


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(OSError, match="No space") as error:
        write_frame(table(), tmp_path, "t")
    assert str(error.value.filename).endswith(".parquet")
    assert not list(tmp_path.iterdir())


def test_a_named_index_is_not_lost_without_a_word(tmp_path, caplog):
    frame = pd.DataFrame({"region": ["a", "b"], "x": [1.0, 2.0]})
    frames.write_frame(frame, tmp_path, "frame")
    assert not caplog.text
    frames.write_frame(frame.set_index("region"), tmp_path, "frame")
    assert "data: the index (region) is not used; call reset_index() to keep it" in caplog.text
