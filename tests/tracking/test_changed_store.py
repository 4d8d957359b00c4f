"""A store in which runs were deleted, doubled or changed: complete runs stay, and problems are reported."""

import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from sweepgrad.bounded import reading
from sweepgrad.errors import UserError
from sweepgrad.runs import folders
from sweepgrad.runs import record as records
from sweepgrad.tracking import duplicates, mapping, models, tags
from sweepgrad.tracking.connection import Refused, Unreachable, reaching
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.sync import _refuse_if_gone, sync
from sweepgrad.tracking.tags import CHOSEN, DIGEST, HOST, JOB, KIND, PARENT, PROCESS, TEST_KIND


@pytest.fixture
def store(folder) -> Store:
    return Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")


@pytest.fixture
def kept(sweep, tmp_path: Path) -> Path:
    """Return the folder of a run that was not sent to MLflow yet."""
    copy = tmp_path / "kept"
    shutil.copytree(sweep.jobs[0], copy)
    (copy / "mlflow.json").unlink()
    return copy


def client(store: Store) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(store.uri, store.uri)


# Runs that are there twice


class Deleting:
    """Keep the ids of the runs that are deleted."""

    def __init__(self) -> None:
        self.deleted: list[str] = []

    def delete_run(self, run_id: str) -> None:
        self.deleted.append(run_id)


WHOLE = Logged("b", "it", "FINISHED", 1000, {"seed": "1"}, {"best/val/nll": 0.5}, {JOB: "j"}, 2000)
BEGUN = Logged("a", "it", "RUNNING", 1000, {}, {}, {JOB: "j"})


@pytest.mark.parametrize(
    ("whole", "part"),
    [
        (WHOLE, BEGUN),
        (WHOLE, replace(BEGUN, status="KILLED", ended=3000)),  # closed by `close_abandoned`
        (replace(WHOLE, status="FAILED"), replace(BEGUN, status="KILLED", ended=3000)),
        (replace(WHOLE, status="KILLED"), replace(BEGUN, status="KILLED", ended=3000)),
        (replace(WHOLE, status="KILLED"), BEGUN),
        (replace(WHOLE, started=900), replace(BEGUN, status="KILLED", started=800, ended=3000)),
    ],
)
def test_of_two_runs_of_a_job_the_complete_one_stays(whole, part):
    for found in ([whole, part], [part, whole]):
        client = Deleting()
        assert duplicates.once_each(client, found) == {"j": whole}  # type: ignore[arg-type]
        assert client.deleted == ["a"]


def test_the_run_that_agrees_with_the_record_stays(sweep):
    """Keep it although an earlier attempt has more metrics."""
    record = replace(records.read(sweep.jobs[0]), job="j", started=1500, ended=2500)
    now = Logged("b", "it", record.status, 1500, {}, {}, {JOB: "j"}, 2500)
    client = Deleting()
    assert duplicates.once_each(client, [WHOLE, now], record) == {"j": now}  # type: ignore[arg-type]


def test_what_a_killed_process_left_does_not_displace_the_finished_run(store, kept):
    """It is closed as KILLED with the same start, and may have the smaller id."""
    record = records.read(kept)
    run_id = store.send(kept)
    for _ in range(4):  # ids are random
        half = store._create(record).run_id
        client(store).set_terminated(half, "KILLED")
    (kept / "mlflow.json").unlink()
    assert Store(store.uri, "sweepgrad").send(kept) == run_id
    assert client(store).get_run(run_id).info.lifecycle_stage == "active"


def test_a_run_that_was_deleted_in_mlflow_is_sent_again(store, kept):
    first = store.send(kept)
    client(store).delete_run(first)
    assert not store.has(first)
    second = store.send(kept)
    assert second != first
    assert store.has(second)


# What is not there, and what may not be seen


def test_what_may_not_be_read_is_not_taken_for_missing(store, monkeypatch):
    from mlflow.protos import databricks_pb2 as codes

    def get_run(code: int) -> None:
        raise MlflowException("no", error_code=code)

    monkeypatch.setattr(store._client, "get_run", lambda _: get_run(codes.PERMISSION_DENIED))
    with pytest.raises(Refused):
        store.has("a" * 32)
    monkeypatch.setattr(store._client, "get_run", lambda _: get_run(codes.RESOURCE_DOES_NOT_EXIST))
    assert not store.has("a" * 32)


def test_what_is_no_id_of_a_run_is_not_there(store):
    assert not store.has("../../x")


@pytest.mark.parametrize("error", [OSError(), MlflowException("\n")])
def test_an_error_without_words_is_named_by_its_kind(error):
    with pytest.raises(UserError, match=type(error).__name__), reaching("sqlite:///x"):
        raise error


# Tags that were deleted


def untag(store: Store, run_id: str, tag: str) -> None:
    client(store).delete_tag(run_id, tag)


