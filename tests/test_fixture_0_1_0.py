"""What version 0.1.0 left on disk, read by this version: nothing of it is lost, and no row is unseen again.

`tests/fixtures/0.1.0/README.md` says what is in that folder and how it was made.
"""

import importlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.support import command

from sweepgrad.config import old_names
from sweepgrad.training.bundle import Bundle

LEFT = Path(__file__).parent / "fixtures" / "0.1.0"
HOME = "/home/user/project"  # where it was made; its files and its store name that folder

JUDGED = "sweep-2026-11-28-052535-2069"
TURNS = "sweep-2026-11-28-052546-df48"
SINGLE = Path("runs", "single", "2026-11-28_05-25-55_488983")
SINGLE_ID = "0916fcd4ef6541f0b7d36da3190c2f22"  # the same in MLflow

TABLE = ("data=csv", "data.path=customers.csv", "data.target=left", "data.positive=yes")
SAME_ROWS = (*TABLE, "data.group=household")
STORE = Path("runs", "mlflow.db")
LEDGER, LEDGER_OF_TODAY = Path("runs", "openings.jsonl"), Path("runs", "test_evaluations.jsonl")


@pytest.fixture
def left(tmp_path: Path, monkeypatch) -> Path:
    """A copy of the folder, as if it had been made there, as the current one."""
    folder = tmp_path / "project"
    shutil.copytree(LEFT, folder)
    for path in folder.rglob("*"):
        if path.is_file():
            _move(path, str(folder))
    monkeypatch.chdir(folder)
    return folder


def _move(path: Path, to: str) -> None:
    """Name the new place in a file that names the old one."""
    if path.suffix == ".db":
        with closing(sqlite3.connect(path)) as connection, connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                for _, column, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                    connection.execute(
                        f'UPDATE {table} SET "{column}" = replace("{column}", ?, ?)'
                        f' WHERE typeof("{column}") = \'text\' AND instr("{column}", ?)',
                        (HOME, to, HOME),
                    )
    elif path.suffix not in (".npy", ".npz", ".png"):
        text = path.read_text(encoding="utf-8")
        if HOME in text:
            path.write_text(text.replace(HOME, to), encoding="utf-8")


def said(*arguments: str) -> str:
    """What a command line that succeeds prints."""
    result = command(*arguments)
    assert result.code == 0, result
    return result.out


RENAMED = {
    "flattery": "optimism",
    "opening": "evaluated",
    "earlier_openings": "earlier_evaluations",
    "interrupted_openings": "interrupted_evaluations",
    "turns": "outer_folds",
}
"""Keys of cards and evaluations, as 0.1.0 called them and as they are called now."""


def expected(name: str) -> Any:
    """Return what 0.1.0 printed, under today's keys."""
    text = Path("expected", name).read_text(encoding="utf-8").replace("split.turn=", "split.outer_fold=")
    return json.loads(text, object_hook=lambda found: {RENAMED.get(key, key): found[key] for key in found})


def apart(found: object, then: object, where: str = "") -> Iterator[str]:
    """Name the places where what was said then is not said now, beyond rounding; what is new is welcome."""
    if isinstance(then, dict) and isinstance(found, dict):
        for key, value in then.items():
            if key in found:
                yield from apart(found[key], value, f"{where}.{key}")
            else:
                yield f"{where}.{key} is gone"
    elif isinstance(then, list) and isinstance(found, list) and len(then) == len(found):
        for place, (one, other) in enumerate(zip(found, then, strict=True)):
            yield from apart(one, other, f"{where}[{place}]")
    elif isinstance(then, float) and isinstance(found, float | int):
        if found != pytest.approx(then, rel=1e-9, abs=1e-12):
            yield f"{where} is {found!r}, and was {then!r}"
    elif found != then:
        yield f"{where} is {found!r}, and was {then!r}"


def opened() -> tuple[str, int]:
    """What is known of test rows that were read: the ledger, and how many runs the store has, or had."""
    with closing(sqlite3.connect(STORE)) as connection:
        ((runs,),) = connection.execute("SELECT count(*) FROM runs").fetchall()
    ledgers = [file.read_text(encoding="utf-8") for file in (LEDGER, LEDGER_OF_TODAY) if file.exists()]
    return "".join(ledgers), runs


def put(file: Path, code: str) -> None:
    """Write into a run's record that other code trained it."""
    record = json.loads(file.read_text(encoding="utf-8"))
    record["environment"]["code"] = code
    file.write_text(json.dumps(record, indent=1), encoding="utf-8")


# Reading


def test_the_leaderboard_is_that_of_then(left):
    found = json.loads(said("leaderboard", JUDGED, "--json"))
    assert list(apart(found, expected("leaderboard.json"))) == []


@pytest.mark.parametrize("number", [1, 2])
def test_bundles_of_both_formats_predict_what_they_did(number):
    folder = LEFT / f"bundle-format-{number}"
    assert json.loads((folder / "bundle.json").read_text())["format"] == number
    then = json.loads((folder / "expected.json").read_text())
    found = Bundle.load(folder).predict(pd.read_csv(LEFT / "customers.csv").head(20))
    np.testing.assert_allclose(found["probability"], then["probability"], rtol=1e-12, atol=0)
    assert found["prediction"].tolist() == then["prediction"]


