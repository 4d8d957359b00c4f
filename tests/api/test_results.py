"""Results in Python: leaderboards, cards, evaluations and models equal those of the command line."""

import io
import json
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.support import SMALL, command

import sweepgrad as sg
from sweepgrad.runs import record as records
from sweepgrad.selection import card as cards
from sweepgrad.selection.finalize import CARD_DIGEST

GRID = ("model=wide,linear", "seed=1,2")


@pytest.fixture(scope="module")
def done(tmp_path_factory, empty_store) -> Any:
    """Train and finalize a sweep from Python, then show its card by the command line."""
    from contextlib import chdir

    folder = tmp_path_factory.mktemp("results")
    (folder / "runs").mkdir()
    shutil.copy(empty_store, folder / "runs" / "mlflow.db")
    with chdir(folder):
        sweep = sg.sweep([*SMALL, *GRID, "tracking.uri=sqlite:///runs/mlflow.db"])
        board = sweep.leaderboard()
        card = sg.finalize(sweep)
        yield folder, sweep, board, card, command("finalize", "--json")


# Leaderboards


def test_the_leaderboard_has_the_columns_and_rows_of_the_csv(done) -> None:
    _, sweep, board, _, _ = done
    csv = pd.read_csv(io.StringIO(command("leaderboard", "--csv").out)).set_index("rank")
    assert board.columns.tolist() == csv.columns.tolist()
    assert board.index.tolist() == [1, 2]
    for name in ("val/accuracy", "val/nll", "by_rows/low", "behind_leader", "runs", "n_parameters"):
        assert pd.api.types.is_numeric_dtype(board[name]), name
        np.testing.assert_array_equal(board[name].astype(float), csv[name])
    assert board["chosen"].tolist() == [True, False]
    assert sweep.leaderboard().equals(board)


def test_a_swept_number_is_a_number_and_a_swept_null_is_missing(folder):
    board = sg.sweep(
        [*SMALL, "optimizer=sgd,momentum", "optimizer.lr=0.1,0.5", "train.clip=null,1.0"]
    ).leaderboard()
    assert sorted(set(board["optimizer.lr"])) == [0.1, 0.5]
    assert board["train.clip"].isna().sum() == 4
    assert board["optimizer.momentum"].dropna().unique().tolist() == [0.9]


# Loading


def test_a_sweep_is_loaded_by_name_by_id_by_a_beginning_and_as_the_latest(done) -> None:
    _, sweep, *_ = done
    for which in (None, sweep.name, sweep.name[:-2], sweep.id, sweep.id[:8]):
        found = sg.load_sweep(which)
        assert (found.name, found.id, found.folder) == (sweep.name, sweep.id, sweep.folder)
        assert (len(found.runs), found.n_jobs) == (4, 4)
    for run in found.runs:
        (same,) = (other for other in sweep.runs if other.id == run.id)
        assert run.history.equals(same.history)
        assert (run.metrics, run.config, run.status) == (same.metrics, same.config, same.status)
        assert run.folder == same.folder
    store = sg.Store("sqlite:///runs/mlflow.db", "sweepgrad")
    assert sg.load_sweep(store=store).name == sweep.name
    with pytest.raises(sg.UserError, match="nix"):
        sg.load_sweep("nix")


def test_without_a_store_there_is_nothing_to_load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for function in (sg.load_sweep, sg.finalize, sg.evaluate):
        with pytest.raises(sg.UserError, match=r"there is no MLflow store at .*: train something first"):
            function()
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://x")
    with pytest.raises(sg.UserError, match="MLFLOW_TRACKING_URI"):
        sg.load_sweep()


# Cards


def test_the_card_by_python_is_the_card_that_the_command_line_shows(done) -> None:
    _, sweep, _, card, shown = done
    assert json.loads(json.dumps(card.to_json())) == json.loads(shown.out)
    assert f"the test set was evaluated before, on {card.evaluated}" in shown.err
    assert card.evaluated_now
    assert (card.folder / "card.md").exists()
    again = sg.finalize(sweep.name)
    assert not again.evaluated_now
    assert again == card


