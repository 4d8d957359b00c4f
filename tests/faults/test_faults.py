"""After any fault, repeating the command leaves every job in the store exactly once."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults import system_calls
from tests.faults.system_calls import Fault
from tests.support import environment

pytestmark = pytest.mark.skipif(not system_calls.available(), reason="needs seccomp on x86-64 Linux")

ALONE = """
import json, os, sqlite3, sys
from pathlib import Path
from tests.faults.system_calls import Fault, run

folder = Path(sys.argv[1])

def write():
    try:
        with open(folder / "a.txt", "w") as file:
            file.write("text")
        return 0
    except OSError as error:
        return error.errno

def insert():
    store = sqlite3.connect(folder / "a.db")
    try:
        store.execute("CREATE TABLE IF NOT EXISTS t (x)")
        store.execute("INSERT INTO t VALUES (1)")
        store.commit()
    except sqlite3.OperationalError:
        return 9
    return 0

seen = run({"write": write, "insert": insert}[sys.argv[2]], folder, Fault(int(sys.argv[3]), sys.argv[4]))
print(json.dumps([seen.calls, seen.faults, seen.status]))
"""


def observed(folder: Path, work: str, fault: Fault) -> tuple[list[tuple[str, str]], list[int], int]:
    """Run a program of two lines under a supervisor, in a process without threads."""
    words = [sys.executable, "-c", ALONE, str(folder), work, str(fault.n), fault.kind]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    calls, faults, status = json.loads(done.stdout)
    return [(name, file) for name, file in calls], faults, status


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault(0), 0),
        (Fault(1, "once"), errno.EIO),
        (Fault(2, "once"), errno.ENOSPC),
        (Fault(1, "onward"), errno.ENOSPC),
        (Fault(2, "short"), errno.ENOSPC),
        (Fault(2, "interrupted"), 0),
        (Fault(2, "kill"), -9),
        (Fault(3, "kill"), 0),
    ],
)
def test_the_call_that_is_meant_fails(tmp_path, fault, status):
    calls, faults, ended = observed(tmp_path, "write", fault)
    assert calls[:2] == [("openat", "a.txt"), ("write", "a.txt")][: len(calls)]
    assert ended == status
    assert faults[:1] == ([fault.n] if 0 < fault.n < 3 else [])


def test_sqlites_own_writes_and_locks_are_counted_and_fail(tmp_path):
    calls, _, status = observed(tmp_path, "insert", Fault(0))
    assert status == 0
    assert {"pwrite64", "fcntl", "fdatasync"} <= {name for name, _ in calls}
    (tmp_path / "a.db").unlink()
    first = 1 + [name for name, _ in calls].index("pwrite64")
    assert observed(tmp_path, "insert", Fault(first, "onward"))[2] == 9


def campaign(store: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.faults.campaign", "--store", str(store), *words],
        env={**environment(), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "kinds"), [("sync", "kill,memory"), ("single", "once")])
def test_a_command_that_is_repeated_completes_what_a_fault_left(empty_store, phase, kinds):
    """`make inject` injects at every call; this, once for each thing that a command does to files."""
    said = campaign(empty_store, phase, "--every", "1000", "--kinds", kinds)
    assert said.count(" 0 violations") == said.count(" violations") > 0, said
    assert ": 0 faults" not in said
