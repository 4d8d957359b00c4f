"""Questions of the lab, asked from Python: the same answers as on the command line."""

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest
from tests.support import command

import sweepgrad as sg
from sweepgrad.drawing.style import Theme
from sweepgrad.lab.configs import QUESTIONS
from sweepgrad.lab.finding import Claim, Finding

CONF = Path(__file__).parents[1] / "extensions" / "course" / "my_course" / "conf"
SMALL = ("draws=100", "sizes=[2,8]")


@pytest.fixture(autouse=True)
def _question(monkeypatch) -> None:
    monkeypatch.setitem(QUESTIONS._entries, "batch", "tests.extensions.course.my_course.batch")


def ask(*overrides: str, **others: object) -> sg.Answer:
    return sg.ask("batch", *SMALL, *overrides, config_dir=CONF, **others)  # type: ignore[arg-type]


def test_an_answer_is_that_of_the_command_line(folder):
    answer = ask("seed=1")
    assert answer.holds
    assert answer.folder == folder / "runs" / "lab" / "batch"
    printed = json.loads(command("lab", "batch", *SMALL, "seed=1", "--config-dir", str(CONF), "--json").out)
    assert {**printed, "run": answer.run_id} == answer.to_json()
    assert [*printed["claims"][0]] == ["name", "text", "measured", "holds"]
    assert printed["number"] == "1(iii)"
    runs = sg.Store("sqlite:///runs/mlflow.db", "sweepgrad-lab")._search("tags.`sweepgrad.kind` = 'answer'")
    assert {run.run_id for run in runs} == {printed["run"], answer.run_id}
    assert all(run.params["seed"] == "1" and run.tags["sweepgrad.holds"] == "true" for run in runs)


def test_it_is_shown_as_text_and_as_html_with_its_pictures(folder):
    answer = ask()
    assert repr(answer) == "Answer('batch', 1 of 1 claim holds)"
    html = answer._repr_html_()
    assert "1(iii) By how much" in html
    assert [
        word in html for word in ("noise of the gradient?", "✓", "σ² / B", "runs/lab/batch", answer.run_id)
    ]
    assert len(re.findall(r"<img alt='batch' src='data:image/svg\+xml;base64,", html)) == 1
    shutil.rmtree(answer.folder)
    assert "batch.svg: No such file or directory" in answer._repr_html_()


def test_text_is_escaped_and_formulas_are_left_to_the_notebook(folder, monkeypatch):
    def evil(settings: object, lab: object) -> Finding:
        claim = Claim("one", r"<b>x</b> $\lvert a_i \rvert < 1$ & `Value`", "a|b", False)
        return Finding((claim,), {}, ("<script>1</script>",), ("<i>note</i>",), {"<x>": draw})

    def draw(theme: Theme) -> str:
        return "<svg xmlns='http://www.w3.org/2000/svg'/>"

    from tests.extensions.course.my_course import batch

    monkeypatch.setattr(batch, "answer", evil)
    answer = ask()
    assert not answer.holds
    html = answer._repr_html_()
    assert not set(re.findall(r"<(\w+)", html)) & {"b", "i", "script", "x"}
    assert r"$\lvert a_i \rvert &lt; 1$ &amp; <code>Value</code>" in html
    assert ">a|b<" in html


def test_it_is_written_and_logged_where_the_caller_says(folder, tmp_path_factory, monkeypatch):
    store = sg.Store("sqlite:///runs/mlflow.db", "any")
    answer = ask(store=store, folder="answers")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert answer.folder == folder / "answers" / "batch"
    assert "base64" in answer._repr_html_()
    assert not list(Path().iterdir())


def test_within_an_event_loop_as_in_jupyter(folder):
    async def cell() -> sg.Answer:
        return ask()

    assert asyncio.run(cell()).holds


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: sg.ask("bach", config_dir=CONF), "Did you mean batch?"),
        (lambda: sg.ask(1), "ask: pass the name of a question, such as 'sgd', not int"),  # type: ignore[arg-type]
        (lambda: sg.ask("scale", ["seed=1"]), "overrides: must be strings"),  # type: ignore[arg-type]
        (lambda: sg.ask("scale", "--json"), "is a flag of the command line"),
        (lambda: ask("draws=1"), "draws: 1 should be greater than or equal to 100"),
        (lambda: ask(store="sqlite:///x.db"), "store: must be a sweepgrad.Store, not str"),
        (lambda: ask(folder=1), "folder: must be the path of a folder, not int"),
    ],
)
def test_mistakes_are_user_errors_and_nothing_is_done(call, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(sg.UserError) as error:
        call()
    assert problem in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_wrong_store_in_the_environment_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://x")
    with pytest.raises(sg.UserError, match="MLFLOW_TRACKING_URI: 'ftp://x' is not an MLflow store"):
        ask()