def test_models_that_mlflow_keeps_find_their_class():
    """Where sweepgrad is imported already, the file that 0.1.0 logged with a model takes it from there."""
    (logged,) = {path.read_text() for path in LEFT.glob("runs/mlartifacts/models/*/artifacts/pyfunc.py")}
    (line,) = [line for line in logged.splitlines() if line.startswith("from sweepgrad")]
    assert line == "from sweepgrad.bundle import Bundle"
    assert importlib.import_module("sweepgrad.bundle").Bundle is Bundle


@pytest.mark.parametrize("trained_by", ["0.1.0", "other code"])
@pytest.mark.parametrize(("which", "runs"), [(JUDGED, 4), (TURNS, 6), (SINGLE_ID, 1), (str(SINGLE), 1)])
def test_runs_are_verified(which, runs, trained_by, left):
    if trained_by != "0.1.0":
        for name in ("record.json", "run.json"):
            for file in left.glob(f"runs/**/{name}"):
                put(file, "0" * 64)
    found = json.loads(said("verify", which, "--json"))
    assert len(found["runs"]) == runs
    assert found["differ"] == 0
    assert found["bit_equal"] + found["equal_to_rounding"] == runs
    assert {run["epochs"] for run in found["runs"]} == {5}
    if trained_by != "0.1.0":
        assert all("code" in " ".join(run["environment"]) for run in found["runs"])


# Test rows that were opened


@pytest.mark.parametrize("lost", ["nothing", "the card"])
def test_what_was_finalized_shows_its_card_and_opens_nothing(lost, left):
    if lost == "the card":
        shutil.rmtree(left / "runs" / "cards")
    before = opened()
    result = command("finalize", JUDGED, "--json")
    assert result.code == 0, result
    card = json.loads(result.out)
    assert f"the test set was evaluated before, on {card['evaluated']}" in result.err
    then = expected("finalize.json")
    verdicts = card.pop("verdict"), then.pop("verdict")  # today's words on the figures of then
    assert all(verdict.startswith("Not good enough to deploy: ") for verdict in verdicts)
    assert all(figure in verdict for verdict in verdicts for figure in ("57.4%", "65.6%", "(p = 0.10)"))
    assert list(apart(card, then)) == []
    kept = json.loads(Path("runs", "cards", JUDGED, "card.json").read_text(encoding="utf-8"))
    assert kept == json.loads(Path("expected", "card.json").read_text(encoding="utf-8"))  # as it was written
    assert opened() == before


@pytest.mark.parametrize("lost", ["nothing", "the files"])
def test_what_was_evaluated_shows_its_figures_and_opens_nothing(lost, left):
    if lost == "the files":
        shutil.rmtree(left / "runs" / "evaluations")
    before = opened()
    result = command("evaluate", TURNS, "--json")
    assert result.code == 0, result
    assert "the test sets were evaluated before" in result.err
    assert list(apart(json.loads(result.out), expected("evaluate.json"))) == []
    assert opened() == before


@pytest.mark.parametrize("lost", ["nothing", "the ledger", "the store"])
def test_a_new_sweep_on_the_same_rows_is_not_judged(lost, left, empty_store):
    (first, *_) = map(json.loads, LEDGER.read_text(encoding="utf-8").splitlines())
    assert first["sweep"] == JUDGED
    if lost == "the ledger":
        LEDGER.unlink()
    if lost == "the store":
        shutil.rmtree(left / "runs" / "mlartifacts")
        shutil.copy(empty_store, STORE)
    said("train", "--multirun", *SAME_ROWS, "model=linear", "seed=5,6", "train.epochs=2")
    before = opened()
    result = command("finalize")
    assert (result.code, result.out) == (2, ""), result
    assert f"{first['when']} by user on workstation" in result.err
    assert f"{first['run_id']} of {JUDGED}" in result.err
    assert opened() == before
    assert [path.name for path in Path("runs", "cards").iterdir() if any(path.iterdir())] == [JUDGED]


def test_rows_that_nobody_saw_are_judged(left):
    said("train", "--multirun", *SAME_ROWS, "model=linear", "seed=5,6", "train.epochs=2", "split.seed=7")
    before, runs = opened()
    card = json.loads(said("finalize", "--json"))
    assert card["earlier_evaluations"] == []
    assert card["earlier_of_table"] == 4
    after, now = opened()
    assert after.startswith(before)
    assert len(after.splitlines()) == 5
    assert now == runs + 1


# Going on


def test_a_run_goes_on_from_its_state_as_if_straight_through(left):
    settings = ("model=wide", "seed=3", "optimizer.lr=0.03", "train.diagnose=true")

    def trained(*arguments: str) -> Path:
        before = set(SINGLE.parent.iterdir())
        said(*arguments)
        (made,) = set(SINGLE.parent.iterdir()) - before
        return made / "record.json"

    straight = json.loads(trained("train", *SAME_ROWS, *settings, "train.epochs=8").read_text())
    put(SINGLE / "record.json", straight["environment"]["code"])  # else other code is refused, rightly
    further = json.loads(trained("continue", str(SINGLE), "train.epochs=8").read_text())
    then = json.loads((SINGLE / "record.json").read_text())
    assert further["continued"] == then["job"]
    assert further["history"][:5] == [old_names.epoch(epoch) for epoch in then["history"]]
    assert len(further["history"]) == 8
    for found, other in zip(further["history"], straight["history"], strict=True):
        for name in ("train_nll", "val_nll"):
            assert found[name] == pytest.approx(other[name], rel=1e-6)
        keys = then["history"][0]["signs"].keys()
        assert found["layer_statistics"].keys() == other["layer_statistics"].keys() == keys
