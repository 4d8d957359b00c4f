"""Limits on overrides, YAML files and references: each is refused soon, before anything is expanded."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.support import command

from sweepgrad.compose import limits
from sweepgrad.compose.plan import plan
from sweepgrad.errors import UserError


@contextmanager
def soon(seconds: float = 2.0) -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < seconds


def refused(problem: str, *overrides: str, multirun: bool = True, search: Path | None = None) -> None:
    with soon(), pytest.raises(UserError) as caught:
        plan(overrides, multirun=multirun, search=[str(search)] if search else [])
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 10_000


# The number of jobs


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["seed=range(0,1000000000)"], "the sweep has 1,000,000,000 runs, and at most 10,000 are allowed"),
        (["seed=range(0,1000000000)", "seed=1,2"], "1,000,000,000 runs"),  # Hydra would list the first too
        (["seed=range(200)", "split.seed=range(200)"], "40,000 runs, and at most 10,000 are allowed"),
        (["seed=shuffle(range(0,1000000000))"], "a range of 1,000,000,000 values, of which at most 100,000"),
        (["data=range(0,1000000000)"], "data: unknown option 0"),
        (["seed=range(1,2,0)"], "seed=range(1,2,0): the step of a range must not be 0"),
        (["train.clip=range(0.5,1,1e-9)"], "a range of 500,000,000 values"),
        (["train.clip=range(0.5,1,1e-40)"], "the step is lost in rounding"),
        (["train.clip=range(1e30,2e30,1.5)"], "the step is lost in rounding"),
        (["train.clip=range(0.5,inf)"], "a range needs finite numbers"),
        (["train.clip=range(0.5,1,nan)"], "a range needs finite numbers"),
        (["hydra/sweeper=optuna", "seed=1,2", "hydra.sweeper.trials=1000000"], "1,000,000 runs"),
        (["+hydra.sweeper.params.seed='range(0,1000000000)'"], "1,000,000,000 runs"),
    ],
)  # fmt: skip
def test_jobs_are_counted_before_they_are_listed(overrides, problem):
    refused(problem, *overrides)


def test_searches_may_choose_from_many_numbers():
    todo = plan(["hydra/sweeper=optuna", "seed=range(0,1000000000)"], multirun=True)
    assert [job.config.seed for job in todo.jobs] == [0, 999_999_999]


def test_a_larger_sweep_is_allowed_by_name():
    overrides = ["seed=range(12)"]
    with pytest.raises(UserError, match=r"12 runs, and at most 11 are allowed\. Add --max-jobs 12"):
        plan(overrides, multirun=True, max_jobs=11)
    assert plan(overrides, multirun=True, max_jobs=12).n_jobs == 12


@pytest.mark.parametrize("n", ["0", "-1", "x", "100001", "1e3", "1" * 5000])
def test_the_flag_takes_a_number_within_reason(n):
    done = command("train", f"--max-jobs={n}", "seed=1")
    assert done.code == 2
    assert "must be a number from 1 to 100000" in done.err


def test_the_flag_reaches_the_plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ("train", "-m", "--dry-run", "data=simulated", "data.rows=60", "train.epochs=1", "seed=1,2,3")
    assert command(*given, "--max-jobs", "3").code == 0
    done = command(*given, "--max-jobs", "2")
    assert (done.code, "at most 2 are allowed. Add --max-jobs 3" in done.err) == (2, True)


def test_a_wrong_value_of_a_large_sweep_is_found_before_all_jobs_are_composed():
    with soon(5):
        refused("seed: -1 should be greater", "seed=range(-1,9000)")
    with soon(5):
        refused("foo: unknown key", "foo=1", "seed=range(9000)")


def test_the_first_errors_are_enough():
    with pytest.raises(UserError) as caught:
        plan(["seed=range(-900,-1)"], multirun=True)
    assert "50 configuration errors or more" in str(caught.value)
    assert str(caught.value).count("\n") == 50


# Overrides


@pytest.mark.parametrize("multirun", [False, True])
@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("data.drop=" + "[" * 300 + "]" * 300, "brackets are nested more than 32 deep"),
        ("data.drop=" + "[" * 33 + "]" * 33, "brackets are nested more than 32 deep"),
        ("data.drop=" + "{a:" * 300 + "1" + "}" * 300, "brackets are nested more than 32 deep"),
        ("seed=" + "choice(" * 300 + "1" + ")" * 300, "brackets are nested more than 32 deep"),
        ("a." * 40 + "b=1", "the key has more than 32 parts"),
        ("seed=" + "1" * 30_000, "an override may have 20,000"),
        ("seed=" + "9" * 5_000, "seed"),
        ("foo=${foo}", "foo"),
        ("foo=${bar} bar=${foo}", "foo"),
    ],
    ids=range(9),
)
def test_overrides_are_limited_before_they_are_parsed(override, problem, multirun):
    refused(problem, override, multirun=multirun)


def test_the_number_and_the_length_of_all_overrides_are_limited():
    refused("2,000 overrides: at most 1,000", *["seed=1"] * 2_000)
    refused("the overrides have 150,", *[f"data.path={'x' * 15_000}"] * 10)


def test_a_list_of_all_the_columns_of_a_wide_table_is_not_too_long():
    columns = [f"column_{i}" for i in range(1_000)]
    todo = plan(
        ["data=csv", "data.path=x.csv", "data.target=y", f"data.drop=[{','.join(columns)}]"], multirun=False
    )
    assert todo.jobs[0].config.data.drop == tuple(columns)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "deep"), [("[" * 40, 40), ("[]" * 40, 1), ("'" + "[" * 40 + "'", 0), ("\\[" * 40, 0)]
)
def test_brackets_in_quotes_are_text(text, deep):
    assert limits.depth(text) == deep


# The cases that once gave a traceback


@pytest.mark.parametrize("multirun", [False, True])
@pytest.mark.parametrize(
    "override",
    [
        "hydra.mode=${data.path}", "hydra/launcher=[1]", "hydra/sweeper=[1]", "experiment=interval(0,1)",
        "hydra.sweep.dir=${hydra:job.num}", "hydra.run.dir=${hydra:job.num}", "hydra=1", "hydra=null",
        "hydra=${data}",
        "hydra.runtime=null", "hydra.runtime.choices=null", "hydra.job=null", "hydra.sweep=null",
        "hydra.launcher=1",
        "hydra.sweeper.params=1", "hydra.sweeper.params=[1]", "hydra.sweeper=null", "data=null",
        "model=[wide,deep]",
        "seed=${oc.decode:'[1,'}", "seed=${oc.env:NOT_SET}", "seed=${unknown:1}", "seed=int(nan)",
        "seed=float(x)",
        "seed=range(1,2,0)", "seed=sort(1,a)", "seed=tag(1)", "~seed=2", "+seed=1", "seed=choice()", "=",
        "a", "~",
        "+", "hydra.searchpath=[1]", "hydra.searchpath=1", "hydra.overrides=null", "data@x=csv",
        "model@_global_=wide",
    ],
)  # fmt: skip
def test_a_user_error_and_nothing_else(override, multirun, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with suppress(UserError):  # some are right
        plan([override], multirun=multirun)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "override",
    [
        "data.rows=1000000000000", "data.features=1000000000", "model.hidden=[1000000000]",
        f"model.hidden={[1] * 101}", "train.epochs=1000000000000", "train.batch_size=1000000000000",
        "split.folds=1000000", "sweep.halving={first: 2, factor: 10000000000}",
    ],
)  # fmt: skip
def test_numbers_that_size_memory_have_limits(override):
    refused("should", "data=simulated", override.replace(" ", ""), multirun=False)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ["data.rows=100000000", "data.features=10000"],
            "data.rows: 100,000,000 rows with 10,000 features need",
        ),
        (
            ["data.rows=100000", "train.batch_size=60000", "model.hidden=[1000000]"],
            "model.hidden: [1000000] needs about",
        ),
    ],
)
def test_memory_is_estimated_before_it_is_allocated(overrides, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for dry in ([], ["--dry-run"]):
        done = command("train", *dry, "data=simulated", *overrides)
        assert (done.code, problem in done.err) == (2, True), done.err
    assert [*tmp_path.iterdir()] == []


# Values that cannot be written into a message, or opened


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"seed: 0x{'F' * 6000}", "line 2: 0xFFF"),
        (f"seed: 0b{'1' * 19000}", "a whole number of more than 64 bits"),
        (f"train: {{epochs: {':'.join('1' * 3000)}}}", "a whole number of more than 64 bits"),
        (f"model: {{hidden: [0x{'F' * 6000}]}}", "a whole number of more than 64 bits"),
        ('data: {path: "a\\0b.csv"}', "data.path: 'a\\x00b.csv' has characters that no path can have"),
        ('tracking: {uri: "sqlite:///a\\0b"}', "tracking.uri: 'sqlite:///a\\x00b' has characters"),
        ('tracking: {uri: "sqlite:///a\\ud800"}', "tracking.uri: 'sqlite:///a\\ud800' has characters"),
        ('hydra: {run: {dir: "a\\0b"}}', "hydra.run.dir: 'a\\x00b' has characters"),
        ('hydra: {sweep: {dir: "a\\0b"}}', "hydra.sweep.dir: 'a\\x00b' has characters"),
    ],
    ids=lambda text: text[:20],
)
def test_numbers_of_any_notation_and_paths_are_refused_in_words(tmp_path, text, problem):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "evil.yaml").write_text(f"# @package _global_\n{text}\n")
    needed = ["data=csv", "data.target=y"] if "data" in text else []
    refused(problem, "experiment=evil", *needed, multirun=False, search=tmp_path)


@pytest.mark.parametrize("value", ["9" * 4000, f"range(-{'9' * 4300},{'9' * 4300})"], ids=["value", "range"])
def test_whole_numbers_of_overrides_have_64_bits(value):
    refused("has a whole number of more than 64 bits", f"seed={value}")
