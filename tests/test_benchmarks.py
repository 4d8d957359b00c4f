import json
import sqlite3
import sys
from contextlib import closing
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from benchmarks import commands, coverage, report, sweep, sweep_floor, workloads
from benchmarks.charts import GAP, spread
from benchmarks.commands import Failed, Grid
from benchmarks.peers import songs

from sweepgrad.compose.plan import plan


def record(peer: str, work: str, value: float, **other: Any) -> dict[str, Any]:
    return {
        "peer": peer,
        "work": work,
        "value": value,
        "hidden": (),
        "batch": 0,
        "dtype": "",
        "cores": 1,
        **other,
    }


def test_useful_operations_leave_out_the_gradient_of_the_features() -> None:
    forward = 2 * 32 * (14 * 8 + 8 * 1)
    assert report.useful_flops((8,), 32) == 2 * forward + 2 * 32 * 8


def test_an_aim_is_judged_by_the_faster_precision_and_tells_both_times() -> None:
    step = {"hidden": (8, 4), "batch": 1}
    records = [
        record(workloads.OURS_NATIVE, workloads.STEP, 2e-6, dtype="float32", **step),
        record(workloads.OURS_NATIVE, workloads.STEP, 1e-6, dtype="float64", **step),
        record(workloads.JAX_TUNED, workloads.STEP, 11.5e-6, dtype="float32", **step),
        record(workloads.PYTORCH, workloads.STEP, 600e-6, dtype="float32", **step),
    ]
    jax, documented, pytorch, *_ = report.aims(records)
    assert jax["ratio"] == pytest.approx(11.5)
    assert jax["met"] is False
    assert jax["shown"] == "11.5 × (1.00 µs, 11.5 µs)"
    assert (documented["met"], documented["shown"]) == (None, "not measured")
    assert pytorch["met"] is True


def test_the_share_of_the_machines_rate() -> None:
    flops = report.useful_flops((256, 256), 256)
    ours = record(
        workloads.OURS_NATIVE, workloads.STEP, flops / 90e9, hidden=(256, 256), batch=256, dtype="float32"
    )
    rows = report.aims([ours, record(workloads.MACHINE, workloads.RATE, 100e9)])
    (row,) = [row for row in rows if "sgemm" in row["against"]]
    assert (row["met"], row["shown"]) == (True, "90% of 100.0 GFLOP/s")


def test_the_64_shapes_differ() -> None:
    assert len(set(workloads.DIFFERENT)) == workloads.MODELS


def test_no_measurement_is_made_twice() -> None:
    names = [m.name for m in (*workloads.of_many(), *workloads.in_table(), *workloads.in_charts())]
    assert len(set(names)) == len(names)


def test_labels_keep_their_order_and_their_distance() -> None:
    wanted = [0.5, 0.1, 0.51, 0.52, 0.9]
    heights = spread(wanted)
    assert sorted(range(5), key=wanted.__getitem__) == sorted(range(5), key=heights.__getitem__)
    ordered = sorted(heights)
    assert min(b - a for a, b in pairwise(ordered)) >= GAP - 1e-12
    assert (heights[1], heights[4]) == (0.1, 0.9)


def test_our_command_asks_for_the_jobs_of_the_grid() -> None:
    grid = Grid(hidden=((8, 4), (16,)), lr=(0.003, 0.01), seeds=2, epochs=7)
    jobs = [job.config for job in plan(grid.ours[3:], multirun=True).jobs]
    assert [(tuple(j.model.hidden), j.optimizer.lr, j.seed) for j in jobs] == grid.jobs
    assert len(set(grid.jobs)) == 8
    assert {(j.train.epochs, j.train.batch_size, j.model.dropout, j.optimizer.name) for j in jobs} == {
        (7, 32, 0.2, "adam")
    }


def test_the_sweeps_are_as_large_as_they_are_said_to_be() -> None:
    assert len(Grid().jobs) == 24
    assert len(sweep_floor.grid_of(1000).jobs) == 1000
    assert len(sweep_floor.grid_of(sweep_floor.fewer(1000)).jobs) == 100


@pytest.fixture
def store(tmp_path):
    """A store of two finished runs of three epochs, and one that still runs."""
    file = tmp_path / "store.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE runs (run_uuid, status)")
        connection.execute("CREATE TABLE metrics (run_uuid, key, value, step)")
        connection.executemany(
            "INSERT INTO runs VALUES (?, ?)", [("a", "FINISHED"), ("b", "FINISHED"), ("c", "RUNNING")]
        )
        connection.executemany(
            "INSERT INTO metrics VALUES (?, 'accuracy', ?, ?)",
            [(run, 0.6 + 0.1 * (step == 2), step) for run in "abc" for step in (1, 2, 3)],
        )
    return file


def test_a_sweep_counts_when_each_run_has_finished_with_all_epochs(store) -> None:
    grid = Grid(hidden=((8,),), lr=(0.01,), seeds=2, epochs=3)
    runs = commands.check(store, "accuracy", grid)
    assert [(run.steps, run.best) for run in runs] == [(3, 0.7), (3, 0.7)]
    with pytest.raises(Failed, match="in 2 finished runs, in 0 after each of 4 epochs; 2 were"):
        commands.check(store, "accuracy", Grid(hidden=((8,),), lr=(0.01,), seeds=2, epochs=4))
    with pytest.raises(Failed, match="3 were to be there"):
        commands.check(store, "accuracy", Grid(hidden=((8,),), lr=(0.01,), seeds=3, epochs=3))


