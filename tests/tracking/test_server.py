"""A tracking server as a group has one: `mlflow server` on PostgreSQL, artifacts through its proxy."""

import configparser
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.testing import assert_allclose
from tests import documents
from tests.servers import (
    NO_POSTGRESQL,
    POSTGRESQL,
    WAIT,
    MlflowServer,
    free_port,
    mlflow_server,
    postgresql,
    psql,
)
from tests.support import SMALL, console_script, environment, load_model

from sweepgrad.training.bundle import Bundle

pytestmark = [pytest.mark.slow, pytest.mark.skipif(POSTGRESQL is None, reason=NO_POSTGRESQL)]

ROOT = Path(__file__).parents[2]
SWEEP = ("-m", *SMALL, "model=wide,linear", "seed=1,2")
LONG = ("data=simulated", "data.rows=20000", "train.epochs=300")
"""Overrides of a job that trains for a second or two."""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[MlflowServer]:
    with postgresql() as where:
        psql(where, "CREATE ROLE mlflow LOGIN PASSWORD 'secret'", "CREATE DATABASE mlflow OWNER mlflow")
        address = f"postgresql+psycopg2://mlflow:secret@127.0.0.1:{where['PGPORT']}/mlflow"
        with mlflow_server(tmp_path_factory.mktemp("server"), address) as running:
            yield running