def test_a_card_by_the_command_line_has_the_same_content(done, folder) -> None:
    assert command("train", "-m", *SMALL, *GRID).code == 0
    both = [json.loads(command("finalize", "--json").out), json.loads(json.dumps(done[3].to_json()))]
    for card in both:
        for key in ("sweep", "run_id", "registered", "evaluated", "members", "store_uri"):
            del card[key]
        del card["model"]["run_id"]
    assert both[0] == both[1]


def test_a_run_is_finalized_and_a_test_set_is_evaluated_once(folder):
    run = sg.train(SMALL)
    loaded = sg.load_sweep()
    assert loaded.folder == loaded.runs[0].folder == run.folder
    card = sg.finalize(run)
    assert card.run_id == run.id
    other = sg.train([*SMALL, "seed=5"])
    with pytest.raises(sg.UserError, match="the test set of simulated was evaluated once before") as error:
        sg.finalize(other)
    assert "again=True" in str(error.value)
    assert not Path("runs", "cards", other.name).exists()
    assert len(sg.finalize(other, again=True).earlier_evaluations) == 1


def test_a_refused_finalize_leaves_no_folder(folder):
    found = sg.sweep([*SMALL, "split.seed=1,2"])
    with pytest.raises(sg.UserError, match="cannot be compared"):
        sg.finalize(found)
    assert not Path("runs", "cards").exists()


def test_an_evaluation_over_splits(folder):
    found = sg.sweep([*SMALL, "split.seed=1,2,3"])
    first = sg.evaluate(found)
    assert (first.n_evaluated, len(first.splits)) == (3, 3)
    assert json.loads(json.dumps(first.to_json())) == json.loads(command("evaluate", "--json").out)
    assert sg.evaluate(found).n_evaluated == 0
    assert (first.folder / "evaluation.md").exists()
    assert "3 splits" in repr(first)
    assert "<script" not in first._repr_html_()


# Models


def test_a_model_is_loaded_from_everything_that_has_one(done) -> None:
    _, sweep, _, card, _ = done
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=["x1", "x2"])
    expected = sg.load_model(card).predict(X)
    uri = "models:/sweepgrad-simulated@chosen"
    for source in (sweep, sg.load_sweep(), card.folder, str(card.folder), uri, sg.finalize(sweep)):
        pd.testing.assert_frame_equal(sg.load_model(source).predict(X), expected)
    run = sweep.runs[0]
    own = run.model().predict(X)
    for source in (run, run.folder, run.folder / "model", sg.load_sweep().runs[0]):
        if isinstance(source, sg.Run) and source.id != run.id:
            continue
        pd.testing.assert_frame_equal(sg.load_model(source).predict(X), own)


def test_a_sweep_has_a_model_when_it_was_finalized(folder):
    found = sg.sweep([*SMALL, *GRID])
    with pytest.raises(sg.UserError, match=r"was not finalized: sweepgrad\.finalize chooses its model"):
        sg.load_model(found)
    card = sg.finalize(found)
    X = pd.DataFrame({"x1": [0.0, 1.0, 2.0], "x2": [0.5, -1.0, 0.0]})
    pd.testing.assert_frame_equal(sg.load_model(found).predict(X), sg.load_model(card).predict(X))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "nowhere: there is no such folder"),
        (".", "no readable model"),
        ("models:/nix@chosen", "nix"),
        (3, "cannot load a model from int"),
    ],
)
def test_what_has_no_model_is_refused(source, message, folder):
    with pytest.raises(sg.UserError) as error:
        sg.load_model(source)
    assert message in str(error.value)


