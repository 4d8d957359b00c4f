"""Sending results to MLflow by a process or a thread, and what happens when either fails."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import psutil
import pytest
from mlflow.entities import Run
from tests.support import SMALL, command, console_script, environment, until
from tests.sweeps.support import jobs
from tests.sweeps.support import run as train

from sweepgrad.config.schema import Tracking
from sweepgrad.errors import UserError
from sweepgrad.runs import folders, sweep_record
from sweepgrad.runs import record as records
from sweepgrad.sweeps import train as training
from sweepgrad.sweeps.resume import Sweep, start_or_resume
from sweepgrad.tracking.outbox import Outbox
from sweepgrad.tracking.store import Store

AWAY = "http://127.0.0.1:9"  # no server listens there


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> list[Path]:
    """Return the folders of three runs, to be copied."""
    folder = tmp_path_factory.mktemp("kept")
    train(todo := jobs(folder, "seed=1,2,3"))
    return [job.folder for job in todo]


@pytest.fixture
def results(folder, kept) -> list[Path]:
    """Three runs in the current folder, below the record of their sweep `mine`."""
    copies = [Path(shutil.copytree(one, folder / "runs" / "sweeps" / "mine" / one.name)) for one in kept]
    for copy in copies:  # where `sweepgrad sync` is to send it
        record = json.loads((copy / records.RECORD).read_text())
        record["config"]["tracking"]["uri"] = tracking().uri
        (copy / records.RECORD).write_bytes(records.seal(json.dumps(record, indent=1).encode()))
    return copies


def begun() -> Sweep:
    """Return the record of a sweep of this process, in the folder of the results."""
    sweep = start_or_resume("runs/sweeps/mine", "key", name="mine", jobs=3, varying=[], words=[], resume=True)
    sweep = replace(sweep, record=replace(sweep.record, id="mine"))
    sweep_record.write(sweep.folder, sweep.record)
    return sweep


def tracking(uri: str | None = None) -> Tracking:
    return Tracking(uri=uri or "sqlite:///runs/mlflow.db", experiment="sweepgrad")


def logged() -> list[Run]:
    uri = f"sqlite:///{Path('runs', 'mlflow.db').absolute()}"
    client = mlflow.MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("sweepgrad")
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def by_kind(kind: str) -> list[str]:
    return sorted(run.info.status for run in logged() if run.data.tags["sweepgrad.kind"] == kind)


@pytest.fixture(params=["thread", pytest.param("process", marks=pytest.mark.slow)])
def outbox(request, monkeypatch) -> Iterator[Outbox]:
    """Made where MLflow is imported, as in a notebook, and where it is not."""
    if request.param == "process":
        with monkeypatch.context() as patch:
            patch.delitem(sys.modules, "mlflow")
            made = Outbox()
        assert made._process is not None
    else:
        made = Outbox()
        assert made._process is None
    yield made
    made.drop()
    if made._process is not None:
        made._process.kill()
        made._process.wait()
        for pipe in (made._process.stdin, made._process.stdout, made._stderr):
            assert pipe is not None
            pipe.close()


def test_the_first_writer_of_a_process_is_a_process_and_later_ones_are_threads(monkeypatch):
    made = []
    monkeypatch.delitem(sys.modules, "mlflow")
    monkeypatch.setattr(training, "_n_started", 0)
    for _ in range(3):
        with training.mlflow_writer() as outbox:
            made.append(outbox._process is not None)
        if outbox._process is not None:
            outbox._stderr.close()
            assert outbox._process.stdout is not None
            outbox._process.stdout.close()
    assert made == [True, False, False]


def test_what_is_handed_over_is_sent(outbox, results, caplog):
    sweep = begun()
    outbox.connect(tracking())
    outbox.open()
    outbox.begin(sweep.folder)
    for result in results:
        outbox.send(result)
    sweep.write("FINISHED")
    outbox.end(sweep.folder)
    outbox.close()
    assert (outbox.left, outbox.unsent, caplog.messages) == (0, {}, [])
    assert by_kind("sweep") == ["FINISHED"]
    assert by_kind("job") == ["FINISHED"] * 3
    assert {folders.sent_as(result, records.read(result)) for result in results} <= {
        run.info.run_id for run in logged()
    }


def test_what_the_store_refuses_is_reported_and_the_rest_is_sent(outbox, results):
    (results[1] / "record.json").write_text("{")
    outbox.connect(tracking())
    outbox.open()
    for result in results:
        outbox.send(result)
    outbox.close()
    (unsent,) = outbox.unsent.items()
    assert unsent[0] == f"send {results[1]}"
    assert "record.json is damaged" in (unsent[1] or "")
    assert by_kind("job") == ["FINISHED"] * 2


def test_a_store_that_refuses_is_a_users_error(outbox, folder):
    store = Store("sqlite:///runs/mlflow.db", "sweepgrad")
    mlflow.MlflowClient(store.uri, store.uri).delete_experiment(store.experiment_id)
    outbox.connect(tracking())
    with pytest.raises(UserError, match=r"experiment 'sweepgrad' of sqlite.* was deleted"):
        outbox.open()


def test_a_store_that_does_not_answer_is_reported_and_nothing_is_lost(outbox, results, caplog):
    outbox.connect(tracking(AWAY))
    outbox.open()
    (line,) = caplog.messages
    assert f"{AWAY} does not answer" in line
    assert line.endswith("training continues, and results are kept on disk")
    for result in results:
        outbox.send(result)
    assert outbox.left == 3
    outbox.close()
    assert outbox.unsent == {f"send {result}": None for result in results}
    assert not [result for result in results if (result / records.SENT).exists()]


def test_what_is_not_wanted_is_dropped_at_once(outbox):
    outbox.drop()
    if outbox._process is not None:  # it did not end by itself, which takes seconds
        assert outbox._process.returncode == -signal.SIGKILL


# What it does with answers, without a store


@pytest.fixture
def unconnected(tmp_path, monkeypatch) -> Outbox:
    """Return an outbox whose thread is not started, so that the test gives the answers."""
    monkeypatch.chdir(tmp_path)
    return Outbox(in_process=True)


def test_messages_are_handed_over_in_order_with_whole_paths(unconnected, tmp_path):
    unconnected.begin(Path("sweep"))
    unconnected.send(Path("sweep/run"))
    unconnected.end(Path("sweep"))
    assert unconnected._queue is not None
    found = [unconnected._queue.get_nowait() for _ in range(unconnected.left)]
    assert found == [
        {"begin": str(tmp_path / "sweep")},
        {"send": str(tmp_path / "sweep" / "run")},
        {"end": str(tmp_path / "sweep")},
    ]


def test_answers_settle_the_messages_that_they_name(unconnected, tmp_path):
    for name in ("a", "b", "c"):
        unconnected.send(tmp_path / name)
    unconnected._receive({"sent": {"send": str(tmp_path / "a")}})
    unconnected._receive({"unsent": {"send": str(tmp_path / "b")}, "why": "it is damaged"})
    unconnected._receive({"sent": {"send": str(tmp_path / "unknown")}})
    assert unconnected.left == 1
    assert unconnected.unsent == {f"send {tmp_path / 'b'}": "it is damaged"}
    seen = []

    def last_answer(left: int) -> None:
        seen.append(left)
        unconnected._receive({"sent": {"send": str(tmp_path / "c")}})

    unconnected.close(last_answer)
    assert (seen, unconnected.left) == ([1], 0)
    assert unconnected.unsent.keys() == {f"send {tmp_path / 'b'}"}


def test_what_a_writer_that_ended_left_is_unsent(unconnected, tmp_path):
    unconnected.send(tmp_path / "a")
    unconnected._ended()
    with pytest.raises(UserError, match="ended at once: its thread has ended"):
        unconnected.open()
    unconnected.close()
    assert unconnected.unsent == {f"send {tmp_path / 'a'}": "its thread has ended"}
    assert unconnected.left == 0


@pytest.mark.parametrize("why", ["", "it is away"])
def test_a_store_is_open_once_the_writer_answers(unconnected, caplog, why):
    unconnected._receive({"open": why})
    unconnected._ended()  # later: it had answered
    unconnected.open()
    expected = ["it is away; training continues, and results are kept on disk"] if why else []
    assert caplog.messages == expected


def test_a_refusal_is_raised(unconnected):
    unconnected._receive({"refused": "no such experiment"})
    with pytest.raises(UserError, match=r"^no such experiment$"):
        unconnected.open()


def test_messages_of_the_writer_are_logged_with_their_level(unconnected, caplog):
    with caplog.at_level("INFO", "sweepgrad"):
        unconnected._receive({"say": "upgrading", "level": 20})
        unconnected._receive({"say": "slow", "level": 30})
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (20, "upgrading"),
        (30, "slow"),
    ]


# The process, for real


@pytest.mark.parametrize("outbox", ["process"], indirect=True)
def test_a_writer_that_dies_at_once_is_a_users_error(outbox, folder):
    assert outbox._process is not None
    outbox._process.kill()
    outbox.connect(tracking())
    with pytest.raises(
        UserError, match="the process that writes to MLflow ended at once: it printed no error"
    ):
        outbox.open()


@pytest.mark.slow
@pytest.mark.parametrize("outbox", ["process"], indirect=True)
def test_ctrl_c_is_not_for_the_writer(outbox, results):
    outbox.connect(tracking())
    outbox.open()
    assert outbox._process is not None
    for signum in (signal.SIGINT, signal.SIGTERM):
        outbox._process.send_signal(signum)
    outbox.send(results[0])
    outbox.close()
    assert outbox.unsent == {}
    assert os.getpgid(0) != outbox._process.pid  # and the terminal's does not reach it


@pytest.mark.parametrize("outbox", ["process"], indirect=True)
def test_what_a_killed_writer_had_not_sent_is_known(outbox, results):
    outbox.connect(tracking())
    outbox.open()
    assert outbox._process is not None
    outbox.send(results[0])
    until(lambda: outbox.left == 0)
    outbox._process.kill()
    for result in results[1:]:
        outbox.send(result)
    outbox.close()
    assert outbox.unsent.keys() == {f"send {result}" for result in results[1:]}
    assert command("sync").code == 0
    assert by_kind("job") == ["FINISHED"] * 3


@pytest.mark.slow
def test_a_sweep_whose_writer_is_killed_trains_on_and_says_what_to_do(folder):
    """Run the whole program, with a real SIGKILL during the sweep."""
    with subprocess.Popen(
        [console_script(), "train", "-m", *SMALL, "seed=1,2,3", "train.epochs=3,4000"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as sweep:
        until(lambda: list(Path("runs").glob("sweeps/*/*/mlflow.json")))
        (writer,) = [
            child
            for child in psutil.Process(sweep.pid).children()
            if "sweepgrad.tracking.writer" in child.cmdline()
        ]
        writer.kill()
        out, err = sweep.communicate(timeout=120)
    assert sweep.returncode == 2, err
    assert "Traceback" not in out + err
    assert "could not be sent to MLflow" in err
    assert "sweepgrad sync" in err
    whole = list(Path("runs").glob("sweeps/*/*/record.json"))
    sent = list(Path("runs").glob("sweeps/*/*/mlflow.json"))
    assert len(whole) == 6
    assert 1 <= len(sent) < 6
    assert "KILLED" not in command("sync").err
    assert by_kind("job") == ["FINISHED"] * 6
    assert by_kind("sweep") == ["FINISHED"]
