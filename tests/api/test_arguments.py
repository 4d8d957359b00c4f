"""The arguments of the API: overrides, tables, targets, and their errors."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sweepgrad as sg
from sweepgrad.api.arguments import overrides_for, quoted, runs_of, search_path, shows_bar
from sweepgrad.compose.internals import OverridesParser
from sweepgrad.data.table import read

FRAME = pd.DataFrame({"x": [1.0, 2.0], "left": ["yes", "no"]})


def test_without_a_table_overrides_are_as_given():
    assert overrides_for(("model=wide", "seed=1")) == ["model=wide", "seed=1"]


def test_a_path_is_a_csv_table():
    assert overrides_for(["seed=1"], Path("a b.csv"), "le,ft") == [
        "data=csv",
        f'data.path="{Path.cwd()}/a b.csv"',
        "seed=1",
        'data.target="le,ft"',
    ]
    assert overrides_for(["data=csv", "data.target=x"], "/t.csv") == [
        'data.path="/t.csv"',
        "data=csv",
        "data.target=x",
    ]


def test_a_frame_is_written_below_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (path,) = (line for line in overrides_for([], FRAME, "left") if line.startswith("data.path="))
    assert path.startswith(f'data.path="{tmp_path}/runs/tables/frame-')
    assert "data.name=frame" in overrides_for([], FRAME, "left")
    (digest,) = (line for line in overrides_for([], FRAME, "left") if line.startswith("data.sha256="))
    (file,) = Path("runs", "tables").iterdir()
    assert digest == f'data.sha256="{sha256(file.read_bytes()).hexdigest()}"'
    named = overrides_for(["data.name=my table"], FRAME, "left")
    assert "data.name=frame" not in named
    assert any(f"{tmp_path}/runs/tables/my_table-" in line for line in named)
    assert len(list(Path("runs", "tables").iterdir())) == 2


def test_a_configuration_notices_that_its_frame_was_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = sg.load_config(data=FRAME, target="left")
    (file,) = Path("runs", "tables").iterdir()
    FRAME.assign(x=0.0).to_parquet(file)
    with pytest.raises(sg.UserError, match=r"but data\.sha256 is"):
        read(config.data)
    assert sg.load_config(data=FRAME, target="left") == config
    assert len(read(config.data)) == 2


def test_threads_load_the_configuration_of_a_frame(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(4) as threads:
        loaded = threads.map(lambda _: sg.load_config(data=FRAME, target="left"), range(8))
        assert len(set(loaded)) == 1


@pytest.mark.parametrize("drop", [[], ["data.drop=[wait]"]])
def test_a_column_of_durations_can_be_dropped(drop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = FRAME.assign(wait=pd.to_timedelta([1, 2], "D"))
    config = sg.load_config(drop, data=frame, target="left")
    if drop:
        assert read(config.data).roles.dropped == ("wait",)
    else:
        with pytest.raises(sg.UserError, match=r"column 'wait' .*data\.drop"):
            read(config.data)


@pytest.mark.parametrize(
    ("overrides", "keywords", "message"),
    [
        ("model=wide seed=1", {}, "overrides: must be a list of strings, as in ['model=wide', 'seed=1']"),
        ([1], {}, "overrides: must be strings such as 'model=wide', not 1"),
        (["-m"], {}, "overrides: -m is a flag of the command line"),
        ([], {"data": 3}, "data: must be a pandas DataFrame or the path of a file, not int"),
        ([], {"data": FRAME["x"]}, "not Series"),
        (["data=spotify"], {"data": FRAME}, "data: data=spotify among the overrides names another table"),
        (["data.path=x.csv"], {"data": FRAME}, "data: data.path is among the overrides too"),
        (["data.target=x"], {"target": "x"}, "target: data.target is among the overrides too"),
        ([], {"target": 1}, "target: must be the name of a column, not 1"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(overrides, keywords, message):
    with pytest.raises(sg.UserError) as error:
        overrides_for(overrides, **keywords)
    assert message in str(error.value)


@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(lambda text: "${" not in text)
)
def test_hydra_reads_quoted_text_as_it_was(text):
    parser = OverridesParser.create()
    (override,) = parser.parse_overrides([f"data.target={quoted(text)}"])
    assert override.value() == text


def test_the_runs_folder_of_a_sweep_is_the_one_that_it_is_in(tmp_path):
    assert runs_of(tmp_path / "runs" / "sweeps" / "a") == tmp_path / "runs"
    assert runs_of(tmp_path / "elsewhere") == runs_of(None) == Path("runs")


def test_a_folder_of_yaml_is_absolute():
    assert search_path("conf") == [f"{Path.cwd()}/conf"]
    assert search_path(None) == []


def test_a_bar_is_shown_where_somebody_sees_it(monkeypatch):
    assert shows_bar(True)
    assert not shows_bar(False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert shows_bar(None)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    assert not shows_bar(None)
