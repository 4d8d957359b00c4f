"""`hydra/sweeper=optuna` run by Hydra, with our configuration and jobs that compute a formula."""

import contextlib
import json
import logging
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from math import log10
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException, ConfigCompositionException
from omegaconf import DictConfig
from tests.support import SMALL, command, environment

from sweepgrad.compose.loader import hydra_for
from sweepgrad.messages import shown
from sweepgrad.paths import config_dir

SEARCH = (
    "hydra/sweeper=optuna",
    "hydra.sweeper.trials=6",
    "hydra.sweeper.batch=3",
    "++select.metric=nll",
    "data=simulated",
    "model=choice(wide,deep)",
    "optimizer.lr=tag(log, interval(1e-4, 1e-1))",
    "model.dropout=interval(0, 0.6)",
    "train.batch_size=choice(16,32,64)",
    "seed=range(3)",
)


def formula(cfg: DictConfig) -> float:
    """Return the value of a job: least for few units, lr = 0.01, dropout = 0.2; seed 1 fails."""
    if cfg.seed == 1:
        return math.nan
    wide = sum(cfg.model.hidden)
    return float(wide + (log10(cfg.optimizer.lr) + 2) ** 2 + cfg.model.dropout**2 + 1 / cfg.train.batch_size)


@contextlib.contextmanager
def plain_hydra() -> Iterator[Hydra]:
    """Yield Hydra without our loader: it composes each job from its files, with the same result."""
    with initialize_config_dir(str(config_dir()), version_base="1.3", job_name="train"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra


def multirun(
    *overrides: str,
    job: Callable[[DictConfig], Any] = formula,
    sweep: str = "one",
    hydra_for: Callable[[], contextlib.AbstractContextManager[Hydra]] = hydra_for,
    level: int = logging.INFO,
) -> list[int]:
    """Run `sweepgrad train --multirun OVERRIDES` through Hydra; return the numbers of the jobs.

    Messages of `level` or higher go to standard error.
    """
    numbers = []

    def task(cfg: DictConfig) -> Any:
        numbers.append(HydraConfig.get().job.num)
        return job(cfg)

    with shown(level), hydra_for() as hydra:
        said = [*overrides, "hydra/launcher=basic"]
        said += [f"hydra.sweep.dir=runs/sweeps/{sweep}", f"sweep.id={sweep}"]
        hydra.multirun("config", task, said, with_log_configuration=False)
    return numbers


def results(sweep: str = "one") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("runs", "sweeps", sweep, "optimization_results.json").read_text())
    return found


