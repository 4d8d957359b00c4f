"""`sweepgrad lab`: what it prints, writes, logs and refuses."""

import json
from pathlib import Path

import pytest
from tests.extensions.course.my_course import batch
from tests.support import command

from sweepgrad.cli.completion import complete
from sweepgrad.lab.configs import QUESTIONS, titles
from sweepgrad.tracking.store import Store

CONF = str(Path(batch.__file__).with_name("conf"))
ASK = ("lab", "batch", "draws=200", "sizes=[2,8]", "--config-dir", CONF)
"""Ask a question of the folder of an extension, which is answered in a moment."""
FILES = ["batch-dark.svg", "batch.svg", "finding.json", "finding.md"]


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.setitem(QUESTIONS._entries, "batch", batch.__name__)
    return folder


def test_without_a_name_it_lists_the_questions_with_their_numbers(here):
    result = command("lab")
    assert (result.code, result.err) == (0, "")
    lines = [line.split(maxsplit=2) for line in result.out.splitlines()]
    assert lines == [[name, title.number, title.text] for name, title in titles().items()]
    assert all(number[0] in "12345" for _, number, _ in lines)
    assert [file.name for file in here.iterdir()] == ["runs"]


def test_an_answer_is_printed_written_and_logged(here):
    result = command(*ASK)
    assert result.code == 0
    assert result.out.startswith("batch: By how much does a larger batch")
    assert "✓ The variance of a batch's gradient is σ² / B.\n    largest deviation" in result.out
    answer = here / "runs" / "lab" / "batch"
    assert sorted(file.name for file in answer.iterdir()) == FILES
    assert (answer / "finding.md").read_text().startswith("|  | claim | measured |\n")
    store = Store(f"sqlite:///{here}/runs/mlflow.db", "sweepgrad-lab")
    (logged,) = store._search("tags.`sweepgrad.kind` = 'answer'")
    assert (logged.name, logged.status, logged.tags["sweepgrad.holds"]) == ("batch", "FINISHED", "true")
    assert logged.params["draws"] == "200"
    found = json.loads((answer / "finding.json").read_text())
    assert logged.metrics == pytest.approx(found["numbers"])
    assert sorted(file.path for file in store._client.list_artifacts(logged.run_id)) == FILES


def test_answers_are_no_runs_to_choose_from(here):
    command(*ASK)
    result = command("leaderboard", "--experiment", "sweepgrad-lab")
    assert result.code == 2
    assert "has no runs" in result.err


def test_json_is_for_programs():
    printed = json.loads(command(*ASK, "--json").out)
    names = ("name", "number", "question", "folder", "run", "holds", "claims", "notes", "numbers")
    assert tuple(printed) == names
    assert (printed["name"], printed["number"], printed["holds"]) == ("batch", "1(iii)", True)
    (claim,) = printed["claims"]
    assert list(claim) == ["name", "text", "measured", "holds"]
    assert (claim["name"], claim["holds"]) == ("noise by batch size", True)


def test_options_may_stand_before_and_after_settings():
    first = ("lab", "batch", "--json", "--config-dir", CONF, "draws=200", "sizes=[2,8]")
    between = ("lab", "--config-dir", CONF, "batch", "draws=200", "--json", "sizes=[2,8]")
    found = [json.loads(command(*words).out) for words in (first, between, (*ASK, "--json"))]
    assert len({str(each["claims"]) for each in found}) == 1


def test_a_name_is_printed_once_its_settings_are_valid():
    assert command(*ASK).err.startswith("batch …\n")
    assert "batch …" not in command(*ASK, "draws=0").err


def test_a_claim_that_does_not_hold_gives_exit_code_1(monkeypatch):
    right = batch.variance
    monkeypatch.setattr(
        batch, "variance", lambda gradients, size, settings: 2 * right(gradients, size, settings)
    )
    result = command(*ASK)
    assert result.code == 1
    assert "✗ The variance of a batch's gradient is σ² / B." in result.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("skale",), "Did you mean scale?"),
        (("all", "rows=60"), "rows=60: settings need one experiment, not all"),
        (("scale", "rows=three"), "rows: 'three' should be a valid integer [from rows=three]"),
        (("scale", "rows=three", "--uri", "http://127.0.0.1:9"), "rows: 'three' should be a valid integer"),
        (("scale", "--uri", "ftp://x"), "--uri: 'ftp://x' is not an MLflow store"),
        (("spotify", "models=[wid]"), "Did you mean wide?"),
        (
            ("backprop", "rows=10000"),
            "rows: 10000 is more than the 600 training rows of the table; lower it",
        ),
        (("backprop", 'expression="relu(a)"', 'at="a=0"'), "a = 0, and relu(a) has no derivative at 0"),
        (("backprop", 'expression="relu(a)"', 'at="a=0.0001"'), "within the step of the differences"),
        (
            ("backprop", 'expression="exp(a)"', 'at="a=1000"'),
            "exp(a): a = 1000: the result is too large a number",
        ),
        (("backprop", 'expression="(a - 1) ** 0.5"', 'at="a=1"'), "a gradient does not exist"),
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
    (here / "runs" / "lab").write_text("in the way")
    result = command(*ASK)
    assert result.code == 2
    assert "runs/lab" in result.err
    assert "the answer cannot be written" in result.err
