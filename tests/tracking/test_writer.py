"""The process that writes to MLflow: its messages, its answers, and what it does when the other one dies."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import mlflow
import psutil
import pytest
from tests.faults.allocations import Allocations
from tests.support import environment, until
from tests.sweeps.support import jobs, run

from sweepgrad import process
from sweepgrad.runs import record as records
from sweepgrad.runs import sweep_record
from sweepgrad.sweeps.resume import start_or_resume
from sweepgrad.tracking import writer
from sweepgrad.tracking.connection import Unreachable
from sweepgrad.tracking.protocol import Message
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.writer import serve

URI = "sqlite:///runs/mlflow.db"
DEAD = "999999999@1.00"


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("kept")
    run(todo := jobs(folder, "seed=1,2"))
    return [job.folder for job in todo]


@pytest.fixture
def results(folder, kept) -> list[Path]:
    """Two runs of the sweep `mine` and its record, in the current folder."""
    start_or_resume("runs/sweeps/mine", "key", name="mine", jobs=2, varying=[], words=[], resume=True)
    note = folder / "runs" / "sweeps" / "mine" / sweep_record.SWEEP
    note.write_text(json.dumps({**json.loads(note.read_text()), "id": "mine"}))
    return [Path(shutil.copytree(one, note.parent / one.name)) for one in kept]


def answers(messages: Sequence[Message], uri: str = URI, whose: str = DEAD) -> list[Message]:
    """Return the answers to these messages, followed by the end."""
    queue, received = SimpleQueue[Message | None](), list[Message]()
    for message in (*messages, None):
        queue.put(message)
    serve(uri, "sweepgrad", whose, queue, received.append)
    return received


def logged(kind: str) -> list[Any]:
    uri = f"sqlite:///{Path('runs', 'mlflow.db').absolute()}"
    client = mlflow.MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("sweepgrad")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    return [run for run in found if run.data.tags["sweepgrad.kind"] == kind]


def test_messages_are_answered_in_order(results):
    sweep = str(results[0].parent)
    messages: list[Message] = [
        {"begin": sweep},
        *({"send": str(result)} for result in results),
        {"end": sweep},
    ]
    notes_file = results[0].parent / sweep_record.SWEEP
    notes_file.write_text(notes_file.read_text().replace("RUNNING", "FINISHED"))
    assert answers(messages) == [{"open": None}, *({"sent": message} for message in messages)]
    assert [run.info.status for run in logged("sweep")] == ["FINISHED"]
    assert [run.info.status for run in logged("job")] == ["FINISHED"] * 2


def test_it_waits_for_another_writer_that_is_still_at_the_sweep(results):
    """Such as that of a process that was killed, and whose sweep was resumed."""
    sweep = results[0].parent
    queue, received = SimpleQueue[Message | None](), list[Message]()
    for message in ({"begin": str(sweep)}, {"send": str(results[0])}, None):
        queue.put(message)
    thread = Thread(target=serve, args=(URI, "sweepgrad", process.this(), queue, received.append))
    lock = os.open(sweep, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread.start()
        until(lambda: received)
        thread.join(1)
        assert received == [{"open": None}]
    finally:
        os.close(lock)
    thread.join(120)
    assert received[-1] == {"sent": {"send": str(results[0])}}


def test_runs_are_of_the_process_that_trained_them(results):
    answers([{"send": str(results[0])}], whose=process.this())
    (run,) = logged("job")
    assert run.data.tags["sweepgrad.process"] == process.this()


def test_what_dead_processes_left_running_is_ended_and_reported(results, caplog):
    left = Store(URI, "sweepgrad", process=DEAD).sweep_run("theirs")
    assert answers([]) == [{"open": None}]
    assert caplog.messages == [
        "run theirs was still RUNNING, but its process has died: it is now marked KILLED",
    ]
    (run,) = logged("sweep")
    assert (run.info.run_id, run.info.status) == (left, "KILLED")


def test_a_damaged_record_is_answered_with_why(results):
    (results[0] / records.RECORD).write_text("[]")
    messages: list[Message] = [{"send": str(result)} for result in results]
    first, refused, sent = answers(messages)
    assert first == {"open": None}
    assert refused["unsent"] == messages[0]
    assert "record.json is damaged" in refused["why"]
    assert sent == {"sent": messages[1]}


def test_a_folder_that_is_gone_is_answered_too(results):
    shutil.rmtree(results[0])
    _, refused = answers([{"send": str(results[0])}])
    assert "unsent" in refused


def test_what_is_no_store_is_refused(folder):
    (answer,) = answers([{"send": "anything"}], uri="ftp://nowhere")
    assert "is not an MLflow store" in answer["refused"]


def test_a_store_that_does_not_answer_is_tried_once_more_at_the_end(results):
    messages: list[Message] = [{"send": str(result)} for result in results]
    first, *rest = answers(messages, uri="http://127.0.0.1:9")
    assert "does not answer" in first["open"]
    assert rest == [{"unsent": message, "why": None} for message in messages]


def test_a_lack_of_memory_while_the_store_is_opened_is_said_and_it_is_opened_again(results):
    try:
        Allocations(1).install()
        found = answers([{"send": str(results[0])}])
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert "not enough memory" in str(found[0]["open"])
    assert found[-1] == {"sent": {"send": str(results[0])}}


def test_a_store_that_comes_back_gets_all_that_waited(results, monkeypatch):
    """It comes back after the first run was handed over."""
    monkeypatch.setattr(writer, "_RETRY_SECONDS", 0.1)
    store = Path("runs", "mlflow.db")
    Path("runs/away").mkdir()
    aside = shutil.copy(store, "runs/aside.db")
    uri = "sqlite:///runs/away/mlflow.db"
    Path("runs/away").rmdir()
    Path("runs/away").write_text("a file where a folder is to be")
    queue, received = SimpleQueue[Message | None](), list[Message]()
    queue.put({"send": str(results[0])})

    def answer(message: Message) -> None:
        received.append(message)
        if "open" in message:
            Path("runs/away").unlink()
            Path("runs/away").mkdir()
            shutil.copy(aside, "runs/away/mlflow.db")
            queue.put({"send": str(results[1])})
            queue.put(None)

    serve(uri, "sweepgrad", DEAD, queue, answer)
    assert received[0]["open"] is not None
    assert [message["sent"] for message in received[1:]] == [{"send": str(result)} for result in results]


def test_a_run_that_cannot_be_sent_does_not_hold_up_those_behind_it(results, monkeypatch):
    """Whenever it is sent the store stops answering: it is tried again after the others."""
    send, tried = Store.send, list[Path]()

    def send_all_but_the_first(self: Store, folder: Path) -> None:
        tried.append(folder)
        if folder == results[0]:
            raise Unreachable("the store does not answer")
        send(self, folder)

    monkeypatch.setattr(Store, "send", send_all_but_the_first)
    received = answers([{"send": str(result)} for result in results])
    assert [message for message in received if "sent" in message or "unsent" in message] == [
        {"sent": {"send": str(results[1])}},
        {"unsent": {"send": str(results[0])}, "why": None},
    ]
    assert tried.count(results[1]) == 1
    assert tried.count(results[0]) > 1
    assert len(logged("job")) == 1


def test_several_runs_that_cannot_be_sent_hold_up_none_behind_them(results, monkeypatch):
    send, bad = Store.send, [Path(f"bad{number}") for number in range(3)]

    def send_the_good(self: Store, folder: Path) -> None:
        if folder in bad:
            raise Unreachable("the store does not answer")
        send(self, folder)

    monkeypatch.setattr(Store, "send", send_the_good)
    received = answers([{"send": str(folder)} for folder in (*bad, *results)])
    assert [message["sent"]["send"] for message in received if "sent" in message] == list(map(str, results))
    assert {message["unsent"]["send"] for message in received if "unsent" in message} == set(map(str, bad))


@pytest.mark.parametrize("lost", [1, 2])
def test_an_answer_that_was_lost_at_the_end_is_asked_for_again(lost, results, monkeypatch):
    """It is tried once, and once more at the end."""
    send, left = Store.send, lost

    def send_after_a_while(self: Store, folder: Path) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise Unreachable("the store does not answer")
        send(self, folder)

    monkeypatch.setattr(Store, "send", send_after_a_while)
    assert answers([{"send": str(results[0])}])[-1] == {"sent": {"send": str(results[0])}}


def test_a_sweep_that_cannot_be_begun_is_begun_before_its_runs_are_sent(results, monkeypatch):
    """Only runs are tried later: a sweep's own run comes first, or its jobs would have no parent."""
    begin, tried = Store.begin_sweep, list[Path]()

    def begin_at_the_third_try(self: Store, folder: Path) -> None:
        tried.append(folder)
        if len(tried) <= 2:
            raise Unreachable("the store does not answer")
        begin(self, folder)

    monkeypatch.setattr(Store, "begin_sweep", begin_at_the_third_try)
    messages: list[Message] = [
        {"begin": str(results[0].parent)},
        *({"send": str(result)} for result in results),
    ]
    received = answers(messages, whose=process.this())
    assert [message["sent"] for message in received if "sent" in message] == messages


