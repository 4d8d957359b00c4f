"""The house stays as it was planned: who imports whom, and who alone may do what."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
from tests.structure import SRC, circles, imports, name_of, project, rooms, trees

FILES = sorted(SRC.rglob("*.py"))
MODULES = trees()
GRAPH = project()

# From the ground upwards. A package imports from lower floors only, never from its own or from a higher one.
FLOORS = (
    ("errors", "extensions", "files", "messages", "paths", "process", "rng"),
    ("autograd", "bounded", "config", "stats"),
    ("compose", "drawing", "engine", "nn", "tasks"),
    ("data",),
    ("training",),
    ("bundle", "runs"),
    ("tracking",),
    ("selection", "sweeps"),
    ("hydra_plugins", "lab", "verify"),
    ("api",),
    ("cli",),
)
FLOOR = {package: number for number, packages in enumerate(FLOORS, 1) for package in packages}


def package_of(module: str) -> str:
    return module.removeprefix("sweepgrad.").partition(".")[0]


def files_that_import(package: str) -> set[str]:
    return {
        module
        for module, tree in MODULES.items()
        if any(name == package or name.startswith(f"{package}.") for name in imports(tree))
    }


def test_imports_go_round_in_no_circle():
    assert circles(GRAPH) == []


PACKAGES = sorted({name.rpartition(".")[0] for name in MODULES} - {""})


@pytest.mark.parametrize("inside", PACKAGES)
def test_the_rooms_of_a_package_import_one_another_in_no_circle(inside):
    assert circles(rooms(GRAPH, inside)) == []


def test_every_package_stands_on_a_floor():
    assert {package_of(module) for module in MODULES} - {"sweepgrad"} == set(FLOOR)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down_the_floors(module):
    if module == "sweepgrad":  # it hands on names of many floors, when they are asked for
        return
    here = package_of(module)
    others = {package_of(other) for other in GRAPH[module]} - {here}
    assert not [other for other in others if FLOOR[other] >= FLOOR[here]]


def test_data_knows_only_the_configuration_the_task_and_metrics():
    allowed = {"data", "bounded", "config", "stats", "tasks", *FLOORS[0]}
    for module, others in GRAPH.items():
        if package_of(module) == "data":
            assert {package_of(other) for other in others} <= allowed, module


def test_the_training_loop_knows_nothing_of_configuration_or_data():
    for module in GRAPH:
        if package_of(module) in ("engine", "nn") or module == "sweepgrad.training.loop":
            assert not {package_of(other) for other in GRAPH[module]} & {"config", "data"}, module


@pytest.mark.parametrize("module", sorted(MODULES))
def test_what_a_score_means_and_which_metrics_there_are_stands_in_tasks_and_stats(module):
    """Elsewhere all goes over `Task` and `Metric`; experiments on theory are of the binary task."""
    knows = {"sweepgrad.config.metrics", "sweepgrad.autograd.functional"}
    if package_of(module) in ("tasks", "stats", "lab") or module in knows:
        return
    words = {word for node in ast.walk(MODULES[module]) for word in named_in(node)}
    assert not words & {"roc_auc", "margins"}


def named_in(node: ast.AST) -> set[str]:
    """Return the identifiers and the words of strings that a node itself holds."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.alias(name=name):
            return {name}
        case ast.keyword(arg=str(name)):
            return {name}
        case ast.Constant(value=str(text)):
            return set(re.findall(r"\w+", text))
    return set()


def test_only_finalize_and_evaluate_open_the_test_rows():
    users = {
        module
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).endswith("open_test"))
        or (isinstance(node, ast.ImportFrom) and any(alias.name == "open_test" for alias in node.names))
    }
    assert users == {"sweepgrad.selection.finalize", "sweepgrad.selection.evaluate"}


def test_what_opens_all_parts_is_private_to_access():
    private = {"_open", "_opened", "_prepared", "_rows", "_training"}
    found = {
        (module, node.attr)
        for module, others in GRAPH.items()
        if "sweepgrad.data.access" in others
        for node in ast.walk(MODULES[module])
        if isinstance(node, ast.Attribute) and node.attr in private and ast.unparse(node.value) != "self"
    }
    assert not found
    assert not [
        name
        for tree in MODULES.values()
        for name in imports(tree)
        if name.startswith("sweepgrad.data.access._")
    ]


def test_only_access_reads_tables():
    """All else in `data` is handed what it works on, and nothing outside knows where columns come from."""
    readers = {"read", "open_columns", "SimulatedColumns", "ParquetColumns", "CsvColumns"}
    names = {
        (module, *name.rpartition(".")[::2])
        for module, tree in MODULES.items()
        for name in imports(tree)
        if name.startswith("sweepgrad.data.")
    }
    allowed = {"sweepgrad.data.access", "sweepgrad.data.table", "sweepgrad.data.io.files"}
    assert {module for module, _, what in names if what in readers} == allowed
    sources = {"sweepgrad.data.table", "sweepgrad.data.io.columns"}
    assert not [name for name in names if name[1] in sources and not name[0].startswith("sweepgrad.data")]


