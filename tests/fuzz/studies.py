"""Fuzz target: the file of a search's study, opened and continued."""

import json
import random
from functools import cache
from pathlib import Path

from hypothesis import strategies as st
from tests.fuzz.mutations import of_bytes, of_json

from sweepgrad.errors import UserError
from sweepgrad.sweeps.search.journal import open_study
from sweepgrad.sweeps.search.space import Choices, Interval, Space, Steps
from sweepgrad.sweeps.search.suggest import Plan

_SPACE = Space(
    {"model": Choices(("wide", "deep")), "lr": Interval(1e-4, 0.1, log=True), "seed": Steps(range(1, 9, 2))}
)
_PLAN = Plan("random", "minimize", seed=0, trials=5, batch=2)
_FILE = Path("s.log")


def examples() -> st.SearchStrategy[bytes]:
    """Return studies with a changed line or changed bytes."""
    return st.integers(0, 2**62).map(made)


@cache
def _study() -> bytes:
    """Return a study after two trials."""
    with open_study(_SPACE, _PLAN, Path(), "s", {}) as study:
        study.tell(study.ask(), [0.5, 0.25])
    try:
        return _FILE.read_bytes()
    finally:
        _remove()


def made(seed: int) -> bytes:
    """Return a study with a changed line or changed bytes."""
    rng = random.Random(seed)
    lines = _study().splitlines(keepends=True)
    if rng.random() < 0.7:
        at = rng.randrange(len(lines))
        lines[at] = of_json(rng, lines[at]) + rng.choice((b"\n", b"\r\n", b""))
        return b"".join(lines)
    return of_bytes(rng, b"".join(lines) * rng.choice((1, 1, 1, 100)))


def attack(data: bytes) -> None:
    """Continue a study; one that is refused keeps its bytes, and each override is a point of the space."""
    _FILE.write_bytes(data)
    try:
        with open_study(_SPACE, _PLAN, Path(), "s", {}) as study:
            batch = study.ask()
            for trial in [*batch, *study.done()]:
                point = trial.point
                assert point.keys() == _SPACE.parts.keys()
                assert point["model"] in ("wide", "deep")
                assert point["seed"] in ("1", "3", "5", "7")
                assert 1e-4 <= float(point["lr"]) <= 0.1
            str(study.outcome)
            study.tell(batch, [1.0] * len(batch))
        for line in _FILE.read_bytes().splitlines():
            json.loads(line)
    except UserError:
        assert _FILE.read_bytes() == data, "a refused file was changed"
        raise
    finally:
        _remove()


def _remove() -> None:
    _FILE.unlink()
    _FILE.with_suffix(".lock").unlink(missing_ok=True)
