"""Fuzz target: the lines between the process that trains and the one that writes to MLflow."""

import io
import json
import random

from hypothesis import strategies as st
from tests.fuzz.mutations import of_bytes, of_json

from sweepgrad.tracking import protocol
from sweepgrad.tracking.outbox import Outbox

_MESSAGES: tuple[protocol.Message, ...] = (
    {"uri": "sqlite:///runs/mlflow.db", "experiment": "sweepgrad", "process": "1@2.5"},
    *({verb: "/home/user/runs/sweeps/one/0"} for verb in protocol.VERBS),
    {"say": "run one was still RUNNING", "level": 30},
    {"open": None},
    {"open": "the store does not answer"},
    {"refused": "the store is damaged"},
    {"sent": {"send": "/home/user/runs/sweeps/one/0"}},
    {"unsent": {"send": "/home/user/runs/sweeps/one/0"}, "why": None},
)


def examples() -> st.SearchStrategy[bytes]:
    """Return lines, one or more of them changed."""
    return st.integers(0, 2**62).map(made)


def made(seed: int) -> bytes:
    """Return lines, one or more of them changed."""
    rng = random.Random(seed)
    lines = [protocol.line(rng.choice(_MESSAGES)).encode() for _ in range(rng.randrange(1, 8))]
    at = rng.randrange(len(lines))
    if rng.random() < 0.7:
        lines[at] = of_json(rng, lines[at]) + b"\n"
    elif rng.random() < 0.1:
        lines[at] = json.dumps({"say": "x" * (1 << 21), "level": 20}).encode() + b"\n"
    else:
        return of_bytes(rng, b"".join(lines))
    return b"".join(lines)


def attack(data: bytes) -> None:
    """Read lines as each of the two processes does."""
    refused: list[str] = []
    outbox = Outbox(in_process=True)
    for message in protocol.lines(io.BytesIO(data), refused.append):
        for check in (protocol.start, protocol.task):
            try:
                check(message)
            except ValueError as error:
                refused.append(str(error))
        try:
            outbox._receive(protocol.answer(message))
        except ValueError as error:
            refused.append(str(error))
    assert all(len(problem) < 2000 for problem in refused)
