"""The question of docs/lab/teaching.md: a package of its own adds it to the lab."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.support import Result, environment

COURSE = Path(__file__).with_name("course")
PACKAGE = COURSE / "my_course"
PAGE = COURSE.parents[2] / "docs" / "lab" / "teaching.md"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Put the package where an installer would."""
    folder = tmp_path / "site"
    shutil.copytree(PACKAGE, folder / "my_course")
    info = folder / "my_course-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-course\nVersion: 1.0\n")
    project = tomllib.loads((COURSE / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["entry-points"]["sweepgrad.extensions"].items()
    (info / "entry_points.txt").write_text(f"[sweepgrad.extensions]\n{name} = {value}\n")
    return folder


def run(site: Path, *words: str) -> Result:
    done = subprocess.run(
        words,
        cwd=site.parent,
        env={**environment(), "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def test_the_page_shows_the_package_as_it_is():
    page = PAGE.read_text(encoding="utf-8")
    files = [file for file in PACKAGE.rglob("*") if file.suffix in (".py", ".yaml")]
    assert len(files) == 3
    for file in files:
        assert f"\n{file.read_text(encoding='utf-8')}```\n" in page, file
        assert str(file.relative_to(COURSE)) in page
    assert f"```toml\n{(COURSE / 'pyproject.toml').read_text(encoding='utf-8')}```\n" in page


ASKED = """
import sweepgrad as sg
from sweepgrad.cli.main import main

print(main(["lab"]), flush=True)
print(main(["lab", "batch", "sizes=[2,200]", "draws=500", "--json"]), flush=True)

import numpy as np
from my_course import batch

print(sg.ask("batch", "sizes=[2,200]").holds)
batch.variance = lambda g, n, s: np.var(
    [
        g[np.argsort(batch.rng.uniform(batch.rng.key(0, "x", n, i), (len(g),)))[:n]].mean()
        for i in range(s.draws)
    ]
)
print(sg.ask("batch", "sizes=[2,200]").holds)
"""


@pytest.mark.slow
def test_its_question_is_answered_like_the_others_and_its_claim_can_fail(site):
    """Without replacement the variance is smaller, which shows if batches are large."""
    done = run(site, sys.executable, "-c", ASKED)
    assert done.code == 0, done.err
    listed, _, rest = done.out.partition("\n0\n")
    assert [line.split()[:2] for line in listed.splitlines()][:2] == [["sgd", "1"], ["batch", "1(iii)"]]
    answered, _, held = rest.partition("\n0\n")
    answer = json.loads(answered)
    assert answer["holds"] is True
    files = {file.name for file in (site.parent / answer["folder"]).iterdir()}
    assert files == {"finding.json", "finding.md", "batch.svg", "batch-dark.svg"}
    assert held.split() == ["True", "False"]
