"""Find what was changed in a run before it decides anything; the test set is not evaluated.

Changes are made in MLflow, in the run's folder, or in both; with digests as they were, or computed again.
"""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from tests.support import CSV, SMALL, command, inside, people

from sweepgrad.bounded import reading
from sweepgrad.data.access import Tables
from sweepgrad.errors import UserError
from sweepgrad.runs import ledger
from sweepgrad.runs import record as records
from sweepgrad.selection.decide import decide
from sweepgrad.selection.evidence import Evidence
from sweepgrad.selection.standings import Standings, standings
from sweepgrad.sweeps import reuse
from sweepgrad.tracking.connection import Refused
from sweepgrad.tracking.mapping import Logged
from sweepgrad.tracking.store import Store

SWEEP = (*CSV, "data.group=person", "train.epochs=4", "optimizer.lr=0.02", "engine.name=numpy")
Values = dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """A sweep of one configuration with two seeds; changes are made to its leader.

    Attributes:
        there, here: the folder of the leader's artifacts in MLflow, and its own folder.
    """

    folder: Path
    leader: str
    there: Path
    here: Path

    @property
    def store(self) -> Store:
        return Store(f"sqlite:///{self.folder}/runs/mlflow.db", "sweepgrad")

    @property
    def runs(self) -> list[Logged]:
        store = self.store
        return store.children(store.sweep(None))

    def ranked(self) -> Standings:
        return standings(self.store, Tables(), self.runs)

    def sql(self, statement: str) -> None:
        with closing(sqlite3.connect(self.folder / "runs" / "mlflow.db")) as connection:
            assert connection.execute(f"{statement} AND run_uuid = '{self.leader}'").rowcount == 1
            connection.commit()

    def seal(self, change: Callable[[Values], object] = lambda record: None) -> None:
        """Change the leader's record, and compute all digests again: of its files, its own, the tag's."""
        content = (self.there / "run.json").read_bytes()
        values = json.loads(content)
        for name in values["files"]:
            place = self.there / ("bundle" if name in records.FILES else "") / name
            values["files"][name] = sha256(place.read_bytes()).hexdigest()
        change(values)
        content = records.seal(json.dumps(values).encode())
        for file in (self.there / "run.json", self.here / "record.json"):
            file.write_bytes(content)
        self.sql(
            f"UPDATE tags SET value = '{records.parse(content).checksum}' WHERE key = 'sweepgrad.checksum'"
        )


DATABASE = shutil.ignore_patterns("mlflow.db*")


def copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


@pytest.fixture(scope="module")
def once(tmp_path_factory, empty_store) -> tuple[Trained, Path]:
    folder = tmp_path_factory.mktemp("evidence")
    people(300, seed=1).to_csv(folder / "people.csv", index=False)
    with inside(folder, empty_store):
        assert command("train", "-m", *SWEEP, "model=middle", "seed=1,2").code == 0
        leader = json.loads(command("leaderboard", "--json").out)["entries"][0]["run_ids"][0]
        (there,) = Path("runs").resolve().glob(f"mlartifacts/**/{leader}/artifacts")
        (here,) = (
            file.parent
            for file in Path("runs").resolve().glob("sweeps/*/*/mlflow.json")
            if leader in file.read_text()
        )
    shutil.copytree(folder / "runs", folder / "kept", ignore=DATABASE)
    copy_database(folder / "runs" / "mlflow.db", folder / "kept" / "mlflow.db")
    return Trained(folder, leader, there, here), folder / "kept"


@pytest.fixture
def trained(once, monkeypatch) -> Iterator[Trained]:
    found, kept = once
    monkeypatch.chdir(found.folder)
    yield found
    for path in Path("runs").iterdir():  # MLflow keeps its database open
        if path.is_dir():
            shutil.rmtree(path)
        elif not path.name.startswith("mlflow.db"):
            path.unlink()
    shutil.copytree(kept, "runs", ignore=DATABASE, dirs_exist_ok=True)
    copy_database(kept / "mlflow.db", Path("runs", "mlflow.db"))


def in_json(file: Path, change: Callable[[Values], object]) -> None:
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values, indent=1))


def of_bundle(change: Callable[[Values], object]) -> Callable[[Path], None]:
    return lambda bundle: in_json(bundle / "bundle.json", change)


