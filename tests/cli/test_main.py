"""The command line: its answers, its streams, and the files that it writes."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tests.support import CSV, SMALL, command, console_script, environment, people

from sweepgrad import __version__
from sweepgrad.cli.main import parser
from sweepgrad.cli.verbs import VERBS, verb
from sweepgrad.compose.plan import plan
from sweepgrad.config.schema import Config
from sweepgrad.tracking.store import Store

HEAVY = ("mlflow", "pandas", "matplotlib", "sklearn", "scipy", "pyarrow", "sqlalchemy", "numpy")


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Change to an empty folder, without a store."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(*arguments: str) -> str:
    """Return the message of a refused command line: exit code 2, standard error only, no traceback."""
    result = command(*arguments)
    assert result.code == 2, result
    assert result.out == ""
    assert "Traceback" not in result.err
    assert "\x1b" not in result.err
    return result.err


# Help


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_the_verbs_with_examples(arguments, nowhere):
    result = command(*arguments)
    assert (result.code, result.err) == (0, "")
    for word in ("train", "leaderboard", "finalize", "ui", "sync", "completion", "--multirun"):
        assert word in result.out
    assert not list(nowhere.iterdir())


@pytest.mark.parametrize("name", ["train", *VERBS])
def test_each_verb_has_a_description_and_an_example(name, nowhere):
    result = command(name, "--help")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"usage: sweepgrad {name}")
    assert re.search(r"\n\n[A-Z].*?\.\n\n", result.out, flags=re.DOTALL)
    lines = re.search(
        r"^examples:\n(.*?)(\n\n|\Z)", result.out, flags=re.MULTILINE | re.DOTALL | re.IGNORECASE
    )
    assert lines
    assert f"sweepgrad {name}" in lines[1]
    assert command("--help").out.count(f"\n  {name} ") == 1


@pytest.mark.parametrize("name", VERBS)
def test_the_examples_of_a_verb_parse(name):
    """The arguments parse; those with a configuration are planned too."""
    examples = verb(name).EXAMPLES.replace("\\\n", "")
    for words in re.findall(r"^  sweepgrad (.*?)(?:   .*)?$", examples, flags=re.MULTILINE):
        first, *rest = shlex.split(re.sub(r"  +[A-Za-z].*$", "", words))
        if first == "train":
            assert plan([word for word in rest if word != "-m"], multirun=True).jobs
            continue
        options = parser(first).parse_args(rest)
        if getattr(options, "overrides", None) and first in ("check", "tape", "gradcheck"):
            given = [o.replace("=FILE", "=x.csv") for o in options.overrides]
            assert plan(given, multirun=True).jobs


def test_every_key_is_described_in_train_help(nowhere):
    keys = [line for line in command("train", "--help").out.splitlines() if re.match(r"[a-z_.0-9]+=", line)]
    assert len(keys) > 45
    for section, field in Config.model_fields.items():
        assert any(line.startswith((f"{section}.", f"{section}=")) for line in keys), field


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], "unknown verb trian. Did you mean train?"),
        (["leaderbord"], "unknown verb leaderbord. Did you mean leaderboard?"),
        (["zzz"], "unknown verb zzz. Verbs: train, check"),
        (["model=wide"], "unknown verb model=wide. Did you mean sweepgrad train model=wide?"),
        (["--hepl"], "unknown option --hepl. Did you mean --help?"),
        (["leaderboard", "--jsn"], "unknown option --jsn. Did you mean --json? See sweepgrad leaderboard"),
        (["finalize", "--ag"], "unknown option --ag. Did you mean --again? See sweepgrad finalize --help"),
        (["finalize", "--inc"], "unknown option --inc. Did you mean --incomplete?"),
        (["train", "--multi", "seed=1"], "unknown option --multi. Did you mean --multirun?"),
        (["finalize", "-x"], "unknown option -x. See sweepgrad finalize --help"),
        (["-xy"], "unknown option -xy. See sweepgrad --help"),
        (["leaderboard", "a", "b"], "unexpected argument b. See sweepgrad leaderboard --help"),
        (["train", "--dry-rnu"], "unknown option --dry-rnu. Did you mean --dry-run? See sweepgrad train"),
        (["train", "--multrun", "seed=1"], "unknown option --multrun. Did you mean --multirun?"),
        (["train", "lr=0.1"], "lr: unknown key. Did you mean optimizer.lr? [from lr=0.1]"),
    ],
)
def test_a_mistyped_word_is_refused_with_the_right_one(arguments, said, nowhere):
    assert said in refused(*arguments)


def test_version():
    assert command("--version").out.strip() == f"sweepgrad {__version__}"


def test_help_of_train_lists_groups_and_keys(nowhere):
    result = command("train", "--help")
    assert result.code == 0
    for word in ("data: csv, simulated, spotify", "model: deep, linear, middle, wide", "optimizer:"):
        assert word in result.out
    for word in ("experiment: assignment, spotify_ensemble, spotify_sweep", "dropout=", "batch_size=", "lr="):
        assert word in result.out
    assert not list(nowhere.iterdir())


def test_cfg_prints_the_configuration_and_runs_nothing(nowhere):
    result = command("train", "--cfg", "job", "model=deep", "seed=5")
    assert result.code == 0
    assert "- 6\n  - 6\n  - 5" in result.out
    assert "seed: 5" in result.out
    assert not list(nowhere.iterdir())


@pytest.mark.parametrize("flag", [("--cfg", "job"), ("--help",)])
def test_a_bad_override_beside_cfg_is_refused_as_elsewhere(flag, nowhere):
    result = command("train", *flag, "modle=wide")
    assert result.code != 0
    assert "modle" in result.err
    assert "Traceback" not in result.err


# Nothing heavy is imported before it is needed


def imported_by(*arguments: str) -> tuple[int, set[str]]:
    code = (
        "import sys; from sweepgrad.cli.main import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as leaving: code = leaving.code\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    return done.returncode, set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["train", "--help"], 0),
        (["train", "optimizer.lr=-1", "modle=wide"], 2),
        (["train", "model=wide,deep"], 2),
        (["complete"], 0),
    ],
)
def test_answers_at_once_without_anything_heavy(arguments, code):
    left_with, modules = imported_by(*arguments)
    assert left_with == code
    assert not modules & set(HEAVY)


# Bad overrides


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.dropout=1.2", "optimizer.lr=-1"],
        ["model=wide,deep"],
        ["-m", "model=wide,dep"],
        ["data=csv"],
        ["model.hidden=[8,0]"],
        ["not an override"],
        ["--config-name", "other"],
        ["--config-dir", "nowhere"],
        ["tracking.uri=nonsense"],
        ["tracking.uri=sqlite://"],
        ["tracking.uri=file:///tmp/mlruns"],
        ["-m", "tracking.experiment=a,b", *SMALL],
    ],
)
def test_bad_overrides_are_refused_and_leave_nothing(overrides, nowhere):
    refused("train", *overrides)
    assert not list(nowhere.iterdir())


def test_the_console_script_exits_with_2_and_one_message(nowhere):
    done = subprocess.run(
        [console_script(), "train", "model.dropout=1.2"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "sweepgrad: 1 configuration error; nothing was run",
        "  model.dropout: 1.2 should be less than 1 [from model.dropout=1.2]",
    ]
    assert not list(nowhere.iterdir())


# Bad tables: refused before training, and no trace in MLflow


def damaged(kind: str) -> tuple[pd.DataFrame, str]:
    """Return a table with an error, and a part of its message."""
    table = people(60)
    match kind:
        case "no target":
            return table.drop(columns="left"), "left"
        case "three values":
            table.loc[3, "left"] = "maybe"
            return table, "must have two values, but it has 3"
        case "one value":
            table["left"] = "yes"
            return table, "must have two values, but it has 1"
        case "all missing":
            table["income"] = float("nan")
            return table, "'income' is missing in every row"
        case "text in numbers":
            table["age"] = table["age"].astype(object)
            table.loc[6, "age"] = "old"
            return table, "row 7 has 'old'"
        case "infinite":
            table.loc[4, "age"] = float("inf")
            return table, "row 5 has an infinite value"
        case "no rows":
            return table.iloc[:0], "no rows"
        case "reveals":
            table["code"] = (table["left"] == "yes") * 10.0
            return table, "code alone predicts left"
        case _:
            raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "no target",
        "three values",
        "one value",
        "all missing",
        "text in numbers",
        "infinite",
        "no rows",
        "reveals",
    ],
)
def test_an_unfit_table_is_refused_before_anything_is_made(kind, nowhere):
    table, said = damaged(kind)
    table.to_csv("people.csv", index=False)
    message = refused("train", *CSV, "data.drop=[person]")
    assert said in message
    assert "people.csv" in message
    assert [path.name for path in nowhere.iterdir()] == ["people.csv"]


def test_a_missing_file_is_refused_before_anything_is_made(nowhere):
    assert "no such file" in refused("train", *CSV)
    assert not list(nowhere.iterdir())


def test_a_part_without_rows_is_refused(nowhere):
    assert "validation set has no rows" in refused("train", "data=simulated", "data.rows=4")


def test_an_error_in_one_table_of_a_sweep_stops_the_whole_sweep(folder):
    people(60).to_csv("people.csv", index=False)
    assert "the file has no column 'persn'" in refused("train", "-m", *CSV, "data.drop=[person],[persn]")
    assert not Path("runs", "sweeps").exists()
    assert Store("sqlite:///runs/mlflow.db", "sweepgrad").latest_sweep() is None


def test_results_that_cannot_be_written_are_refused(nowhere):
    Path("runs").write_text("not a folder")
    message = refused("train", *SMALL)
    assert "runs" in message
    assert len(message.strip().splitlines()) <= 4


# Leaderboard and finalize without anything to show


@pytest.mark.parametrize("verb", ["leaderboard", "finalize"])
def test_an_empty_store_says_to_train_first(verb, folder):
    assert "run `sweepgrad train` first" in refused(verb)


@pytest.mark.parametrize("verb", ["leaderboard", "finalize"])
def test_an_unknown_sweep_is_refused_and_the_known_are_named(verb, sweep):
    message = refused(verb, "nonesuch", "--uri", sweep.uri)
    assert "no sweep 'nonesuch'" in message
    assert sweep.name in message


def test_a_sweep_is_found_by_name_id_and_beginning(sweep):
    listed = json.loads(command("leaderboard", "--json", "--uri", sweep.uri).out)
    for which in (sweep.name, sweep.name[:12], listed["sweep_id"], listed["sweep_id"][:8]):
        assert json.loads(command("leaderboard", which, "--json", "--uri", sweep.uri).out) == listed


def test_an_ambiguous_beginning_is_refused(folder):
    store = Store("sqlite:///runs/mlflow.db", "sweepgrad")
    for name in ("sweep-a", "sweep-b"):
        store.sweep_run(name)
    message = refused("leaderboard", "sweep")
    assert "matches 2 sweeps" in message
    assert "sweep-a" in message
    assert "sweep-b" in message


def test_a_store_that_does_not_answer_is_refused(nowhere):
    message = refused("leaderboard", "--uri", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9" in message
    assert "does not answer" in message


def test_sync_of_what_is_no_folder_is_refused(nowhere):
    assert "there is no such folder" in refused("sync", "nothing")


# Output


def test_train_says_what_was_done_and_what_comes_next(sweep):
    assert sweep.result.code == 0
    assert "sweepgrad leaderboard" in sweep.result.out
    assert f"runs/sweeps/{sweep.name}" in sweep.result.out
    for number in range(1, 5):
        assert f"[{number}/4]" in sweep.result.err
    assert "40 test rows stay sealed" in sweep.result.err


def test_no_colours_when_nobody_looks(sweep):
    result = command("leaderboard", "--uri", sweep.uri)
    assert "\x1b" not in result.out + result.err + sweep.result.out + sweep.result.err


def test_the_leaderboard_as_a_table(sweep):
    out = command("leaderboard", "--uri", sweep.uri).out
    assert f"{sweep.name}: 4 runs" in out
    for word in ("model.hidden", "val accuracy", "±", "[9]", "[]"):
        assert word in out
    assert "optimizer" not in out


def test_the_leaderboard_as_json(sweep):
    listed = json.loads(command("leaderboard", "--json", "--uri", sweep.uri).out)
    assert listed["sweep"] == sweep.name
    first, second = listed["entries"]
    assert (first["rank"], second["rank"]) == (1, 2)
    assert first["val/accuracy"] >= second["val/accuracy"]
    assert {first["model.hidden"], second["model.hidden"]} == {"[9]", "[]"}
    for entry in listed["entries"]:
        assert entry["runs"] == len(entry["run_ids"]) == 2
        assert entry["val/accuracy_se"] >= 0
        assert {"val/nll", "val/nll_se", "val/roc_auc", "val/roc_auc_se", "n_parameters"} <= entry.keys()


def test_the_leaderboard_as_csv(sweep):
    listed = json.loads(command("leaderboard", "--json", "--uri", sweep.uri).out)["entries"]
    table = pd.read_csv(io.StringIO(command("leaderboard", "--csv", "--uri", sweep.uri).out))
    assert table["val/accuracy"].tolist() == [entry["val/accuracy"] for entry in listed]
    assert table["model.hidden"].tolist() == [entry["model.hidden"] for entry in listed]
    assert [ids.split() for ids in table["run_ids"]] == [entry["run_ids"] for entry in listed]


def test_json_and_csv_together_are_refused(sweep):
    assert "not allowed with" in refused("leaderboard", "--json", "--csv", "--uri", sweep.uri)


def test_a_reader_that_leaves_early_is_no_error():
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {console_script()} train --help | head -n 1"],
        capture_output=True,
        text=True,
        env={**environment(), "PYTHONUNBUFFERED": "1"},
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_the_store_is_named_by_the_environment_too(sweep, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sweep.uri)
    assert sweep.name in command("leaderboard").out


def test_commands_leave_the_environment_as_it_was(folder):
    before = dict(os.environ)
    command("train", *SMALL)
    changed = {key for key in before.keys() ^ os.environ.keys() if key.startswith("MLFLOW")}
    assert not changed & {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"}


def test_flags_may_stand_between_overrides(folder):
    assert command("train", "data=simulated", "-m", "data.rows=100", "train.epochs=1", "seed=1,2").code == 0
    assert len(list(Path("runs", "sweeps").glob("*/[01]/record.json"))) == 2
