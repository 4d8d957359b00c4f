"""Test that compositions are reused only while they would come out the same."""

from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from sweepgrad.compose.loader import CONFIG_NAME, hydra_for


def composed(*given: Path | str, mode: RunMode = RunMode.RUN) -> DictConfig:
    """Compose as a command of its own does, with folders of YAML and overrides."""
    lines = [each for each in given if isinstance(each, str)]
    with hydra_for([str(each) for each in given if isinstance(each, Path)]) as hydra:
        config: DictConfig = hydra.config_loader.load_configuration(CONFIG_NAME, lines, mode)
    return config


@pytest.fixture
def calls(monkeypatch) -> list[Any]:
    """Count the compositions that Hydra itself makes: one entry each."""
    calls: list[Any] = []
    original = ConfigLoaderImpl._load_configuration_impl

    def counted(self: ConfigLoaderImpl, *arguments: Any, **named: Any) -> DictConfig:
        calls.append(arguments)
        return original(self, *arguments, **named)

    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", counted)
    return calls


@pytest.mark.parametrize("mode", [RunMode.RUN, RunMode.MULTIRUN])
def test_the_second_of_two_is_not_composed_by_hydra_and_equals_the_first(tmp_path, calls, mode):
    first = composed(tmp_path, "model=deep", "seed=3", mode=mode)
    assert len(calls) == 1
    first.model.dropout = 0.123  # what a caller does with its own changes no other
    second = composed(tmp_path, "model=deep", "seed=3", mode=mode)
    assert len(calls) == 1
    assert second.model.dropout != 0.123
    first.model.dropout = second.model.dropout
    assert OmegaConf.to_container(second) == OmegaConf.to_container(first)


@pytest.mark.parametrize("mode", [RunMode.RUN, RunMode.MULTIRUN])
def test_a_file_that_has_changed_or_is_gone_is_noticed(tmp_path, mode):
    file = tmp_path / "model" / "mine.yaml"
    file.parent.mkdir()
    for dropout in (0.25, 0.75, 0.25):
        file.write_text(f"dropout: {dropout}\n")
        assert composed(tmp_path, "model=mine", mode=mode).model.dropout == dropout
    file.unlink()
    with pytest.raises(Exception, match="mine"):
        composed(tmp_path, "model=mine", mode=mode)


def test_a_file_that_hides_another_is_noticed(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, dropout in ((other, 0.25), (one, 0.75)):
        for each in (one, other):
            (each / "model").mkdir(parents=True, exist_ok=True)
        (folder / "model" / "mine.yaml").write_text(f"dropout: {dropout}\n")
        assert composed(one, other, "model=mine").model.dropout == dropout


def test_a_group_that_begins_to_exist_is_noticed(tmp_path):
    assert composed(tmp_path, "+fresh=name").fresh == "name"
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh" / "name.yaml").write_text("chosen: true\n")
    assert composed(tmp_path, "+fresh=name").fresh.chosen


def test_what_is_registered_meanwhile_is_noticed(tmp_path):
    lines = ("+registered=by_a_plugin",)
    store = ConfigStore.instance()
    try:
        for value in (1, 2):
            store.store(group="registered", name="by_a_plugin", node={"value": value})
            assert composed(tmp_path, *lines).registered.value == value
    finally:
        store.repo.pop("registered", None)


def test_folder_and_environment_are_those_of_now(tmp_path, monkeypatch):
    copied = "hydra.job.env_copy=[SWEEPGRAD_TEST]"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setenv("SWEEPGRAD_TEST", name)
        assert composed(tmp_path, "seed=1").hydra.runtime.cwd == str(tmp_path / name)
        assert name == composed(tmp_path, copied).hydra.job.env_set.SWEEPGRAD_TEST