def doubled(bundle: Values) -> None:
    bundle["members"][0]["network"]["scale"] *= 2


def negated(bundle: Values) -> None:
    bundle["members"][0]["network"]["scale"] *= -1


def swapped(bundle: Values) -> None:
    bundle["positive"], bundle["negative"] = bundle["negative"], bundle["positive"]


def shifted(bundle: Values) -> None:
    bundle["members"][0]["preprocessor"]["numeric"][0]["mean"] += 1


def reweighted(bundle: Path) -> None:
    with np.load(bundle / "weights.npz") as file:
        weights = {name: file[name] for name in file.files}
    weights["w1"] = weights["w1"] + 1e-9
    np.savez(bundle / "weights.npz", allow_pickle=False, **weights)


MODELS: dict[str, tuple[Callable[[Path], None], str]] = {
    "scale": (of_bundle(doubled), "its weights do not predict its validation.npy"),
    "sign of scale": (of_bundle(negated), "members.0.network.scale: Input should be greater than 0"),
    "classes": (of_bundle(swapped), "its model has positive 'no', but its table has 'yes'"),
    "preprocessing": (of_bundle(shifted), "its weights do not predict its validation.npy"),
    "weights": (reweighted, "its weights do not predict its validation.npy"),
}
"""Changes of a model, and what is said if all digests are computed again."""


def assert_found(trained: Trained, problem: str) -> None:
    """Check that `leaderboard` does not rank the leader, and `finalize` refuses and leaves nothing behind."""
    found = trained.ranked()
    ((run, said),) = found.unranked
    assert run.run_id == trained.leader
    assert problem in said
    assert problem in found.notice
    assert trained.leader not in [run.run_id for entry in found.entries for run in entry.runs]
    result = command("finalize")
    assert (result.code, result.out) == (2, ""), result
    assert "nothing was chosen, since 1 of 2 runs is not as written" in result.err
    assert f"({trained.leader}): " in result.err
    assert problem in result.err
    assert not Path("runs", ledger.LEDGER).exists()
    assert not Path("runs", "cards").exists()
    client = trained.store._client
    assert list(client.search_registered_models()) == []
    experiment = client.get_experiment_by_name("sweepgrad")
    assert experiment is not None
    condition = "tags.`sweepgrad.kind` = 'test_evaluation'"
    assert list(client.search_runs([experiment.experiment_id], condition)) == []


def test_nothing_is_found_in_what_was_left_alone(trained):
    found = trained.ranked()
    assert (found.unranked, found.decision is not None) == ((), True)
    assert len(found.entries[0].runs) == 2


@pytest.mark.parametrize("what", MODELS)
def test_a_changed_model_is_found_in_mlflow_alone_and_in_the_folder_alike(what, trained):
    change, problem = MODELS[what]
    change(trained.there / "bundle")
    name = "weights.npz" if what == "weights" else "bundle.json"
    assert_found(trained, f"{trained.there / 'bundle' / name} was changed after it was written")
    change(trained.here / "model")
    trained.seal()
    assert_found(trained, problem)


def test_weights_that_differ_by_rounding_are_those_of_another_environment(trained):
    def elsewhere(record: Values) -> None:
        record["environment"]["numpy"] = "1.0"

    reweighted(trained.there / "bundle")  # by 1e-9
    reweighted(trained.here / "model")
    trained.seal(elsewhere)
    assert trained.ranked().unranked == ()
    of_bundle(doubled)(trained.there / "bundle")
    of_bundle(doubled)(trained.here / "model")
    trained.seal(elsewhere)
    assert_found(trained, "its weights do not predict its validation.npy")


@pytest.mark.parametrize("what", MODELS)
def test_a_model_that_was_changed_in_the_folder_alone_decides_nothing_and_is_not_reused(
    what, trained, caplog
):
    change, _ = MODELS[what]
    before = trained.ranked()
    change(trained.here / "model")
    after = trained.ranked()
    assert (after.entries, after.unranked) == (before.entries, ())
    assert reuse.whole(trained.here) is None
    assert "was changed after it was written; the run is trained again" in caplog.text


