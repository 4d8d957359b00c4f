"""A table whose every name is hostile, through all verbs: what they print and write shows it as text."""

import csv
import io
import json
import re
import unicodedata
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from tests.support import Result, command, drawn, inside

import sweepgrad as sg
from sweepgrad.messages import escape

NUMERIC = (
    "\x1b[31mred\x1b]0;title\x07",
    "=cmd|' /C calc'!A0",
    "<img src=x onerror=alert(1)> | $\\frac{a$ [x](javascript:alert(1)) ![y](http://z) `c` **b**",
)
CATEGORICAL = "@SUM(1)\u202e\u2066 &lt;b&gt; <!-- </td></table>"
TARGET = "# <script>alert(1)</script>\x9b2J | *t* $x$"
YES, NO = "yes <b>|\x1b[2J</b> $1$ `a`", "-no <i>\u202e ~~x~~ **"
LEVELS = ("=1+1", "<u>\x1b[7m", "a|b", "\x07bell")
TABLE = {"table", "thead", "tbody", "tr", "th", "td"}
FILE = "$x$ <b>\x1b[1m=.csv"


@dataclass(frozen=True)
class Done:
    """What the verbs printed, in the folder where they ran."""

    folder: Path
    results: dict[str, Result]


def hostile_table() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(240, 3)).round(3), columns=list(NUMERIC))
    frame[CATEGORICAL] = generator.choice(LEVELS, 240)
    score = frame[NUMERIC[0]] + generator.normal(size=240)
    frame[TARGET] = np.where(score > 0, YES, NO)
    return frame


@pytest.fixture(scope="module")
def done(tmp_path_factory, empty_store) -> Done:
    folder = tmp_path_factory.mktemp("hostile")
    with inside(folder, empty_store), drawn():
        hostile_table().to_csv(FILE, index=False)
        Path("more/data").mkdir(parents=True)
        keys: dict[str, object] = {"path": FILE, "target": TARGET, "positive": YES, "drop": [NUMERIC[2]]}
        keys["transform"] = {NUMERIC[0]: "quantile_normal"}
        lines = [f"{key}: {json.dumps(value)}" for key, value in keys.items()]
        Path("more/data/hostile.yaml").write_text("\n".join(["defaults: [csv]", *lines]) + "\n")
        # A setting with hostile names that differs between runs is in leaderboards and on pages.
        other = f"defaults: [hostile]\nkeep: {json.dumps([NUMERIC[1], CATEGORICAL])}\n"
        Path("more/data/other.yaml").write_text(other)
        # With two numeric columns, a picture has their names.
        two = f"defaults: [hostile]\ndrop: {json.dumps([NUMERIC[1], CATEGORICAL])}\n"
        Path("more/data/two.yaml").write_text(two)
        table = ("--config-dir", "more", "data=hostile")
        both = ("--config-dir", "more", "data=hostile,other")
        small = ("train.epochs=1", "seed=1")
        results = {
            "check": command("check", *table),
            "check json": command("check", "--json", *table),
            "train": command("train", "-m", *both, *small),
            "leaderboard": command("leaderboard"),
            "leaderboard json": command("leaderboard", "--json"),
            "leaderboard csv": command("leaderboard", "--csv"),
            "finalize": command("finalize"),
            "train two": command("train", "--config-dir", "more", "data=two", *small),
            "train splits": command("train", "-m", *both, *small, "split.seed=1,2"),
            "evaluate": command("evaluate"),
            "evaluate csv": command("evaluate", "--csv"),
            "evaluate json": command("evaluate", "--json"),
        }
    return Done(folder, results)


def steers(text: str) -> list[str]:
    """Return the characters of a text that steer a terminal."""
    return [
        character
        for character in text
        if character not in "\n\t"
        and (
            unicodedata.category(character) == "Cc" or unicodedata.bidirectional(character) in ("RLO", "LRI")
        )
    ]


def test_all_verbs_work(done):
    codes = {name: result.code for name, result in done.results.items()}
    assert codes == dict.fromkeys(codes, 0), done.results


def test_no_verb_prints_a_character_that_steers_a_terminal(done):
    for name, result in done.results.items():
        assert not steers(result.out + result.err), name
    assert "\\x1b[31mred" in done.results["check"].out


def test_json_holds_the_names_exactly(done):
    (report,) = json.loads(done.results["check json"].out)
    assert TARGET in json.dumps(report, ensure_ascii=False)
    json.loads(done.results["leaderboard json"].out)
    json.loads(done.results["evaluate json"].out)


def test_csv_has_no_formulas(done):
    for name in ("leaderboard csv", "evaluate csv"):
        rows = [*csv.reader(io.StringIO(done.results[name].out))]
        assert len({len(row) for row in rows}) == 1
        for cell in (cell for row in rows for cell in row):
            assert not re.match(r"\s*[=+@]|\s*-(?![\d.]+(e-?\d+)?$)", cell), cell


def test_the_picture_of_a_model_with_hostile_columns_is_drawn(done):
    assert len([*(done.folder / "runs" / "single").glob("*/decision_boundary.png")]) == 1


class _Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags, self.links = "", set[str](), list[str | None]()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize(
    ("pattern", "picture"),
    [("cards/*/card.md", "calibration.png"), ("evaluations/*/evaluation.md", "splits.png")],
)
def test_pages_render_the_names_as_text(done, pattern, picture):
    (path,) = (done.folder / "runs").glob(pattern)
    written = path.read_text(encoding="utf-8")
    assert not steers(written)
    page = _Page(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(written))
    assert page.tags <= {"h1", "h2", "h3", "p", "strong", "code", "img", *TABLE}
    assert page.links == [picture]
    (title,) = (line for line in page.text.splitlines() if escape.plain(TARGET) in line)
    assert title.endswith(f"{escape.plain(TARGET)} = {escape.plain(YES)}, from _x_b_1m_")


def test_what_mlflow_shows_is_short_and_has_no_control_characters(done):
    client = mlflow.MlflowClient(f"sqlite:///{done.folder / 'runs' / 'mlflow.db'}")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(ids)
    assert len(runs) >= 6
    for run in runs:
        for key, value in {**run.data.tags, **run.data.params}.items():
            assert not steers(key + value), key
            assert len(value) <= 6000
    assert escape.terminal(TARGET) in {run.data.params.get("data.target") for run in runs}


def test_notebooks_show_the_names_as_text(done, monkeypatch):
    monkeypatch.chdir(done.folder)
    report = sg.check(["data=hostile"], config_dir="more")
    card = sg.finalize(min(path.name for path in Path("runs/cards").iterdir()))
    sweep = sg.load_sweep(card.sweep)
    for shown in (report, card, sweep, sweep.runs[0]):
        made = shown._repr_html_()
        assert not steers(made)
        page = _Page(made)
        assert page.tags <= {"div", "strong", "p", "pre", *TABLE}
    assert escape.plain(NUMERIC[0]) in _Page(report._repr_html_()).text


@pytest.mark.parametrize(
    "given", ["data.target=\x1b[31mx", "\x1b[31mx=1", "data.path='\x1b[31mx\n\nall is well'"]
)
def test_errors_show_what_was_given_as_text(folder, given):
    result = command("check", "data=csv", "data.path=nowhere.csv", "data.target=x", given)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("sweepgrad: ")
    assert not steers(result.err)
    assert not [line for line in result.err.splitlines()[1:] if line[:1].strip()]