def test_only_tracking_imports_mlflow():
    assert files_that_import("mlflow") == {
        "sweepgrad.tracking.connection",
        "sweepgrad.tracking.duplicates",
        "sweepgrad.tracking.entities",
        "sweepgrad.tracking.evaluations",
        "sweepgrad.tracking.experiment",
        "sweepgrad.tracking.mapping",
        "sweepgrad.tracking.models",
        "sweepgrad.tracking.pyfunc",
        "sweepgrad.tracking.sqlite_store",
    }


def test_only_entities_makes_what_is_sent_to_mlflow():
    """There texts are escaped and cut; elsewhere a name or a value could be sent raw."""
    made = {"Metric", "Param", "RunTag", "Dataset", "ExperimentTag"}
    for module, tree in MODULES.items():
        if module == "sweepgrad.tracking.entities" or package_of(module) != "tracking":
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func).rpartition(".")[2]
            assert called not in made, module
            if called in ("create_run", "create_experiment"):
                named = [
                    ast.unparse(word.value) for word in node.keywords if word.arg in ("tags", "run_name")
                ]
                named += [ast.unparse(argument) for argument in node.args[2:]]
                assert all(text in ESCAPED or text.startswith("entities.") for text in named), (module, named)


ESCAPED = {"own", "name", "tags"}  # local names in `tracking.store`, made by `entities`


def test_only_the_search_imports_optuna():
    assert files_that_import("optuna") == {
        "sweepgrad.sweeps.search.suggest",
        "sweepgrad.sweeps.search.journal",
    }


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


def test_only_compose_touches_what_hydra_does_not_promise():
    """Plugins are made of base classes and records of `hydra.core`; the same of nobody else."""
    assert {package_of(name) for name in files_that_import("hydra._internal")} == {"compose"}
    assert {package_of(name) for name in files_that_import("hydra.core")} == {"compose", "hydra_plugins"}
    assert not files_that_import("omegaconf._impl")
    assert files_that_import("omegaconf._utils") == {"sweepgrad.compose.yaml_files"}  # its YAML loader


def test_only_files_locks():
    assert files_that_import("fcntl") == {"sweepgrad.files"}


def test_hydra_main_is_not_used():
    """Every configuration goes through `compose.allowed`; `hydra.main` composes with a loader of its own."""
    assert not {name for name, tree in MODULES.items() if "hydra.main" in ast.unparse(tree)}


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
    # One is longer for a reason: all operations are in one place, each with its local gradients.
    limit = {"value.py": 500}.get(file.name, 300)
    assert len(file.read_text().splitlines()) <= limit


def test_yaml_names_no_importable_path():
    for file in (SRC.parent / "conf").rglob("*.yaml"):
        assert "_target_" not in file.read_text(), file


# What reads text or arrays from outside without limits of its own, and the modules that add them.
RAW_READERS = {
    "yaml.safe_load",
    "yaml.load",
    "yaml.full_load",
    "yaml.load_all",
    "yaml.safe_load_all",
    "yaml.compose",
    "yaml.parse",
    "json.load",
    "json.loads",
    "from_json",
    "OmegaConf.load",
    "np.load",
    "np.loadtxt",
    "np.genfromtxt",
    "np.fromfile",
    "csv.reader",
    "csv.DictReader",
    "pd.read_csv",
    "pd.read_json",
    "pd.read_parquet",
    "zipfile.ZipFile",
    "tomllib.load",
}
READ_WITHIN_LIMITS = {
    "sweepgrad.bounded.arrays": {"zipfile.ZipFile"},
    "sweepgrad.bounded.reading": {"from_json", "json.loads"},
    "sweepgrad.data.io.files": {"pd.read_csv"},  # of bytes whose size and header were checked
    # Lines whose size was checked; values may be infinite, which `reading.parse` refuses.
    "sweepgrad.sweeps.search.journal_lines": {"from_json", "json.loads"},
    "sweepgrad.tracking.models": {
        "yaml.parse"
    },  # MLflow's MLmodel, whose size is limited and aliases refused
}


@pytest.mark.parametrize("module", MODULES)
def test_nothing_from_outside_is_read_without_limits(module):
    found = {
        called
        for node in ast.walk(MODULES[module])
        if isinstance(node, ast.Call) and (called := ast.unparse(node.func)) in RAW_READERS
    }
    assert found <= READ_WITHIN_LIMITS.get(module, set()), "read with sweepgrad.bounded or compose.yaml_files"
    names = {name.rpartition(".")[2] for name in imports(MODULES[module])} & {
        "safe_load",
        "loads",
        "DictReader",
    }
    assert not names, "call it by its module's name, so that this test sees it"