@contextmanager
def without_digest(card: sg.Card) -> Iterator[None]:
    """Have the store of a card as an older version left it, which stored no digests of cards."""
    assert card.store is not None
    sweep, client = card.store.sweep(card.sweep), card.store._client
    client.delete_tag(sweep.run_id, CARD_DIGEST)
    yield
    client.set_tag(sweep.run_id, CARD_DIGEST, sweep.tags[CARD_DIGEST])


def test_the_model_of_a_card_is_in_the_store_of_the_card(done, folder):
    _, _, _, card, _ = done
    X = pd.DataFrame({"x1": [0.0, 1.0], "x2": [0.5, -1.0]})
    expected = sg.load_model(card).predict(X)
    other = sg.finalize(sg.sweep([*SMALL, "model=deep", "seed=7,8"]))
    assert other.registered == card.registered
    assert not sg.load_model(other).predict(X).equals(expected)
    pd.testing.assert_frame_equal(sg.load_model(card.folder).predict(X), expected)
    for source in (card, card.folder):
        with pytest.raises(sg.UserError, match=r"sweepgrad-simulated/1 in .* is not the model of this card"):
            sg.load_model(source, store=other.store)
    old = json.loads((card.folder / "card.json").read_text())
    del old["store_uri"], old["checksum"]
    Path("old").mkdir()
    Path("old", "card.json").write_text(json.dumps(old))
    with pytest.raises(sg.UserError, match="is not the model of this card"):
        sg.load_model("old")
    with pytest.raises(
        sg.UserError, match=r"old/card\.json was changed .*: its checksum was removed\. Restore"
    ):
        sg.load_model("old", store=card.store)
    with without_digest(card):
        pd.testing.assert_frame_equal(sg.load_model("old", store=card.store).predict(X), expected)


def test_a_model_that_was_changed_after_training_is_checked_by_its_sweep(folder):
    found = sg.sweep([*SMALL, "seed=1,2", "select.threshold=f1"])
    card = sg.finalize(found)
    assert card.decisions.threshold != 0.5
    assert card.store is not None
    assert card.store.source_run(card.registered) == found.id
    assert sg.load_model(card.folder).threshold == card.decisions.threshold
    (other,) = (run.id for run in found.runs if run.id != card.run_id)
    kept = json.loads((card.folder / "card.json").read_text())
    kept["members"][0]["run_id"] = other
    (card.folder / "card.json").write_text(json.dumps(kept))
    with pytest.raises(sg.UserError, match=r"card\.json was changed after it was written"):
        sg.load_model(card.folder)
    del kept["checksum"]  # as in a card of an older version
    (card.folder / "card.json").write_text(json.dumps(kept))
    with pytest.raises(sg.UserError, match="is not the model of this card"):
        sg.load_model(card.folder)
    kept["members"][0]["run_id"] = card.run_id
    (card.folder / "card.json").write_text(json.dumps(kept))
    with pytest.raises(sg.UserError, match="its checksum was removed"):
        sg.load_model(card.folder)
    with without_digest(card):
        assert sg.load_model(card.folder).threshold == card.decisions.threshold


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        "{}",
        '{"registered": 3, "members": [{"run_id": "a"}]}',
        '{"registered": "a/1", "members": []}',
        '{"registered": "a/1", "members": [3]}',
        '{"registered": "a/1", "members": 3}',
    ],
)
def test_a_damaged_card_has_no_model(content, tmp_path):
    (tmp_path / "card.json").write_text(content)
    with pytest.raises(sg.UserError, match=r"card\.json is damaged"):
        sg.load_model(tmp_path)


# Wrong arguments


@pytest.mark.parametrize("function", [sg.finalize, sg.evaluate, sg.load_sweep])
@pytest.mark.parametrize("source", [3, Path("runs"), ["a"]])
def test_what_is_no_sweep_is_refused(function, source):
    with pytest.raises(sg.UserError, match=f"not {type(source).__name__}$"):
        function(source)