def test_figures_typed_into_records_are_found(trained):
    def typed(record: Values) -> None:
        record["summary"]["best/val/accuracy"] = 0.999

    true = records.read(trained.here).summary["best/val/accuracy"]
    in_json(trained.here / "record.json", typed)  # MLflow has its own
    assert trained.ranked().unranked == ()
    assert reuse.whole(trained.here) is None
    in_json(trained.there / "run.json", typed)
    assert_found(trained, "its run.json was changed after it was written: its checksum does not match")
    trained.seal(typed)
    assert_found(trained, f"its metric best/val/accuracy in MLflow is {true}; in its run.json: 0.999")
    trained.sql("UPDATE latest_metrics SET value = 0.999 WHERE key = 'best/val/accuracy'")
    assert_found(trained, f"its logged accuracy 0.999 differs from that of its predictions, {true:.6g}")


def test_predictions_that_are_too_good_are_found_though_all_figures_agree(trained):
    decision = trained.ranked().decision
    assert decision is not None
    y = decision.val.y
    scores = np.where(y == 1, 3.0, -3.0)
    np.save(trained.there / "validation.npy", scores)
    assert_found(trained, "its validation.npy was changed after it was written")
    figures = {"accuracy": 1.0, "roc_auc": 1.0, "nll": log_loss(y, 1 / (1 + np.exp(-scores)))}

    def typed(record: Values) -> None:
        record["summary"] |= {f"best/val/{name}": value for name, value in figures.items()}

    trained.seal(typed)
    for name, value in figures.items():
        trained.sql(f"UPDATE latest_metrics SET value = {value!r} WHERE key = 'best/val/{name}'")
    assert_found(trained, "its weights do not predict its validation.npy")


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("latest_metrics SET value = 0.999 WHERE key = 'best/val/accuracy'", "its metric best/val/accuracy"),
        ("latest_metrics SET key = 'best/val/more' WHERE key = 'best/val/nll'", "its metric best/val/nll"),
        ("params SET value = '3' WHERE key = 'seed'", "its param seed in MLflow is 3; in its run.json: "),
        ("params SET value = '7' WHERE key = 'n_parameters'", "its param n_parameters in MLflow is 7"),
        (
            "tags SET value = '0' WHERE key = 'sweepgrad.digest.test'",
            "its tag sweepgrad.digest.test in MLflow is 0",
        ),
        (
            "tags SET value = '0' WHERE key = 'sweepgrad.digest.val'",
            "its tag sweepgrad.digest.val in MLflow is 0",
        ),
        (
            "tags SET value = '0' WHERE key = 'sweepgrad.checksum'",
            "its tag sweepgrad.checksum in MLflow is 0",
        ),
        ("tags SET value = 'x' WHERE key = 'sweepgrad.job'", "its tag sweepgrad.job in MLflow is x"),
        (
            "tags SET value = 'not passed' WHERE key = 'sweepgrad.isolation_test'",
            "its tag sweepgrad.isolation_test",
        ),
    ],
)
def test_what_was_changed_in_the_database_is_found(statement, problem, trained):
    trained.sql(f"UPDATE {statement}")
    assert_found(trained, problem)


@pytest.mark.parametrize("name", ["run.json", "validation.npy", "bundle/weights.npz", "bundle"])
def test_a_file_that_is_missing_in_mlflow_is_found(name, trained):
    path = trained.there / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert_found(trained, Path(name).name)


def test_a_store_that_refuses_to_hand_out_a_file_is_not_taken_for_one_without_it(trained, monkeypatch):
    def refuse(*arguments: object) -> Path:
        raise Refused("the MLflow store failed: permission denied")

    monkeypatch.setattr(Store, "download", refuse)
    shutil.rmtree(trained.there)  # so that it is asked for
    with pytest.raises(Refused, match="permission denied"):
        trained.ranked()


@pytest.mark.parametrize("name", ["run.json", "validation.npy", "bundle/weights.npz"])
def test_a_file_that_cannot_be_read_is_named_and_does_not_make_its_run_damaged(name, trained):
    path = trained.there / name
    path.unlink()
    path.mkdir()
    with pytest.raises(
        UserError, match=rf"^{path} of run .* cannot be read: Is a directory\. Make it readable"
    ):
        decide(trained.store, Tables(), trained.runs)


