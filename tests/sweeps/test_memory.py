"""The memory limit: jobs never exceed it together, none waits without end, and none too large starts."""

import subprocess
import sys
from pathlib import Path
from threading import Event, Lock, Thread

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import environment

from sweepgrad.sweeps import memory
from sweepgrad.sweeps.memory import Room, free

BYTES = 1000
FOR_JOBS = 900
"""Of 1,000 that are free."""


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(min_value=0, max_value=1200), min_size=1, max_size=30),
    workers=st.integers(min_value=1, max_value=6),
)
def test_never_more_is_taken_than_there_is_and_all_get_their_turn(sizes, workers):
    room, lock, todo = Room(BYTES), Lock(), iter(sizes)
    taken, most, done, refused = 0, 0, list[int](), list[int]()

    def work() -> None:
        nonlocal taken, most
        while True:
            with lock:
                size = next(todo, None)
            if size is None:
                return
            try:
                with room.take(size):
                    with lock:
                        taken += size
                        most = max(most, taken)
                    Event().wait(0.0005)
                    with lock:
                        taken -= size
                        done.append(size)
            except MemoryError:
                with lock:
                    refused.append(size)

    threads = [Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert most <= FOR_JOBS
    assert sorted(done) == sorted(size for size in sizes if size <= FOR_JOBS)
    assert sorted(refused) == sorted(size for size in sizes if size > FOR_JOBS)


def test_who_does_not_fit_waits_until_another_ends():
    room, inside = Room(BYTES), Event()

    def second() -> None:
        with room.take(500):
            inside.set()

    with room.take(500):
        thread = Thread(target=second, daemon=True)
        thread.start()
        assert not inside.wait(0.2)
    assert inside.wait(60)
    thread.join()


def test_two_who_fit_are_within_at_once():
    room = Room(BYTES)
    with room.take(450), room.take(450):
        pass


def test_what_a_job_took_is_given_back_when_it_fails():
    room = Room(BYTES)
    for _ in range(3):
        with pytest.raises(ValueError, match="mine"), room.take(FOR_JOBS):
            raise ValueError("mine")


def test_what_can_never_fit_is_refused_at_once_though_others_are_within():
    room, refusals = Room(BYTES), list[str]()

    def second() -> None:
        try:
            with room.take(2_500_000_000):
                pass
        except MemoryError as error:
            refusals.append(str(error))

    with room.take(1):
        thread = Thread(target=second, daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
    (said,) = refusals
    assert said.startswith("the job needs about 2.5 GB of memory, and 0.0 GB are free")


def test_free_is_what_the_machine_has():
    assert 0 < free() <= psutil.virtual_memory().total


def test_free_heeds_the_limit_of_the_process():
    """Set the limit of `ulimit -v` to a gigabyte more than is in use."""
    code = """if True:
        import resource
        import psutil
        from sweepgrad.sweeps.memory import free
        limit = psutil.Process().memory_info().vms + 10**9
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        before = free()
        kept = bytearray(3 * 10**8)
        print(before, free())
    """
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    before, after = (int(word) for word in said.stdout.split())
    if psutil.virtual_memory().available < 2e9:
        pytest.skip("the machine itself has no more")
    assert before == pytest.approx(10**9, abs=2e7)
    assert before - after == pytest.approx(3e8, abs=2e7)


@pytest.mark.parametrize(("limit", "expected"), [("5000000", 2_000_000 + 500_000), ("max", None)])
def test_free_heeds_the_limit_of_a_container(limit, expected, tmp_path, monkeypatch):
    """Write the files of a cgroup, as in the kernel's documentation."""
    for name, text in {
        "memory.max": limit,
        "memory.current": "3000000",
        "memory.stat": "anon 2000000\nfile 900000\ninactive_file 500000\nactive_file 400000",
    }.items():
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(memory, "_CGROUP", Path(tmp_path))
    assert free() == expected if expected else free() > 1e7


def test_a_container_that_is_over_its_limit_has_nothing_left(tmp_path, monkeypatch):
    for name, text in {"memory.max": "10", "memory.current": "20", "memory.stat": "inactive_file 0"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert free() == 0
