"""Our loader composes the same configurations as Hydra's, faster."""

import copy
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweepgrad.compose.copying import clone
from sweepgrad.compose.loader import CONFIG_NAME, SweepLoader, hydra_for
from sweepgrad.errors import UserError

TRICKY = {
    # A directive, options of options, and a file's own place among its defaults.
    "extra/one.yaml": "# @package train.extra\ndefaults:\n  - inner: a\n  - _self_\nx: ${seed}\n",
    "extra/two.yaml": "defaults:\n  - _self_\n  - inner@here: b\nx: 2\n",
    "extra/by_name.yaml": "defaults:\n  - inner: ${extra}\n",
    "extra/inner/a.yaml": "deep: [1, {two: 2}]\n",
    "extra/inner/b.yaml": "deep: null\nmust: ???\n",
    "extra/inner/by_name.yaml": "of: it\n",
    "extra/inner/deep.yaml": "# @package _global_\nof: {deep: true}\n",
    "experiment/tricky.yaml": (
        "# @package _global_\n"
        "defaults:\n  - /extra@also: two\n  - override /data: simulated\n  - override /model: deep\n"
        "train:\n  epochs: 7\n"
        "linked: ${hydra.job}\nsame: ${model}\nchain: ${same}\nname: ${hydra.runtime.choices.model}\n"
        "both: {model: '${model}', words: ['${seed}', plain]}\n"
        "hydra:\n  job:\n    chdir: false\n  sweep:\n    subdir: ${seed}\n"
    ),
    "experiment/separators.yaml": (
        "# @package _global_\nhydra:\n  job:\n    config:\n      override_dirname:\n"
        "        kv_sep: ${seed}\n        exclude_keys: [seed]\n"
    ),
    "hydra/job_logging/quiet.yaml": "# @package hydra.job_logging\nversion: 1\nroot: null\n",
}

