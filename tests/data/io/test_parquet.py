"""Parquet files give the same results as CSV files, whatever their block sizes."""

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepgrad.config.data import FileData
from sweepgrad.config.split import Split
from sweepgrad.data.access import Tables, open_test, open_training
from sweepgrad.data.io import columns as columnar
from sweepgrad.data.io.parquet import ParquetColumns
from sweepgrad.data.table import read
from sweepgrad.errors import UserError
from sweepgrad.rng import key, normal, uniform

N = 400
SPLIT = Split(train=0.6, val=0.2, test=0.2, seed=0, stratify=True)


def data_of(path, **changes):
    keys = {
        "source": "file",
        "name": "test",
        "path": str(path),
        "sha256": None,
        "target": "liked",
        "positive": None,
        "numeric": None,
        "categorical": None,
        "drop": (),
        "group": "song",
        "keep": (),
    }
    return FileData(**{**keys, **changes})


def table(numbers=np.float64):
    """Return columns of every type, most of them with missing values."""
    u = uniform(key(0, "table"), (N, 8))
    y = u[:, 0] < 0.4
    gone = uniform(key(0, "gone"), (N, 8)) < 0.1
    x = (normal(key(0, "x"), (N,)) + y).astype(numbers)
    return pd.DataFrame(
        {
            "song": np.floor(u[:, 1] * 300).astype(np.int64),
            "x": x,
            "holed": np.where(gone[:, 2], np.nan, u[:, 2]).astype(numbers),
            "count": np.floor(u[:, 3] * 9).astype(np.int64),
            "few": pd.Series(np.floor(u[:, 4] * 5)).astype("Int64").mask(gone[:, 4]),
            "genre": pd.Series(np.array(["pop", "rock", "é"])[(u[:, 5] * 3).astype(int)]).mask(gone[:, 5]),
            "flag": u[:, 6] < 0.5,
            "maybe": pd.Series(u[:, 7] < 0.5, dtype="boolean").mask(gone[:, 7]),
            "liked": np.where(y, "yes", "no"),
        }
    )


def same(left, right):
    assert left.preprocessor == right.preprocessor
    assert left.X.tobytes() == right.X.tobytes()
    assert left.y.tobytes() == right.y.tobytes()
    for part in ("train", "val", "test"):
        assert getattr(left.digests, part) == getattr(right.digests, part)


@settings(max_examples=6, deadline=None)
@given(
    row_group_size=st.integers(20, N + 1),
    values=st.integers(40, 3 * N),
    dictionary=st.booleans(),
    categorical=st.sampled_from([None, ("genre", "flag", "maybe", "few", "count")]),
)
def test_blocks_and_row_groups_change_nothing(
    tmp_path_factory, row_group_size, values, dictionary, categorical
):
    folder = tmp_path_factory.mktemp("parquet")
    table().to_csv(folder / "t.csv", index=False)
    whole = open_training(data_of(folder / "t.csv", categorical=categorical), SPLIT)
    pq.write_table(
        pa.Table.from_pandas(table()),
        folder / "t.parquet",
        row_group_size=row_group_size,
        use_dictionary=dictionary,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columnar, "VALUES", values)
        same(open_training(data_of(folder / "t.parquet", categorical=categorical), SPLIT), whole)
        # and a CSV file in blocks
        table().to_csv(folder / "again.csv", index=False)
        same(open_training(data_of(folder / "again.csv", categorical=categorical), SPLIT), whole)


def test_features_are_those_of_the_whole_frame(tmp_path):
    """Compute features from whole frames instead of blocks."""
    table().to_parquet(tmp_path / "t.parquet")
    data = data_of(tmp_path / "t.parquet")
    opened = open_training(data, SPLIT)
    tables = Tables()
    val = tables.validation(data, SPLIT, opened.digests, "it")
    test = open_test(tables, data, SPLIT, opened.digests, "it")
    assert opened.preprocessor.transform(val.frame).tobytes() == opened.X_val.tobytes()
    assert val.y.tobytes() == opened.y_val.tobytes()
    assert len(val) + len(test) + opened.n_train == N


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float32_columns_give_what_the_same_numbers_in_csv_give(tmp_path, dtype):
    frame = table(np.float32)
    frame.to_parquet(tmp_path / "t.parquet")
    assert pq.read_schema(tmp_path / "t.parquet").field("x").type == pa.float32()
    frame.astype({"x": np.float64, "holed": np.float64}).to_csv(tmp_path / "t.csv", index=False)
    left, right = (open_training(data_of(tmp_path / f"t.{end}"), SPLIT, dtype) for end in ("parquet", "csv"))
    assert left.X.dtype == left.y.dtype == dtype
    same(left, right)


