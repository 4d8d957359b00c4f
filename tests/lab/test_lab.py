"""`sweepgrad lab`: what it prints, writes, logs and refuses."""

import json

import pytest
from tests.support import command

from sweepgrad.cli.completion import complete
from sweepgrad.lab.configs import titles
from sweepgrad.tracking.store import Store

SMALL = ("rows=60", "epochs=2", "rates=[0.01,1]", "scales=[0.5,3]")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_name_it_lists_the_questions(here):
    result = command("lab")
    assert (result.code, result.err) == (0, "")
    assert [line.split()[0] for line in result.out.splitlines()] == list(titles())
    assert not list(here.iterdir())


def test_an_answer_is_printed_written_and_logged(here):
    result = command("lab", "scale", *SMALL)
    assert result.code == 0
    assert result.out.startswith("scale: What does the scale of the output sigmoid do")
    folder = here / "runs" / "lab" / "scale"
    assert sorted(file.name for file in folder.iterdir()) == ["finding.json", "finding.md", "scale.svg"]
    assert (folder / "finding.md").read_text() in result.out + "\n"
    store = Store(f"sqlite:///{here}/runs/mlflow.db", "sweepgrad-lab")
    (logged,) = store._search("tags.`sweepgrad.kind` = 'answer'")
    assert (logged.name, logged.status, logged.tags["sweepgrad.holds"]) == ("scale", "FINISHED", "true")
    assert logged.params["rows"] == "60"
    found = json.loads((folder / "finding.json").read_text())
    assert logged.metrics == pytest.approx(found["numbers"])
    assert {file.path for file in store._client.list_artifacts(logged.run_id)} == {
        "finding.json",
        "finding.md",
        "scale.svg",
    }


def test_answers_are_no_runs_to_choose_from(here):
    command("lab", "scale", *SMALL)
    result = command("leaderboard", "--experiment", "sweepgrad-lab")
    assert result.code == 2
    assert "has no runs" in result.err


def test_json_is_for_programs():
    printed = json.loads(command("lab", "scale", *SMALL, "--json").out)
    assert printed["name"] == "scale"
    assert printed["holds"] is True
    assert printed["numbers"]["pairs/same_bits"] == 5


def test_a_claim_that_does_not_hold_gives_exit_code_1():
    result = command("lab", "sgd", "rows=40", "steps=20", "seeds=5", "rates=[3.0,0.25]")
    assert result.code == 1
    assert "- ✗ At α = 3/K" in result.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("skale",), "Did you mean scale?"),
        (("all", "rows=60"), "rows=60: settings need one experiment, not all"),
        (("scale", "rows=three"), "rows: 'three' should be a valid integer [from rows=three]"),
        (("scale", "--uri", "ftp://x"), "--uri: 'ftp://x' is not an MLflow store"),
        (("spotify", "models=[wid]"), "Did you mean wide?"),
        (("scale", "--uri", "http://127.0.0.1:9"), "127.0.0.1:9"),
        (("bias_variance", "widths=[4,2]"), "widths: should ascend, not [4, 2] [from widths=[4,2]]"),
    ],
)
def test_mistakes_are_reported_and_nothing_is_done(arguments, problem, here):
    result = command("lab", *arguments)
    assert (result.code, result.out) == (2, "")
    assert problem in result.err
    assert not (here / "runs" / "lab").exists()


def test_a_question_is_no_experiment_to_train():
    result = command("train", "experiment=lab/scale")
    assert result.code == 2
    assert "lab/scale is a question of the lab. Run sweepgrad lab scale" in result.err


def test_names_and_keys_are_completed():
    assert complete("sweepgrad lab s") == ["sgd ", "spotify ", "scale "]
    assert complete("sweepgrad lab scale no") == ["noise="]
    assert "all " in complete("sweepgrad lab ")
    assert "--json " in complete("sweepgrad lab scale --")


def test_an_answer_that_cannot_be_written_is_reported(here):
    (here / "runs").mkdir()
    (here / "runs" / "lab").write_text("in the way")
    result = command("lab", "scale", *SMALL)
    assert result.code == 2
    assert "runs/lab" in result.err
    assert "the answer cannot be written" in result.err