LINES = (
    # values of what is there
    *("seed=3", "seed=-1", "seed=a", "seed=null", "seed=${split.seed}", "seed=''", "seed=1e-3", "seed=true"),
    *("train.epochs=5", "train.clip=0.5", "train.patience='${train.epochs}'", "split.seed=${seed}"),
    *("model.hidden=[3,4]", "model.hidden=[]", "model.hidden=[${seed},2]", "model.hidden.0=7"),
    *("model.hidden=[{a:1}]", "model.dropout=0.5", "model.dropout=???", "data.group=[[a,b],[c]]"),
    *("tracking.uri=x", "tracking.uri=${oc.env:HOME}", "tracking.uri=${oc.env:NOT_SET_X,y}"),
    *("tracking.experiment='a b, c=d'", 'tracking.experiment="it\'s \\"so\\""', "sweep.id=s-1"),
    *("model={dropout:0.25}", "model={hidden:[1],new:2}", "optimizer={lr:${seed}}", "train=5", "data=null"),
    # additions, deletions
    *("+new=1", "+new={a:{b:2}}", "+new.a.b=3", "++new.a=4", "++seed=9", "+seed=8", "++model.more=[1]"),
    *("+train.extra={z:1}", "++train.extra.x=5", "++train={clip:2}", "new.a=1", "+a-b=1", "+$x=1", "+9.x=1"),
    *("~seed", "~train.clip", "~model.dropout=0.0", "~model.dropout=3", "~train", "~not.there", "~new"),
    # choices of files
    *("model=deep", "model=wide", "model=linear", "model=none", "model=null", "data=csv", "optimizer=sgd"),
    *("experiment=tricky", "experiment=tricky", "experiment=assignment"),
    *("experiment=separators", "+extra=one", "+extra=two", "+extra=by_name", "+extra@train.more=two"),
    *("extra@also=one", "extra=one", "~schedule", "~schedule=cosine", "~optimizer=adam", "++model=deep"),
    *("model=[deep,wide]", "model@other=deep", "seed@here=1", "+experiment=[tricky]", "data=5"),
    # where interpolations lead elsewhere
    *("linked.name=other", "++linked.more=1", "+linked.chdir=true", "~linked.name", "linked={name:x}"),
    *("same.dropout=0.75", "++chain.dropout=0.8", "~same.scale", "same=1", "same={dropout:1}", "+name=1"),
    *("~name=deep", "~both={model:1}", "both={model:{scale:2}}", "both.words=[x]", "both.model.scale=3"),
    *("+to=${hydra.runtime.choices.model}", "~to", "+to=${hydra.job}", "++to.name=z", "~to=wide"),
    # Hydra's own
    *("hydra.job.name=other", "hydra.sweep.dir=here/${seed}", "hydra.verbose=true", "hydra.job.chdir=1"),
    *("hydra/job_logging=quiet", "hydra/job_logging=none", "hydra/launcher=none", "~hydra/env", "hydra={}"),
    *("hydra.overrides.task=[mine]", "hydra.runtime.choices={x:y}"),
    *("hydra.job.config.override_dirname.exclude_keys=[seed]", "hydra.nothing=1", "+hydra={job:{name:w}}"),
    *("hydra.job.config.override_dirname.item_sep=${seed}", "~hydra.help", "~hydra.job", "~hydra"),
    *("hydra.searchpath=[]", "hydra.searchpath=[file:///not/there]", "hydra.run.dir=${now:%Y}"),
    # no overrides of a job
    *("seed=1,2", "seed=range(3)", "seed", "a b=1", "=1", "seed=[1", "seed=${", "+new='${'"),
    "hydra.verbose=1,2",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("tricky")
    for name, text in TRICKY.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def hydra(folder) -> Iterator[Hydra]:
    with hydra_for([str(folder)]) as hydra:
        yield hydra


def loader_of(hydra: Hydra) -> SweepLoader:
    assert isinstance(hydra.config_loader, SweepLoader)
    return hydra.config_loader


def nodes(node: Node) -> Any:
    """Return a configuration with the flags of each node, in a form that can be compared."""
    fields = {key: value for key, value in vars(node).items() if key not in ("_parent", "_flags_cache")}
    fields["_metadata"] = copy.deepcopy(vars(fields["_metadata"]))
    content = fields.get("_content")
    if isinstance(content, dict | list):
        below = list(content.items()) if isinstance(content, dict) else list(enumerate(content))
        assert all(child._get_parent() is node for _, child in below)
        fields["_content"] = [(key, nodes(child)) for key, child in below]
    elif isinstance(content, Node):
        assert content._get_parent() is node
        fields["_content"] = nodes(content)
    return type(node), fields


def resolved(config: DictConfig) -> dict[str, Any]:
    """Return each part with its interpolations resolved, or the error."""
    hydra = (
        {f"hydra.{key}" for key in config.get("hydra") or ()}
        if OmegaConf.is_dict(config.get("hydra"))
        else set()
    )
    parts: dict[str, Any] = {}
    for key in ({str(key) for key in config} - {"hydra"}) | hydra:
        try:
            part = OmegaConf.select(config, key)
            parts[key] = OmegaConf.to_container(part, resolve=True) if OmegaConf.is_config(part) else part
        except OmegaConfBaseException as error:
            parts[key] = str(error)
    return parts


def outcome(loader: ConfigLoaderImpl, master: DictConfig, overrides: list[str]) -> Any:
    """Return the configuration of a job, or the error with its cause."""
    try:
        config = loader.load_sweep_config(master, overrides)
    except Exception as error:  # noqa: BLE001 - whatever Hydra raises, we must
        cause = error.__cause__
        return type(error), str(error), type(cause), str(cause)
    return nodes(config), resolved(config)


def master_of(loader: ConfigLoaderImpl, overrides: Sequence[str] = ()) -> DictConfig:
    master = loader.load_configuration(CONFIG_NAME, [*overrides], RunMode.MULTIRUN)
    OmegaConf.select(master, "hydra.run.dir")  # resolves `now`, which jobs then share
    return master


MASTERS: tuple[list[str], ...] = (
    [],
    ["hydra.job.name=mine"],
    ["hydra/job_logging=quiet", "hydra.sweep.dir=x/${hydra.job.name}"],
)


@pytest.mark.parametrize(
    "overrides", [["experiment=tricky", "+to=${linked}"], ["+extra=one"], ["+extra=by_name", "model=deep"]]
)
def test_the_tricky_files_can_be_composed(hydra, overrides):
    assert loader_of(hydra).load_configuration(CONFIG_NAME, overrides, RunMode.RUN)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(MASTERS), st.lists(st.sampled_from(LINES), max_size=5))
