"""The rules of a configuration: all errors are found before anything runs, and reported in one message."""

import re
from functools import lru_cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from tests.support import CSV

from sweepgrad.compose.plan import Plan, checked, plan
from sweepgrad.config.check import ConfigErrors, check
from sweepgrad.config.data import FileData
from sweepgrad.config.schema import Config
from sweepgrad.data.access import open_training
from sweepgrad.errors import UserError
from sweepgrad.nn.network import Network
from sweepgrad.paths import config_dir, data_dir
from sweepgrad.training.experiment import prepare


def one(*overrides: str) -> Config:
    (job,) = plan(overrides, multirun=False).jobs
    return job.config


def refusal(*overrides: str, multirun: bool = False) -> str:
    with pytest.raises(UserError) as caught:
        plan(overrides, multirun=multirun)
    return str(caught.value)


def problems(*overrides: str, multirun: bool = False) -> list[str]:
    first, *lines = refusal(*overrides, multirun=multirun).splitlines()
    n = len(lines)
    assert first == f"{n} configuration error{'s' if n > 1 else ''}; nothing was run"
    return [line.strip() for line in lines]


def keys(values: object, prefix: str = "") -> list[str]:
    """Return the dotted keys of a configuration."""
    if not isinstance(values, dict):
        return [prefix.removesuffix(".")]
    return [key for name, value in values.items() for key in keys(value, f"{prefix}{name}.")]


# Errors, each with the beginning of its message


