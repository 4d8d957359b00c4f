"""A store behind HTTP, whose artifacts are not on this machine: sent once, and checked as a local one is."""

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import mlflow
import pytest
from tests.servers import MlflowServer, Proxy, mlflow_server, proxy
from tests.support import SMALL, command

from sweepgrad.errors import UserError
from sweepgrad.runs import record as records
from sweepgrad.runs import sweep_record
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.sync import sync

pytestmark = pytest.mark.slow

MOST_REQUESTS = 300
"""Of one run that is sent, with its sweep's own."""


@pytest.fixture(scope="module")
def server(tmp_path_factory, empty_store) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("remote")
    shutil.copy(empty_store, folder / "mlflow.db")
    with mlflow_server(folder, f"sqlite:///{folder / 'mlflow.db'}") as running:
        yield running


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # a retry would hide the error


def unsent(source: Path, uri: str, experiment: str, *, in_sweep: bool) -> Path:
    """Return the folder of a run below runs/ that was not sent yet, with an id of its own."""
    name = f"sweep-{uuid.uuid4().hex[:8]}"
    folder = Path("runs/sweeps", name, "0") if in_sweep else Path("runs/single", name)
    shutil.copytree(source, folder)
    (folder / "mlflow.json").unlink()
    record = records.read(folder)
    config = {
        **record.config,
        "tracking": {**record.config["tracking"], "uri": uri, "experiment": experiment},
        "sweep": {**record.config["sweep"], "id": name if in_sweep else None},
    }
    records.write(folder, replace(record, job=uuid.uuid4().hex, name=f"{name}/0", config=config))
    if in_sweep:
        of_sweep = sweep_record.read(source.parent)
        sweep_record.write(folder.parent, replace(of_sweep, id=name, jobs=1))
    return folder


def found(store: Store, folder: Path) -> list[Logged]:
    """Return the runs in the store with the job of a folder."""
    return store._search(f"tags.`sweepgrad.job` = '{records.read(folder).job}'")


def whole(store: Store, folder: Path) -> None:
    """Check that the run in a folder is in the store once, with everything, and its sweep too."""
    record = records.read(folder)
    (run,) = found(store, folder)
    assert (run.status, run.ended) == (record.status, record.ended)
    assert {name: run.metrics[name] for name in record.summary} == record.summary
    history = store.metrics(run)
    assert [history[step, "val/nll"] for step in range(1, 1 + len(record.history))] == [
        epoch.val_loss for epoch in record.history
    ]
    there = {file.path for file in store._client.list_artifacts(run.run_id)}
    assert {"run.json", "config.yaml", "validation.npy", "bundle"} <= there
    if record.sweep is not None:
        (parent,) = store._search(
            f"tags.`sweepgrad.sweep` = '{record.sweep}' AND tags.`sweepgrad.kind` = 'sweep'"
        )
        assert parent.status == sweep_record.read(folder.parent).status
        assert run.tags["mlflow.parentRunId"] == parent.run_id


class Cut(Proxy):
    """Cut the connection at a request and at all later ones."""

    left: ClassVar[list[int]]  # requests up to the first that is cut
    handed_on: ClassVar[bool]  # whether the server gets that request, so that only its answer is lost

    def cut(self, body: bytes) -> Callable[[Callable[[], object]], object] | None:
        if self.path.endswith("/health"):
            return None
        self.left[0] -= 1
        if self.left[0] > 0:
            return None
        return (lambda hand_on: hand_on()) if self.handed_on and self.left[0] == 0 else (lambda _: None)


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("in_sweep", [True, False], ids=["job", "single"])
def test_a_send_that_ends_at_any_request_is_completed_by_the_next(server, sweep, lost, in_sweep):
    """Cut at every third, or ninth, request: those of artifacts and of the model too."""
    store = Store(server.uri, "cut")
    for n in range(1, MOST_REQUESTS, 3 if in_sweep else 9):
        left = [n]
        cut = type("CutHere", (Cut,), {"left": left, "handed_on": lost == "answer"})
        folder = unsent(sweep.jobs[0], server.uri, "cut", in_sweep=in_sweep)
        with proxy(cut, server.uri) as uri, suppress(UserError):
            Store(uri, "cut").send(folder)
        if left[0] > 0:
            break
        sync(Path("runs"))
        whole(store, folder)
        shutil.rmtree("runs")
    else:
        raise AssertionError("the last request was not reached")
    assert n > 8


