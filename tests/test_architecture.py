"""The house stays as it was planned: who imports whom, and who alone may do what."""

import ast
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
FILES = sorted(SRC.rglob("*.py"))
TREES = {file: ast.parse(file.read_text()) for file in FILES}

# Each module imports from those of earlier layers only, or from its own layer without a circle.
LAYERS = (
    (
        "sweepgrad",
        "sweepgrad.errors",
        "sweepgrad.home",
        "sweepgrad.rng",
        "sweepgrad.metrics",
        "sweepgrad.temperature",
        "sweepgrad.thresholds",
        "sweepgrad.crossed",
        "sweepgrad.selection",
        "sweepgrad.process",
        "sweepgrad.versions",
    ),
    ("sweepgrad.autograd", "sweepgrad.sections", "sweepgrad.config", "sweepgrad.faults"),
    ("sweepgrad.engine", "sweepgrad.drawing"),
    (
        "sweepgrad.nn",
        "sweepgrad.optim",
        "sweepgrad.data",
        "sweepgrad.combinations",
        "sweepgrad.compose",
        "sweepgrad.launchers",
        "sweepgrad.origins",
        "sweepgrad.preflight",
    ),
    (
        "sweepgrad.order",
        "sweepgrad.steps",
        "sweepgrad.signs",
        "sweepgrad.divergence",
        "sweepgrad.examples",
        "sweepgrad.fit",
    ),
    ("sweepgrad.mlp", "sweepgrad.bundle", "sweepgrad.plots"),
    ("sweepgrad.experiment", "sweepgrad.blind"),
    ("sweepgrad.diagnosis", "sweepgrad.record", "sweepgrad.folders", "sweepgrad.note", "sweepgrad.openings"),
    ("sweepgrad.reach", "sweepgrad.entities", "sweepgrad.models", "sweepgrad.tracking", "sweepgrad.pyfunc"),
    ("sweepgrad.writer",),
    (
        "sweepgrad.outbox",
        "sweepgrad.sweep",
        "sweepgrad.space",
        "sweepgrad.study",
        "sweepgrad.search",
    ),
    (
        "sweepgrad.selection",
        "sweepgrad.ranking",
        "sweepgrad.ensembles",
        "sweepgrad.candidates",
        "sweepgrad.decide",
        "sweepgrad.leaderboard",
        "sweepgrad.sync",
        "sweepgrad.card",
        "sweepgrad.card_page",
        "sweepgrad.judge",
        "sweepgrad.evaluation",
        "sweepgrad.evaluation_page",
        "sweepgrad.doctor",
        "sweepgrad.ready",
        "sweepgrad.copies",
    ),
    ("sweepgrad.task",),
    (
        "sweepgrad.launch",
        "sweepgrad.train",
        "sweepgrad.listing",
        "sweepgrad.draw",
        "sweepgrad.gradcheck",
        "sweepgrad.differences",
        "sweepgrad.comparison",
        "sweepgrad.verify",
        "sweepgrad.continuing",
    ),
    ("sweepgrad.finalize", "sweepgrad.evaluate", "sweepgrad.ui"),
    ("sweepgrad.lab",),
    ("sweepgrad.verbs", "sweepgrad.completion", "sweepgrad.cli", "hydra_plugins"),
)


def name_of(file: Path) -> str:
    parts = file.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): tree for file, tree in TREES.items()}


