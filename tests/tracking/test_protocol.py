"""Messages between the process that trains and the one that writes to MLflow."""

import io
import json
import subprocess
import sys

import pytest
from tests.support import environment

from sweepgrad.tracking import protocol


def read(data: bytes) -> tuple[list[protocol.Message], list[str]]:
    refused: list[str] = []
    return list(protocol.lines(io.BytesIO(data), refused.append)), refused


def test_messages_are_read_as_they_were_written():
    messages: list[protocol.Message] = [
        {"say": "naïve \x1b[31m", "level": 30},
        {"open": None},
        {"sent": {"send": "/a/b"}},
    ]
    assert read("".join(map(protocol.line, messages)).encode()) == (messages, [])


def test_a_line_that_is_no_message_is_reported_and_the_next_is_read():
    data = (
        b"[1]\n" + b"{\n" + b"x" * (3 << 20) + b"\n" + b"\xff\n" + b"[" * 9999 + b"\n" + b'{"open": null}\n'
    )
    messages, refused = read(data)
    assert messages == [{"open": None}]
    assert len(refused) == 5
    assert all(len(problem) < 300 for problem in refused)


@pytest.mark.parametrize("end", [b'{"sent": {"send": "/a/', b"{", b""])
def test_the_end_of_a_killed_process_is_no_error(end):
    assert read(b'{"open": null}\n' + end) == ([{"open": None}], [])


def test_long_texts_are_shortened_so_that_they_can_be_read():
    (message,), refused = read(
        protocol.line({"unsent": {"send": "/a"}, "why": "é\U0001f600" * 200_000}).encode()
    )
    assert refused == []
    assert protocol.answer(message)["why"].endswith(" …")


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"say": "x"},
        {"say": "x", "level": True},
        {"say": "x", "level": 10**20},
        {"say": None, "level": 20},
        {"open": 3},
        {"refused": None},
        {"sent": "send /a"},
        {"sent": {"remove": "/a"}},
        {"sent": {"send": "/a", "end": "/b"}},
        {"sent": {"send": "/a\0b"}},
        {"sent": {"send": "x" * 10_000}},
        {"unsent": {"send": "/a"}},
        {"unsent": {"send": "/a"}, "why": 1},
        {"open": None, "refused": "x"},
    ],
)
def test_other_answers_are_refused(message):
    with pytest.raises(ValueError, match=r"no such answer|a message should be"):
        protocol.answer(message)


@pytest.mark.parametrize("message", [{}, {"uri": "x"}, {"uri": 1, "experiment": "a", "process": "b"}])
def test_another_first_message_is_refused(message):
    with pytest.raises(ValueError, match="the first message should name"):
        protocol.start(message)


@pytest.mark.slow
def test_a_writer_that_is_addressed_wrongly_says_so_and_ends():
    done = subprocess.run(
        [sys.executable, "-m", "sweepgrad.tracking.writer"],
        input=b'{"uri": "sqlite:///mlflow.db"}\n',
        capture_output=True,
        env=environment(),
        timeout=60,
        check=True,
    )
    (answer,) = map(json.loads, done.stdout.splitlines())
    assert answer == {"refused": "the first message should name uri, experiment and process"}