def test_so_is_one_on_a_disk_that_fails_without_saying_why(trained, monkeypatch):
    def fail(*arguments: object) -> bytes:
        raise OSError("the disk")

    monkeypatch.setattr(reading, "read", fail)  # no disk fails here
    with pytest.raises(UserError, match=r"/run\.json of run .* cannot be read: the disk\. Make it readable"):
        trained.ranked()


def test_a_run_without_digests_is_damaged_alone(trained):
    trained.seal(lambda record: record.update(data=None))
    for part in ("table", "train", "val", "test"):
        trained.sql(f"DELETE FROM tags WHERE key = 'sweepgrad.digest.{part}'")
    for key in ("n_parameters", "n_features"):
        trained.sql(f"DELETE FROM params WHERE key = '{key}'")
    assert_found(trained, "no tag sweepgrad.digest.table")


def test_a_run_that_poses_as_another_is_found(trained):
    """Replace all files of the leader by those of the other run, which are intact."""
    (other,) = (path for path in trained.there.parents[1].glob("*/artifacts") if path != trained.there)
    shutil.rmtree(trained.there)
    shutil.copytree(other, trained.there)
    assert_found(trained, "its param seed in MLflow is ")


def test_others_are_chosen_from_if_that_is_wanted_and_the_damaged_run_is_named(trained):
    of_bundle(negated)(trained.there / "bundle")
    result = command("finalize", "--incomplete", "--json")
    assert result.code == 0, result.err
    assert f"({trained.leader}): {trained.there}/bundle/bundle.json was changed" in result.err
    card = json.loads(result.out)
    assert [member["run_id"] for member in card["members"]] != [trained.leader]
    assert (card["n_candidates"], card["n_unfinished"]) == (1, 1)


def test_the_leaderboard_prints_which_runs_it_does_not_rank(trained):
    trained.sql("UPDATE latest_metrics SET value = 0.999 WHERE key = 'best/val/accuracy'")
    result = command("leaderboard", "--json")
    assert result.code == 0
    printed = json.loads(result.out)
    ((unranked),) = printed["unranked"]
    assert unranked["run_id"] == trained.leader
    assert trained.leader in result.err
    assert "2 runs, 1 not ranked" in command("leaderboard").out
    for run in trained.runs:  # and if there is none left
        file = trained.there.parents[1] / run.run_id / "artifacts" / "run.json"
        file.write_text("{}")
    result = command("leaderboard")
    assert result.code == 2
    assert "nothing to rank" in result.err
    assert "its run.json is damaged" in result.err


def test_a_record_that_claims_fewer_validation_rows_is_found(trained):
    for folder in (trained.there, trained.here):
        scores = np.load(folder / "validation.npy")
        np.save(folder / "validation.npy", scores[:-1])

    def shortened(record: Values) -> None:
        record["data"]["n_val"] -= 1

    trained.seal(shortened)
    assert_found(
        trained, f"its validation.npy has {len(scores) - 1} scores for {len(scores)} validation rows"
    )


def test_a_record_without_figures_is_found(trained):
    trained.seal(lambda record: record.update(summary={}))
    for table in ("metrics", "latest_metrics"):
        with closing(sqlite3.connect(Path("runs", "mlflow.db"))) as connection:
            best = "key LIKE 'best/%'"
            connection.execute(f"DELETE FROM {table} WHERE {best} AND run_uuid = '{trained.leader}'")
            connection.commit()
    assert_found(trained, "its record has no accuracy,")


def test_figures_are_those_of_the_kept_scores_by_plain_formulas(trained):
    found = trained.ranked()
    assert found.decision is not None
    y = found.decision.val.y
    for run in found.entries[0].runs:
        (file,) = trained.there.parents[1].glob(f"{run.run_id}/artifacts/validation.npy")
        scores = np.load(file)
        p = 1 / (1 + np.exp(-scores))
        assert scores.shape == y.shape
        assert run.metrics["best/val/accuracy"] == accuracy_score(y, p >= 0.5)
        assert run.metrics["best/val/nll"] == pytest.approx(log_loss(y, p), rel=1e-12)
        assert run.metrics["best/val/roc_auc"] == pytest.approx(roc_auc_score(y, p), rel=1e-12)