# A process of its own


def started(whose: str) -> "subprocess.Popen[str]":
    writing = subprocess.Popen(
        [sys.executable, "-m", "sweepgrad.tracking.writer"],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert writing.stdin is not None
    first = {"uri": URI, "experiment": "sweepgrad", "process": whose}
    writing.stdin.write(json.dumps(first) + "\n")
    return writing


@pytest.mark.slow
def test_its_answers_are_lines_of_json_and_nothing_else(results):
    messages: list[Message] = [{"begin": str(results[0].parent)}, {"send": str(results[0])}]
    with started(process.this()) as writing:
        out, err = writing.communicate("".join(json.dumps(message) + "\n" for message in messages))
    assert writing.returncode == 0, err
    assert [json.loads(line) for line in out.splitlines()] == [
        {"open": None},
        *({"sent": message} for message in messages),
    ]
    # Its input ended before the sweep did, but the process of the sweep lives.
    assert [run.info.status for run in logged("sweep")] == ["RUNNING"]


@pytest.mark.slow
def test_without_a_first_line_it_ends_in_silence(folder):
    ended = subprocess.run(
        [sys.executable, "-m", "sweepgrad.tracking.writer"],
        env=environment(),
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.slow
def test_left_alone_it_sends_what_it_was_handed_and_closes_the_sweep(results):
    """Kill the other process with SIGKILL after it sent three messages."""
    code = f"""if True:
        import os, signal
        from pathlib import Path
        from sweepgrad import process
        from sweepgrad.config.schema import Tracking
        from sweepgrad.runs import sweep_record
        from sweepgrad.tracking.outbox import Outbox
        from dataclasses import replace
        outbox = Outbox()
        sweep = Path({str(results[0].parent)!r})
        mine = replace(sweep_record.read(sweep), process=process.this())
        sweep_record.write(sweep, mine)
        outbox.connect(Tracking(uri={URI!r}, experiment="sweepgrad"))
        outbox.begin(sweep)
        outbox.send(sweep / "0")
        outbox.send(sweep / "1")
        print(outbox._process.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        parent.wait()
    assert parent.returncode == -9
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(number).wait(120)
    assert all((result / records.SENT).exists() for result in results)
    assert [run.info.status for run in logged("job")] == ["FINISHED"] * 2
    assert [run.info.status for run in logged("sweep")] == ["KILLED"]
