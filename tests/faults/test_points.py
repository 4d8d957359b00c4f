"""Faults that repeat others are left out, and each thing that is done to files is tried."""

import pytest
from tests.faults.points import allocated, by_operation, points

CALLS = [
    ("fcntl", "runs/mlflow.db"),
    ("openat", "runs/sweeps/a/record.json"),
    ("write", "runs/sweeps/a/record.json"),
    ("fsync", "runs/sweeps/a/record.json"),
    ("write", "runs/sweeps/b/record.json"),
    ("rename", "runs/sweeps/b/record.json"),
]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("once", [1, 2, 3, 4, 5, 6]),
        ("onward", [2, 3, 5]),  # from a lock, an fsync or a rename on is as from the next write on
        ("short", [3, 5]),
        ("interrupted", [1, 2, 3, 4, 5]),
        ("kill", [1, 3, 4, 6]),  # before 2 and 5, nothing has changed since the last
    ],
)
def test_faults_that_repeat_others_are_left_out(kind, expected):
    assert points(CALLS, kind, every=1) == expected


def test_each_thing_that_is_done_to_files_is_tried_once_at_least():
    assert points(CALLS, "once", every=1000) == [1, 2, 3, 4, 6]
    assert allocated(["a", "b", "a", "a", "a"], every=1000) == [1, 2, 5]
    assert allocated(["a", "b", "a", "a", "a"], every=2) == [1, 2, 4, 5]


def test_calls_are_counted_by_what_they_do():
    calls = ["pwrite64 a.db", "sendfile b", "flock c", "fcntl a.db", "fdatasync a.db"]
    assert by_operation(calls) == {"write": 2, "lock": 2, "fsync": 1}