@lru_cache
def composed() -> DictConfig:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("config")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["schedule=staircase", "schedule.every=30"], "schedule.every: 30 has no effect within 30 epochs"),
        (["optimizer.beta2=0.99999999"], "optimizer.beta2: 0.99999999 is 1 in float32"),
        (["optimizer.lr=1e-60"], "optimizer.lr: 1e-60 is 0 in float32"),
        (["model.scale=1e39"], "model.scale: 1e+39 is inf in float32"),
        (["train.clip=1e-50"], "train.clip: 1e-50 is 0 in float32"),
        (
            ["optimizer.lr=0.5", "train.weight_decay=2"],
            "train.weight_decay: 2 times optimizer.lr is 1; it must be",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(overrides, expected):
    (line,) = problems(*overrides, "engine.dtype=float32")
    assert line.startswith(expected)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.lr=-1", "optimizer.lr: -1 should be greater than 0"),
        ("optimizer.lr=0", "optimizer.lr: 0 should be greater than 0"),
        ("optimizer.lr=fast", "optimizer.lr: 'fast' should be a valid number"),
        (
            "train.class_weight=heavy",
            "train.class_weight: 'heavy' should be balanced, null, or a number above 0",
        ),
        ("train.class_weight=0", "train.class_weight: 0 should be balanced, null, or a number above 0"),
        ("train.class_weight=true", "train.class_weight: True should be balanced, null, or a number above 0"),
        ("train.class_weight=1", "train.class_weight: 1 has no effect. Set train.class_weight=null"),
        ("train.diagnose=2", "train.diagnose: 2 should be a valid boolean"),
        ("optimizer.lr=.nan", "optimizer.lr: nan should be a finite number"),
        ("optimizer.lr=.inf", "optimizer.lr: inf should be a finite number"),
        ("optimizer.lr=true", "optimizer.lr: True should be a valid number"),
        ("optimizer.lr=null", "optimizer.lr: None should be a valid number"),
        ("optimizer.lr='0.1'", "optimizer.lr: '0.1' should be a valid number"),
        ("optimizer.lr=[0.1]", "optimizer.lr: [0.1] should be a valid number"),
        ("optimizer.beta1=1", "optimizer.beta1: 1 should be less than 1"),
        ("optimizer.epsilon=0", "optimizer.epsilon: 0 should be greater than 0"),
        ("optimizer.name=adma", "optimizer.name: must be one of 'sgd', 'momentum', 'adagrad', 'adam'"),
        ("model.dropout=1.2", "model.dropout: 1.2 should be less than 1"),
        ("model.dropout=1", "model.dropout: 1 should be less than 1"),
        ("model.dropout=-0.1", "model.dropout: -0.1 should be greater than or equal to 0"),
        ("model.hidden=[8,0]", "model.hidden.1: 0 should be greater than or equal to 1"),
        ("model.hidden=[8,-3]", "model.hidden.1: -3 should be greater than or equal to 1"),
        ("model.hidden=[2.5]", "model.hidden.0: 2.5 should be a valid integer"),
        ("model.hidden=8", "model.hidden: 8 should be a valid list"),
        (
            "model.hidden=[]",
            "model: without hidden layers the activation has no effect. Set model.activation=null",
        ),
        ("model.scale=0", "model.scale: 0 should be greater than 0"),
        ("model.activation=gelu", "model.activation: 'gelu' should be one of relu, tanh, sigmoid"),
        ("model.activation=null", "model: hidden layers need an activation"),
        ("split.test=0", "split.test: 0 should be greater than 0"),
        ("split.train=1", "split.train: 1 should be less than 1"),
        ("split.train=0.7", "split: train + val + test must be 1, but 0.7 + 0.2 + 0.2 = 1.1"),
        ("split.stratify=1", "split.stratify: 1 should be a valid boolean"),
        ("split.folds=1", "split.folds: 1 should be greater than or equal to 2"),
        ("split.folds=null", "split.folds: None should be a valid integer"),
        ("split.fold=-1", "split.fold: -1 should be greater than or equal to 0"),
        ("split.fold=0.5", "split.fold: 0.5 should be a valid integer"),
        ("split.fold=5", "split: fold 5 does not exist: 5 folds are numbered from 0 to 4"),
        ("split.folds=10", "split: folds=10 has no effect without a fold. Set split.fold=range(10)"),
        ("split.outer_fold=-1", "split.outer_fold: -1 should be greater than or equal to 0"),
        ("split.outer_fold=5", "split: outer fold 5 does not exist: 5 outer folds are numbered from 0 to 4"),
        (
            "split.outer_folds=4",
            "split: outer_folds=4 has no effect without an outer fold. Set split.outer_fold=range(4)",
        ),
        ("split.seed=-1", "split.seed: -1 should be greater than or equal to 0"),
        ("seed=1.5", "seed: 1.5 should be a valid integer"),
        ("seed=true", "seed: True should be a valid integer"),
        ("seed=-1", "seed: -1 should be greater than or equal to 0"),
        ("seed=9223372036854775808", "seed: 9223372036854775808 should be less than"),
        ("train.epochs=0", "train.epochs: 0 should be greater than or equal to 1"),
        ("train.epochs=ten", "train.epochs: 'ten' should be a valid integer"),
        ("train.batch_size=0", "train.batch_size: 0 should be greater than or equal to 1"),
        ("train.patience=0", "train.patience: 0 should be greater than or equal to 1"),
        ("train.patience=30", "train: patience=30 has no effect within 30 epochs. Set train.patience=null"),
        ("data.name=a/b", "data.name: 'a/b' should match pattern"),
        (
            "tracking.uri=http://me:secret@h:1",
            "tracking.uri: the address must not have a user name or password",
        ),
        ("tracking.uri=postgresql://h/db", "tracking.uri: 'postgresql://h/db' is not an MLflow store"),
        ("tracking.uri=''", "tracking.uri: '' is not an MLflow store. Use sqlite:///FILE"),
        ("data.target=7", "data.target: 7 should be a valid string"),
        ("data.drop=popularity", "data.drop: 'popularity' should be a valid list"),
        ("data.transform=log", "data.transform: 'log' should be one of standardize, quantile_normal; or"),
        ("data.transform=null", "data.transform: None should be one of standardize, quantile_normal; or"),
        ("data.transform={tempo: log}", "data.transform: 'tempo': 'log' should be a column's name and quant"),
        ("data.transform={tempo: standardize}", "data.transform: tempo: standardize has no effect"),
        ("data.transform={7: quantile_normal}", "data.transform: 7: 'quantile_normal' should be a column's"),
        (
            "data.transform={}",
            "data.transform: an empty mapping has no effect. Set data.transform=standardize",
        ),
        ("data.path=???", "data.path: is required. Add data.path=…"),
        ("seed=${nothing.there}", "seed: Interpolation key 'nothing.there' not found"),
        ("seed=${oc.env:NOT_SET_X}", "seed: "),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(override, expected):
    key, _, value = override.partition("=")
    config = composed().copy()
    given_as_yaml = OmegaConf.to_container(OmegaConf.from_dotlist([f"it={value}"]))
    assert isinstance(given_as_yaml, dict)
    OmegaConf.update(config, key, given_as_yaml["it"])
    with pytest.raises(ConfigErrors) as caught:
        checked(config)
    (error,) = caught.value.errors
    assert f"{error.key}: {error.problem}".startswith(expected)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model=5", "model: unknown option 5. Options: deep, linear, middle, wide"),
        ("model=wid", "model: unknown option wid. Did you mean wide?"),
        ("optimizer=adm", "optimizer: unknown option adm. Did you mean adam?"),
        ("data=spotfy", "data: unknown option spotfy. Did you mean spotify?"),
        ("experiment=asignment", "experiment: unknown option asignment. Did you mean assignment?"),
        ("model=null", "model: unknown option null."),
        ("modle=wide", "modle: unknown key. Did you mean model?"),
        ("zzz=1", "zzz: unknown key. Known keys: seed, data, split, model, optimizer, schedule, train"),
        ("+optimizer.lrr=0.1", "optimizer.lrr: unknown key. Did you mean optimizer.lr?"),
        ("++optimizer.lrr=0.1", "optimizer.lrr: unknown key. Did you mean optimizer.lr?"),
        ("~optimizer.lr", "optimizer.lr: is missing"),
        (
            "optimizer.momentum=0.9",
            "optimizer.momentum: unknown key of optimizer=adam. Use it with optimizer=m",
        ),
        ("data.rows=100", "data.rows: unknown key of data=spotify. Use it with data=simulated"),
        ("sweep.id=mine", "sweep.id: is set by --multirun only. Remove it"),
    ],
)
def test_a_wrong_override_is_named_with_the_right_one(override, expected):
    (line,) = problems(override)
    assert line.startswith(expected)
    assert f"[from {override.removeprefix('++')}" in line


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model=linear", "model.dropout=0.5"], "without hidden layers dropout has no effect"),
        (["data=simulated", "data.noise=0.5"], "should be less than 0.5"),
        (["data=simulated", "data.features=1"], "moons need data.features >= 2"),
        (["data=simulated", "data.kind=spiral"], "should be 'moons' or 'linear'"),
        (["data=simulated", "data.target=x"], "Use it with data=csv"),
        (["optimizer=sgd", "optimizer.beta1=0.5"], "Use it with optimizer=adam"),
    ],
)
def test_an_error_of_a_combination_is_named(overrides, expected):
    (line,) = problems(*overrides)
    assert expected in line
    assert overrides[-1] in line


