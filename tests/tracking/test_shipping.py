"""A model brings along the modules that loading it takes, and no others."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tests.support import CSV, command, environment, inside, people

from sweepgrad.tracking import shipping

SRC = Path(shipping.__file__).parents[2]

PREDICT = f"""if True:
    import sys, warnings
    if sys.argv[2] == "hidden":
        sys.path = [place for place in sys.path if place != {str(SRC)!r}]
        sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
    warnings.simplefilter("ignore")
    import mlflow, pandas
    model = mlflow.pyfunc.load_model(sys.argv[1])
    print(model.predict(pandas.read_csv("people.csv")).to_json(double_precision=15))
    import sweepgrad
    print(sweepgrad.__file__)
    try:
        from sweepgrad.data import split
        print(split.__file__)
    except ImportError:
        print("absent")
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, empty_store) -> Path:
    folder = tmp_path_factory.mktemp("shipped")
    people().to_csv(folder / "people.csv", index=False)
    with inside(folder, empty_store):
        assert (
            command("train", *CSV, "data.group=person", "train.epochs=2", "hydra.run.dir=runs/it").code == 0
        )
    return Path(folder)


def model_of(folder: Path) -> Path:
    (described,) = folder.glob("runs/mlartifacts/**/MLmodel")
    return Path(described.parent)


def test_nothing_that_sends_sweeps_or_prints_comes_along(trained):
    code = model_of(trained) / "code" / "sweepgrad"
    modules = {path.relative_to(code).as_posix() for path in code.rglob("*.py")}
    assert "training/bundle.py" in modules
    assert {name.partition("/")[0] for name in modules} <= {
        *("__init__.py", "errors.py", "extensions.py", "rng.py"),
        *("autograd", "bounded", "config", "data", "messages", "nn", "stats", "tasks", "training"),
    }
    assert not modules & {"data/access.py", "messages/terminal.py"}  # nor what reads tables or prints


@pytest.mark.parametrize("installed", ["hidden", pytest.param("there", marks=pytest.mark.slow)])
def test_a_model_loads_with_and_without_us(trained, installed):
    from sweepgrad.training.bundle import Bundle

    model = model_of(trained)
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, str(model), installed],
        cwd=trained,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    printed, where, elsewhere = done.stdout.splitlines()[-3:]
    assert Path(where) == model / "code" / "sweepgrad" / "__init__.py"
    assert elsewhere == "absent" if installed == "hidden" else Path(elsewhere).is_relative_to(SRC)
    expected = Bundle.load(trained / "runs" / "it" / "model").predict(pd.read_csv(trained / "people.csv"))
    assert printed == expected.to_json(double_precision=15)
