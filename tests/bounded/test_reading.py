"""JSON and bytes of others are read within limits."""

import json
import os
import tracemalloc
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from sweepgrad.bounded import reading
from sweepgrad.bounded.reading import Limits
from sweepgrad.errors import DamagedFile, UserError

LIMITS = Limits(size=10_000, values=1000, depth=5)


@pytest.mark.parametrize(
    "value", [None, [], {}, {"a": [1, 2.5, "é", True, {"b": None}]}, [[[[[1]]]]], -1e308]
)
def test_what_json_writes_is_read(value):
    assert reading.parse(json.dumps(value).encode(), LIMITS) == value


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b"NaN", "not valid JSON"),
        (b"-Infinity", "not valid JSON"),
        (b"[1e999]", "1e999 is not a finite number"),
        (b"1" * 5000, "not valid JSON"),
        (b'"\xff"', "not valid JSON"),
        (b'"\\ud800"', "not valid JSON"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' is there more than once"),
        (b'[{"": {"x": 1, "x": 1}}]', "the key 'x' is there more than once"),
        (b"[" * 6 + b"]" * 6, "nested 6 levels deep"),
        (b"[" * 999 + b"]" * 999, "recursion limit"),
        (b"[" * 9999, "9999|up to"),
        (b"[" + b"0," * 1000 + b"0]", "up to 1002 values, and at most 1000 are read"),
        (b" " * 10_001, "10001 bytes, and at most 10000 are read"),
    ],
)
def test_what_is_not_within_limits_is_refused(content, problem):
    with pytest.raises(DamagedFile, match=problem) as refused:
        reading.parse(content, LIMITS)
    assert isinstance(refused.value, UserError)
    assert len(str(refused.value)) < 200


def test_nothing_is_allocated_for_values_beyond_the_limit():
    content = b"[" + b"[]," * 3_000_000 + b"[]]"
    tracemalloc.start()
    try:
        with pytest.raises(DamagedFile, match="values"):
            reading.parse(content, Limits(size=1 << 24, values=1000))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_file_is_read_up_to_its_limit(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100)
    assert reading.read(file, 100) == b"x" * 100
    with pytest.raises(DamagedFile, match="100 bytes, and at most 99 are read"):
        reading.read(file, 99)


def test_a_small_file_takes_little_memory_whatever_its_limit(tmp_path):
    path = tmp_path / "small"
    path.write_bytes(b"12345")
    tracemalloc.start()
    try:
        assert reading.read(path, 1 << 30) == b"12345"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a file that is larger than it says")
def test_a_file_that_grows_is_read_up_to_its_limit():
    path = Path("/proc/self/status")  # its size is 0
    assert reading.read(path, 1 << 20).startswith(b"Name:")
    with pytest.raises(DamagedFile, match="more than 10 bytes"):
        reading.read(path, 10)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DamagedFile, match="not a regular file"):
            reading.read(path, 100)
    with pytest.raises(IsADirectoryError):
        reading.read(tmp_path, 100)
    with pytest.raises(FileNotFoundError):
        reading.read(tmp_path / "none", 100)


def test_errors_are_counted_rather_than_listed_if_there_are_many():
    numbers = TypeAdapter(list[int])
    few, many = (json.dumps(["x"] * n).encode() for n in (5, 2000))
    with pytest.raises(DamagedFile, match=r"^0: Input should .*; 1: .*; 2: .*; and 2 more$"):
        reading.validated(numbers, few, Limits(size=1 << 20, values=1 << 20))
    with pytest.raises(DamagedFile, match=r"^2000 errors$"):
        reading.validated(numbers, many, Limits(size=1 << 20, values=1 << 20))


def test_what_has_a_schema_has_no_key_twice_either():
    with pytest.raises(DamagedFile, match="the key 'a' is there more than once"):
        reading.validated(TypeAdapter(dict[str, int]), b'{"a": 1, "a": 2}', LIMITS)


def test_plain_values_are_finite_and_not_deep():
    assert reading.plain({"a": [1, {"b": "c"}]}, 3) == {"a": [1, {"b": "c"}]}
    with pytest.raises(ValueError, match="more than 2 levels"):
        reading.plain({"a": [1, {"b": "c"}]}, 2)
    with pytest.raises(ValueError, match="inf is not a finite number"):
        reading.plain({"a": [float("inf")]}, 3)
