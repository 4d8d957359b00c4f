"""Every name that a configuration accepts has settings, an implementation and YAML."""

from pathlib import Path

import pytest

from sweepgrad.config.ensembles import BestEnsemble, NoEnsemble, SeedsEnsemble
from sweepgrad.config.model import ACTIVATIONS
from sweepgrad.config.optimizers import OPTIMIZERS
from sweepgrad.config.schedules import SCHEDULES
from sweepgrad.config.schema import Config, Select
from sweepgrad.config.union import kinds_of
from sweepgrad.engine.tape import FUSED
from sweepgrad.extensions import ExtensionError, Registry
from sweepgrad.nn import activations, optimizers, schedules
from sweepgrad.paths import config_dir


def yaml_of(group: str) -> set[str]:
    return {file.stem for file in Path(config_dir(), group).glob("*.yaml")}


def test_every_optimizer_has_settings_a_step_and_yaml():
    assert set(OPTIMIZERS) == set(optimizers.OPTIMIZERS) == yaml_of("optimizer")


def test_every_schedule_has_settings_shares_and_yaml():
    assert set(SCHEDULES) == set(schedules.SCHEDULES) == yaml_of("schedule")


def test_every_activation_has_a_function():
    assert set(ACTIVATIONS) == set(activations.ACTIVATIONS)
    assert set(FUSED) <= set(ACTIVATIONS)


@pytest.mark.parametrize("registry", [OPTIMIZERS, SCHEDULES])
def test_settings_name_themselves_as_the_registry_does(registry):
    for name, settings in registry.items():
        assert settings.model_fields["name"].annotation.__args__ == (name,)


def test_kinds_follow_from_the_fields():
    assert kinds_of(Config.model_fields["seed"]) is None
    assert kinds_of(Config.model_fields["optimizer"]) == ("name", OPTIMIZERS)
    assert kinds_of(Select.model_fields["ensemble"]) == (
        "kind",
        {"none": NoEnsemble, "seeds": SeedsEnsemble, "best": BestEnsemble},
    )


def test_a_name_is_added_once():
    registry = Registry("toy", {"one": 1})
    registry.add("two", 2)
    assert dict(registry) == {"one": 1, "two": 2}
    with pytest.raises(ExtensionError, match="toy 'one' is in both sweepgrad and this program"):
        registry.add("one", 3)
    assert registry["one"] == 1