COSTS = "{rule: cost, false_positive: 1, false_negative: 5}"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("threshold=f2", "threshold.rule: must be one of 'half', 'accuracy', 'f1', 'prevalence', 'cost'"),
        ("threshold=3", "threshold.rule: must be one of 'half', "),
        ("threshold=cost", "threshold.false_positive: is missing"),
        ("threshold={false_positive: 2}", "threshold.rule: must be one of"),
        (
            "threshold={rule: f1, false_positive: 1}",
            "threshold.false_positive: has no effect with rule: f1. Use it with rule: cost",
        ),
        (
            "threshold={rule: cost, false_positive: 0, false_negative: 1}",
            "threshold.false_positive: 0 should be greater than 0",
        ),
        ("threshold.rul=f1", "threshold.rul: unknown key. Did you mean select.threshold.rule?"),
        (
            "ensemble={kind: seeds, size: 3}",
            "ensemble.size: has no effect with kind: seeds. Use it with kind: best",
        ),
        ("ensemble={kind: best, size: 1}", "ensemble.size: 1 should be greater than or equal to 2"),
        ("ensemble={kind: best, size: 1001}", "ensemble.size: 1001 should be less than or equal to 1000"),
        ("calibration=yes", "calibration: 'yes' should be 'none' or 'temperature'"),
    ],
)
def test_how_a_model_decides_is_checked(override, expected):
    line, *_ = problems(f"select.{override}")
    assert line.startswith(f"select.{expected}")


def test_costs_want_right_probabilities():
    (line,) = problems(f"select.threshold={COSTS}", "select.calibration=none")
    assert line.startswith(
        "select: a threshold by cost needs calibrated probabilities. Set select.calibration=temperature"
    )
    assert one(f"select.threshold={COSTS}").select.threshold.rule == "cost"


def test_a_bare_word_is_a_kind_without_settings():
    select = one("select.threshold=f1", "select.ensemble=seeds").select
    assert select == one("select.threshold={rule: f1}", "select.ensemble={kind: seeds}").select