def test_a_card_and_a_run_of_a_sweep_are_no_sweep(done):
    _, sweep, _, card, _ = done
    for run in (sweep.runs[0], sg.load_sweep().runs[0]):
        with pytest.raises(sg.UserError, match=f"is one of sweep {sweep.name}: pass the sweep"):
            sg.finalize(run)
    with pytest.raises(sg.UserError, match="not Card"):
        sg.finalize(card)


@pytest.mark.parametrize("function", [sg.finalize, sg.evaluate, sg.load_model])
def test_a_store_that_contradicts_a_sweep_or_a_run_is_refused(function, folder):
    run = sg.train(SMALL)
    other = sg.Store("sqlite:///runs/mlflow.db", "other")
    for source in (run, sg.load_sweep()):
        with pytest.raises(
            sg.UserError, match=r"store: .* is in experiment 'sweepgrad' of .*, not in 'other'"
        ):
            function(source, store=other)
        with pytest.raises(sg.UserError, match=r"store: must be a sweepgrad\.Store, not str"):
            function(source, store="sqlite:///runs/mlflow.db")


# What notebooks show


def test_results_are_shown_in_words_and_as_escaped_html(done):
    _, sweep, _, card, _ = done
    run = sweep.runs[0]
    assert repr(run).startswith("Run('wide seed=1', FINISHED, val accuracy=")
    assert repr(sweep) == f"Sweep('{sweep.name}', 4 of 4 runs finished)"
    assert repr(card).startswith(f"Card('{sweep.name}', test accuracy ")
    report = sg.check(SMALL)
    assert repr(report) == "CheckReport('simulated', no problems found)"
    assert "simulated: 200 rows" in str(report)
    for shown in (run, sweep, card, report):
        assert shown._repr_html_().startswith("<div><strong>")
    assert str(sweep.runs[0].metrics["best/val/accuracy"])[:4] in sweep._repr_html_()


def test_results_can_be_pickled(done):
    _, sweep, *_ = done
    for found in (sweep, sg.load_sweep()):
        same = pickle.loads(pickle.dumps(found))
        assert (same.id, same.unsent) == (found.id, 0)
        assert same.leaderboard().equals(found.leaderboard())
        run, other = same.runs[0], found.runs[0]
        assert run.history.equals(other.history)
        X = pd.DataFrame({"x1": [0.0, 1.0], "x2": [0.5, -1.0]})
        assert run.model().predict(X).equals(other.model().predict(X))


def test_a_run_that_failed_has_as_many_cells_as_the_others(folder):
    found = sg.sweep([*SMALL, "optimizer=sgd", "optimizer.lr=0.1,1e300"])
    head, *rows = found._repr_html_().split("<tr>")[1:]
    assert [row.count("<td") for row in rows] == [head.count("<th>")] * 2


def test_html_is_escaped(done):
    _, sweep, _, card, _ = done
    evil = "<script>alert(1)</script>"
    values = {each.name: getattr(card, each.name) for each in fields(cards.Card)}
    shown: list[Any] = [
        sg.Card(**{**values, "sweep": evil, "notices": (evil,), "registered": evil}, folder=Path(evil)),
        sg.Run(evil, evil, evil, Path(evil), lambda: records.read(sweep.runs[0].folder), sweep.runs[0].model),
        sg.Sweep(
            evil, None, [sg.Run(evil, None, evil, None, sweep.runs[0]._read, sweep.runs[0].model)], 1, "", ""
        ),
    ]
    for each in shown:
        assert "<script" not in each._repr_html_()
        assert "&lt;script&gt;" in each._repr_html_()
        assert evil in repr(each)


def test_a_run_folder_with_the_weights_of_another_run_is_refused(done, tmp_path) -> None:
    one, other = (run.folder for run in done[1].runs[:2])
    mine = shutil.copytree(one, tmp_path / "mine")
    sg.load_model(mine)
    shutil.copy(other / "model" / "weights.npz", mine / "model")
    with pytest.raises(sg.UserError, match=r"weights\.npz was changed after it was written: restore it"):
        sg.load_model(mine)
