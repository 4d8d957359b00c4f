"""The plan of a command line: the jobs that Hydra's sweeper will launch, or samples of them."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hydra import version
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from sweepgrad import messages
from sweepgrad.compose.loader import hydra_for
from sweepgrad.compose.plan import Plan, plan, plan_with
from sweepgrad.errors import UserError


@pytest.fixture
def search(tmp_path: Path) -> list[str]:
    """Add a sweeper that chooses values later, and a launcher with a setting; neither is instantiated."""
    sweeper, launcher = "sweepgrad_optuna.OptunaSweeper", "sweepgrad_threads.ThreadsLauncher"
    for name, text in {
        "hydra/sweeper/guess.yaml": f"_target_: hydra_plugins.{sweeper}\nparams: {{}}\nn_trials: 5\n",
        "hydra/launcher/crowd.yaml": f"_target_: hydra_plugins.{launcher}\nworkers: 2\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    return [str(tmp_path)]


def lines_of(todo: Plan) -> list[str]:
    return [" ".join(job.overrides) for job in todo.jobs]


def test_jobs_have_the_overrides_that_the_basic_sweeper_gives_them():
    todo = plan(["model=wide,deep", "seed=range(2)", "+train.clip=1", "hydra.verbose=false"], multirun=True)
    assert lines_of(todo) == [
        f"model={model} seed={seed} +train.clip=1" for model in ("wide", "deep") for seed in (0, 1)
    ]
    assert [(job.config.model.hidden, job.config.seed) for job in todo.jobs] == [
        ((9,), 0), ((9,), 1), ((6, 6, 5), 0), ((6, 6, 5), 1)
    ]  # fmt: skip
    assert (todo.multirun, todo.complete, todo.sweeper, todo.launcher) == (True, True, "basic", "threads")
    assert todo.varying == ("model", "seed")


def test_a_run_on_its_own_has_the_overrides_that_were_given():
    todo = plan(["seed=3", "hydra.run.dir=here"], multirun=False)
    assert lines_of(todo) == ["seed=3 hydra.run.dir=here"]
    assert (todo.multirun, todo.complete, todo.varying) == (False, True, ())


def test_a_sweep_that_asks_for_no_run_is_refused():
    with pytest.raises(UserError, match=r"seed=range\(3,3\): a sweep of 0 runs; nothing was run"):
        plan(["seed=range(3,3)"], multirun=True)


def test_other_sweepers_get_each_value_of_a_choice_and_both_ends_of_the_rest(search):
    todo = plan(
        [
            *("hydra/sweeper=guess", "hydra.sweeper.n_trials=9", "seed=range(0,7)", "train.clip=1"),
            *(
                "model=wide,deep",
                "model.dropout=choice(0.0,0.25,0.5)",
                "optimizer.lr=tag(log,interval(1e-4,0.1))",
            ),
            "train.batch_size=int(interval(8,64))",
        ],
        multirun=True,
        search=search,
    )
    first = {
        "seed": "0", "train.clip": "1", "model": "wide", "model.dropout": "0.0", "optimizer.lr": "0.0001",
        "train.batch_size": "8",
    }  # fmt: skip
    others = [
        ("seed", "6"), ("model", "deep"), ("model.dropout", "0.25"), ("model.dropout", "0.5"),
        ("optimizer.lr", "0.1"), ("train.batch_size", "64"),
    ]  # fmt: skip
    expected = [first, *(first | {key: value} for key, value in others)]
    assert lines_of(todo) == [" ".join(f"{key}={value}" for key, value in job.items()) for job in expected]
    assert (todo.complete, todo.sweeper) == (False, "guess")
    assert todo.varying == ("seed", "model", "model.dropout", "optimizer.lr", "train.batch_size")


def test_samples_that_are_alike_are_kept_once(search):
    todo = plan(["hydra/sweeper=guess", "seed=choice(1,1,2)"], multirun=True, search=search)
    assert lines_of(todo) == ["seed=1", "seed=2"]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("optimizer.lr=interval(-1,0.1)", "optimizer.lr: -1.0 should be greater than 0"),
        ("optimizer.lr=interval(0.1,0.0)", "optimizer.lr: 0.0 should be greater than 0"),
        ("model.dropout=choice(0.0,0.5,1.5)", "model.dropout: 1.5 should be less than 1"),
        ("train.epochs=range(3,-2,-1)", "train.epochs: -1 should be greater than or equal to 1"),
        ("optimizer.lrr=interval(0.1,0.2)", "optimizer.lrr: unknown key. Did you mean optimizer.lr?"),
        ("model=wide,dep", "model: unknown option dep. Did you mean deep?"),
        ("seed=range(3,3)", "a sweep of 0 runs"),
    ],
)
def test_what_another_sweeper_must_not_choose_is_refused(search, override, problem):
    with pytest.raises(UserError) as caught:
        plan(["hydra/sweeper=guess", "train.clip=1", override], multirun=True, search=search)
    assert problem in str(caught.value)


def test_the_basic_sweeper_takes_no_interval():
    with pytest.raises(UserError, match="does not support sweep type : INTERVAL_SWEEP"):
        plan(["optimizer.lr=interval(0.1,0.2)"], multirun=True)


def test_a_launcher_can_be_chosen_and_set(search):
    todo = plan(
        ["hydra/launcher=crowd", "hydra.launcher.workers=3", "seed=1,2"], multirun=True, search=search
    )
    assert (todo.launcher, lines_of(todo)) == ("crowd", ["seed=1", "seed=2"])
    with pytest.raises(
        UserError, match=r"hydra\.launcher\.workrs: unknown key\. Did you mean hydra\.launcher\.workers\?"
    ):
        plan(["hydra/launcher=crowd", "hydra.launcher.workrs=3"], multirun=True, search=search)
    with pytest.raises(UserError, match=r"unknown option crwd\. Did you mean crowd"):
        plan(["hydra/launcher=crwd", "seed=1,2"], multirun=True, search=search)
    with pytest.raises(UserError, match="hydra/launcher: must be one of its options"):
        plan(["~hydra/launcher", "seed=1,2"], multirun=True)


def test_hydras_own_settings_are_not_swept_over():
    with pytest.raises(UserError, match="Sweeping over Hydra's configuration is not supported"):
        plan(["hydra.verbose=true,false", "seed=1,2"], multirun=True)


@pytest.mark.parametrize(
    "override", ["sweep.id=mine", "+sweep.id=mine", "~sweep.id", "sweep={id:mine}", "~sweep"]
)
def test_a_sweeps_name_is_not_the_users_to_set(override):
    with pytest.raises(UserError, match="is set by --multirun only"):
        plan([override], multirun=True)


def test_other_keys_of_a_sweep_are_checked_like_any():
    with pytest.raises(UserError, match=r"sweep\.idd: unknown key\. Did you mean sweep\.id\?"):
        plan(["sweep.idd=1"], multirun=True)


def test_files_may_change_once_a_sweep_is_planned(tmp_path):
    """Hydra composes the configuration that was checked, from the files that it read before."""
    (tmp_path / "model").mkdir()
    file = tmp_path / "model" / "mine.yaml"
    file.write_text("hidden: [4]\nactivation: relu\ndropout: 0.0\nscale: 1.0\n")
    with hydra_for([str(tmp_path)]) as hydra:
        loader = hydra.config_loader
        master = loader.load_configuration("config", [], RunMode.MULTIRUN)
        todo = plan_with(hydra, ["model=mine", "seed=1,2"], multirun=True)
        file.write_text("hidden: [5]\nactivation: relu\ndropout: 0.0\nscale: 1.0\n")
        jobs = [loader.load_sweep_config(master, [*job.overrides]) for job in todo.jobs]
    assert [list(job.model.hidden) for job in jobs] == [[4], [4]]


def test_threads_plan_and_leave_hydra_as_it_was():
    """Plan while a sweep is being trained: a plan needs no turn."""
    hydra, base = GlobalHydra.instance().hydra, version.getbase()
    with ThreadPoolExecutor(4) as threads:
        with hydra_for() as training:
            plans = list(threads.map(lambda seed: plan([f"seed={seed}"], multirun=False), range(8)))
            assert GlobalHydra.instance().hydra is training
            assert str(version.getbase()) == "1.3"
        assert [todo.jobs[0].config.seed for todo in plans] == list(range(8))
        assert list(threads.map(lambda _: turn(), range(8))) == [True] * 8
    assert GlobalHydra.instance().hydra is hydra
    assert version.getbase() == base


def turn() -> bool:
    """Return whether a thread has `GlobalHydra` for itself."""
    with hydra_for() as hydra:
        time.sleep(0.02)
        return GlobalHydra.instance().hydra is hydra


def test_long_planning_says_how_far_it_is(monkeypatch, caplog):
    monkeypatch.setattr(messages, "_SECONDS", 0)
    with caplog.at_level(logging.INFO, "sweepgrad"):
        plan(["data=simulated", "seed=1,2,3"], multirun=True)
    assert caplog.messages == [f"planning: {n} configurations checked, for 3 runs" for n in range(3)]


def test_an_experiment_may_ask_for_a_sweep_over_a_group_that_it_leaves_open(tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults: [{override /model: '???'}]\n"
    text += "hydra: {mode: MULTIRUN, sweeper: {params: {model: 'linear,wide'}}}\n"
    (tmp_path / "experiment" / "open.yaml").write_text(text)
    made = plan(["data=simulated", "experiment=open"], multirun=False, search=[str(tmp_path)])
    assert (made.multirun, made.n_jobs) == (True, 2)
