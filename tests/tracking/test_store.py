"""The MLflow store: nothing is sent twice, nothing is lost, and the model predicts as in training."""

import json
import os
import shutil
import socket
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from tests.support import CSV, command, inside, load_model, people

from sweepgrad.compose.plan import plan
from sweepgrad.config.data import FileData
from sweepgrad.config.schema import store_uri
from sweepgrad.data.access import Tables, open_training
from sweepgrad.errors import UserError
from sweepgrad.paths import data_dir
from sweepgrad.runs import folders
from sweepgrad.runs import record as records
from sweepgrad.tracking import entities, mapping
from sweepgrad.tracking.connection import Unreachable, fluent, once
from sweepgrad.tracking.store import Store
from sweepgrad.tracking.tags import of_run
from sweepgrad.training.bundle import Bundle
from sweepgrad.training.epoch import Epoch


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


def all_runs(store: Store) -> list[mlflow.entities.Run]:
    return list(client(store).search_runs([store.experiment_id]))


def rewrite(folder: Path, **changes: object) -> records.Record:
    record = replace(records.read(folder), **changes)  # type: ignore[arg-type]
    records.write(folder, record)
    return record


# Addresses


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
        ("https://mlflow.example.org", "https://mlflow.example.org"),
    ],
)
def test_an_absolute_address_stays(uri, expected):
    assert store_uri(uri) == expected


def test_a_relative_file_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert store_uri("sqlite:///runs/mlflow.db") == f"sqlite:///{tmp_path}/runs/mlflow.db"


@pytest.mark.parametrize(
    "uri", ["", "runs", "sqlite:///", "sqlite:", "file:///x", "mlruns/", "databricks", "ftp://x"]
)
def test_what_is_no_store_is_refused(uri):
    with pytest.raises(ValueError, match="sqlite:///FILE"):
        store_uri(uri)


def test_a_server_that_is_none_is_named():
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        Store("http://127.0.0.1:9", "sweepgrad")


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"HTTP/1.1 404 Not Found\r\n\r\n"])
def test_what_answers_but_is_no_mlflow_server_is_named(answer):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def answer_once() -> None:
            with listening.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_once, daemon=True)
        thread.start()
        with pytest.raises(Unreachable, match=str(port)):
            Store(f"http://127.0.0.1:{port}", "sweepgrad")
        thread.join(5)


# Sending


def test_sending_twice_makes_one_run(store, kept):
    run_id = store.send(kept)
    assert store.send(kept) == run_id
    (kept / "mlflow.json").unlink()  # as if we had died before we wrote it
    assert store.send(kept) == run_id
    assert len([run for run in all_runs(store) if run.data.tags["sweepgrad.kind"] == "job"]) == 1
    history = client(store).get_metric_history(run_id, "val/nll")
    assert [point.step for point in history] == [1, 2, 3]


def test_what_was_sent_in_part_is_completed(store, kept):
    record = records.read(kept)
    run_id = store._create(record).run_id  # and then the process died
    assert client(store).get_run(run_id).info.status == "RUNNING"
    assert store.send(kept) == run_id
    run = client(store).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.end_time == record.ended
    assert run.data.metrics["best/val/nll"] == record.summary["best/val/nll"]
    assert {artifact.path for artifact in client(store).list_artifacts(run_id)} >= {"config.yaml"}


def test_another_store_gets_the_sweeps_parent_too(store, kept, sweep):
    run_id = store.send(kept)
    parent = client(store).get_run(run_id).data.tags["mlflow.parentRunId"]
    assert client(store).get_run(parent).info.run_name == sweep.name


def test_more_metrics_than_fit_in_one_request(store, kept):
    history = tuple(
        Epoch({"nll": 1 / n, "accuracy": 0.5}, {"nll": 2 / n, "accuracy": 0.5}) for n in range(1, 601)
    )
    rewrite(kept, history=history)
    run_id = store.send(kept)
    sent = client(store).get_metric_history(run_id, "val/nll")
    assert [(point.step, point.value) for point in sent] == [(n, 2 / n) for n in range(1, 601)]


def test_a_parameter_that_is_longer_than_mlflow_takes(store, kept):
    record = records.read(kept)
    names = [f"a column with a rather long name, number {i}" for i in range(400)]
    rewrite(kept, config={**record.config, "data": {**record.config["data"], "drop": names}})
    run = client(store).get_run(store.send(kept))
    assert run.info.status == "FINISHED"
    assert len(run.data.params["data.drop"]) == 6000


