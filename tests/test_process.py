"""Identifiers of processes: running, dead, or another one with the same id."""

import os
import signal
import subprocess
import sys
import time

import psutil

from sweepgrad import process


def test_this_process_lives():
    assert process.this().startswith(f"{os.getpid()}@")
    assert process.lives(process.this())
    assert process.this() == process.this()


def test_a_process_is_known_to_another_and_dead_once_it_ended():
    code = "from sweepgrad import process; print(process.this(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        assert name.startswith(f"{other.pid}@")
        assert process.lives(name)
        os.kill(other.pid, signal.SIGSTOP)  # stopped, but running
        assert process.lives(name)
        other.kill()
        deadline = time.monotonic() + 60
        while psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
        assert not process.lives(name)  # a zombie: its exit code was not read
        other.wait()
        assert not process.lives(name)


def test_a_number_that_was_given_out_again_is_another_process():
    number, _, started = process.this().partition("@")
    assert not process.lives(f"{number}@{float(started) - 60:.2f}")
    assert process.lives(f"{number}@{float(started) - 1:.2f}")  # the clock was set
    assert not process.lives("999999999@1.00")


def test_what_is_no_process_does_not_live():
    for name in ("", "@", "mine@1", "-1@1"):
        assert not process.lives(name)


def test_somebody_elses_process_lives():
    first = psutil.Process(1)
    assert process.lives(f"1@{first.create_time():.2f}")