def test_sweeps_that_declared_nothing_decide_as_they_did():
    values = one().model_dump()
    for key in ("calibration", "threshold", "ensemble"):
        del values["select"][key]
    select = Config.model_validate(values).select
    assert (select.calibration, select.threshold.rule, select.ensemble.kind) == ("none", "half", "none")


def test_what_the_user_must_give_is_asked_for():
    assert [line.partition(" [")[0] for line in problems("data=csv")] == [
        "data.path: is required. Add data.path=…",
        "data.target: is required. Add data.target=…",
    ]


def test_an_empty_value_is_refused():
    assert "optimizer.lr" in refusal("optimizer.lr=")


@pytest.mark.parametrize("override", ["seed", "seed = 1", "=1", "model.hidden=[1", "a b=1"])
def test_what_is_no_override_is_refused(override):
    assert override[:4].strip() in refusal(override)


def test_all_errors_come_in_one_message_each_with_its_origin():
    found = problems("model.dropout=1.2", "optimizer.lr=-1", "modle=wide", "split.test=0", "train.epochs=0")
    assert [line.partition(":")[0] for line in found if not line.startswith("split:")] == [
        "split.test",
        "model.dropout",
        "optimizer.lr",
        "train.epochs",
        "modle",
    ]
    assert all("[from " in line for line in found)


def heads(*overrides: str, multirun: bool = False) -> list[str]:
    """Return the errors without their origins and without the list of options."""
    found = problems(*overrides, multirun=multirun)
    return [line.partition(" [from")[0].partition(" Options:")[0] for line in found]


def test_wrong_options_and_other_errors_are_reported_together():
    assert heads("model=wid", "optimizer=adm", "model.dropout=2", "optim.lr=3", "split.turn=0") == [
        "model: unknown option wid. Did you mean wide?",
        "optimizer: unknown option adm. Did you mean adam?",
        "split.turn: was renamed. Use split.outer_fold",
        "model.dropout: 2 should be less than 1",
        "optim.lr: unknown key. Did you mean optimizer.lr?",
    ]


def test_a_wrong_option_causes_no_other_errors():
    assert len(problems("optimizer=sdg", "optimizer.momentum=0.5")) == 1
    assert len(problems("experiment=asignment", "optimizer.momentum=0.5", "train.patience=30")) == 1
    assert len(problems("hydra/launcher=dusk", "hydra.launcher.address=x", multirun=True)) == 1
    assert len(problems("model=wid,dep", "seed=1,2", multirun=True)) == 2


def test_several_values_without_multirun_do_not_hide_other_errors():
    assert heads("model=wide,deep", "optimizer.lr=-1") == [
        "model: several values need a sweep. Add --multirun (or -m)",
        "optimizer.lr: -1 should be greater than 0",
    ]


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("lr=0.1", "optimizer.lr"),
        ("learning_rate=0.1", "optimizer.lr"),
        ("train.lr=0.1", "optimizer.lr"),
        ("optim.lr=0.1", "optimizer.lr"),
        ("dropout=0.5", "model.dropout"),
        ("epoch=5", "train.epochs"),
        ("batch=64", "train.batch_size"),
        ("noise=0.1", "data.noise (with data=simulated)"),
        ("momentum=0.9", "optimizer.momentum (with optimizer=momentum)"),
        ("false_positive=2", "select.threshold.false_positive (with rule: cost)"),
        ("train.seed=1", "seed, data.seed (with data=simulated) or split.seed"),
        ("name=x", "data.name, optimizer.name, schedule.name or engine.name"),
    ],
)
def test_a_key_without_its_section_is_found_in_all_sections(override, meant):
    (line,) = heads(override)
    assert line == f"{override.partition('=')[0]}: unknown key. Did you mean {meant}?"


@pytest.mark.parametrize("value", ["0", "null", "3"])
def test_a_renamed_key_names_todays(value, tmp_path):
    assert problems(f"split.turn={value}") == [
        f"split.turn: was renamed. Use split.outer_fold [from split.turn={value}]"
    ]
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "mine.yaml"
    file.write_text(f"# @package _global_\nsplit:\n  turns: {value}\n")
    with pytest.raises(UserError) as caught:
        plan(["experiment=mine"], multirun=False, search=[str(tmp_path)])
    assert f"split.turns: was renamed. Use split.outer_folds [from {file}]" in str(caught.value)