def points(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the trials' overrides, parsed by Hydra."""
    parser = OverridesParser.create()
    return [
        {o.key_or_group: o.value() for o in parser.parse_overrides(trial["overrides"])}
        for trial in found["trials"]
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("undisturbed"))
        multirun(*SEARCH, hydra_for=plain_hydra)
        return results()


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def remembering(configs: dict[Path, DictConfig]) -> Callable[[DictConfig], float]:
    """Return `formula`, for jobs whose configurations are kept by the folders that Hydra gives the jobs."""

    def job(cfg: DictConfig) -> float:
        configs[Path(HydraConfig.get().runtime.output_dir)] = cfg.copy()
        return formula(cfg)

    return job


def test_a_search_runs_its_trials_and_leaves_its_results(capsys):
    configs: dict[Path, DictConfig] = {}
    assert multirun(*SEARCH, job=remembering(configs)) == list(range(6))
    found = results()
    for point in points(found):
        assert point["model"] in ("wide", "deep")
        assert 1e-4 <= point["optimizer.lr"] <= 1e-1
        assert 0 <= point["model.dropout"] <= 0.6
        assert point["train.batch_size"] in (16, 32, 64)
        assert point["seed"] in (0, 1, 2)
    values = [trial["value"] for trial in found["trials"]]
    assert [value is None for value in values] == [point["seed"] == 1 for point in points(found)]
    assert any(value is None for value in values)
    assert found["best_value"] == min(value for value in values if value is not None)
    best = found["trials"][values.index(found["best_value"])]
    assert set(best["overrides"]) == set(found["best_overrides"]) - {"data=simulated"}
    assert len(configs) == 6
    for trial, point in zip(found["trials"], points(found), strict=True):
        config = configs[Path("runs", "sweeps", "one", str(trial["number"])).absolute()]
        assert (config.seed, config.optimizer.lr) == (point["seed"], point["optimizer.lr"])
        assert formula(config) == trial["value"] or config.seed == 1
    assert Path("runs", "sweeps", "one", "multirun.yaml").is_file()
    said = capsys.readouterr().err
    failed = sum(value is None for value in values)
    assert f"search: best {found['best_value']:.6g}, trial {best['number']}: " in said
    assert f"{6 - failed} trials finished, {failed} failed, kept in runs/studies/{found['name']}.log" in said


def test_a_search_prints_only_problems_where_messages_are_off(capsys):
    multirun(*SEARCH, level=logging.WARNING)
    assert "search:" not in capsys.readouterr().err


def test_a_complete_study_says_so_and_does_nothing(capsys):
    multirun(*SEARCH)
    kept = Path("runs", "studies", f"{results()['name']}.log")
    before = kept.read_bytes()
    capsys.readouterr()
    assert multirun(*reversed(SEARCH), sweep="two") == []
    said = capsys.readouterr().err
    assert "is complete with 6 trials; nothing was run. For more trials, set hydra.sweeper.trials=N" in said
    assert "search: best " in said
    assert kept.read_bytes() == before
    assert not Path("runs", "sweeps", "two").exists()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_interrupted_it_goes_on_with_the_same_command(undisturbed, stop, capsys):
    def stopped(cfg: DictConfig) -> float:
        if HydraConfig.get().job.num == 4:
            raise stop
        return formula(cfg)

    with pytest.raises(stop):
        multirun(*SEARCH, job=stopped)
    assert multirun(*SEARCH, sweep="two") == [3, 4, 5]  # the batch that was not recorded, and the rest
    assert results("two") == undisturbed
    assert "search: continuing after 3 of 6 trials in runs/studies/search-" in capsys.readouterr().err


KILLED = """
import os, signal, sys
from hydra.core.hydra_config import HydraConfig
from tests.hydra_plugins.test_optuna import SEARCH, formula, multirun

def job(cfg):
    if HydraConfig.get().job.num == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return formula(cfg)

multirun(*SEARCH, job=job, sweep="killed")
"""


@pytest.mark.slow
def test_killed_it_ends_the_same(undisturbed):
    root = str(Path(__file__).parents[2])
    for kill_at in (1, 5, -1):
        code = subprocess.run(
            [sys.executable, "-c", KILLED, str(kill_at)],
            env={**environment(), "PYTHONPATH": f"{root}/src:{root}"},
            check=False,
        ).returncode
        assert code == (-signal.SIGKILL if kill_at >= 0 else 0)
    assert results("killed") == undisturbed


def test_an_experiment_says_the_space_for_both_sweepers():
    def job(cfg: DictConfig) -> float:
        return float(cfg.model.dropout)

    grid = ["experiment=spotify_sweep", "model=deep", "seed=1"]
    assert multirun(*grid, job=job) == [0, 1]
    search = ["hydra/sweeper=optuna", "hydra.sweeper.trials=6", "hydra.sweeper.direction=maximize"]
    assert multirun(*grid, *search, job=job) == list(range(6))
    assert results()["best_value"] == 0.5
    assert set(results()["best_overrides"]) == {"model.dropout=0.5", "model=deep", "seed=1", grid[0]}


def test_the_metric_has_its_direction():
    def job(cfg: DictConfig) -> float:
        return float(cfg.seed)

    search = ["hydra/sweeper=optuna", "hydra.sweeper.sampler=random", "hydra.sweeper.trials=8", "seed=1,2"]
    for metric, best in (("nll", 1), ("accuracy", 2)):
        multirun(*search, f"++select.metric={metric}", job=job)
        assert results()["best_value"] == best
    assert len(list(Path("runs", "studies").glob("*.log"))) == 2  # results of several metrics do not mix


def test_a_small_space_is_reported(capsys):
    multirun("hydra/sweeper=optuna", "hydra.sweeper.trials=4", "++select.metric=nll", "seed=2,3")
    assert "the space has only 2 points, so some of the 4 trials are repeated" in capsys.readouterr().err


def test_a_search_without_success_is_reported(capsys):
    multirun(*SEARCH, job=lambda cfg: math.nan)
    assert "search: all 6 trials failed, kept in runs/studies/" in capsys.readouterr().err
    assert results()["best_value"] is None
    multirun(*SEARCH, "train.epochs=2", job=lambda cfg: math.inf)
    assert [trial["value"] for trial in results()["trials"]] == [None] * 6


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["seed=1"], "nothing to search"),
        (
            ["seed=1,2", "++select.metric=f1"],
            "select.metric: unknown metric f1. Choose one of accuracy, nll, roc_auc",
        ),
        (["seed=1,2", "++select.metric=nll,accuracy"], "values of different metrics do not compare"),
        (["seed=1,2", "++select.metric=nll", "hydra.sweeper.study=a/b"], "hydra.sweeper.study: 'a/b'"),
        (
            ["seed=1,2", "++select.metric=nll", "hydra.sweeper.batch=0"],
            "hydra.sweeper.batch: must be at least 1",
        ),
    ],
)
def test_errors_are_reported_before_anything_is_run(overrides, said):
    with pytest.raises(CompactHydraException) as error:
        multirun("hydra/sweeper=optuna", *overrides)
    assert said in str(error.value)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "override", ["hydra.sweeper.sampler=grid", "hydra.sweeper.direction=up", "hydra.sweeper.x=1"]
)
def test_hydra_knows_the_keys(override):
    with pytest.raises(ConfigCompositionException):
        multirun("hydra/sweeper=optuna", "++select.metric=nll", override, "seed=1,2")


