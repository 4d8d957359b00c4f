"""Fuzz target: configurations, each composed and checked as a job of a sweep.

A job takes a tenth of the time of a command line, so one input has many.
"""

import json
import os
from contextlib import ExitStack
from functools import partial

from hydra.types import RunMode
from hypothesis import strategies as st
from omegaconf import DictConfig
from tests.fuzz.grammar import HYDRA, KEYS, OPTIONS, mutated, values
from tests.fuzz.overrides import VALID
from tests.fuzz.property import Failed, check_message

from sweepgrad.compose.allowed import refused_settings
from sweepgrad.compose.boundary import input_errors
from sweepgrad.compose.loader import CONFIG_NAME, SweepLoader, composer_for
from sweepgrad.compose.origin import origin
from sweepgrad.compose.overrides import let_through, parse
from sweepgrad.compose.plan import checked
from sweepgrad.compose.references import bounded
from sweepgrad.compose.report import Errors
from sweepgrad.config.check import ConfigErrors
from sweepgrad.errors import UserError

SHORT = 3  # inputs in `make test`
MANY = 10  # configurations of an input
SHARE = 32  # of all inputs of a long run, in parts; others have 1
_MOST_SAID = 10_000  # characters of a message, most of them of errors in one value each
_A_COMPOSER_FOR = 100  # inputs: it caches what it has parsed


def examples() -> st.SearchStrategy[bytes]:
    """Return overrides of ten configurations, made by a grammar or changed from valid ones."""
    keys = st.sampled_from(KEYS * 3 + HYDRA)
    prefix = st.sampled_from(("", "", "", "+", "++"))
    options = st.builds(
        "{}={}".format, st.sampled_from(("model", "data", "schedule")), st.sampled_from(OPTIONS)
    )
    made = st.builds("{}{}={}".format, prefix, keys, values)
    lines = st.one_of(made, made, made, options, mutated(st.sampled_from(VALID)))
    jobs = st.lists(st.lists(lines, min_size=1, max_size=2), min_size=MANY, max_size=MANY)
    return jobs.map(lambda it: json.dumps(it).encode())


def attack(data: bytes) -> None:
    """Compose and check each configuration, and find where its errors come from.

    Raises:
        Failed: what is said of one that is refused is empty, too long, or not for users; or a file is left.
    """
    loader, master = _composed()
    for lines in json.loads(data):
        try:
            with input_errors(), bounded():
                _check(loader, master, lines)
        except UserError as error:
            check_message(str(error), _MOST_SAID, lines)
            if left := os.listdir():
                raise Failed(f"files left: {left}") from error


def _check(loader: SweepLoader, master: DictConfig, lines: list[str]) -> None:
    here = parse(loader, lines)
    if any(override.is_sweep_override() for override in here):
        return  # counted and listed: see the target overrides
    composed = loader.load_sweep_config(master, let_through(loader, here))
    errors = Errors()
    for error in refused_settings(composed, loader):
        errors.add(error, "")
    try:
        checked(composed)
    except ConfigErrors as found:
        errors.add_all(found.errors, partial(origin, overrides=here, composed=composed, loader=loader))
    errors.refuse()


_open = ExitStack()
_made: list[tuple[SweepLoader, DictConfig]] = []
_n_used = 0


def _composed() -> tuple[SweepLoader, DictConfig]:
    global _n_used
    if _n_used % _A_COMPOSER_FOR == 0:
        _open.close()
        loader = _open.enter_context(composer_for()).config_loader
        assert isinstance(loader, SweepLoader)
        _made[:] = [(loader, loader.load_configuration(CONFIG_NAME, [], RunMode.MULTIRUN))]
    _n_used += 1
    return _made[0]