def test_float32_features_are_float64_ones_rounded_once(tmp_path):
    table().to_parquet(tmp_path / "t.parquet")
    single, double = (
        open_training(data_of(tmp_path / "t.parquet"), SPLIT, dtype) for dtype in (np.float32, np.float64)
    )
    assert single.preprocessor == double.preprocessor
    assert single.X.tobytes() == double.X.astype(np.float32).tobytes()


@pytest.mark.parametrize("written", [np.int64, "Int64", np.int8, np.uint32])
def test_whole_numbers_stay_whole_where_others_are_missing(tmp_path, written):
    """Check that large integers stay exact as levels, in blocks with and without missing values."""
    large = 2**53 + 1 if written in (np.int64, "Int64") else 101
    codes = pd.Series([large, 7] * 10, dtype=written)
    if written == "Int64":
        codes[3] = pd.NA
    frame = pd.DataFrame({"code": codes, "liked": ["yes", "no", "yes", "no"] * 5})
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "t.parquet", row_group_size=2)
    found = read(data_of(tmp_path / "t.parquet", categorical=("code",), group=None))
    rows = found.rows(np.ones(20, dtype=bool))
    assert [value for value in rows.frame["code"] if pd.notna(value)] == codes.dropna().tolist()


@pytest.mark.parametrize("size", [11, N])
def test_a_wrong_value_is_reported_with_its_row_in_whichever_block_it_is(tmp_path, size, monkeypatch):
    monkeypatch.setattr(columnar, "VALUES", size)
    texts = [str(i / 7) for i in range(N)]
    texts[320] = "n/a?"
    for end in ("csv", "parquet"):
        path = tmp_path / f"t.{end}"
        frame = table().assign(x=texts)
        frame.to_csv(path, index=False) if end == "csv" else frame.to_parquet(path)
        with pytest.raises(UserError, match=r"'x': row 321 has 'n/a\?', not a number"):
            read(data_of(path))
    table().assign(x=np.where(np.arange(N) == 320, np.inf, 0.5)).to_parquet(path)
    with pytest.raises(UserError, match="'x': row 321 has an infinite value"):
        read(data_of(path))
    table().assign(liked=table()["liked"].mask(np.arange(N) > 320)).to_parquet(path)
    with pytest.raises(UserError, match="'liked' is missing in 79 of 400 rows, first in row 322"):
        read(data_of(path))


def test_an_index_is_a_column_like_any_other(tmp_path):
    table().set_index(["song", "genre"]).to_parquet(tmp_path / "t.parquet")
    table().set_axis(np.arange(N)[::-1]).to_parquet(tmp_path / "unnamed.parquet")
    assert read(data_of(tmp_path / "t.parquet")).columns.names[:3] == ["song", "genre", "x"]
    found = read(data_of(tmp_path / "unnamed.parquet", drop=("index",)))
    assert found.columns.names == ["index", *table().columns]


def test_two_columns_of_one_name(tmp_path):
    columns = [pa.array([1.0, 2.0]), pa.array([1.0, 2.0]), pa.array(["a", "b"])]
    pq.write_table(pa.Table.from_arrays(columns, names=["x", "x", "liked"]), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="repeated column names: x"):
        read(data_of(tmp_path / "t.parquet", group=None))


def test_a_target_of_a_great_many_values_is_refused_without_counting_them_all(tmp_path, monkeypatch):
    monkeypatch.setattr("sweepgrad.data.schema.target._MANY", 50)
    monkeypatch.setattr(columnar, "VALUES", 100)
    table().assign(liked=np.arange(N) / 7).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"must have two values, but it has more than 50: 0\.0, 0\.14"):
        read(data_of(tmp_path / "t.parquet"))


def test_the_digest_is_of_what_is_read(tmp_path):
    """Check that replacing the file does not matter, since the old one stays open, but changing it does."""
    path = tmp_path / "t.parquet"
    table().to_parquet(path)
    columns = ParquetColumns(path, None)
    table().assign(x=1.0).to_parquet(tmp_path / "other.parquet")
    os.replace(tmp_path / "other.parquet", path)
    assert next(columns.column("x")).tolist() == table()["x"].tolist()
    assert len(list(columns.column("x"))) == 1
    changed = ParquetColumns(path, None)
    blocks = changed.column("x")
    os.utime(path, ns=(0, 0))
    with pytest.raises(UserError, match="changed while it was being read"):
        list(blocks)


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "t.parquet"
    table().to_parquet(path, compression=None)
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"t\.parquet: cannot read the file as Parquet"):
        read(data_of(path))
