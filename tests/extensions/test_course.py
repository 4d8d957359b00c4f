"""The question of docs/lab/teaching.md: a package of its own adds it to the lab."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.support import Result, console_script, environment

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


def test_its_question_is_listed_and_answered_like_the_others(site):
    listed = run(site, console_script(), "lab")
    assert (listed.code, listed.err) == (0, "")
    assert [line.split()[:2] for line in listed.out.splitlines()][:2] == [["sgd", "1"], ["batch", "1(iii)"]]
    answered = run(site, console_script(), "lab", "batch", "sizes=[2,200]", "draws=500", "--json")
    assert answered.code == 0, answered.err
    answer = json.loads(answered.out)
    assert answer["holds"] is True
    files = {file.name for file in (site.parent / answer["folder"]).iterdir()}
    assert files == {"finding.json", "finding.md", "batch.svg", "batch-dark.svg"}


def test_a_notebook_asks_it_too_and_its_claim_can_fail(site):
    """Without replacement the variance is smaller, which shows if batches are large."""
    code = (
        "import sweepgrad as sg; from my_course import batch; import numpy as np;"
        "print(sg.ask('batch', 'sizes=[2,200]').holds);"
        "batch.variance = lambda g, n, s: np.var("
        "[g[np.argsort(batch.rng.uniform(batch.rng.key(0, 'x', n, i), (len(g),)))[:n]].mean()"
        " for i in range(s.draws)]);"
        "print(sg.ask('batch', 'sizes=[2,200]').holds)"
    )
    done = run(site, sys.executable, "-c", code)
    assert done.code == 0, done.err
    assert done.out.split() == ["True", "False"]
