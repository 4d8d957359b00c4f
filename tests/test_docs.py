"""What the documents show is run as they show it."""

import ast
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweepgrad.paths import cache_dir

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line in a shell that finds `sweepgrad` as after `source .venv/bin/activate`."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", "XDG_CACHE_HOME": str(cache_dir().parent)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def shop(tmp_path):
    """A folder with the customer's table that the README speaks of."""
    rng = np.random.default_rng(0)
    n = 400
    visits, age = rng.poisson(5, n), rng.normal(45, 12, n)
    left = visits + rng.normal(0, 2, n) < 4
    frame = pd.DataFrame(
        {
            "customer_number": rng.permutation(n) + 1000,
            "household": rng.integers(0, 250, n),
            "visits": visits,
            "age": np.where(rng.random(n) < 0.1, np.nan, age.round(1)),
            "plan": rng.choice(["basic", "plus"], n),
            "left": np.where(left, "yes_he_did", "no"),
        }
    )
    frame.drop(columns="customer_number").to_csv(tmp_path / "churn.csv", index=False)
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_readme_run_in_their_order(shop):
    (config,) = blocks("yaml")
    target = shop / "myconf" / "data" / "churn.yaml"
    assert f"# {target.relative_to(shop)}" in config
    target.parent.mkdir(parents=True)
    # The table has no customer number where roles are guessed: an identifier would be refused, as it should.
    target.write_text(config.replace("drop: [customer_number]", "drop: []"))
    commands = [line for block in blocks("bash") for line in block.splitlines()]
    assert len(commands) >= 8
    for command in commands:
        done = run(command, shop)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.slow
def test_the_commands_of_the_page_on_trust_run_in_their_order(tmp_path):
    page = (ROOT / "docs" / "trust.md").read_text()
    for command in (line for block in blocks("bash", page) for line in block.splitlines()):
        done = run(command, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.slow
def test_the_commands_of_the_page_on_sweeps_do_as_it_says(tmp_path):
    commands = [
        line
        for block in blocks("bash", (ROOT / "docs" / "sweeps.md").read_text())
        for line in block.splitlines()
    ]
    said = []
    for command in commands:
        done = run(command, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        said.append(done.stderr)
    rehearsal, first, _, again, wider, anew, *_, halving, search = said
    assert "nothing was run" in rehearsal
    assert "begins: 12 runs" in first
    assert "12 runs had been trained before" in again
    assert "12 runs had been trained before" in wider
    assert "before" not in anew
    assert "halving stopped 8 of 9 runs early" in halving
    assert "12 trials finished, 0 failed" in search


def test_the_mistakes_of_the_readme_are_told_as_it_shows(tmp_path):
    shown = re.search(r"^    \$ (sweepgrad .*)\n((?:    .*\n)+)", README, flags=re.MULTILINE)
    assert shown
    done = run(shown[1], tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == re.sub(r"^    ", "", shown[2], flags=re.MULTILINE)


def test_the_python_of_the_readme_runs(tmp_path):
    (code,) = blocks("python")
    (tmp_path / "example.py").write_text(code)
    done = run("python -W error example.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Value(" in done.stdout


def test_the_python_of_the_page_on_trust_runs(tmp_path):
    (code,) = blocks("python", (ROOT / "docs" / "trust.md").read_text())
    (tmp_path / "example.py").write_text(code)
    done = run("python -W error example.py", tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_commands_for_many_machines_run_on_this_one(tmp_path):
    text = (ROOT / "docs" / "many-machines.md").read_text()
    alone, by_hand = blocks("bash", text)
    done = run(alone, tmp_path)
    assert done.returncode == 0, done.stderr
    with socket.socket() as probe:  # the port that the page names may be in use here
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ending = "\ncode=$?; kill $(jobs -p); wait; exit $code"
    done = run(by_hand.replace("8786", str(port)) + ending, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 worker with 2 cores" in done.stderr
    assert len([*(tmp_path / "runs" / "sweeps").glob("*/*/record.json")]) == 6


def test_the_python_for_many_machines_is_python():
    text = (ROOT / "docs" / "many-machines.md").read_text()
    scripts = blocks("python", text)
    assert len(scripts) == 2
    for script in scripts:
        ast.parse(script)


def test_links_and_pictures_of_the_documents_exist():
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "data" / "README.md"):
        for link in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text()):
            assert document.parent.joinpath(link).exists(), f"{document} links to {link}"


@pytest.mark.slow
def test_the_two_commands_of_the_readme_work_in_a_clean_clone(tmp_path):
    """`make run` only: `make test` would run itself."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    done = subprocess.run(
        ["make", "-C", str(clone), "run"], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test accuracy" in done.stdout
    assert len(list((clone / "runs" / "cards").glob("*/card.md"))) == 1


def test_no_figure_of_the_documents_is_still_to_be_filled_in():
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        text = re.sub(r"```python.*?```", "", document.read_text(), flags=re.DOTALL)
        assert not re.findall(r"\b[A-Z]{9,}\b", text.replace("CONTRIBUTING", "").replace("CHANGELOG", "")), (
            document
        )
        assert not re.findall(r"<!-- (?!end)\w+ -->\n\n", text), document