def test_a_run_without_scores_is_ranked_by_those_of_its_weights(trained):
    """Make it one of 0.1.0, which has neither validation scores nor a checksum."""
    before = trained.ranked()

    def older(record: Values) -> None:
        del record["files"]["validation.npy"]

    trained.seal(older)
    for file in (trained.there / "run.json", trained.here / "record.json"):
        in_json(file, lambda record: record.pop("checksum"))
    trained.sql("DELETE FROM tags WHERE key = 'sweepgrad.checksum'")
    after = trained.ranked()
    assert after.unranked == ()
    for one, other in zip(before.entries[0].runs, after.entries[0].runs, strict=True):
        assert one.metrics == pytest.approx(other.metrics, rel=1e-12)
    evidence = Evidence(trained.store, Tables())
    leader, *_ = evidence.checked([run for run in trained.runs if run.run_id == trained.leader])
    assert evidence.as_logged == {trained.leader}
    evidence.scores(leader)
    assert evidence.as_logged == set()
    of_bundle(negated)(trained.there / "bundle")
    assert_found(trained, "bundle.json was changed after it was written")


# Systematically: every field of a record, every region of every file

HARMLESS_FIELDS = {
    "digest": "finds runs to reuse, in their folders; it is computed again there",
    "name": "shown",
    "overrides": "shown",
    "started": "shown",
    "ended": "shown",
    "error": "shown",
    "history": "drawn; the metrics of the best epoch are those of the predictions",
    "best_epoch": "shown; the weights are those that predict the validation scores",
    "summary.best/train": "shown",
    "summary.best/epoch": "shown",
    "config.sweep": "decided what was trained",
    "config.tracking": "decided where it was sent",
    "config.select": "the rule of choice, which anyone may declare; the first run's is used",
    "data.source": "shown",
    "data.n_train": "shown; the card counts the table's rows",
    "data.n_test": "shown; the card counts the table's rows",
    "data.features": "shown; the model has its own",
    "data.notices": "shown",
    "environment": "allows for rounding where weights are checked, and shown",
    "stopped": "shown",
    "reused": "shown",
    "continued": "shown",
    "certificate": "shown; whether the isolation test was passed is a tag, which is compared",
    "files.state.npy": "read by `sweepgrad continue` alone, which checks it",
}
"""Fields that may be changed, if the checksum is computed again, without a change in what is decided."""


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield from (found for key, each in inner for found in leaves(each, (*path, key)))
    if not isinstance(value, dict | list):
        yield path


