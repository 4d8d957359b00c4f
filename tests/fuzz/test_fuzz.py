"""Every target in short: its corpus, and the same examples each time. `make fuzz` runs others, for long."""

import json
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from tests.fuzz import property as properties
from tests.fuzz.property import CORPUS, Failed, check, check_message, kept, target, targets

from sweepgrad.errors import UserError

SHORT = 25  # inputs of a target
REPLAYED = [(name, path) for name in targets() for path in kept(name)]


@pytest.mark.parametrize("name", targets())
def test_only_user_errors_escape(name):
    module = target(name)

    @settings(
        max_examples=getattr(module, "SHORT", SHORT),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(module.examples())
    def attacked(data: bytes) -> None:
        check(module.attack, data)

    attacked()


@pytest.mark.parametrize(("name", "path"), REPLAYED, ids=[f"{name}-{path.name}" for name, path in REPLAYED])
def test_inputs_that_failed_once_do_not_fail_again(name, path):
    check(target(name).attack, path.read_bytes())


def test_a_corpus_belongs_to_a_target():
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} <= set(targets())


# The property itself fails when it should


def _writes_and_refuses(_: bytes) -> None:
    Path("left.txt").write_text("x")
    raise UserError("no")


def _divides(_: bytes) -> None:
    print(1 / 0)


def _takes_memory(_: bytes) -> None:
    np.ones(15 * 10**7, np.uint8)


def _takes_little_memory(_: bytes) -> None:
    np.ones(2 * 10**7, np.uint8)


def _refuses_without_words(_: bytes) -> None:
    raise UserError("")


@pytest.mark.parametrize(
    ("attack", "problem"),
    [
        (_divides, "ZeroDivisionError"),
        (_writes_and_refuses, "files left"),
        (_refuses_without_words, "a message without words"),
    ],
)
def test_what_breaks_the_property_is_found(attack, problem):
    with pytest.raises(Failed, match=problem):
        check(attack, b"")


@pytest.mark.parametrize(
    ("message", "given", "problem"),
    [
        ("", ["seed=1"], "a message without words"),
        (" \n", [""], "a message without words"),
        ("seed=1" * 20, ["seed=1"], "a message of 120 characters"),
        ("seed=1: a DictConfig", ["seed=1"], "'DictConfig' in a message"),
        ("a DictConfig", [], "'DictConfig' in a message"),
    ],
)
def test_a_message_that_is_none_for_users_is_found(message, given, problem):
    with pytest.raises(Failed, match=problem):
        check_message(message, 100, given)


def test_a_message_may_quote_what_the_user_wrote():
    check_message("Environment variable 'NoneType' not found", 100, ["seed=${oc.env:NoneType}"])
    check_message("seed=1", 100, ["seed=1"])


@pytest.mark.parametrize("name", ["overrides", "jobs"])
def test_an_empty_message_about_overrides_is_found(name, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise UserError("")

    module, line = target(name), "seed=1"
    monkeypatch.setattr(module, "plan_with" if name == "overrides" else "checked", refuse)
    data = [[line]] if name == "jobs" else {"multirun": False, "overrides": [line]}
    with pytest.raises(Failed, match="a message without words"):
        check(module.attack, json.dumps(data).encode())


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory cannot be measured again")
def test_too_much_memory_is_found_and_what_other_tests_took_is_not_counted(monkeypatch):
    monkeypatch.setattr(
        properties, "BYTES", psutil.Process().memory_info().rss + 10**8
    )  # a tenth, to be quick
    monkeypatch.setattr(properties, "GROWTH", properties.GROWTH // 10)
    with pytest.raises(Failed, match="MB of memory"):
        check(_takes_memory, b"")
    before = np.ones(2 * 10**8, np.uint8)
    check(_takes_little_memory, b"")
    with pytest.raises(Failed, match="MB of memory"):
        check(_takes_memory, b"")
    del before
    check(_takes_little_memory, b"")
    with pytest.raises(Failed, match="MB of memory"):  # though the process had more before
        check(_takes_memory, b"")


def test_a_user_error_and_success_keep_the_property():
    def refuse(_: bytes) -> None:
        raise UserError("seed: should be a number")

    assert check(refuse, b"").refused
    assert not check(lambda _: None, b"").refused
