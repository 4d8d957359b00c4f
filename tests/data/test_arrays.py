import errno
import logging
import mmap
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepgrad.config.data import SimulatedData
from sweepgrad.config.split import Split
from sweepgrad.data import access, arrays
from sweepgrad.data.access import open_training
from sweepgrad.data.io import columns
from sweepgrad.messages import ProgressLog
from sweepgrad.paths import cache_dir

SPLIT = Split(train=0.5, val=0.3, test=0.2, seed=0, stratify=True)


def simulated(**changes):
    keys = {"source": "simulated", "name": "s", "kind": "linear", "rows": 200, "features": 3, "noise": 0.1}
    return SimulatedData(**{**keys, "seed": 0, **changes})


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Begin without cached tables, make every array a file, and use an own cache folder."""
    monkeypatch.setattr(access, "_opened", {})
    monkeypatch.setattr(arrays, "LARGE", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sweepgrad"


def is_mapped(array):
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return isinstance(array, mmap.mmap)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_read_only_array(fresh, dtype):
    opened = open_training(simulated(), SPLIT, dtype)
    assert opened.X.shape == (160, 3)
    assert opened.y.shape == (160,)
    assert opened.X.dtype == opened.y.dtype == dtype
    assert opened.X.flags.c_contiguous
    for view in (opened.X_train, opened.X_val, opened.y_train, opened.y_val):
        assert view.base is not None
        assert view.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 0
    assert (len(opened.X_train), len(opened.X_val)) == (opened.n_train, opened.n_val) == (100, 60)
    assert np.shares_memory(opened.X_train, opened.X)
    # another type is another copy; the same type is the same
    other = np.float64 if dtype == np.float32 else np.float32
    assert open_training(simulated(), SPLIT, other) is not opened
    assert open_training(simulated(), SPLIT, dtype) is opened


def test_a_large_array_is_a_file_without_a_name(fresh, monkeypatch):
    large = open_training(simulated(), SPLIT)
    assert is_mapped(large.X)
    assert fresh.is_dir()
    assert not list(fresh.iterdir())
    monkeypatch.setattr(arrays, "LARGE", large.X.nbytes + 1)
    monkeypatch.setattr(access, "_opened", {})
    small = open_training(simulated(), SPLIT)
    assert not is_mapped(small.X)
    assert small.X.tobytes() == large.X.tobytes()
    assert small.notices == large.notices == ()


@pytest.mark.parametrize("portable", [False, True])
def test_a_full_disk_is_found_before_anything_is_written(fresh, monkeypatch, portable):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if portable:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
        monkeypatch.setattr(os, "write", full)
    else:
        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    opened = open_training(simulated(), SPLIT)
    assert not is_mapped(opened.X)
    (notice,) = opened.notices
    assert "of features in memory" in notice
    assert str(fresh) in notice
    assert "No space left" in notice


def test_room_is_reserved_where_the_system_cannot_do_it(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    with (tmp_path / "file").open("wb") as file:
        arrays._reserve(file.fileno(), (1 << 20) + 17)
    assert (tmp_path / "file").stat().st_size == (1 << 20) + 17


def test_an_unwritable_cache_folder_gives_way_to_another(fresh, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert is_mapped(open_training(simulated(), SPLIT).X)
    monkeypatch.setattr(access, "_opened", {})
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "cache"))
    opened = open_training(simulated(), SPLIT)
    assert not is_mapped(opened.X)
    assert "of features in memory" in opened.notices[0]


@settings(max_examples=30, deadline=None)
@given(st.integers(50, 1000), st.integers(10, 200), st.integers(0, 5))
def test_blocks_change_nothing(rows, values, seed):
    data, split = simulated(rows=rows), SPLIT.model_copy(update={"seed": seed})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "_opened", {})
        whole = open_training(data, split)
        patch.setattr(access, "_opened", {})
        patch.setattr(columns, "VALUES", values * 3)
        patch.setattr("sweepgrad.data.split._CHUNK", values)
        cut = open_training(data, split)
    assert cut is not whole
    assert cut.X.tobytes() == whole.X.tobytes()
    assert cut.y.tobytes() == whole.y.tobytes()
    assert cut.digests == whole.digests


def test_no_more_than_four_large_tables_are_kept(fresh, monkeypatch):
    monkeypatch.setattr(access, "_SMALL", 0)
    opened = [open_training(simulated(seed=seed), SPLIT) for seed in range(5)]
    assert len(access._opened) == 4
    assert open_training(simulated(seed=4), SPLIT) is opened[4]
    assert open_training(simulated(seed=0), SPLIT) is not opened[0]


def test_the_tables_of_all_folds_are_kept_while_they_are_small(fresh, monkeypatch):
    splits = [SPLIT.model_copy(update={"folds": 8, "fold": fold}) for fold in range(8)]
    opened = [open_training(simulated(), split) for split in splits]
    assert [open_training(simulated(), split) for split in splits] == opened
    monkeypatch.setattr(access, "_SMALL", sum(training.X.nbytes for training in opened) - 1)
    open_training(simulated(seed=1), SPLIT)
    assert open_training(simulated(), splits[7]) is opened[7]
    assert open_training(simulated(), splits[0]) is not opened[0]


def test_progress_is_reported_of_slow_steps_only(fresh, monkeypatch, caplog):
    caplog.set_level("INFO", "sweepgrad")
    monkeypatch.setattr("sweepgrad.messages._SECONDS", 60)
    open_training(simulated(), SPLIT)
    assert caplog.messages == []
    monkeypatch.setattr("sweepgrad.messages._SECONDS", 0)
    monkeypatch.setattr(access, "_LARGE", 100)
    open_training(simulated(seed=1), SPLIT)
    messages = caplog.messages
    assert messages[0] == "s: reading 0 MB …"
    assert "s: 3 of 3 columns checked" in messages
    assert messages[-1] == "s: computing features: 100% of the rows"


def test_progress_is_reported_once_a_second(monkeypatch, caplog):
    caplog.set_level("INFO", "sweepgrad")
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    pace = ProgressLog(logging.getLogger("sweepgrad.some"), "t")
    for now in (0.5, 1.1, 1.9, 2.2):
        pace.tell(str(now))
    assert caplog.messages == ["t: 1.1", "t: 2.2"]


def test_the_cache_folder_is_the_users(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_dir().is_relative_to(Path.home())

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert cache_dir().name == f"sweepgrad-{os.getuid()}"
