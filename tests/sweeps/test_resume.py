"""Resuming sweeps: one process at a time, and never a sweep that another process runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import environment

from sweepgrad import process
from sweepgrad.errors import UserError
from sweepgrad.runs import sweep_record
from sweepgrad.sweeps.resume import Sweep, key, start_or_resume

JOBS = ("a", "b")
KEY = key(JOBS, {"uri": "here"})
DEAD = "999999999@1.00"


def started(
    pattern: str = "runs/sweeps/*", *, of: str = KEY, resume: bool = True, name: str = "lab"
) -> Sweep:
    return start_or_resume(
        pattern,
        of,
        name=name,
        jobs=2,
        varying=["seed"],
        words=["-m", "seed=1,2", "data.path=my file.csv"],
        resume=resume,
    )


def rewrite(sweep: Sweep, **values: object) -> None:
    """Change the record to one of another process or machine."""
    file = sweep.folder / sweep_record.SWEEP
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_new_sweep_leaves_word_of_itself():
    sweep = started()
    assert sweep.earlier is None
    assert sweep.folder == Path("runs/sweeps", sweep.record.id)
    note = sweep_record.read(sweep.folder)
    assert note == sweep.record
    assert note.id.startswith("lab-")
    assert (note.status, note.jobs, note.varying) == ("RUNNING", 2, ("seed",))
    assert note.command == "sweepgrad train -m seed=1,2 'data.path=my file.csv'"
    assert process.lives(note.process)
    sweep.write("FINISHED", "halving did this")
    assert sweep_record.read(sweep.folder).status == "FINISHED"
    assert sweep_record.read(sweep.folder).halving == "halving did this"


def test_the_same_key_is_of_the_same_jobs_in_the_same_order_under_the_same_settings():
    assert key(list(JOBS), {"uri": "here"}) == KEY
    others = [key(("b", "a"), {"uri": "here"}), key(("a",), {"uri": "here"}), key(JOBS, {"uri": "there"})]
    assert len({KEY, *others}) == 4


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_the_same_sweep_goes_on(status):
    first = started()
    first.write(status)
    second = started()
    assert (second.record.id, second.folder) == (first.record.id, first.folder)
    assert second.earlier is not None
    assert second.earlier.status == status
    assert sweep_record.read(second.folder).status == "RUNNING"


def test_what_a_dead_process_ran_goes_on():
    first = started()
    rewrite(first, process=DEAD)
    assert started().record.id == first.record.id


def test_a_number_that_was_given_out_again_is_another_process():
    first = started()
    rewrite(first, process=f"{os.getpid()}@1.00")
    assert started().record.id == first.record.id


def test_what_a_living_process_runs_is_refused():
    first = started()
    with pytest.raises(
        UserError, match=rf"process {os.getpid()}@\S+ on \S+ is running this sweep as {first.record.id}"
    ):
        started()
    assert started(resume=False).record.id != first.record.id


def test_what_another_machine_runs_is_refused_for_there_is_no_telling():
    first = started()
    rewrite(first, host="elsewhere", process=DEAD)
    with pytest.raises(UserError, match=r"on elsewhere is running this sweep as .*: wait for it"):
        started()
    rewrite(first, status="KILLED")
    assert started().record.id == first.record.id


def test_another_key_or_none_to_go_on_with_begins_a_new_one():
    first = started()
    first.write("FINISHED")
    assert started(of="another").record.id != first.record.id
    assert started(resume=False).earlier is None
    assert len(list(Path("runs/sweeps").iterdir())) == 3


def test_the_latest_of_two_alike_goes_on():
    first, second = started(), started(resume=False)
    for sweep in (first, second):
        sweep.write("KILLED")
    os.utime(first.folder / sweep_record.SWEEP, (1, 1))
    assert started().record.id == second.record.id


def test_word_of_an_older_version_is_passed_over():
    first = started()
    (first.folder / sweep_record.SWEEP).write_text('{"id": "old"}')
    assert started().record.id != first.record.id


@pytest.mark.parametrize("folder", ["mine", "my/sweep", "here[1]/a b?", "{absolute}/mine"])
def test_a_folder_of_ones_own_goes_on_and_takes_no_other_sweep(folder, tmp_path):
    pattern = folder.format(absolute=tmp_path)
    first = started(pattern)
    assert first.folder == Path(pattern)
    first.write("KILLED")
    assert started(pattern).record.id == first.record.id
    first.write("FINISHED")
    for other in ({"of": "another"}, {"resume": False}):
        with pytest.raises(UserError, match=f"holds another sweep, {first.record.id}: choose another"):
            started(pattern, **other)
    assert sweep_record.read(first.folder).status == "FINISHED"
    shutil.rmtree(first.folder)
    assert started(pattern, of="another").earlier is None


def test_of_two_processes_at_once_one_gets_it():
    code = """if True:
        import sys
        from sweepgrad.errors import UserError
        from sweepgrad.sweeps.resume import start_or_resume
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            named = {"name": "s", "jobs": 1, "varying": [], "words": []}
            print(start_or_resume("runs/sweeps/*", "key", **named, resume=True).record.id)
        except UserError as error:
            print("refused:", error)
        sys.stdout.flush()
        sys.stdin.readline()  # until all have tried
    """
    several = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    with several[0], several[1], several[2]:
        for one in several:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in several:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        said = [one.stdout.readline() for one in several if one.stdout is not None]
        for one in several:
            one.communicate("end\n")
    (folder,) = Path("runs/sweeps").iterdir()
    assert sorted(line.startswith("refused: ") for line in said) == [False, True, True]
    assert f"{folder.name}\n" in said
    winner = sweep_record.read(folder).process
    assert [f"process {winner} on" in line for line in said].count(True) == 2


@pytest.mark.parametrize("name", ["mine/wide", 'it\'s [a] "star" *', "line\nfeed \x1b[2J", 300 * "long"])
def test_a_sweep_of_an_experiment_of_any_name_has_a_folder_and_goes_on(name):
    first = started(name=name)
    first.write("FINISHED")
    again = started(name=name)
    assert first.folder.parent == Path("runs/sweeps")
    assert sweep_record.read(first.folder).id == first.folder.name == again.record.id
    assert not {"'", '"', "*", "["} & set(first.folder.name)