def test_an_error_in_a_file_names_the_file(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("hidden: [4]\nactivation: relu\ndropout: 1.5\nscale: 1.0\n")
    with pytest.raises(UserError) as caught:
        plan(["model=mine", "seed=-1"], multirun=False, search=[str(tmp_path)])
    message = str(caught.value)
    assert f"model.dropout: 1.5 should be less than 1 [from {tmp_path / 'model' / 'mine.yaml'}]" in message
    assert "[from seed=-1]" in message


def test_an_unknown_key_in_a_file_names_the_file(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(
        "hidden: [4]\nactivation: relu\ndrpout: 0.5\ndropout: 0.5\nscale: 1.0\n"
    )
    with pytest.raises(
        UserError, match=r"model\.drpout: unknown key\. Did you mean model\.dropout\? \[from .*mine"
    ):
        plan(["model=mine"], multirun=False, search=[str(tmp_path)])


def test_the_experiments_file_is_named_for_what_it_says(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\noptimizer:\n  lr: -3\n")
    with pytest.raises(UserError, match=r"optimizer\.lr: -3 .*\[from .*experiment/mine\.yaml\]"):
        plan(["experiment=mine"], multirun=False, search=[str(tmp_path)])


def test_damaged_yaml_is_refused_with_its_name(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("hidden: [4\n")
    with pytest.raises(UserError, match=r"mine\.yaml"):
        plan(["model=mine"], multirun=False, search=[str(tmp_path)])


def test_an_error_of_a_whole_sweep_is_reported_once():
    assert len(problems("train.epochs=0", "seed=1,2,3,4", multirun=True)) == 1


def test_only_the_wrong_values_of_a_sweep_are_reported():
    found = problems("optimizer.lr=0.1,-1,-2", "seed=1,2", multirun=True)
    assert [line.partition(" [")[0] for line in found] == [
        "optimizer.lr: -1 should be greater than 0",
        "optimizer.lr: -2 should be greater than 0",
    ]


def test_a_sweep_over_an_unknown_option_names_the_nearest():
    (line,) = problems("model=wide,dep", multirun=True)
    assert "unknown option dep. Did you mean deep?" in line


def test_a_sweep_over_an_unknown_key_names_the_nearest():
    (line,) = problems("optimizer.lrr=0.1,0.2", "seed=1,2", multirun=True)
    assert "Did you mean optimizer.lr?" in line


def test_several_values_without_multirun_say_what_to_add():
    message = refusal("model=wide,deep")
    assert "model=wide,deep" in message
    assert "--multirun" in message


# A typo is never swallowed

KEYS = [key for key in keys(one("data=simulated").model_dump()) if not key.startswith(("sweep", "tracking"))]


def typos(key: str) -> st.SearchStrategy[str]:
    """Return the key with one letter of its last part deleted, doubled, swapped or replaced."""
    section, _, name = key.rpartition(".")
    letters = st.sampled_from("abcdefghijklmnopqrstuvwxyz")
    at = st.integers(0, len(name) - 1)
    spoiled = st.one_of(
        st.builds(lambda i: name[:i] + name[i + 1 :], at),
        st.builds(lambda i: name[: i + 1] + name[i:], at),
        st.builds(lambda i, letter: name[:i] + letter + name[i + 1 :], at, letters),
        st.builds(lambda i: name[:i] + name[i : i + 2][::-1] + name[i + 2 :], at),
    )
    return spoiled.map(lambda word: f"{section}.{word}" if section else word)


@settings(max_examples=6, deadline=None)
@given(st.sampled_from(KEYS).flatmap(lambda key: st.tuples(st.just(key), typos(key))))
@example(("optimizer.lr", "optimizer.rl"))
@example(("optimizer.lr", "optimizer.l"))
@example(("train.epochs", "train.epoch"))
@example(("seed", "sed"))
def test_a_typo_in_a_key_is_refused_and_the_right_key_named(typo):
    right, wrong = typo
    assume(wrong not in KEYS and not wrong.endswith(".") and wrong)
    (line,) = problems("data=simulated", f"{wrong}=1")
    assert line.startswith(f"{wrong}: unknown key.")
    # Where two keys are equally near, either may be named.
    assert right in line or right.rstrip("12") in line


# What is shipped is right

OPTIONS = [
    (folder.name, file.stem)
    for folder in config_dir().iterdir()
    if folder.is_dir()
    for file in folder.glob("*.yaml")
]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_passes(group, option):
    given_with_it = CSV[1:] if option == "csv" else ()
    assert plan([f"{group}={option}", *given_with_it], multirun=False).jobs


def test_there_is_every_option_that_was_promised():
    assert {*OPTIONS} >= {
        ("data", "simulated"), ("data", "spotify"), ("data", "csv"),
        ("model", "wide"), ("model", "middle"), ("model", "deep"), ("model", "linear"),
        ("optimizer", "sgd"), ("optimizer", "momentum"), ("optimizer", "adagrad"), ("optimizer", "adam"),
        ("experiment", "assignment"), ("experiment", "spotify_sweep"),
    }  # fmt: skip


def test_the_split_is_60_20_20_unless_said():
    split = one().split
    assert (split.train, split.val, split.test, split.stratify) == (0.6, 0.2, 0.2, True)


def test_a_sweep_over_seeds_and_folds_has_each_pair_once():
    todo = plan(["model=wide,deep", "seed=range(5)", "split.fold=range(5)"], multirun=True)
    pairs = [(j.config.model.hidden, j.config.seed, j.config.split.fold) for j in todo.jobs]
    assert len(pairs) == len(set(pairs)) == 50
    assert {fold for *_, fold in pairs} == set(range(5))
    assert todo.varying == ("model", "seed", "split.fold")


def test_without_a_word_there_are_no_folds():
    assert (one().split.folds, one().split.fold) == (5, None)
    assert (one("split.folds=7", "split.fold=6").split.fold) == 6


def test_an_outer_fold_tests_its_part_of_the_rows_and_the_test_share_says_so():
    assert (one().split.outer_folds, one().split.outer_fold) == (5, None)
    assert one("split.outer_fold=4").split.outer_fold == 4
    with pytest.raises(UserError, match="with 10 outer folds the test set is 1/10 of the rows") as refused:
        one("split.outer_folds=10", "split.outer_fold=0")
    remedy = re.findall(r"split\.\w+=[\d.]+", str(refused.value).rsplit("Set ", 1)[1])
    split = one("split.outer_folds=10", "split.outer_fold=9", *remedy).split
    assert (split.train, split.val, split.test) == (0.675, 0.225, 0.1)
    with pytest.raises(UserError, match="with 75 outer folds") as refused:
        one("split.outer_folds=75", "split.outer_fold=0")
    remedy = re.findall(r"split\.\w+=[\d.]+", str(refused.value).rsplit("Set ", 1)[1])
    assert one("split.outer_folds=75", "split.outer_fold=0", *remedy).split.test == 0.0133
    third = one(
        "split.outer_folds=3", "split.outer_fold=0", "split.train=0.5", "split.val=0.17", "split.test=0.33"
    )
    assert third.split.outer_folds == 3


def test_a_setting_is_what_was_given():
    config = one("model=deep", "model.dropout=0.25", "optimizer=momentum", "optimizer.lr=1e-3", "seed=7")
    assert config.model.hidden == (6, 6, 5)
    assert config.model.dropout == 0.25
    assert config.optimizer.model_dump() == {"name": "momentum", "lr": 1e-3, "momentum": 0.9}
    assert config.seed == 7


def test_the_environment_can_name_the_store_and_the_command_line_wins(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere:1")
    assert one().tracking.uri == "http://somewhere:1"
    # Absolute at once: a relative one would mean another store after a change of folder.
    assert one("tracking.uri=sqlite:///x.db").tracking.uri == f"sqlite:///{Path.cwd() / 'x.db'}"


@lru_cache
def experiment(name: str) -> Plan:
    return plan([f"experiment={name}"], multirun=False)


def architectures(todo: Plan) -> set[tuple[int, ...]]:
    return {job.config.model.hidden for job in todo.jobs}


def test_the_assignments_experiment():
    todo = experiment("assignment")
    configs = [job.config for job in todo.jobs]
    assert todo.multirun
    assert todo.experiment == "assignment"
    assert len(architectures(todo)) >= 3
    assert {config.model.dropout for config in configs} == {0.5}
    assert {config.train.epochs for config in configs} <= {25, 50}
    assert not any(getattr(config.data, "group", None) for config in configs)
    assert {config.data.name for config in configs} == {"spotify"}
    assert {config.split.seed for config in configs} == {0}
    assert len(configs) == len(architectures(todo)) * len({config.seed for config in configs})


def test_the_experiment_of_make_run():
    todo = experiment("spotify_sweep")
    configs = [job.config for job in todo.jobs]
    assert todo.multirun
    assert len(architectures(todo)) >= 3
    assert {0.0, 0.5} <= {config.model.dropout for config in configs}
    assert len({config.seed for config in configs}) >= 2
    assert all(getattr(config.data, "group", None) for config in configs)
    assert {config.split.seed for config in configs} == {0}
    combinations = {(c.model.hidden, c.model.dropout, c.seed) for c in configs}
    assert len(combinations) == len(configs) == 18


def test_an_ensembles_networks_differ_in_their_seed_alone():
    configs = [job.config for job in experiment("spotify_ensemble").jobs]
    assert [config.seed for config in configs] == list(range(1, 11))
    assert {config.model_copy(update={"seed": 0}).model_dump_json() for config in configs} == {
        configs[0].model_copy(update={"seed": 0}).model_dump_json()
    }


@pytest.mark.parametrize(
    ("transform", "recorded", "tempo", "energy"),
    [
        ("standardize", "standardize", "standardize", "standardize"),
        ("quantile_normal", "quantile_normal", "quantile_normal", "quantile_normal"),
        ("{tempo: quantile_normal}", {"tempo": "quantile_normal"}, "quantile_normal", "standardize"),
    ],
)
def test_a_transform_is_of_all_number_columns_or_of_some(transform, recorded, tempo, energy):
    data = one(f"data.transform={transform}").data
    assert isinstance(data, FileData)
    assert (data.transform_of("tempo"), data.transform_of("energy")) == (tempo, energy)
    assert data.model_dump()["transform"] == recorded


def test_a_run_from_before_transforms_is_read():
    recorded = one().model_dump(mode="json")
    del recorded["data"]["transform"]
    assert check(recorded) == one()


def test_an_experiments_sweep_gives_way_to_the_command_line():
    todo = plan(["experiment=spotify_sweep", "seed=5"], multirun=False)
    assert {job.config.seed for job in todo.jobs} == {5}


@pytest.mark.parametrize("name", ["assignment", "spotify_sweep", "spotify_ensemble"])
def test_architectures_have_about_200_parameters_on_spotify(name):
    todo = experiment(name)
    n_features = prepare(todo.jobs[0].config).network.n_features
    for hidden in architectures(todo):
        assert 180 <= Network(n_features, hidden).n_parameters <= 220


def test_spotify_never_learns_from_the_popularity_that_the_target_was_made_of():
    assert "popularity" not in open_training(one().data, one().split).roles.features
    kept = one("data.drop=[album_name,key,time_signature]", "data.numeric=[popularity,tempo,energy]")
    data = kept.data.model_copy(
        update={"drop": tuple(c for c in SPOTIFY_COLUMNS if c not in ("popularity", "tempo", "energy"))}
    )
    with pytest.raises(UserError, match="popularity alone predicts"):
        open_training(data.model_copy(update={"categorical": ()}), kept.split)


SPOTIFY_COLUMNS = [
    column
    for column in (data_dir() / "spotify.csv").read_text().splitlines()[0].split(",")
    if column not in ("popular_or_not", "artists", "track_name", "track_id")
]


def test_a_run_that_a_sweep_has_twice_is_refused():
    assert "seed=1: is the same run as seed=1. Each run of a sweep must differ" in refusal(
        "seed=1,2,1", multirun=True
    )


def test_only_keys_with_several_values_vary():
    assert plan(["experiment=spotify_sweep", "model=wide"], multirun=False).varying == (
        "model.dropout",
        "seed",
    )


def test_a_sweep_can_be_set_through_hydras_own_key():
    todo = plan(["+hydra.sweeper.params.model='wide,deep'", "data=simulated"], multirun=True)
    assert [job.config.model.hidden for job in todo.jobs] == [(9,), (6, 6, 5)]


def test_yaml_that_would_import_python_is_refused(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "evil.yaml").write_text(
        "# @package _global_\nhydra:\n  callbacks:\n    x:\n      _target_: logging.basicConfig\n"
    )
    with pytest.raises(UserError, match=r"logging\.basicConfig would be imported"):
        plan(["experiment=evil"], multirun=False, search=[str(tmp_path)])