def test_a_study_of_the_same_name_is_for_the_same_search():
    named = ("hydra.sweeper.study=mine", *SEARCH)
    multirun(*named)
    assert results()["name"] == "mine"
    with pytest.raises(CompactHydraException, match=r"train\.epochs: was 30, is train\.epochs=2"):
        multirun(*named, "train.epochs=2")
    assert multirun(*named, "hydra.sweeper.trials=7") == [6]


def test_halving_makes_another_search():
    multirun(*SEARCH)
    halved = (*SEARCH, "sweep.halving={first: 1, factor: 2}")
    assert multirun(*halved, sweep="two") == list(range(6))
    assert multirun(*halved, "hydra.sweeper.trials=7", sweep="three") == [6]


def test_without_resume_a_new_study_begins():
    from_scratch = (*SEARCH, "sweep.resume=false")
    for sweep in ("one", "two", "three"):
        assert multirun(*(SEARCH if sweep == "one" else from_scratch), sweep=sweep) == list(range(6))
    assert len({results(sweep)["name"] for sweep in ("one", "two", "three")}) == 3
    assert results("two")["trials"] == results("one")["trials"]
    named = (*from_scratch, "hydra.sweeper.study=mine")
    assert multirun(*named, sweep="four") == list(range(6))
    with pytest.raises(
        CompactHydraException,
        match=r"runs/studies/mine\.log exists, but sweep\.resume=false starts a new study",
    ):
        multirun(*named, sweep="five")
    assert multirun(*named[:-2], named[-1], sweep="six") == []