def other_than(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return "x" if value is None else f"{value}x"


def test_every_field_of_a_record_is_found_if_it_is_changed_or_decides_nothing(trained):
    file, store, tables, runs = trained.there / "run.json", trained.store, Tables(), trained.runs
    content = file.read_bytes()
    expected = decide(store, tables, runs)
    val, harmless, found = expected.val.frame, set[str](), set[str]()
    scores = expected.bundle.scores(val)
    for path in leaves(json.loads(content)):
        if path == ("checksum",) or (path[0] == "history" and path[1] != 0):
            continue
        values = json.loads(content)
        inner = values
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = other_than(inner[path[-1]])
        name = ".".join(map(str, path))
        with pytest.raises(ValueError, match=r"."):
            records.parse(json.dumps(values))
        sealed = records.seal(json.dumps(values).encode())
        file.write_bytes(sealed)
        tags = {"sweepgrad.checksum": json.loads(sealed)["checksum"]}
        posing = [replace(run, tags=run.tags | tags) if run.run_id == trained.leader else run for run in runs]
        try:
            decision = decide(store, tables, posing)
        except UserError:
            found.add(name)
            continue
        reason = next((field for field in HARMLESS_FIELDS if name.startswith(field)), None)
        assert reason is not None, f"{name} was changed and not found"
        harmless.add(reason)
        if reason != "config.select":
            assert decision.choice.chosen == expected.choice.chosen
            assert [run.run_id for run in decision.runs] == [run.run_id for run in expected.runs]
            assert decision.bundle.scores(val).tobytes() == scores.tobytes()
            assert decision.bundle.threshold == expected.bundle.threshold
    assert {"status", "job", "n_parameters", "data.n_val", "diagnosis", "files.weights.npz"} <= found
    assert {f"data.digests.{part}" for part in ("table", "train", "val", "test")} <= found
    assert {"config.seed", "summary.best/val/accuracy", "files.validation.npy"} <= found
    assert len(harmless) > 10


HARMLESS_FILES = {
    "config.yaml": "for readers; the configuration is that of the record",
    "certificate.json": "for readers; the record has it too",
    "environment.json": "for readers; the record has it too",
    "state.npy": "read by `sweepgrad continue` alone, which checks it",
}


def test_every_region_of_a_runs_files_is_found_if_it_is_changed_or_decides_nothing(trained):
    store, tables, runs, regions = trained.store, Tables(), trained.runs, 24
    files = [path for path in sorted(trained.there.rglob("*")) if path.is_file()]
    names = {str(path.relative_to(trained.there)) for path in files}
    assert names == {
        "run.json",
        "validation.npy",
        "bundle/bundle.json",
        "bundle/weights.npz",
        *HARMLESS_FILES,
    }
    expected = decide(store, tables, runs)
    for file in files:
        content = file.read_bytes()
        starts = range(0, len(content), max(1, len(content) // regions))
        flipped = [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in starts]
        for each in (content[: len(content) // 2], b"", content + b" ", *flipped):
            file.write_bytes(each)
            if file.name in HARMLESS_FILES:
                continue
            with pytest.raises(UserError, match=trained.leader):
                decide(store, tables, runs)
        if file.name in HARMLESS_FILES:
            assert decide(store, tables, runs).choice.chosen == expected.choice.chosen
        file.write_bytes(content)


# Elsewhere


def test_a_record_that_was_changed_is_not_sent(folder):
    assert command("train", *SMALL).code == 0
    (job,) = Path("runs", "single").iterdir()
    (job / "mlflow.json").unlink()
    in_json(job / "record.json", lambda record: record["summary"].update({"best/val/accuracy": 0.999}))
    result = command("sync")
    assert result.code == 2
    assert f"{job / 'record.json'} was changed after it was written" in result.err


def test_a_logged_model_that_was_changed_is_not_registered(folder):
    assert command("train", *SMALL, "select.calibration=none").code == 0
    (served,) = Path("runs", "mlartifacts", "models").glob("*/artifacts/artifacts/*/bundle.json")
    in_json(served, negated)
    result = command("finalize")
    assert result.code == 2, result
    assert "it was changed after it was logged" in result.err
    ledger_file = Path("runs", ledger.LEDGER)
    assert not ledger_file.exists() or ledger_file.read_text() == ""
    store = Store(f"sqlite:///{folder}/runs/mlflow.db", "sweepgrad")
    assert list(store._client.search_model_versions("")) == []


def test_a_single_run_that_is_damaged_did_finish_and_has_no_others_to_choose_among(folder):
    assert command("train", *SMALL).code == 0
    (kept,) = Path("runs", "mlartifacts").glob("*/artifacts/validation.npy")
    kept.unlink()
    ranked, chosen = command("leaderboard").err, command("finalize").err
    assert "the run is not as it was written, so there is nothing to rank" in ranked
    assert "repeat its command, which trains a new run" in chosen
    assert "did not finish" not in ranked + chosen
    assert "--incomplete" not in chosen


def test_the_one_job_of_a_sweep_that_is_damaged_is_trained_again_by_what_is_advised(folder):
    train = ("train", "-m", *SMALL, "seed=1", "engine.name=numpy")
    assert command(*train).code == 0
    (kept,) = Path("runs", "mlartifacts").glob("*/artifacts/validation.npy")
    kept.unlink()
    refused = command("finalize")
    assert refused.code == 2
    assert "delete the folder of such a run and repeat the command of the sweep" in refused.err
    assert "--incomplete" not in refused.err
    (job,) = (file.parent for file in Path("runs", "sweeps").glob("*/*/record.json"))
    shutil.rmtree(job)
    assert command(*train).code == 0
    done = command("finalize")
    assert done.code == 0, done


def test_a_changed_run_of_one_split_is_evaluated_on_none(folder):
    assert command("train", "-m", *SMALL, "split.seed=1,2", "seed=1,2", "engine.name=numpy").code == 0
    bundle = next(Path("runs", "mlartifacts").glob("*/artifacts/bundle/bundle.json"))
    in_json(bundle, negated)
    result = command("evaluate")
    assert result.code == 2, result
    assert "bundle.json was changed after it was written" in result.err
    assert not Path("runs", ledger.LEDGER).exists()