@example([], [])
@example([], ["experiment=tricky", "linked.name=other", "seed=3"])
@example([], ["experiment=tricky", "+to=${hydra.runtime.choices.model}", "~to"])
@example([], ["experiment=tricky", "~name=deep"])
@example([], ["experiment=tricky", "~both={model:1}"])
@example([], ["experiment=tricky", "same={dropout:1}"])
@example([], ["seed=4", "hydra.job.config.override_dirname.exclude_keys=[seed]"])
@example([], ["experiment=separators", "seed=4", "model=deep"])
@example([], ["hydra.overrides.task=[mine]", "seed=1", "model=deep"])
@example([], ["hydra.searchpath=[]", "extra@also=one"])
@example([], ["+to=${hydra.job}", "++to.name=z"])
@example([], ["train.patience='${train.epochs}'", "model.hidden=[3,4]", "tracking.experiment='a b, c=d'"])
@example([], ["nothing=1", "model=none"])
def test_a_job_is_what_hydra_makes_of_it(hydra, master, overrides):
    ours = loader_of(hydra)
    hydras = ConfigLoaderImpl(ours.get_search_path())
    master = master_of(ours, master)
    expected = outcome(hydras, master, overrides)
    for _ in range(2):  # the first may be what the second is copied from
        assert outcome(ours, master, overrides) == expected