def test_values_that_do_not_go_together_are_a_failed_trial(capsys):
    search = [*SEARCH[:5], "model=choice(wide,linear)", "model.dropout=choice(0.0,0.5)", "seed=range(9)"]
    configs: dict[Path, DictConfig] = {}
    remember = remembering(configs)

    def job(cfg: DictConfig) -> float:
        remember(cfg)
        return float(cfg.seed)

    ran = multirun(*search, "hydra.sweeper.trials=12", job=job)
    trials = results()["trials"]
    unfit = [t["number"] for t in trials if {"model=linear", "model.dropout=0.5"} <= {*t["overrides"]}]
    assert unfit
    assert ran == [number for number in range(12) if number not in unfit]
    assert [t["number"] for t in trials if t["value"] is None] == unfit
    assert len(configs) == len(ran)
    for trial in trials:  # each job in the folder of its trial's number
        if trial["number"] in ran:
            folder = Path("runs", "sweeps", "one", str(trial["number"]))
            assert folder.is_dir()
            assert configs[folder.absolute()].seed == trial["value"]
    said = capsys.readouterr().err.splitlines()
    lines = [line for line in said if "cannot be run" in line]
    assert len(lines) == len(unfit)
    assert lines[0].startswith(
        f"search: trial {unfit[0]} failed because it cannot be run: model=linear model.dropout=0.5 seed="
    )
    assert lines[0].endswith("without hidden layers dropout has no effect. Set model.dropout=0")


def test_a_job_must_return_a_number():
    with pytest.raises(CompactHydraException, match="a job returned None, but a search needs a number"):
        multirun(*SEARCH, job=lambda cfg: None)


def test_what_a_job_raises_is_raised():
    def job(cfg: DictConfig) -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        multirun(*SEARCH, job=job)


def test_sweepgrad_train_searches(folder):
    search = [*SMALL, *SEARCH[:4], "optimizer.lr=tag(log, interval(1e-3, 1e-1))", "model.dropout=0.0,0.5"]
    result = command("train", "--multirun", *search)
    assert result.code == 0, result.err
    assert "6 trials finished, 0 failed, kept in runs/studies/search-" in result.err
    again = command("train", "--multirun", *search)
    assert again.code == 0, again.err
    assert "is complete with 6 trials" in again.err


def test_sweepgrad_train_searches_again_when_a_table_is_changed(folder):
    rows = [(place % 7, place % 5, int(place % 7 + place % 5 > 5)) for place in range(210)]

    def written(flip: int) -> None:
        lines = [f"{a},{b},{y ^ flip}" for a, b, y in rows]
        Path("table.csv").write_text("\n".join(["a,b,y", *lines]))

    search = ["data=csv", "data.path=table.csv", "data.target=y", "train.epochs=1", "hydra/sweeper=optuna"]
    search += ["hydra.sweeper.trials=2", "seed=range(99)"]
    written(0)
    first = command("train", "--multirun", *search)
    assert first.code == 0, first.err
    same = command("train", "--multirun", *search)
    assert "is complete with 2 trials" in same.err
    written(1)
    changed = command("train", "--multirun", *search)
    assert changed.code == 0, changed.err
    assert "is complete" not in changed.err
    named = [*search, "hydra.sweeper.study=mine"]
    assert command("train", "--multirun", *named).code == 0
    written(0)
    refused = command("train", "--multirun", *named)
    assert refused.code == 2
    assert "the table table: was " in refused.err


def test_sweepgrad_train_goes_on_after_a_split_that_leaves_no_rows(folder):
    search = [*SMALL[::2], "data.rows=choice(200,20)", "split.fold=0", "split.folds=choice(2,40)"]
    search += ["hydra/sweeper=optuna", "hydra.sweeper.sampler=random", "hydra.sweeper.trials=8"]
    result = command("train", "--multirun", *search)
    assert "data.rows=20 split.folds=40: " in result.err
    assert "failed because it cannot be run" in result.err
    assert "trials finished" in result.err
    assert "is complete with 8 trials" in command("train", "--multirun", *search).err


def test_a_search_with_nothing_left_to_run_makes_no_sweep(folder):
    search = [*SMALL, *SEARCH[:4], "model.dropout=0.0,0.5"]
    assert command("train", "--multirun", *search).code == 0
    before = sorted(Path("runs", "sweeps").iterdir())
    again = command("train", "--multirun", *search, "hydra.launcher.workers=1")
    assert again.code == 0
    assert "is complete" in again.err
    assert "next:" not in again.out
    assert sorted(Path("runs", "sweeps").iterdir()) == before