@pytest.mark.parametrize("in_sweep", [True, False], ids=["job", "single"])
def test_a_run_that_a_server_makes_late_is_deleted_by_the_next_sync(server, sweep, in_sweep):
    """Give up, send the run again, and have the first request handled after all."""
    late: list[Callable[[], object]] = []

    class Late(Proxy):
        def cut(self, body: bytes) -> Callable[[Callable[[], object]], object] | None:
            is_job = self.path.endswith("/runs/create") and b"sweepgrad.job" in body
            return late.append if is_job else None

    store = Store(server.uri, "late")
    folder = unsent(sweep.jobs[0], server.uri, "late", in_sweep=in_sweep)
    with proxy(Late, server.uri) as uri, pytest.raises(UserError):
        Store(uri, "late").send(folder)
    sync(Path("runs"))
    (request,) = late
    request()
    assert len(found(store, folder)) == 2
    sync(Path("runs"))
    whole(store, folder)


# Evidence: what decides is checked, wherever it is


@pytest.fixture(scope="module")
def remote(server, tmp_path_factory) -> Path:
    """Train a sweep against the server; return the folder of its client, where no store is."""
    folder: Path = tmp_path_factory.mktemp("client")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = command("train", "-m", *SMALL, "model=wide,linear", "seed=1,2", f"tracking.uri={server.uri}")
        assert done.code == 0, done.err
    return folder


def artifacts(server: MlflowServer, run_id: str) -> Path:
    (folder,) = (server.folder / "artifacts").rglob(f"{run_id}/artifacts")
    return folder


def leaders(server: MlflowServer) -> tuple[list[str], str]:
    """Return the ids of the best runs, as a machine ranks them that has only the address; and messages."""
    done = command("leaderboard", "--json", "--uri", server.uri)
    assert done.code in (0, 2), done.err
    entries = json.loads(done.out)["entries"] if done.code == 0 else []
    return (entries[0]["run_ids"] if entries else []), done.out + done.err


def changed_scores(folder: Path) -> Path:
    file = folder / "validation.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 0x80  # the sign of the last score
    file.write_bytes(content)
    return file


def another_scale(folder: Path) -> Path:
    file = folder / "bundle" / "bundle.json"
    text = re.sub(r'"scale": ([0-9.e-]+)', r'"scale": 7.5', file.read_text())
    file.write_text(text)
    return file


def typed_metric(folder: Path) -> Path:
    file = folder / "run.json"
    file.write_text(re.sub(r'"best/val/accuracy": [0-9.e-]+', '"best/val/accuracy": 0.999', file.read_text()))
    return file


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (changed_scores, "validation.npy was changed after it was written"),
        (typed_metric, "run.json was changed after it was written"),
        (None, "validation.npy is missing in MLflow"),
    ],
)
def test_artifacts_that_were_changed_on_the_server_are_found(server, remote, change, problem):
    best, _ = leaders(server)
    folder = artifacts(server, best[0])
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    try:
        if change is None:
            (folder / "validation.npy").unlink()
        else:
            change(folder)
        now, said = leaders(server)
        assert problem in said
        assert best[0] not in now
    finally:
        shutil.rmtree(folder)
        kept.rename(folder)
    assert leaders(server)[0] == best


def test_a_model_that_was_changed_on_the_server_is_neither_chosen_nor_loaded_nor_registered(server, remote):
    best, _ = leaders(server)
    folders = [artifacts(server, run_id) for run_id in best]
    texts = {file: file.read_text() for folder in folders for file in [folder / "bundle" / "bundle.json"]}
    for folder in folders:
        another_scale(folder)
    done = command("finalize", "--uri", server.uri)
    assert "bundle.json was changed after it was written" in done.out + done.err
    client = mlflow.MlflowClient(server.uri, server.uri)
    chosen = {version.run_id for version in client.search_model_versions("")}
    for file, text in texts.items():
        file.write_text(text)
    assert not chosen & set(best)


def test_finalize_registers_the_model_that_it_checked(server, remote):
    done = command("finalize", "--json", "--uri", server.uri)
    assert done.code == 0, done.err
    card = json.loads(done.out)
    client = mlflow.MlflowClient(server.uri, server.uri)
    name, number = card["registered"].split("/")
    assert client.get_model_version_by_alias(name, "chosen").version == number
