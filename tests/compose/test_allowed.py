"""Attacks by YAML and by flags of Hydra: each is refused before anything is imported, run or written."""

import logging
import shutil
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from tests.support import SMALL, command

from sweepgrad.compose.allowed import plugins
from sweepgrad.compose.loader import composer_for
from sweepgrad.compose.plan import plan
from sweepgrad.compose.references import bounded
from sweepgrad.errors import UserError
from sweepgrad.runs.folders import in_the_way

LOGGING = (
    "{version: 1, handlers: {h: {class: logging.FileHandler, filename: OUT, mode: w}}, root: {handlers: [h]}}"
)
FACTORY = '{version: 1, formatters: {f: {"()": pathlib.Path.touch, self: OUT}}, root: {handlers: []}}'
ATTACKS = {
    "a launcher that is a method": "launcher: {_target_: hydra_plugins.sweepgrad_optuna.Path.write_text}",
    "a launcher that is imported": "launcher: {_target_: hydra_plugins.sweepgrad_optuna.shlex.os.mkdir}",
    "a sweeper as launcher": "launcher: {_target_: hydra_plugins.sweepgrad_optuna.OptunaSweeper}",
    "a launcher as sweeper": "sweeper: {_target_: hydra_plugins.sweepgrad_threads.ThreadsLauncher}",
    "no plugin": "launcher: {_target_: hydra._internal.core_plugins.basic_launcher.Path}",
    "below a sweeper": "sweeper: {params: {x: {_target_: pathlib.Path.touch}}}",
    "in a list": "sweeper: {params: {x: [[{_target_: pathlib.Path.touch}]]}}",
    "with arguments": "sweeper: {_args_: [1]}",
    "as a part": "sweeper: {_partial_: true}",
    "below a reference": "sweeper: {params: \"${oc.decode:'{_target_: pathlib.Path}'}\"}",
    "made by a resolver": 'sweeper: {params: {x: "${oc.create:{_target_: pathlib.Path}}"}}',
    "a callback": "callbacks: {x: {_target_: logging.basicConfig}}",
    "a callback by a resolver": "callbacks: {x: \"${oc.decode:'{_target_: pathlib.Path, _args_: [x]}'}\"}",
    "callbacks made by a resolver": "callbacks: \"${oc.decode:'{x: {_target_: pathlib.Path}}'}\"",
    "elsewhere": "job: {config: {_target_: pathlib.Path.touch}}",
    "a log file": f"job_logging: {LOGGING}",
    "a log file of Hydra's": f"hydra_logging: {LOGGING}",
    "a formatter": f"job_logging: {FACTORY}",
    "environment variables": "job: {env_set: {LD_PRELOAD: x.so}}",
    "copied variables": "job: {env_copy: [PATH]}",
    "files beside the run's": "output_subdir: ..",
    "null byte in a folder": 'run: {dir: "a\\0b"}\n  sweep: {dir: "a\\0b"}',
}
SWEPT = {
    "a log file": f'"+hydra.job_logging": "{LOGGING}"',
    "files beside the run's": "hydra.output_subdir: .evil",
    "environment variables": '+hydra.job.env_set.X: "1"',
    "a folder outside": 'hydra.sweep.subdir: "../../../outside-${seed}"',
    "a group": "hydra/job_logging: default",
    "the section": 'hydra: "{output_subdir: x}"',
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    return tmp_path


def attack(hydra: str) -> None:
    text = f"# @package _global_\nhydra:\n  {hydra.replace('OUT', 'written')}\n"
    Path("conf/experiment/evil.yaml").write_text(text)


@pytest.mark.parametrize("multirun", [False, True], ids=["run", "sweep"])
@pytest.mark.parametrize("name", ATTACKS)
def test_yaml_runs_no_code_and_writes_no_file(here, name, multirun):
    attack(ATTACKS[name])
    handlers = list(logging.getLogger().handlers)
    flags = ["--multirun", "seed=1,2"] if multirun else []
    done = command("train", *SMALL, *flags, "--config-dir", "conf", "experiment=evil", "hydra/launcher=basic")
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    assert sorted(path.name for path in here.iterdir()) == ["conf"]
    assert logging.getLogger().handlers == handlers


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        pytest.param(
            flags, name, marks=() if "--cfg hydra" in flags or name == "a log file" else pytest.mark.slow
        )
        for flags in ("--help", "--cfg job", "--cfg hydra", "--info searchpath")
        for name in ATTACKS
    ],
)
def test_flags_that_only_show_something_run_no_code_either(here, name, flags):
    attack(ATTACKS[name])
    command("train", *SMALL, *flags.split(), "--config-dir", "conf", "experiment=evil")
    assert sorted(path.name for path in here.iterdir()) == ["conf"]


