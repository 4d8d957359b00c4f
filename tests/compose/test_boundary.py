"""Exceptions of the libraries about input become errors of the user; those of our own code stay bugs."""

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from sweepgrad.compose.boundary import about_input, input_errors
from sweepgrad.compose.internals import OverridesParser
from sweepgrad.compose.plan import plain
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
