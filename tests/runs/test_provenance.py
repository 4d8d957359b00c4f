"""The digest of the code covers everything that trains, and nothing else."""

import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.structure import project
from threadpoolctl import threadpool_info

from sweepgrad.runs import imports, provenance

GRAPH = project()
PACKAGE = Path(provenance.__file__).parents[1]


def closure(module: str) -> set[str]:
    """Return a module and all that it imports, directly or through others."""
    found, left = set[str](), [module]
    while left:
        here = left.pop()
        if here not in found:
            found.add(here)
            left += GRAPH[here]
    return found


def hashed() -> set[str]:
    """Return the modules whose text the digest of the code covers."""
    found = imports.closure("sweepgrad.training.experiment", [PACKAGE])
    return {module for module, file in found.items() if file.name != "__init__.py"}


def packages(names: set[str]) -> set[str]:
    return {name for name in names if (PACKAGE.parent / name.replace(".", "/")).is_dir()}


def test_the_digest_covers_what_an_experiment_imports_and_nothing_else():
    needed = closure("sweepgrad.training.experiment")
    assert {"sweepgrad.training.loop", "sweepgrad.rng", "sweepgrad.engine.loops"} <= needed
    # GRAPH counts imports for type checkers too, which run nothing.
    assert hashed() <= needed - packages(needed)
    assert not {name.split(".")[1] for name in hashed()} & {"cli", "lab", "runs", "sweep", "tracking"}


def test_every_module_that_is_imported_is_in_the_digest(tmp_path):
    program = (
        "import sys, sweepgrad.training.experiment, sweepgrad.engine.native, sweepgrad.engine.reference;"
        "print(*(name for name in sys.modules if name.startswith('sweepgrad.')))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert imported - packages(imported) <= hashed()


def test_imports_inside_functions_count_and_those_for_type_checkers_do_not(tmp_path):
    folder = tmp_path / "sweepgrad"
    folder.mkdir()
    texts = {
        "__init__": "",
        "top": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sweepgrad.typed\n"
        "def late():\n    try:\n        from sweepgrad import inside\n"
        "    except ImportError:\n        import sweepgrad.fallback, numpy\n",
        "inside": "from sweepgrad.top import late",
        **dict.fromkeys(("typed", "fallback", "other"), ""),
    }
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    found = imports.closure("sweepgrad.top", [folder])
    names = ("sweepgrad", "sweepgrad.top", "sweepgrad.inside", "sweepgrad.fallback")
    assert found.keys() == set(names)


def test_a_module_is_read_from_the_first_place_that_has_it(tmp_path):
    first = tmp_path / "sweepgrad"
    first.mkdir()
    (first / "rng.py").write_text("")
    found = imports.closure("sweepgrad.training.experiment", [first, PACKAGE])
    assert found["sweepgrad.rng"] == first / "rng.py"
    assert found["sweepgrad.errors"] == PACKAGE / "errors.py"


def test_the_digest_is_quick():
    start = time.process_time()
    provenance.code.__wrapped__()
    assert time.process_time() - start < 1  # about 0.1 s: each process computes it once


def code_of(package: Path) -> str:
    """Return the digest of a copy of the package."""
    spec = importlib.util.spec_from_file_location("copied_provenance", package / "runs" / "provenance.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.code())


@pytest.fixture
def package(tmp_path) -> Path:
    copy = shutil.copytree(PACKAGE, tmp_path / "sweepgrad", ignore=shutil.ignore_patterns("__pycache__"))
    return Path(copy)


def test_a_copy_elsewhere_has_the_same_digest(package):
    assert code_of(package) == provenance.code()


@pytest.mark.parametrize(
    "name", ["training/loop.py", "engine/loops.py", "autograd/value.py", "data/split.py", "rng.py"]
)
def test_one_byte_of_what_trains_makes_another_digest(name, package):
    file = package / name
    file.write_bytes(file.read_bytes() + b"\n")
    assert code_of(package) != provenance.code()


def test_the_code_that_describes_a_run_has_a_digest_of_its_own():
    """Differences in its texts do not make another result."""
    here = provenance.environment()
    assert len(here["record_code"]) == 64
    assert here["record_code"] != here["code"]
    assert provenance.differences(here, here | {"record_code": "another"}) == ()


def test_a_byte_that_moves_to_another_file_makes_another_digest(package):
    one, other = package / "autograd" / "functional.py", package / "autograd" / "value.py"
    text = other.read_bytes()
    one.write_bytes(one.read_bytes() + text[-1:])
    other.write_bytes(text[:-1])
    assert code_of(package) != provenance.code()


@pytest.mark.parametrize("name", ["numpy", "scipy", "pandas", "pyarrow", "numba", "llvmlite"])
def test_another_version_of_what_computes_makes_another_digest(name, monkeypatch):
    before = provenance.code()
    known = provenance._version
    monkeypatch.setattr(provenance, "_version", lambda package: "0" if package == name else known(package))
    assert provenance.code.__wrapped__() != before


@pytest.mark.parametrize(
    "name",
    ["__init__.py", "cli/main.py", "tracking/store.py", "selection/card.py", "training/diagnosis.py"],
)
def test_code_that_does_not_train_changes_nothing(name, package):
    (package / name).write_text("another")
    assert code_of(package) == provenance.code()


def test_the_environment_names_what_computes():
    found = provenance.environment()
    assert {"python", "platform", "numpy", "numba", "mlflow", "sweepgrad"} <= found.keys()
    assert found["code"] == provenance.code()
    assert len(found["code"]) == 64


def test_the_environment_says_what_decides_rounding():
    found = provenance.environment()
    assert found["processor"]
    kinds = [library["internal_api"] for library in threadpool_info() if library["user_api"] == "blas"]
    assert kinds  # NumPy's, and SciPy's
    assert {name.split()[0] for name in found["blas"].split(", ")} == set(kinds)
    assert len(found["instructions"].split()) > 3  # the compiler is there


def test_the_same_environment_differs_in_nothing():
    here = provenance.environment()
    assert provenance.differences(here, dict(here)) == ()
    elsewhere = here | {"host": "another", "mlflow": "0.1", "hydra-core": "0.1", "sweepgrad": "0.1"}
    assert provenance.differences(here, elsewhere) == ()


def test_what_differs_is_named_exactly():
    then = {"numpy": "1.0", "code": "a" * 64, "instructions": "zen fma avx2", "blas": "x"}
    now = {"numpy": "2.0", "code": "b" * 64, "instructions": "skylake fma avx512f", "blas": "x"}
    assert provenance.differences(then, now) == (
        "code: was aaaaaaaaaaaa, now bbbbbbbbbbbb (SHA-256 of the training code and its libraries)",
        "instructions: was zen, now skylake, without avx2, with avx512f",
        "numpy: was 1.0, now 2.0",
    )
    assert provenance.differences({}, {"processor": "P"}) == ("processor: was not recorded, now P",)