@pytest.mark.parametrize("option", ["hydra/launcher=basic", "hydra/sweeper=optuna"])
@pytest.mark.parametrize("name", SWEPT)
def test_what_a_sweeper_would_pass_to_its_jobs_is_refused(here, name, option):
    attack(f'sweeper: {{params: {{seed: "1,2", {SWEPT[name]}}}}}')
    with pytest.raises(UserError, match=r"hydra.*: does not vary within a sweep"):
        plan([*SMALL, "experiment=evil", option], multirun=True, search=["conf"])
    assert [path.name for path in here.iterdir()] == ["conf"]


@pytest.mark.parametrize(
    "line", ["hydra={output_subdir: a},{output_subdir: b}", "hydra.output_subdir=a,b", "hydra.run.dir=a,b"]
)
def test_settings_of_hydra_are_not_swept_over(line):
    with pytest.raises(UserError, match="hydra"):
        plan([*SMALL, line], multirun=True)


@pytest.mark.parametrize(
    ("hydra", "problem"),
    [
        ("job: {env_set: {X: x}}", r"hydra\.job\.env_set"),
        ("output_subdir: ${data.target}", r"hydra\.output_subdir"),
        ("sweep: {dir: elsewhere}", r"hydra\.sweep\.dir: must be the same"),
        ("sweep: {subdir: ../x}", r"hydra\.sweep\.subdir: \.\./x is not a folder inside"),
    ],
)
def test_a_job_is_checked_when_it_is_composed_for_a_launcher(here, hydra, problem):
    attack(hydra)
    with composer_for(["conf"]) as composer:
        loader = composer.config_loader
        master = loader.load_configuration("config", [*SMALL], RunMode.MULTIRUN)
        loader.load_sweep_config(master, ["seed=1"])
        with pytest.raises(UserError, match=problem):
            loader.load_sweep_config(master, ["experiment=evil"])


@pytest.mark.parametrize("option", ["hydra/launcher=threads", "hydra/launcher=dask", "hydra/sweeper=optuna"])
def test_an_option_is_not_run_by_the_class_of_another(here, option):
    kind = option.partition("=")[0].removeprefix("hydra/")
    basic = f"hydra._internal.core_plugins.basic_{kind}.Basic{kind.title()}"
    problem = rf"hydra\.{kind}\._target_: {basic} is not the class of {option}"
    for where in ([f"hydra.{kind}._target_={basic}"], ["experiment=evil"]):
        attack(f"{kind}: {{_target_: {basic}}}")
        with pytest.raises(UserError, match=problem):
            plan([*SMALL, option, *where, "seed=1,2"], multirun=True, search=["conf"])


def test_a_file_of_ones_own_may_choose_an_installed_launcher_with_other_settings(here):
    Path("conf/hydra/launcher").mkdir(parents=True)
    Path("conf/hydra/launcher/mine.yaml").write_text("defaults: [threads]\nworkers: 1\n")
    name = "hydra_plugins.sweepgrad_threads.ThreadsLauncher"
    Path("conf/hydra/launcher/named.yaml").write_text(f"_target_: {name}\nworkers: 1\n")
    for option in ("mine", "named"):
        made = plan([*SMALL, f"hydra/launcher={option}", "seed=1,2"], multirun=True, search=["conf"])
        assert made.launcher == option
    basic = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
    words = ["hydra/launcher=mine", f"hydra.launcher._target_={basic}", "seed=1,2"]
    with pytest.raises(UserError, match="is not the class of hydra/launcher=mine"):
        plan([*SMALL, *words], multirun=True, search=["conf"])


def test_each_of_many_options_is_checked_within_the_limits_of_one(here):
    Path("conf/hydra/launcher").mkdir(parents=True)
    Path("conf/hydra/launcher/mine.yaml").write_text("defaults: [threads]\nworkers: 1\n")
    with composer_for(["conf"]) as composer, bounded():
        loader = composer.config_loader
        master = loader.load_configuration("config", [*SMALL, "hydra/launcher=mine"], RunMode.MULTIRUN)
        for number in range(1_500):
            loader.load_sweep_config(master, [f"data.path=hydra{number}.csv"])