@pytest.mark.parametrize("mode", [RunMode.RUN, RunMode.MULTIRUN])
@pytest.mark.parametrize(
    "overrides", [["seed=3", "hydra.job.name=x"], ["seed=1,2"], ["model=deep,wide"], ["a=1"]]
)
def test_a_run_and_a_sweep_are_what_hydra_makes_of_them(hydra, mode, overrides):
    results = []
    for loader in (loader_of(hydra), ConfigLoaderImpl(hydra.config_loader.get_search_path())):
        try:
            config = loader.load_configuration(CONFIG_NAME, overrides, mode)
            OmegaConf.clear_cache(config)  # it has the time of composition
            results.append(nodes(config))
        except Exception as error:  # noqa: BLE001 - whatever Hydra raises, we must
            results.append((type(error), str(error)))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "override",
    [
        *(
            "seed=3",
            "seed=${split.seed}",
            "tracking.uri=x",
            "tracking.uri=${oc.env:HOME}",
            "+new.key=1",
            "++seed=5",
        ),
        *(
            "model.hidden=[3,4]",
            "~data.keep",
            "train={epochs:7}",
            "model={dropout:0.5}",
            "model.dropout=0.5",
        ),
    ],
)
def test_jobs_of_the_same_options_are_composed_without_reading_files(tmp_path, override):
    """Their files are deleted after the first; Hydra by itself would fail."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("hidden: [4]\nactivation: relu\ndropout: 0.0\nscale: 1.0\n")
    with hydra_for([str(tmp_path)]) as hydra:
        loader = hydra.config_loader
        master = master_of(loader_of(hydra), ["hydra.job.name=mine", "hydra/job_logging=none"])
        loader.load_sweep_config(master, ["model=mine"])
        (tmp_path / "model" / "mine.yaml").unlink()
        job = loader.load_sweep_config(master, ["model=mine", override])
        task = OmegaConf.to_container(job.hydra.overrides.task, resolve=False)
        assert task == ["model=mine", override]


def test_a_changed_job_changes_no_other(hydra):
    loader = loader_of(hydra)
    master = master_of(loader)
    overrides = ["experiment=tricky", "seed=3"]
    first = loader.load_sweep_config(master, overrides)
    before = nodes(first)
    second = loader.load_sweep_config(master, overrides)
    OmegaConf.set_struct(second, False)
    OmegaConf.set_readonly(second.train, True)
    second.seed = 99
    second.model.hidden.append(5)
    second.hydra.overrides.task.append("more=1")
    second.hydra.runtime.choices.model = "other"
    second.hydra.job.num = 3
    OmegaConf.select(second, "hydra.run.dir")
    assert nodes(first) == before
    assert nodes(loader.load_sweep_config(master, overrides)) == before


def test_a_job_is_told_the_folder_of_its_own_time(hydra, monkeypatch, tmp_path):
    loader = loader_of(hydra)
    master = master_of(loader)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert loader.load_sweep_config(master, ["seed=3"]).hydra.runtime.cwd == str(tmp_path / name)


@pytest.mark.parametrize(
    "override", ["seed=3", "a.b=[1,{c:2}]", "a='x y'", "key=${other}", "a=", "a=null", "a-b=1"]
)
def test_a_line_that_adds_its_key_says_what_hydra_reads_in_it(hydra, override):
    loader = loader_of(hydra)
    line = loader.adding(loader.parse([override])[0])
    with hydra_for() as other:
        assert vars(loader.parse([line])[0]) | {"config_loader": None} == vars(
            loader_of(other).parse([f"++{override}"])[0]
        ) | {"config_loader": None}


def test_a_copy_of_a_typed_configuration_is_what_deepcopy_makes(hydra):
    config = loader_of(hydra).load_configuration(CONFIG_NAME, ["seed=3"], RunMode.RUN)
    copied = clone(config)
    assert nodes(copied) == nodes(config.__deepcopy__({}))
    assert copied is not config
    assert copied._get_parent() is None


OWN = ("hydra/launcher=basic", "hydra.verbose=false")


def test_hydra_runs_a_sweep_with_it(tmp_path, monkeypatch):
    """Sweeper, launcher and job work as always, and GlobalHydra is restored."""
    monkeypatch.chdir(tmp_path)
    seen = []

    def job(cfg: DictConfig) -> int:
        now = HydraConfig.get()
        seen.append(
            (cfg.seed, cfg.model.dropout, now.job.num, now.job.override_dirname, list(now.overrides.task))
        )
        return int(cfg.seed)

    before = GlobalHydra.instance().hydra
    with hydra_for() as hydra:
        assert GlobalHydra.instance().hydra is hydra
        (returned,) = hydra.multirun(
            CONFIG_NAME, job, ["seed=3,4", "model.dropout=0.5", "sweep.id=mine", *OWN]
        )
    assert [done.return_value for done in returned] == [3, 4]
    assert [done.hydra_cfg.hydra.overrides.hydra for done in returned] == [[*OWN]] * 2
    assert seen == [
        (
            seed,
            0.5,
            num,
            f"model.dropout=0.5,seed={seed},sweep.id=mine",
            [f"seed={seed}", "model.dropout=0.5", "sweep.id=mine"],
        )
        for num, seed in enumerate((3, 4))
    ]
    assert Path("runs/sweeps/mine/1").is_dir()
    assert GlobalHydra.instance().hydra is before


def test_hydra_makes_a_run_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with hydra_for() as hydra:
        done = hydra.run(CONFIG_NAME, lambda cfg: cfg.seed, ["seed=3", "hydra.run.dir=here"])
    assert done.return_value == 3
    assert Path("here").is_dir()


def test_a_folder_that_is_not_there_is_refused_and_nothing_stays_behind(tmp_path):
    before = GlobalHydra.instance().hydra
    with pytest.raises(UserError, match="there is no such folder"), hydra_for([str(tmp_path / "no")]):
        pass
    assert GlobalHydra.instance().hydra is before


def test_composing_a_job_is_several_times_faster(hydra):
    ours, overrides = loader_of(hydra), ["model=wide", "seed=3", "model.dropout=0.5"]
    hydras = ConfigLoaderImpl(ours.get_search_path())
    master = master_of(hydras)

    def seconds(loader: ConfigLoaderImpl) -> float:
        times = []
        for _ in range(5):
            start = time.thread_time()  # independent of the load of the machine
            loader.load_sweep_config(master, overrides)
            times.append(time.thread_time() - start)
        return min(times)

    assert seconds(ours) < seconds(hydras) / 5