def test_a_job_without_its_tag_is_told_of_and_not_doubled(store, kept, caplog):
    run_id = store.send(kept)
    untag(store, run_id, JOB)
    again = Store(store.uri, "sweepgrad")
    assert again.send(kept) == run_id
    with caplog.at_level("WARNING", "sweepgrad"):
        found = again._once_each(f"tags.`{KIND}` = 'job'")
    assert run_id not in {run.run_id for run in found.values()}
    assert [f"run {run_id} in MLflow has no tag {JOB}" in message for message in caplog.messages] == [True]


def test_a_run_without_its_kind_is_not_found_by_its_id(store, kept):
    run_id = store.send(kept)
    untag(store, run_id, KIND)
    with pytest.raises(UserError, match=f"run {run_id} .* has no tag {KIND}"):
        store.by_id(run_id)


def test_a_run_of_another_program_is_not_found_by_its_id(store):
    foreign = client(store).create_run(store.experiment_id).info.run_id
    assert store.by_id(foreign) == []


def test_a_run_without_its_process_is_left_running(store):
    run_id = store.sweep_run("it")
    untag(store, run_id, PROCESS)
    assert store.close_abandoned() == []
    client(store).set_tag(run_id, PROCESS, f"{10**30}@1.0")
    assert store.close_abandoned() == ["it"]


def evaluation(store: Store) -> Logged:
    """Return a test-set evaluation as it is in the store."""
    run = client(store).create_run(
        store.experiment_id,
        tags={
            KIND: TEST_KIND,
            PARENT: "p",
            HOST: "h",
            CHOSEN: "r",
            f"{DIGEST}table": "t",
            f"{DIGEST}test": "rows",
        },
    )
    return mapping.logged(client(store).get_run(run.info.run_id))


def test_a_test_set_evaluation_without_its_rows_is_named_with_a_remedy(store):
    run = evaluation(store)
    untag(store, run.run_id, f"{DIGEST}test")
    with pytest.raises(UserError, match=rf"run {run.run_id} .* has no tag {DIGEST}test.*ledger"):
        store.test_evaluations("t")


def test_a_test_set_evaluation_without_its_run_counts(store):
    run = evaluation(store)
    untag(store, run.run_id, CHOSEN)
    (entry,) = store.test_evaluations("t")
    assert (entry.test, entry.run_id) == ("rows", "an unknown run")
    assert tags.ledger_entry(run).run_id == "r"


# Files that change while they are sent


def test_the_bytes_that_are_sent_are_those_that_were_checked(kept, monkeypatch):
    """Imitate a process that changes a file right after its digest was checked."""
    weights = kept / "model" / "weights.npz"
    before = weights.read_bytes()
    read = reading.read

    def change_after(path: Path, most: int) -> bytes:
        content = read(path, most)
        if path == weights:
            weights.write_bytes(b"other")
        return content

    monkeypatch.setattr(reading, "read", change_after)
    damage = folders.damage

    def change_after_check(folder: Path, record: records.Record, model: str = records.MODEL) -> str | None:
        found = damage(folder, record, model)
        weights.write_bytes(b"other")
        return found

    monkeypatch.setattr(folders, "damage", change_after_check)
    assert mapping.files(records.read(kept), kept)["bundle/weights.npz"] == before


# Models


def test_a_full_disk_is_not_taken_for_a_changed_model(store, monkeypatch):
    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(models, "download", full)
    with pytest.raises(Unreachable, match="No space left on device"), reaching(store.uri):
        models._digest(store.uri, "models:/it")


def test_models_on_further_pages_are_seen(store, monkeypatch):
    run = client(store).create_run(store.experiment_id)
    made = [
        client(store).create_logged_model(store.experiment_id, source_run_id=run.info.run_id).model_id
        for _ in range(3)
    ]
    monkeypatch.setattr(models, "_PAGE", 2)
    found = models._models_of(client(store), run.info.run_id)
    assert {model.model_id for model in found} == set(made)


# A store that is gone


def test_a_store_that_was_moved_away_with_its_artifacts_is_not_replaced(folder, kept):
    runs = folder / "runs"
    place = runs / "single" / "it"
    place.parent.mkdir(parents=True)
    shutil.copytree(kept, place)
    unsent = shutil.copytree(kept, runs / "single" / "a")  # comes first
    record = records.read(place)
    uri = f"sqlite:///{runs}/mlflow.db"
    config = {**record.config, "tracking": {**record.config["tracking"], "uri": uri}, "sweep": {"id": None}}
    for number, each in enumerate((place, unsent)):
        records.write(each, replace(record, config=config, job=f"j{number}"))
    sent = Store(uri, "sweepgrad")
    sent.send(place)
    away = folder / "away"
    away.mkdir()
    for file in [*runs.glob("mlflow.db*"), runs / "mlartifacts"]:
        shutil.move(file, away)
    with pytest.raises(UserError) as refused:
        sync(runs)
    said = str(refused.value)
    assert said.count(f"{runs}/mlflow.db is gone") == 1
    assert not (runs / "mlflow.db").exists()
    (runs / "mlartifacts").mkdir()  # the remedy for a store that is lost
    _refuse_if_gone(uri, records.read(place), runs)
    (runs / "mlartifacts").rmdir()
    for file in away.iterdir():
        shutil.move(file, runs)
    assert sync(runs) == 1