def test_the_class_of_a_launcher_hides_no_other_error(here):
    name = "hydra_plugins.sweepgrad_threads.ThreadsLauncher"
    words = ["hydra/launcher=threads", f"hydra.launcher._target_={name}", "hydra.job.chdir=x", "seed=1,2"]
    with pytest.raises(UserError, match=r"hydra\.job\.chdir") as found:
        plan([*SMALL, *words], multirun=True)
    assert "_target_" not in str(found.value)


@pytest.mark.parametrize("flag", ["--help", "--cfg", "--info"])
def test_text_of_a_file_steers_no_terminal(here, flag):
    attack('help: {template: "\\e]0;pwn\\a\\e[31mRED", header: "\\e[31m"}')
    more = {"--help": [], "--cfg": ["hydra"], "--info": ["all"]}[flag]
    done = command("train", flag, *more, "--config-dir", "conf", "experiment=evil")
    assert "RED" in done.out or flag != "--help"
    assert "\x1b" not in done.out + done.err


def test_an_attack_by_one_experiment_of_a_sweep_is_found(here):
    attack(ATTACKS["a log file"])
    Path("conf/experiment/fine.yaml").write_text("# @package _global_\nseed: 4\n")
    with pytest.raises(UserError, match=r"hydra\.job_logging: is not supported"):
        plan(["experiment=fine,evil"], multirun=True, search=["conf"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "hydra.searchpath=[pkg://attack]"),
        ("train", "--cfg", "job", "hydra.searchpath=[pkg://attack]"),
    ],
)
def test_a_package_of_the_search_path_is_not_imported(here, monkeypatch, arguments):
    (here / "attack").mkdir()
    (here / "attack" / "__init__.py").write_text("open('written', 'w')\n")
    monkeypatch.syspath_prepend(str(here))
    done = command(*arguments)
    assert done.code == 2
    assert "pkg://attack is not a folder. Use file://FOLDER" in done.err
    assert not Path("written").exists()


def test_a_primary_configuration_of_ones_own_cannot_import_packages_either(here, monkeypatch):
    (here / "attack").mkdir()
    (here / "attack" / "__init__.py").write_text("open('written', 'w')\n")
    monkeypatch.syspath_prepend(str(here))
    Path("conf/config.yaml").write_text("hydra: {searchpath: ['pkg://attack']}\n")
    for more in (["--dry-run"], ["--help"], ["--cfg", "job"]):
        command("train", *more, "--config-dir", "conf")
    assert not Path("written").exists()


def test_exactly_the_classes_that_hydra_discovered_may_be_named():
    assert "hydra_plugins.sweepgrad_threads.ThreadsLauncher" in plugins(Launcher)
    assert "hydra._internal.core_plugins.basic_sweeper.BasicSweeper" in plugins(Sweeper)
    for kind in (Launcher, Sweeper):
        assert len(plugins(kind)) == len(Plugins.instance().discover(kind))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ["--experimental-rerun", "config.pickle"],
            "--experimental-rerun is not supported: it reads a pickle",
        ),
        (["--cfg", "job", "--experimental-rerun", "config.pickle"], "it reads a pickle"),
        (["--package", "data"], "--package is not supported: it works with --cfg only"),
        (["--resolve"], "--resolve is not supported: it works with --cfg only"),
        (["--config-name", "x"], "--config-name is not supported"),
        (["--config-path", "x"], "--config-path is not supported"),
        (["--shell-completion", "install=bash"], "use sweepgrad completion"),
        (["--cfg", "job", "foo=1"], "foo"),
        (["--cfg", "job", "foo"], "foo"),
    ],
)
def test_flags_of_hydra_that_are_not_supported_are_refused_by_name(here, arguments, problem):
    done = command("train", *arguments)
    assert (done.code, done.out) == (2, "")
    assert problem in done.err
    assert [path.name for path in here.iterdir()] == ["conf"]


@pytest.mark.parametrize("flags", [["--package", "data"], ["--resolve"]])
def test_those_of_cfg_work_with_it(here, flags):
    done = command("train", "--cfg", "job", *flags, "data=simulated")
    assert done.code == 0
    assert "simulated" in done.out


# Files of the user


