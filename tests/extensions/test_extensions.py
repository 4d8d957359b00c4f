"""Extensions by other packages: a toy package that is installed, edited, broken, and installed twice."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import Result, console_script, environment, people

from sweepgrad.runs import record as records

TOY = Path(__file__).with_name("toy")
ADDED = ["model.activation=swish", "optimizer=sign,sgd"]
GRID = (
    *("data=csv", "data.path=people.csv", "data.target=left", "data.positive=yes", "data.drop=[person]"),
    *("train.epochs=3", "select.metric=brier", *ADDED),
)


def install(site: Path, package: str = "sweepgrad-toy", module: str = "sweepgrad_toy") -> Path:
    """Put the toy package where an installer would, under another name if told; the file of its code."""
    shutil.copytree(TOY / "sweepgrad_toy", site / module)
    info = site / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[sweepgrad.extensions]\ntoy = {module}:register\n")
    return site / module / "__init__.py"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def run(folder: Path, site: Path, *words: str) -> Result:
    done = subprocess.run(
        words,
        cwd=folder,
        env={**environment(), "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def sweepgrad(folder: Path, site: Path, *words: str) -> Result:
    return run(folder, site, console_script(), *words)


def python(folder: Path, site: Path, code: str) -> str:
    done = run(folder, site, sys.executable, "-c", code)
    assert done.code == 0, done.err
    return done.out.strip()


def test_the_documents_show_it_as_it_is():
    said = (TOY.parents[2] / "docs" / "extending.md").read_text()
    assert (TOY / "sweepgrad_toy" / "__init__.py").read_text() in said
    assert (TOY / "sweepgrad_toy" / "conf" / "optimizer" / "sign.yaml").read_text() in said
    registration = '[project.entry-points."sweepgrad.extensions"]\ntoy = "sweepgrad_toy:register"\n'
    assert registration in said
    assert registration in (TOY / "pyproject.toml").read_text()


def test_a_name_that_is_taken_twice_names_both_packages(tmp_path, site):
    install(site)
    install(site, "another-toy", "another_toy")
    found = sweepgrad(tmp_path, site, "train", "--dry-run", "data=simulated")
    assert found.code == 2
    assert "optimizer 'sign' is in both another-toy and sweepgrad-toy" in found.err


def test_one_that_does_not_load_is_named_with_a_remedy(tmp_path, site):
    install(site).write_text("import nothing_like_it\n")
    found = sweepgrad(tmp_path, site, "train", "--dry-run", "data=simulated")
    assert found.code == 2
    said = " ".join(found.err.split())
    assert "the extension sweepgrad-toy cannot be loaded" in said
    assert "nothing_like_it" in said
    assert "Repair or uninstall it" in said
    assert "Traceback" not in found.err


def test_its_source_is_in_the_digest_of_the_code(tmp_path, site):
    code = "from sweepgrad.runs import provenance; print(provenance.code())"
    alone = python(tmp_path, site, code)
    file = install(site)
    before = python(tmp_path, site, code)
    file.write_text(file.read_text() + "\n")
    after = python(tmp_path, site, code)
    assert len({alone, before, after}) == 3


def test_one_in_a_namespace_is_in_the_digest_too(tmp_path, site):
    install(site, module="company/sweepgrad_toy")
    points = site / "sweepgrad_toy-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text().replace("/", "."))
    code = "from sweepgrad import extensions; extensions.load(); print(extensions.digests())"
    before = python(tmp_path, site, code)
    assert "sweepgrad-toy" in before
    file = site / "company" / "sweepgrad_toy" / "__init__.py"
    file.write_text(file.read_text() + "\n")
    assert python(tmp_path, site, code) != before


def test_settings_that_name_no_kind_are_told_in_a_line(tmp_path, site):
    file = install(site)
    file.write_text(file.read_text().replace('    name: Literal["sign"]\n', ""))
    found = sweepgrad(tmp_path, site, "train", "--dry-run", "data=simulated")
    assert found.code == 2
    assert "sweepgrad-toy" in found.err
    assert "Traceback" not in found.err


def test_an_option_that_is_not_there_names_those_that_are(tmp_path, site):
    install(site)
    found = sweepgrad(tmp_path, site, "train", "--dry-run", "data=simulated", "model.activation=gelu")
    assert "'gelu' should be one of relu, tanh, sigmoid, swish" in " ".join(found.err.split())
    found = sweepgrad(tmp_path, site, "train", "--dry-run", "data=simulated", "optimizer=sing")
    assert "sign" in found.err


def models(folder: Path) -> dict[str, bytes]:
    """The weights of each job, by its optimizer; its record is looked at on the way."""
    found = {}
    for path in sorted(folder.glob("*/record.json")):
        record = records.read(path.parent)
        assert record.status == "FINISHED"
        assert record.config["model"]["activation"] == "swish"
        assert "extension sweepgrad-toy" in record.environment
        assert 0 < record.summary["best/val/brier"] < 0.5
        bundle = json.loads((path.parent / "model/bundle.json").read_text())
        assert "age" in json.dumps(bundle)
        assert "after_visits" not in json.dumps(bundle)  # its check had the column dropped
        name = record.config["optimizer"]["name"]
        found[name] = (path.parent / "model/weights.npz").read_bytes()
    assert found.keys() == {"sign", "sgd"}
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frame = people()
    frame["after_visits"] = range(len(frame), 0, -1)
    frame["after_visits"] = frame["after_visits"] % 7 + 0.5
    frame.to_csv(tmp_path / "people.csv", index=False)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["threads", "dask"])
def test_a_sweep_with_each_and_what_is_reused_of_it(launcher, folder, site):
    file = install(site)
    first, again, edited = (folder / "runs" / "sweeps" / name for name in ("first", "again", "edited"))

    def sweep(into: Path) -> str:
        words = ("train", "--multirun", *GRID, f"hydra/launcher={launcher}", f"hydra.sweep.dir={into}")
        done = sweepgrad(folder, site, *words)
        assert done.code == 0, done.err
        return done.err

    sweep(first)
    trained = models(first)
    assert "2 runs had been trained before" in sweep(again)
    assert models(again) == trained
    file.write_text(file.read_text() + "\n")
    assert "trained before" not in sweep(edited)
    assert models(edited) == trained
    ranked = sweepgrad(folder, site, "leaderboard", "--json")
    assert ranked.code == 0, ranked.err
    entries = json.loads(ranked.out)["entries"]
    assert entries[0]["val/brier"] < entries[1]["val/brier"]  # less is better
    for file in site.rglob("entry_points.txt"):
        file.unlink()  # uninstalled
    without = sweepgrad(folder, site, "leaderboard")
    assert without.code == 0, without.err
    assert "extension that defines them" in " ".join(without.err.split())
    assert "Traceback" not in without.err


@pytest.mark.slow
def test_both_engines_train_it_alike(folder, site):
    install(site)
    for engine in ("native", "numpy"):
        words = ("train", "--multirun", *GRID, f"engine.name={engine}", f"hydra.sweep.dir=runs/{engine}")
        done = sweepgrad(folder, site, *words)
        assert done.code == 0, done.err
    for one in sorted((folder / "runs/native").glob("*/record.json")):
        other = folder / "runs/numpy" / one.parent.name
        a, b = records.read(one.parent), records.read(other)
        assert a.summary["best/val/nll"] == pytest.approx(b.summary["best/val/nll"], rel=1e-9)