def started(folder: Path, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    """Start `sweepgrad ARGUMENTS` in a folder."""
    return subprocess.Popen(
        [console_script(), *arguments],
        cwd=folder,
        env={**environment(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def sweepgrad(folder: Path, *arguments: str, **variables: str) -> str:
    """Run `sweepgrad ARGUMENTS` successfully and return what it prints."""
    process = started(folder, *arguments, **variables)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return out


# The store, over HTTP and without MLflow's client


def fetch(address: str, body: dict[str, Any] | None = None) -> bytes:
    sent = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, sent, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def get(server: MlflowServer, what: str, **query: str) -> dict[str, Any]:
    words = urllib.parse.urlencode(query)
    found: dict[str, Any] = json.loads(fetch(f"{server.uri}/api/2.0/mlflow/{what}?{words}"))
    return found


def runs(server: MlflowServer, experiment: str) -> list[dict[str, Any]]:
    """Return all runs of an experiment, with params, metrics and tags as dicts."""
    number = get(server, "experiments/get-by-name", experiment_name=experiment)["experiment"]["experiment_id"]
    asked = {"experiment_ids": [number], "max_results": 1000}
    found = json.loads(fetch(f"{server.uri}/api/2.0/mlflow/runs/search", asked)).get("runs", [])
    return [
        {
            **run["info"],
            **{
                kind: {each["key"]: each["value"] for each in run["data"].get(kind, [])}
                for kind in ("params", "metrics", "tags")
            },
            "outputs": run.get("outputs", {}),
        }
        for run in found
    ]


def parents_and_children(found: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    parents = [run for run in found if run["tags"]["sweepgrad.kind"] == "sweep"]
    children = [run for run in found if run["tags"]["sweepgrad.kind"] == "job"]
    assert {run["tags"]["mlflow.parentRunId"] for run in children} <= {run["run_id"] for run in parents}
    return parents, children


def proxied(server: MlflowServer, address: str) -> bytes:
    """Return a file by its `mlflow-artifacts:` URI, from the proxy."""
    assert address.startswith("mlflow-artifacts:/"), address
    path = address.removeprefix("mlflow-artifacts:/")
    return fetch(f"{server.uri}/api/2.0/mlflow-artifacts/artifacts/{path}")


def jobs_by_seed(folder: Path) -> dict[tuple[str, str], Path]:
    """Return the job folders of all sweeps below `folder`, by their layers and seed."""
    found: dict[tuple[str, str], Path] = {}
    for record in folder.glob("runs/sweeps/*/*/record.json"):
        config = yaml.safe_load((record.parent / "config.yaml").read_text())
        found[json.dumps(config["model"]["hidden"]), str(config["seed"])] = record.parent
    return found


def nothing_is_kept_beside(server: MlflowServer, folder: Path) -> None:
    """Check that neither sweepgrad nor the server made another store."""
    strays = [path for name in ("mlruns", "mlartifacts", "mlflow.db*") for path in folder.rglob(name)]
    assert strays == []
    assert {path.name for path in server.folder.iterdir()} == {"artifacts", "server.log"}


# One sweep


@pytest.fixture(scope="module")
def alone(server, tmp_path_factory) -> Path:
    """Train, rank and finalize a sweep against the server; return its folder."""
    folder: Path = tmp_path_factory.mktemp("alone")
    sweepgrad(folder, "train", *SWEEP, "tracking.experiment=alone", MLFLOW_TRACKING_URI=server.uri)
    ranked = sweepgrad(folder, "leaderboard", "--json", "--uri", server.uri, "--experiment", "alone")
    (folder / "ranked.json").write_text(ranked)
    card = sweepgrad(folder, "finalize", "--json", "--uri", server.uri, "--experiment", "alone")
    (folder / "card.json").write_text(card)
    return folder


def test_a_sweep_is_a_parent_with_its_jobs_and_all_that_they_left(server, alone):
    (parent,), children = parents_and_children(runs(server, "alone"))
    assert {run["status"] for run in (parent, *children)} == {"FINISHED"}
    kept = jobs_by_seed(alone)
    assert len(kept) == 4
    assert sorted((run["params"]["model.hidden"], run["params"]["seed"]) for run in children) == sorted(kept)
    for run in children:
        job = kept[run["params"]["model.hidden"], run["params"]["seed"]]
        record = json.loads((job / "record.json").read_text())
        assert float(run["params"]["optimizer.lr"]) == record["config"]["optimizer"]["lr"]
        assert {name: run["metrics"][name] for name in record["summary"]} == record["summary"]
        history = get(server, "metrics/get-history", run_id=run["run_id"], metric_key="val/nll")["metrics"]
        expected = [(step, epoch["val_nll"]) for step, epoch in enumerate(record["history"], 1)]
        assert sorted((int(point["step"]), point["value"]) for point in history) == expected


def test_artifacts_and_models_come_through_the_proxy(server, alone):
    (parent,), children = parents_and_children(runs(server, "alone"))
    kept = jobs_by_seed(alone)
    for run in children:
        job = kept[run["params"]["model.hidden"], run["params"]["seed"]]
        config = proxied(server, f"{run['artifact_uri']}/config.yaml")
        assert config == (job / "config.yaml").read_bytes()
        weights = proxied(server, f"{run['artifact_uri']}/bundle/weights.npz")
        assert weights == (job / "model" / "weights.npz").read_bytes()
        with np.load(io.BytesIO(weights), allow_pickle=False) as file:
            assert file.files
    chosen = json.loads((alone / "card.json").read_text())["run_id"]
    (run,) = [run for run in children if run["run_id"] == chosen]
    (output,) = parent["outputs"]["model_outputs"]  # with its temperature it is no longer the run's own
    model = get(server, f"logged-models/{output['model_id']}")["model"]
    job = kept[run["params"]["model.hidden"], run["params"]["seed"]]
    weights = proxied(server, f"{model['info']['artifact_uri']}/artifacts/bundle/weights.npz")
    assert weights == (job / "model" / "weights.npz").read_bytes()
    nothing_is_kept_beside(server, alone)


def test_the_leaderboard_and_the_card_are_the_servers(server, alone):
    (parent,), children = parents_and_children(runs(server, "alone"))
    ranked, card = (json.loads((alone / name).read_text()) for name in ("ranked.json", "card.json"))
    assert ranked["sweep_id"] == parent["run_id"]
    assert {run for entry in ranked["entries"] for run in entry["run_ids"]} == {
        run["run_id"] for run in children
    }
    best = max(entry["val/accuracy"] for entry in ranked["entries"])
    assert ranked["entries"][0]["val/accuracy"] == best
    assert card["run_id"] in ranked["entries"][0]["run_ids"]
    assert parent["metrics"]["test/accuracy"] == card["test"]["accuracy"]
    page = alone / "runs" / "cards" / parent["run_name"] / "card.md"
    assert proxied(server, f"{parent['artifact_uri']}/card.md") == page.read_bytes()


def test_the_chosen_model_is_loaded_from_the_server_where_nothing_else_is(
    server, alone, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    asked = {"name": "sweepgrad-simulated", "alias": "chosen"}
    version = get(server, "registered-models/alias", **asked)["model_version"]
    card = json.loads((alone / "card.json").read_text())
    (parent,), _ = parents_and_children(runs(server, "alone"))
    assert version["run_id"] == parent["run_id"]
    model = load_model(server.uri, "models:/sweepgrad-simulated@chosen")
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=["x1", "x2"])
    (run,) = [run for run in runs(server, "alone") if run["run_id"] == card["run_id"]]
    job = jobs_by_seed(alone)[run["params"]["model.hidden"], run["params"]["seed"]]
    expected = Bundle.load(job / "model").scaled(1 / card["temperature"]).probabilities(rows)
    assert_allclose(model.predict(rows)["probability"].to_numpy(), expected, rtol=1e-12)
    assert list(tmp_path.iterdir()) == []


# Several at once


def test_two_sweeps_at_once_are_both_there_once(server, tmp_path):
    """Both find no experiment, and create it."""
    folders = [tmp_path / "one", tmp_path / "two"]
    overrides = [f"tracking.uri={server.uri}", "tracking.experiment=together"]
    processes = []
    for folder, seeds in zip(folders, ("seed=1,2,3", "seed=4,5,6"), strict=True):
        folder.mkdir()
        processes.append(started(folder, "train", "-m", *SMALL, seeds, *overrides))
    printed = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    parents, children = parents_and_children(runs(server, "together"))
    assert {run["status"] for run in (*parents, *children)} == {"FINISHED"}
    names = [next((folder / "runs" / "sweeps").iterdir()).name for folder in folders]
    assert sorted(run["run_name"] for run in parents) == sorted(names)
    assert sorted(run["params"]["seed"] for run in children) == ["1", "2", "3", "4", "5", "6"]
    seeds_of = dict(zip(names, ("123", "456"), strict=True))
    for parent in parents:
        below = [run for run in children if run["tags"]["mlflow.parentRunId"] == parent["run_id"]]
        assert {run["params"]["seed"] for run in below} == set(seeds_of[parent["run_name"]])
        listed = json.loads(
            sweepgrad(
                tmp_path, "leaderboard", parent["run_name"], "--json", "--experiment", "together",
                MLFLOW_TRACKING_URI=server.uri,
            )
        )  # fmt: skip
        assert [entry["runs"] for entry in listed["entries"]] == [3]
    for folder in folders:
        nothing_is_kept_beside(server, folder)


# Going away


def test_a_server_that_goes_away_and_comes_back_has_every_job_once(server, tmp_path):
    seeds = ["1", "2", "3", "4", "5", "6"]
    overrides = [f"seed={','.join(seeds)}", f"tracking.uri={server.uri}", "tracking.experiment=away"]
    process = started(tmp_path, "train", "-m", *LONG, *overrides)
    deadline = time.monotonic() + WAIT
    while not list(tmp_path.glob("runs/sweeps/*/0/mlflow.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.stop()
    try:
        before = len(list(tmp_path.glob("runs/sweeps/*/*/mlflow.json")))
        out, err = process.communicate(timeout=300)
    finally:
        server.start()
    assert before < len(seeds), "the sweep was over before the server went: the test shows nothing"
    assert process.returncode == 2, err
    assert "sweepgrad sync" in err
    assert "Traceback" not in out + err
    assert len(jobs_by_seed(tmp_path)) == len(seeds)  # training continued

    _, children = parents_and_children(runs(server, "away"))
    assert 1 <= len(children) < len(seeds)
    assert "runs sent" in sweepgrad(tmp_path, "sync")
    (parent,), children = parents_and_children(runs(server, "away"))
    assert sorted(run["params"]["seed"] for run in children) == seeds
    assert {run["status"] for run in (parent, *children)} == {"FINISHED"}
    for run in children:
        assert proxied(server, f"{run['artifact_uri']}/bundle/weights.npz")
        history = get(server, "metrics/get-history", run_id=run["run_id"], metric_key="val/nll")["metrics"]
        assert [int(point["step"]) for point in history] == list(range(1, 301))
    assert "0 runs sent" in sweepgrad(tmp_path, "sync")
    assert len(runs(server, "away")) == len(seeds) + 1
    nothing_is_kept_beside(server, tmp_path)


# The page

PAGE = (ROOT / "docs" / "tracking-server.md").read_text()
NEEDS_A_MACHINE = ("sudo apt-get ", "sudo useradd ", "sudo systemctl ")
NEEDS_A_REGISTRY = ("sudo -u mlflow python3 -m venv ", "sudo -u mlflow /srv/mlflow/venv/bin/pip ")
SUDO = """\
#!/bin/sh
# `sudo -u USER COMMAND` where PostgreSQL believes whom we name.
[ "$1" = -u ] && PGUSER=$2 && export PGUSER && shift 2 && exec "$@"
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_the_page_installs_what_we_ask_for_ourselves():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (mlflow,) = [need for need in project["dependencies"] if need.startswith("mlflow")]
    (driver,) = [need for need in project["optional-dependencies"]["dev"] if need.startswith("psycopg")]
    (command,) = [line for line in blocks("bash")[0].splitlines() if "pip install" in line]
    assert shlex.split(command)[-2:] == [mlflow, driver]


@documents.restored()
def test_the_commands_of_the_page_run_in_their_order(tmp_path, monkeypatch):
    home, desk, programs = (tmp_path / name for name in ("srv", "desk", "bin"))
    for folder in (home, desk, programs):
        folder.mkdir()
    monkeypatch.chdir(desk)
    (programs / "sudo").write_text(SUDO)
    (programs / "sudo").chmod(0o755)
    port = free_port()

    def here(text: str) -> str:
        """Return the text with this machine's folders and address instead of the page's."""
        text = text.replace("/srv/mlflow/venv/bin", str(Path(sys.executable).parent))
        text = text.replace("/srv/mlflow", str(home)).replace("HOST:5000", f"127.0.0.1:{port}")
        return text.replace("--host 0.0.0.0 --port 5000", f"--host 127.0.0.1 --port {port}")

    def own(line: str) -> str:
        """Run a command of ours in the folder where the page's user works."""
        if line.startswith("export "):
            monkeypatch.setenv(*line.removeprefix("export ").split("="))
            return ""
        code, printed = documents.Page(desk).command(line)
        assert code == 0, f"$ {line}\n{printed}"
        return printed

    install, enable, use, sync, back_up, restore, upgrade = blocks("bash")
    install = "".join(
        line
        for line in install.splitlines(keepends=True)
        if not line.startswith((*NEEDS_A_MACHINE, *NEEDS_A_REGISTRY))
    )
    assert len(install.splitlines()) == 2
    assert enable.startswith(NEEDS_A_MACHINE)
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(here(*blocks("ini")).replace("\\\n", " "))
    service = unit["Service"]
    variable, value = service["Environment"].split("=")

    with postgresql() as where:
        path = f"{programs}:{Path(sys.executable).parent}:{POSTGRESQL and POSTGRESQL.parent}:/usr/bin:/bin"

        def run(script: str) -> str:
            if not script.startswith("sudo "):
                return "".join(map(own, documents.commands(here(script))))
            done = subprocess.run(
                ["bash", "-ec", here(script)],
                cwd=desk,
                env={**environment(), **where, "PATH": path},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{script}\n{done.stderr}"
            return done.stdout

        run(install)
        variables = {**where, "PGUSER": service["User"], variable: value}
        command = shlex.split(service["ExecStart"])
        with MlflowServer(Path(service["WorkingDirectory"]), port, command, **variables) as server:
            printed = run(use)
            assert f"http://127.0.0.1:{port}" in printed
            assert "test accuracy" in printed
            assert "0 runs sent" in run(sync)
            assert not (desk / "runs" / "mlflow.db").exists()
            ranked = run("sweepgrad leaderboard --json --uri http://HOST:5000")
            run(back_up)
            server.stop()
            psql({**where, "PGDATABASE": "mlflow"}, "DROP OWNED BY mlflow")
            shutil.rmtree(home / "artifacts")
            run(restore)
            run(upgrade)
            server.start()
            assert run("sweepgrad leaderboard --json --uri http://HOST:5000") == ranked
            run("sweepgrad finalize --uri http://HOST:5000")  # it reads the model's files