def imports(tree: ast.AST) -> set[str]:
    """Everything a module imports, also inside functions, but not what is there for type checkers only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(module: str, tree: ast.AST) -> set[str]:
    """The modules of ours that a module imports."""
    known = (name if name in MODULES else name.rpartition(".")[0] for name in imports(tree))
    return {name for name in known if name in MODULES and name not in (module, "sweepgrad")}


def layer(module: str) -> int:
    for number, names in enumerate(LAYERS):
        if any(module == name or (module.startswith(f"{name}.") and name != "sweepgrad") for name in names):
            return number
    raise AssertionError(f"{module} has no layer: say in LAYERS where it belongs")


def files_that_import(package: str) -> set[str]:
    return {
        module
        for module, tree in MODULES.items()
        if any(name == package or name.startswith(f"{package}.") for name in imports(tree))
    }


def test_imports_go_round_in_no_circle():
    TopologicalSorter({module: ours(module, tree) for module, tree in MODULES.items()}).prepare()


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_the_layers(module):
    upwards = [other for other in ours(module, MODULES[module]) if layer(other) > layer(module)]
    assert not upwards


def test_data_and_metrics_know_only_the_configuration_and_one_another():
    allowed = {"sweepgrad.config", "sweepgrad.errors", "sweepgrad.rng", "sweepgrad.metrics", "sweepgrad.home"}
    for module, tree in MODULES.items():
        if module.startswith("sweepgrad.data"):
            others = {name for name in ours(module, tree) if not name.startswith("sweepgrad.data")}
            assert others <= allowed, module


def test_the_engine_knows_nothing_of_configuration_data_or_tracking():
    for module in ("nn", "optim", "fit"):
        others = ours(f"sweepgrad.{module}", MODULES[f"sweepgrad.{module}"])
        assert not others & {"sweepgrad.config", "sweepgrad.tracking", "sweepgrad.record"}
        assert not any(name.startswith("sweepgrad.data") for name in others)


def test_only_finalize_and_evaluate_open_the_test_rows():
    users = {
        module
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).endswith("open_test"))
        or (isinstance(node, ast.ImportFrom) and any(alias.name == "open_test" for alias in node.names))
    }
    assert users == {"sweepgrad.finalize", "sweepgrad.evaluate"}


def test_what_opens_all_parts_stays_behind_the_doors():
    inside = {module for module, tree in MODULES.items() if "sweepgrad.data.doors._open" in imports(tree)}
    assert not inside


def test_only_the_doors_read_tables():
    """All else in `data` is handed what it works on, and nothing outside knows where columns come from."""
    readers = {"read", "open_columns", "SimulatedColumns", "ParquetColumns", "CsvColumns"}
    names = {
        (module, *name.rpartition(".")[::2])
        for module, tree in MODULES.items()
        for name in imports(tree)
        if name.startswith("sweepgrad.data.")
    }
    allowed = {"sweepgrad.data.doors", "sweepgrad.data.table", "sweepgrad.data.file"}
    assert {module for module, _, what in names if what in readers} == allowed
    sources = {"sweepgrad.data.table", "sweepgrad.data.columnar"}
    assert not [name for name in names if name[1] in sources and not name[0].startswith("sweepgrad.data")]


def test_only_what_speaks_mlflows_words_imports_it():
    assert files_that_import("mlflow") == {
        "sweepgrad.tracking",
        "sweepgrad.reach",
        "sweepgrad.entities",
        "sweepgrad.models",
        "sweepgrad.pyfunc",
    }


def test_only_the_search_imports_optuna():
    assert files_that_import("optuna") == {"sweepgrad.search", "sweepgrad.study"}


def test_plugins_are_imported_at_every_start_and_so_import_little():
    code = f"""if True:
        import sys
        for name in {[name for name in MODULES if name.startswith("hydra_plugins.")]}:
            __import__(name)
        print(*{{name.partition(".")[0] for name in sys.modules}})
        print(*(name for name in sys.modules if name.startswith("sweepgrad")))
    """
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    packages, ours = (line.split() for line in said.splitlines())
    assert not {"optuna", "numpy", "pandas", "mlflow", "distributed"} & set(packages)
    assert set(ours) == {"sweepgrad", "sweepgrad.errors"}


def test_plugins_stand_where_hydra_looks():
    assert not (SRC / "hydra_plugins" / "__init__.py").exists()  # else it would hide other people's plugins
    with (SRC.parent / "pyproject.toml").open("rb") as file:
        shipped = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert {"src/sweepgrad", "src/hydra_plugins"} <= set(shipped)


def test_one_module_holds_hydra_main():
    holders = {name for name, tree in MODULES.items() if "hydra.main" in ast.unparse(tree)}
    assert holders == {"sweepgrad.train"}


@pytest.mark.parametrize(
    "package", ["pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal", "random"]
)
def test_never_imported(package):
    assert not files_that_import(package)


@pytest.mark.parametrize("module", MODULES)
def test_no_code_from_text_and_no_unpickling(module):
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "compile", "__import__")
            assert called not in ("yaml.load", "yaml.unsafe_load", "pd.read_pickle")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert ast.unparse(node.value) == "False"


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_drawn_from_a_global_generator(module):
    text = ast.unparse(MODULES[module])
    assert "np.random" not in text
    assert "numpy.random" not in text


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_module_is_too_long_to_read(file):
    # Two are longer for a reason: all that is said to MLflow is in one place, and so are all operations, each
    # with its local gradients.
    limit = {"tracking.py": 420, "value.py": 500}.get(file.name, 300)
    assert len(file.read_text().splitlines()) <= limit


def test_yaml_names_no_importable_path():
    for file in (SRC.parent / "conf").rglob("*.yaml"):
        assert "_target_" not in file.read_text(), file