def test_an_experiment_that_was_deleted_in_mlflow_is_no_traceback(store, kept):
    client(store).delete_experiment(store.experiment_id)
    with pytest.raises(UserError, match="active"):
        Store(store.uri, "sweepgrad").send(kept)
    assert not (kept / "mlflow.json").exists()


def test_a_run_that_failed_early_is_sent_too(store, kept):
    rewrite(
        kept,
        status="FAILED",
        error="Traceback\nValueError: why",
        data=None,
        history=(),
        summary={},
        best_epoch=0,
        files={},
    )
    shutil.rmtree(kept / "model")
    run_id = store.send(kept)
    run = client(store).get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["sweepgrad.error"] == "ValueError: why"


def test_mlflows_own_settings_are_put_back(store, kept, monkeypatch):
    before = mlflow.get_tracking_uri()
    store.send(kept)
    assert mlflow.get_tracking_uri() == before
    assert mlflow.active_run() is None


def test_threads_put_mlflows_settings_back(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    entered, first_left = threading.Event(), threading.Event()
    seen = []

    def second() -> None:
        with fluent(f"sqlite:///{tmp_path}/second.db"):
            entered.set()
            first_left.wait(10)
            seen.append(mlflow.get_tracking_uri())

    thread = threading.Thread(target=second)
    with fluent(f"sqlite:///{tmp_path}/first.db"):
        assert "MLFLOW_TRACKING_URI" not in os.environ  # another thread would train into this store
        thread.start()
        assert not entered.wait(0.2)
        assert mlflow.get_tracking_uri().endswith("first.db")
    first_left.set()
    thread.join()
    assert seen == [f"sqlite:///{tmp_path}/second.db"]
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri()) == before
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_threads_put_the_number_of_retries_back():
    before = os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]
    entered, first_left = threading.Event(), threading.Event()

    def second() -> None:
        with once():
            entered.set()
            first_left.wait(10)

    thread = threading.Thread(target=second)
    with once():
        thread.start()
        assert not entered.wait(0.2)
    first_left.set()
    thread.join()
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == before


def test_abandoned_runs_of_this_machine_alone_are_closed(store):
    elsewhere = store.sweep_run("elsewhere")
    client(store).set_tag(elsewhere, "sweepgrad.host", "another machine")
    client(store).set_tag(elsewhere, "sweepgrad.process", "999999")
    dead = store.sweep_run("dead")
    client(store).set_tag(dead, "sweepgrad.process", "99999999")
    assert store.close_abandoned() == ["dead"]
    assert client(store).get_run(elsewhere).info.status == "RUNNING"
    assert client(store).get_run(dead).info.status == "KILLED"


def test_runs_of_other_programs_are_no_sweeps(store):
    client(store).create_run(store.experiment_id, run_name="foreign")
    with pytest.raises(UserError, match="has no runs: run `sweepgrad train` first"):
        store.sweep(None)
    assert store.close_abandoned() == []


def test_the_latest_sweep_is_the_one_that_is_meant(store):
    for name in ("first", "second"):
        store.sweep_run(name)
    assert store.sweep(None).name == "second"


# The model


@pytest.fixture(scope="module")
def trained(tmp_path_factory, empty_store):
    """Train a run on a table with missing values, text and booleans."""
    folder = tmp_path_factory.mktemp("trained")
    people().to_csv(folder / "people.csv", index=False)
    with inside(folder, empty_store):
        overrides = [*CSV, "data.group=person", "model=middle", "train.epochs=3"]
        assert command("train", *overrides, "hydra.run.dir=runs/mine").code == 0
        config = plan(overrides, multirun=False).jobs[0].config
        assert isinstance(config.data, FileData)
        digests = open_training(config.data, config.split).digests
        val = Tables().validation(config.data, config.split, digests, "it")
        uri = f"sqlite:///{folder}/runs/mlflow.db"
        run_id = json.loads(Path("runs", "mine", "mlflow.json").read_text())["run_id"]
    model = load_model(uri, f"runs:/{run_id}/model")
    return folder, uri, run_id, model, val