def test_what_a_command_takes_is_told_of_itself_and_of_its_children(tmp_path, store) -> None:
    child = "import time; held = b'x' * 200_000_000; time.sleep(1)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    took = commands.timed([sys.executable, "-c", parent], tmp_path / "fresh", store)
    assert 0 < took.cpu < took.seconds
    assert 1 < took.seconds < 120
    assert took.main < 100_000_000 < 200_000_000 < took.others < 300_000_000
    fails = "import sys; print('no luck', file=sys.stderr); sys.exit(3)"
    with pytest.raises(Failed, match="ended with 3: no luck"):
        commands.timed([sys.executable, "-c", fails], tmp_path / "again", store)


def test_the_peers_learn_from_60_percent_of_the_songs_and_standardise_by_them() -> None:
    X_train, y_train, X_val, y_val = songs.parts()
    rows = len(pd.read_csv(songs.FILE))
    assert (len(X_train) / rows, len(X_val) / rows) == pytest.approx((0.6, 0.2), abs=0.02)
    assert (len(y_train), len(y_val)) == (len(X_train), len(X_val))
    numeric = X_train[:, : len(songs.NUMERIC)]
    assert np.allclose(numeric.mean(axis=0), 0)
    assert np.allclose(numeric.std(axis=0), 1)
    assert not np.allclose(X_val[:, : len(songs.NUMERIC)].mean(axis=0), 0, atol=1e-3)
    assert X_train.shape[1] == X_val.shape[1] == 20  # as ours has


def test_ratios_of_sweeps_are_to_ours() -> None:
    records: list[dict[str, Any]] = [
        {"name": sweep.OURS, "seconds": 2.0},
        {"name": "slow", "seconds": 9.0},
        {"name": "absent", "seconds": None},
    ]
    assert [r["ratio"] for r in sweep.with_ratios(records)] == [1.0, 4.5, None]
    assert [r["ratio"] for r in sweep.with_ratios(records[1:])] == [None, None]


def test_the_floor_is_the_longer_part_and_memory_is_what_900_jobs_more_take() -> None:
    rounds = [
        {"sweep": s, "training": 20.0, "mlflow": 8.0, "main": [100_000, 1_000_000], "others": [0, 900]}
        for s in (25.0, 90.0, 26.0)
    ]
    result = sweep_floor.summary(1000, rounds)
    assert result["ratio"] == 1.3
    assert (result["main_bytes_a_job"], result["others_bytes_a_job"]) == (1000, 1)
    assert sweep_floor.summary(20, [{**rounds[0], "main": [5], "others": [7]}])["main_bytes_a_job"] is None
    assert "| 1,000 | 26.0 | 20.0 | 8.0 | 1.3 | 1.3 |" in sweep_floor.table(result)


@pytest.mark.slow
def test_a_small_sweep_of_each_contestant(tmp_path) -> None:
    assert sweep.main(["--quick", "--output", str(tmp_path)]) == 0
    for record in json.loads((tmp_path / "sweep.json").read_text())["sweeps"]:
        if record["why_not"] == "torch is not installed":
            continue
        assert record["why_not"] is None
        assert record["seconds"] == record["rounds"][0] > 0
        assert 0.55 < record["best_val_accuracy"] < 0.8


@pytest.mark.slow
def test_a_peer_that_is_not_installed_is_left_out_with_a_word(capsys) -> None:
    absent = sweep.Contestant("PyTorch", "accuracy", "no_such_module", lambda grid: [])
    (record,) = sweep.measured([absent], Grid(), rounds=1, warm=False)
    assert (record["seconds"], record["why_not"]) == (None, "no_such_module is not installed")
    assert "no_such_module is not installed" in capsys.readouterr().out


@pytest.mark.slow
def test_a_small_sweep_beside_what_it_cannot_do_without(tmp_path) -> None:
    assert sweep_floor.main(["--jobs", "20", "--rounds", "1", "--output", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "sweep_floor.json").read_text())
    assert result["ratio"] > 1
    assert min(result["seconds"].values()) > 0
    assert result["main_peak_bytes"][0] > 1e8


def test_simulated_runs_are_right_as_often_as_is_said_and_go_together_as_is_said() -> None:
    setting = coverage.Setting(np.full(400, 10), 2, unit=0.3, own=0.2, seed=0.01)
    right = setting.right(np.array([0.8, 0.5]), np.random.default_rng(0))
    assert right.shape == (2, 2, 4000)
    assert right.mean(axis=(1, 2)) == pytest.approx([0.8, 0.5], abs=0.06)
    # Two normal numbers of correlation r agree in sign with probability 1/2 + arcsin(r) / pi.
    half = coverage.Setting(coverage.rows(20_000), 2, row=0.5)
    first, second = half.right(np.array([0.5]), np.random.default_rng(1))[0]
    assert np.mean(first == second) == pytest.approx(0.5 + np.arcsin(0.5) / np.pi, abs=0.02)


def test_coverage_is_told_in_tables(capsys) -> None:
    assert coverage.main(["--repetitions", "2", "--only", "accuracy"]) == 0
    assert "| 300 independent rows, accuracy 0.7 |" in capsys.readouterr().out