@pytest.mark.parametrize("name", ["config.yaml", "record.json", "model/weights.npz", "state.npy"])
def test_a_run_overwrites_no_file_that_no_run_wrote(here, name):
    path = here / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    done = command("train", *SMALL, "hydra.run.dir=.")
    assert done.code == 2
    assert (
        f"cannot write results to .: {name} is there, and is not a run's. Choose another folder" in done.err
    )
    assert path.read_text() == "mine"
    assert not (here / "runs").exists()


def test_a_run_overwrites_no_configuration_that_the_user_saved(here):
    mine = command("train", "--cfg", "job", *SMALL).out
    Path("config.yaml").write_text(mine)
    done = command("train", *SMALL, "hydra.run.dir=.")
    assert done.code == 2
    assert "config.yaml is there, and is not a run's" in done.err
    assert Path("config.yaml").read_text() == mine


def test_a_run_may_be_written_over_one_of_an_earlier_version_or_one_that_was_interrupted(sweep, here):
    shutil.copytree(sweep.jobs[0], "mine")
    config = Path("mine/config.yaml")
    first, rest = config.read_text().split("\n", 1)
    config.write_text(rest)  # as 0.1.0 wrote it
    assert in_the_way(Path("mine")) is None
    config.write_text(f"{first}\n{rest}")
    Path("mine/record.json").unlink()
    assert in_the_way(Path("mine")) is None
    config.write_text(rest)
    assert in_the_way(Path("mine")) == config
    (of_sweep,) = (line.removeprefix("  id: ") for line in rest.splitlines() if line.startswith("  id: "))
    assert of_sweep == sweep.jobs[0].parent.name
    assert in_the_way(Path("mine"), of_sweep) is None  # an interrupted job of a sweep of 0.1.0, resumed
    assert in_the_way(Path("mine"), "another") == config


def test_a_sweep_elsewhere_makes_no_file_of_the_user_one_of_a_run(here, sweep):
    """Above the user's folder, sweep.json is of the user, or of a sweep that the folder has no job of."""
    mine = Path("notes", "deep", "config.yaml")
    mine.parent.mkdir(parents=True)
    mine.write_text(command("train", "--cfg", "job", *SMALL).out)
    kept, own = mine.read_text(), (sweep.jobs[0].parent / "sweep.json").read_text()
    for content in ('{"mine": 1}', own):
        for place in (Path("sweep.json"), Path("notes", "sweep.json")):
            place.write_text(content)
            assert in_the_way(mine.parent) == mine
            assert in_the_way(mine.parent, sweep.jobs[0].parent.name) == mine
            place.unlink()
    Path("sweep.json").write_text(own)
    done = command("train", *SMALL, "hydra.run.dir=notes/deep")
    assert done.code == 2
    assert "config.yaml is there, and is not a run's" in done.err
    assert mine.read_text() == kept


def test_a_job_overwrites_no_configuration_that_the_user_saved_in_the_folder_of_its_sweep(here):
    mine = Path("deep1", "config.yaml")
    mine.parent.mkdir()
    mine.write_text(command("train", "--cfg", "job", *SMALL).out)
    kept = mine.read_text()
    done = command("train", "-m", *SMALL, "seed=1", "hydra.sweep.dir=.", "hydra.sweep.subdir=deep${seed}")
    assert done.code != 0
    assert mine.read_text() == kept


def test_a_run_may_be_written_over_an_earlier_one(here):
    for seed in (1, 2):
        assert command("train", *SMALL, "hydra.run.dir=mine", f"seed={seed}").code == 0


@pytest.mark.parametrize("name", ["multirun.yaml", "sweep.json", "optimization_results.json"])
def test_a_sweep_overwrites_no_file_that_no_sweep_wrote(here, name):
    Path(name).write_text("mine")
    done = command("train", "-m", *SMALL, "seed=1,2", "hydra.sweep.dir=.")
    assert done.code == 2
    assert f"{name} is there, and is not a sweep's: choose another hydra.sweep.dir" in done.err
    assert Path(name).read_text() == "mine"


@pytest.mark.parametrize("subdir", ["../x${seed}", "/tmp/x${seed}", "a/../../x${seed}"])
def test_jobs_stay_inside_the_folder_of_their_sweep(here, subdir):
    done = command("train", "-m", *SMALL, "seed=1,2", f'hydra.sweep.subdir="{subdir}"')
    assert done.code == 2
    assert "is not a folder inside that of the sweep" in done.err
    assert [path.name for path in here.iterdir()] == ["conf"]