def test_the_logged_model_predicts_what_training_predicted_to_the_bit(trained):
    folder, _, _, model, val = trained
    table = pd.read_csv(folder / "people.csv")
    rows = table.merge(val.frame.reset_index(), how="inner").sort_values("index").drop(columns=["index"])
    assert len(rows) == len(val)
    predicted = model.predict(rows.drop(columns=["left", "person"]))
    bundle = Bundle.load(folder / "runs" / "mine" / "model")
    expected = bundle.probabilities(val.frame)
    assert predicted["probability"].to_numpy().tobytes() == expected.tobytes()
    assert set(predicted["prediction"]) <= {"yes", "no"}
    record = records.read(folder / "runs" / "mine")
    right = (predicted["prediction"].to_numpy() == "yes") == (val.y == 1)
    assert right.mean() == record.summary["best/val/accuracy"]
    p, y = predicted["probability"].to_numpy(), val.y
    nll = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
    assert nll == pytest.approx(record.summary["best/val/nll"], rel=1e-12)


def test_the_logged_model_takes_columns_as_they_come(trained):
    *_, model, val = trained
    frame = val.frame[["age", "income", "town", "member"]]
    expected = model.predict(frame)["probability"]
    reordered = frame[["town", "member", "income", "age"]]
    pd.testing.assert_series_equal(model.predict(reordered)["probability"], expected)
    wider = frame.assign(left="yes", person=1, anything="else")
    pd.testing.assert_series_equal(model.predict(wider)["probability"], expected)
    pd.testing.assert_series_equal(model.predict(frame.iloc[[5]])["probability"], expected.iloc[[5]])


def test_the_logged_model_takes_missing_values_and_words_it_never_saw(trained):
    *_, model, val = trained
    frame = val.frame[["age", "income", "town", "member"]].head(3).copy()
    frame.loc[0, "town"] = "Atlantis"
    frame.loc[1, "town"] = None
    frame.loc[2, ["age", "income"]] = np.nan
    assert model.predict(frame)["probability"].between(0, 1).all()


def test_the_logged_model_names_a_column_that_is_not_there(trained):
    *_, model, val = trained
    with pytest.raises(mlflow.exceptions.MlflowException, match="town"):
        model.predict(val.frame[["age", "income", "member"]])


def test_no_pickle_is_anywhere(trained):
    folder, *_ = trained
    files = [path for path in (folder / "runs").rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".joblib")]
    assert not [path for path in files if path.read_bytes()[:1] == b"\x80"]
    (model,) = [path for path in files if path.name == "MLmodel"]
    assert "pkl" not in model.read_text()


def test_the_model_of_the_songs_takes_the_table_as_it_is_read(folder):
    """Take the frame that pandas reads from the file, with integers."""
    assert command("train", "train.epochs=1").code == 0
    uri = f"sqlite:///{folder}/runs/mlflow.db"
    store = Store(uri, "sweepgrad")
    run = store.sweep(None)
    songs = pd.read_csv(data_dir() / "spotify.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow says that it leaves other columns out
        predicted = load_model(uri, f"runs:/{run.run_id}/model").predict(songs)
    (kept,) = Path("runs", "single").iterdir()
    expected = Bundle.load(kept / "model").probabilities(songs)
    assert np.array_equal(predicted["probability"].to_numpy(), expected)


def test_completing_a_run_does_not_double_its_model(store, kept):
    record = rewrite(kept, config={**records.read(kept).config, "sweep": {"id": None}})  # a run on its own
    store._log(store._create(record), record, mapping.files(record, kept))  # and then the process died
    run_id = store.send(kept)
    (run,) = [run for run in all_runs(store) if run.data.tags["sweepgrad.kind"] == "run"]
    assert run.info.run_id == run_id
    outputs = client(store).get_run(run_id).outputs
    assert outputs is not None
    assert len(outputs.model_outputs) == 1


def test_a_run_whose_store_was_lost_is_sent_again(store, kept, tmp_path, empty_store):
    store.send(kept)
    shutil.copy(empty_store, tmp_path / "new.db")
    new = Store(f"sqlite:///{tmp_path}/new.db", "sweepgrad")
    assert not new.has(known(kept))
    new.send(kept)
    assert new.has(known(kept))


def known(folder: Path) -> str:
    run_id = folders.sent_as(folder, records.read(folder))
    assert run_id is not None
    return run_id


def test_a_run_that_was_tried_again_is_sent_though_word_of_the_first_is_left(store, kept):
    """Imitate a process that was killed while it cleared a folder: MLflow has another attempt."""
    first = store.send(kept)
    rewrite(kept, ended=records.read(kept).ended + 1)
    second = store.send(kept)
    assert first != second == known(kept)
    assert [run.info.run_id for run in all_runs(store) if "sweepgrad.job" in run.data.tags] == [second]


def test_word_that_cannot_be_read_is_no_word(store, kept):
    run_id = store.send(kept)
    for text in ("{", "[]", "{}"):
        (kept / "mlflow.json").write_text(text)
        assert store.send(kept) == run_id


def test_a_model_that_is_damaged_is_not_sent(store, kept):
    weights = kept / "model" / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"weights\.npz was changed after it was written"):
        store.send(kept)
    assert not [run for run in all_runs(store) if "sweepgrad.job" in run.data.tags]


