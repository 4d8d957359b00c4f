from itertools import pairwise
from typing import Any

import pytest
from benchmarks import report, workloads
from benchmarks.charts import GAP, spread


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
