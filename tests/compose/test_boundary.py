"""Exceptions of the libraries about input become errors of the user; those of our own code stay bugs."""

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError
from tests.fuzz.property import INTERNALS

from sweepgrad.compose.boundary import about_input, input_errors
from sweepgrad.compose.internals import HydraConfig, OverridesParser
from sweepgrad.compose.plan import plain, plan
from sweepgrad.compose.references import bounded
from sweepgrad.errors import UserError


def test_what_the_parser_raises_about_an_override_is_a_user_error():
    sweep = OverridesParser.create().parse_rule("range(1,2,0)", "value")
    with pytest.raises(UserError, match="cannot be composed: range"), input_errors():
        sweep.range()


def test_a_hint_says_what_to_check():
    with pytest.raises(UserError, match=r"Check seed=1$"), input_errors("Check seed=1"):
        OmegaConf.to_container(5)


def test_the_libraries_own_errors_keep_their_words():
    with pytest.raises(UserError, match=r"^unknown$"), input_errors():
        raise HydraException("unknown")


def test_an_exception_of_our_own_code_stays_a_bug():
    with pytest.raises(AttributeError, match="items_ex"), input_errors():
        plain(None)  # type: ignore[arg-type]


def test_so_does_one_that_a_library_met_while_it_called_us():
    def broken() -> str:
        return plain(None)  # type: ignore[arg-type,return-value]

    OmegaConf.register_new_resolver("tests.broken", broken, replace=True)
    try:
        with pytest.raises(InterpolationResolutionError) as caught, input_errors():
            OmegaConf.to_container(OmegaConf.create({"a": "${tests.broken:}"}), resolve=True)
    finally:
        OmegaConf.clear_resolver("tests.broken")
    assert not about_input(caught.value)


MERGING = "Error merging override "


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hydra.mode=foo", f"{MERGING}hydra.mode=foo: Invalid value 'foo', expected one of [RUN, MULTIRUN]"),
        ("hydra.job.num=a", f"{MERGING}hydra.job.num=a: 'a' could not be converted to Integer"),
        ("hydra.job.chdir=a", f"{MERGING}hydra.job.chdir=a: 'a' is not a valid bool"),
        ("hydra.sweep=3", f"{MERGING}hydra.sweep=3: must be keys and values, not 3"),
        ("hydra.job=[1]", f"{MERGING}hydra.job=[1]: must be keys and values"),
        ("hydra.callbacks=3", f"{MERGING}hydra.callbacks=3: must be keys and values"),
        ("hydra.overrides.task=3", f"{MERGING}hydra.overrides.task=3: must be a list"),
        ("hydra.job.env_copy={a:1}", f"{MERGING}hydra.job.env_copy={{a:1}}: must be a list"),
        ("hydra.overrides.task={a:1}", f"{MERGING}hydra.overrides.task={{a:1}}: must be a list"),
        (
            "hydra.job.env_copy=[{a:1}]",
            "must be a text, not keys and values. Check hydra.job.env_copy=[{a:1}]",
        ),
        ("hydra.job.env_copy=[[1]]", "must be a text, not a list. Check hydra.job.env_copy=[[1]]"),
        ("hydra.job.name=[1]", f"{MERGING}hydra.job.name=[1]: must be a text, not [1]"),
        ("~hydra.launcher", f"{MERGING}~hydra.launcher: it cannot be removed"),
        ("~hydra.sweep.dir", f"{MERGING}~hydra.sweep.dir: it cannot be removed"),
        ("hydra.mode=[1]", f"{MERGING}hydra.mode=[1]: [1] is not one of its options"),
        ("seed=${hydra:foo}", "\n  seed: settings of hydra have no values yet: write the value itself"),
        ("seed=${hydra:}", "\n  seed: wrong number of arguments"),
        ("hydra.run.dir=${nope}", "hydra.run.dir: Interpolation key 'nope' not found"),
        ("model=[1]", "model: unknown option [1]. Options: "),
        ("seed=${oc.env:NOPE}", "\n  seed: \"Environment variable 'NOPE' not found\""),
    ],
)
def test_names_of_the_libraries_classes_and_attributes_reach_no_user(line, said, monkeypatch):
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # as in a process that has trained nothing
    with pytest.raises(UserError) as caught:
        plan([line], multirun=False)
    message = str(caught.value)
    assert said in message
    assert not any(name in message for name in (*INTERNALS, "HydraConf", "<enum", "<lambda>"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("seed=${oc.env:NoneType}", "Environment variable 'NoneType' not found"),
        ("hydra.job.num=NoneType", ": 'NoneType' could not be converted to Integer"),
        ("hydra.job.chdir='HydraConfig was not set'", ": 'HydraConfig was not set' is not a valid bool"),
        (
            "seed=${oc.env:'Cannot assign int to Dict[x]'}",
            "variable 'Cannot assign int to Dict[x]' not found",
        ),
    ],
)
def test_what_the_user_wrote_is_quoted_as_it_is(line, said):
    with pytest.raises(UserError) as caught:
        plan([line], multirun=False)
    assert said in str(caught.value)


def test_user_errors_pass():
    with pytest.raises(UserError, match=r"^mine$"), input_errors():
        raise UserError("mine")


def test_references_are_counted_only_where_they_are_bounded():
    config = OmegaConf.create({"a": "${b}", "b": 1} | {f"c{i}": "${a}" for i in range(1500)})
    assert OmegaConf.to_container(config, resolve=True)["c9"] == 1  # type: ignore[call-overload,index]
    with bounded(), pytest.raises(InterpolationResolutionError, match="too many"):
        OmegaConf.to_container(config, resolve=True)
    with bounded():
        assert config.c9 == 1
