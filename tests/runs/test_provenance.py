"""What a run's digest says of the code: all that trains, and nothing else."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from tests.structure import modules, trees
from threadpoolctl import threadpool_info

from sweepgrad.runs import provenance

GRAPH = modules(trees())
PACKAGE = Path(provenance.__file__).parents[1]


def closure(module: str) -> set[str]:
    """All that a module imports, and what these do, and so on; and the module."""
    found, left = set[str](), [module]
    while left:
        here = left.pop()
        if here not in found:
            found.add(here)
            left += GRAPH[here]
    return found


def hashed(module: str) -> bool:
    """Whether a module's file is one of those, or in a folder of those."""
    top = module.split(".")[1]
    return top in provenance.TRAINED_BY if (PACKAGE / top).is_dir() else f"{top}.py" in provenance.TRAINED_BY


def test_all_that_an_experiment_stands_on_is_in_the_digest():
    assert not [module for module in closure("sweepgrad.training.experiment") if not hashed(module)]


def test_nothing_else_is_so_that_what_was_trained_stays_good():
    needed = closure("sweepgrad.training.experiment")
    assert {
        "sweepgrad.training.loop",
        "sweepgrad.rng",
        "sweepgrad.engine.loops",
    } <= needed  # the closure is one
    for name in provenance.TRAINED_BY:
        below = [module for module in GRAPH if module.split(".")[1:2] == [name.removesuffix(".py")]]
        assert below
        assert needed & set(below), f"{name} has no say in what is trained"


def test_what_is_named_is_there():
    assert all((PACKAGE / name).exists() for name in provenance.TRAINED_BY)


def code_of(package: Path) -> str:
    """The digest that a copy of the package has."""
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


def test_a_byte_that_moves_to_another_file_makes_another_digest(package):
    one, other = package / "autograd" / "functional.py", package / "autograd" / "value.py"
    text = other.read_bytes()
    one.write_bytes(one.read_bytes() + text[:1])
    other.write_bytes(text[1:])
    assert code_of(package) != provenance.code()


@pytest.mark.parametrize("name", ["numpy", "scipy", "pandas", "pyarrow", "numba", "llvmlite"])
def test_another_version_of_what_computes_makes_another_digest(name, monkeypatch):
    before = provenance.code()
    known = provenance._version
    monkeypatch.setattr(provenance, "_version", lambda package: "0" if package == name else known(package))
    assert provenance.code.__wrapped__() != before


@pytest.mark.parametrize(
    "name", ["cli/main.py", "tracking/store.py", "sweep/progress.py", "selection/card.py"]
)
def test_what_has_no_say_in_training_changes_nothing(name, package):
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
        "code: aaaaaaaaaaaa then, bbbbbbbbbbbb now (SHA-256 of what trains and what it stands on)",
        "instructions: zen then, skylake now, without avx2, with avx512f",
        "numpy: 1.0 then, 2.0 now",
    )
    assert provenance.differences({}, {"processor": "P"}) == ("processor: not recorded then, now P",)
