"""Estimates of a sweep's time, compared with the time that it takes."""

import time
from collections.abc import Sequence
from math import isnan

import pytest
from tests.support import SMALL
from tests.sweeps.support import jobs, run

from sweepgrad.compose.plan import Plan, plan
from sweepgrad.config.schema import Config
from sweepgrad.sweeps import estimate


def configs(*overrides: str) -> list[Config]:
    return [job.config for job in plan([*SMALL, *overrides], multirun=True).jobs]


def planned(*overrides: str) -> Plan:
    return plan([*SMALL, *overrides], multirun=True)


def mixed(*overrides: str) -> list[str]:
    """Networks from the smallest to one that takes a hundred times as long."""
    return ["data.rows=6000", "model.hidden=[8],[32,32],[96,96]", *overrides]


@pytest.mark.parametrize(
    "overrides",
    [
        mixed("train.epochs=15,30"),
        mixed("train.epochs=10", "train.batch_size=8,256"),
    ],
    ids=["epochs", "batches"],
)
def test_the_estimate_is_right_within_a_factor_of_three(overrides, tmp_path, monkeypatch):
    """Measure processor time, which does not grow with the load of the machine."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    todo = jobs(tmp_path, *overrides)
    run(todo[:1])  # the table is read and the engine is there, as before a sweep
    foretold = estimate.seconds([job.config for job in todo], 1)
    clock = time.perf_counter()
    run(todo, 1)
    took = time.perf_counter() - clock
    assert took / 3 < foretold < 3 * took


@pytest.fixture
def steady(monkeypatch):
    """Fake the timing: 10 ms per job, and a microsecond per step and hidden unit."""
    monkeypatch.setattr(estimate, "_timed", lambda config: (0.01, 1e-6 * sum(config.model.hidden), 3600))


def by_hand(epochs: int, n_jobs: int = 1) -> float:
    """Seconds that `n_jobs` of each of the mixed networks take one after the other, in batches of 32."""
    steps = epochs * 113  # 3,600 rows
    return n_jobs * sum(0.01 + steps * 1e-6 * units for units in (8, 64, 192))


def test_epochs_and_jobs_count_for_what_they_take(steady):
    assert estimate.seconds(configs(*mixed("train.epochs=20")), 1) == pytest.approx(by_hand(20))
    assert estimate.seconds(configs(*mixed("train.epochs=40")), 1) == pytest.approx(by_hand(40))
    twice = configs(*mixed("train.epochs=20", "seed=1,2"))
    assert estimate.seconds(twice, 1) == pytest.approx(by_hand(20, n_jobs=2))


def test_workers_divide_it_but_no_job_is_divided(steady):
    todo = configs(*mixed("train.epochs=20"))
    one, two, many = (estimate.seconds(todo, workers) for workers in (1, 2, 100))
    assert two == pytest.approx(one / 2)
    assert many == pytest.approx(one / 3)


def test_it_takes_a_moment_itself_however_long_the_sweep():
    todo = configs("data.rows=20000", "model.hidden=[96,96]", "train.epochs=100000", "seed=range(200)")
    estimate.seconds(todo[:1], 1)
    clock = time.process_time()
    assert estimate.seconds(todo, 1) > 3600
    assert time.process_time() - clock < 3


def test_what_diverges_at_once_cannot_be_foretold():
    bad = ("optimizer=sgd", "optimizer.lr=1e300")
    assert isnan(estimate.seconds(configs(*bad), 1))
    todo = planned(*bad, "seed=1,2")
    assert estimate.summary(todo, 2) == "2 runs"


def test_one_that_diverges_hides_nothing_of_the_others():
    todo = configs("optimizer=sgd", "optimizer.lr=0.1,1e300,0.2")
    assert 0 < estimate.seconds(todo, 1) < 60


def test_one_for_which_there_is_no_memory_is_not_tried():
    todo = configs("model.hidden=[9],[200000,200000]")
    assert estimate.seconds(todo, 1) > 0


def test_what_is_said_of_it():
    said = estimate.summary(planned("seed=1,2", "train.epochs=2000"), 1)
    assert said.startswith("2 runs, ")
    assert said.endswith(" of training on 1 core")
    assert estimate.summary(planned("seed=1", "train.epochs=2000"), 2).startswith("1 run, ")
    assert estimate.summary(planned("seed=1,2"), 2).endswith(" of training on 2 cores")


def lines(todo: Plan, trained: Sequence[int] = ()) -> list[str]:
    return list(estimate.listed(todo, trained))


def test_jobs_are_listed_by_what_tells_them_apart():
    assert lines(planned("model=wide,linear", "seed=1,2", "optimizer.lr=0.1"), [1]) == [
        "[1/4] model=wide seed=1",
        "[2/4] model=wide seed=2  (trained before)",
        "[3/4] model=linear seed=1",
        "[4/4] model=linear seed=2",
    ]


def test_a_long_list_is_cut():
    said = lines(planned("seed=range(100)"))
    assert len(said) == 41
    assert said[39] == "[40/100] seed=39"
    assert said[40] == "… and 60 more"


def test_what_a_search_asks_for_is_not_known_yet():
    todo = planned("hydra/sweeper=optuna", "hydra.sweeper.trials=7", "optimizer.lr=interval(0.01,0.1)")
    assert not todo.complete
    assert lines(todo) == ["7 jobs, chosen by the search from optimizer.lr"]
    assert estimate.summary(todo, 1).startswith("7 runs")