def test_names_of_columns_that_mlflow_does_not_take_are_no_names_of_params(folder):
    people().rename(columns={"income": "Umsatz (€)"}).to_csv("people.csv", index=False)
    yaml = Path("myconf", "data", "kunden.yaml")
    yaml.parent.mkdir(parents=True)
    yaml.write_text(
        'defaults: [csv]\nname: kunden\npath: people.csv\ntarget: left\npositive: "yes"\ndrop: [person]\n'
        'transform: {"Umsatz (€)": quantile_normal}\n'
    )
    trained = command("train", "--config-dir", "myconf", "data=kunden", "train.epochs=1")
    assert trained.code == 0, trained.err
    (run,) = all_runs(Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad"))
    assert json.loads(run.data.params["data.transform"]) == {"Umsatz (€)": "quantile_normal"}


def test_a_hostile_name_is_escaped_in_mlflow_and_reads_back_as_its_folder_has_it(folder, kept):
    """Names of runs, sweeps, experiments and datasets, values and errors; none is searched for raw either."""
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "songs'\x1b[31m\u202e" + 300 * "x")
    name = 'it\'s \x1b]0;owned\x07 "a" \u202etxt\n' + 300 * "y"
    record = records.read(kept)
    data = {**record.config["data"], "name": f"\x1b[2J{600 * 'n'}"}
    sweep = {**record.config["sweep"], "id": "it's \x1b one"}
    rewrite(kept, name=name, job="job's \x1b", config={**record.config, "data": data, "sweep": sweep})
    record = records.read(kept)
    run_id = store.send(kept)
    assert Store(store.uri, store.experiment).experiment_id == store.experiment_id  # found again
    (kept / "mlflow.json").unlink()
    assert store.send(kept) == run_id
    run = client(store).get_run(run_id)
    parent = client(store).get_run(run.data.tags["mlflow.parentRunId"])
    assert run.inputs is not None
    (dataset, _) = (found.dataset for found in run.inputs.dataset_inputs)
    assert run.info.run_name == entities.run_name(name)
    assert dataset.name.startswith("\\x1b[2Jnn")
    assert (len(run.info.run_name), len(dataset.name)) == (250, 500)
    assert client(store).get_experiment(store.experiment_id).name.startswith("songs'\\x1b[31m\\u202exx")
    assert parent.data.tags["sweepgrad.sweep"] == parent.info.run_name == "it's \\x1b one"
    for text in (str(run.to_dictionary()), str(parent.to_dictionary()), dataset.name):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
    (found,) = [each for each in store.children(store.sweep("it's")) if each.run_id == run_id]
    assert {tag: found.tags.get(tag) for tag in of_run(record)} == of_run(record)
    assert found.params == {param.key: param.value for param in mapping.params(record)}


def test_an_experiment_of_an_earlier_version_is_found_by_its_raw_name(store):
    raw = "songs \x07"
    earlier = client(store).create_experiment(raw)
    assert Store(store.uri, raw).experiment_id == earlier


@pytest.mark.parametrize("text", ["plain", "it's", 'say "a"', "50 % AND more", "é; x"])
def test_a_text_is_found_whatever_quotes_it_has(store, text):
    client(store).create_run(store.experiment_id, tags={"name": text})
    assert [run.tags["name"] for run in store._search(f"tags.name = {entities.quoted(text)}")] == [text]


@pytest.mark.parametrize("text", ["""it's "a" """, "ends in \\"])
def test_a_text_that_no_search_can_express_is_refused(text):
    with pytest.raises(UserError, match="cannot be searched for"):
        entities.quoted(text)


@pytest.mark.parametrize("name", ["learning_curve.png", "config.yaml"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(kept, name):
    (kept / name).unlink(missing_ok=True)
    os.mkfifo(kept / name)
    with pytest.raises(ValueError, match=f"{kept / name}: not a regular file"):
        mapping.files(records.read(kept), kept)
