"""What a run's numbers depend on besides its configuration and its data: our code, and what it stands on."""

import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sweepgrad import extensions

# What `training.experiment` stands on, itself included: a change elsewhere does not change a trained model.
TRAINED_BY = (
    "autograd",
    "config",
    "data",
    "engine",
    "nn",
    "stats",
    "tasks",
    "training",
    "errors.py",
    "extensions.py",
    "messages.py",
    "paths.py",
    "rng.py",
)
_PACKAGES = ("sweepgrad", "numpy", "scipy", "pandas", "pyarrow", "hydra-core", "omegaconf", "mlflow")
_COMPILERS = ("numba", "llvmlite")  # without them NumPy takes the engine's place


@cache
def code() -> str:
    """SHA-256 of the source that trains, extensions' included, and of the names and versions below it."""
    digest = sha256()
    for name in TRAINED_BY:
        for package in _packages():
            path = package / name
            for file in sorted(path.rglob("*.py")) if path.is_dir() else filter(Path.exists, [path]):
                digest.update(f"{file.relative_to(package)}\0".encode())
                digest.update(file.read_bytes())
    for name in ("numpy", "scipy", "pandas", "pyarrow", *_COMPILERS):
        digest.update(f"{name} {_version(name)}\0".encode())
    for name, source in extensions.digests().items():
        digest.update(f"{name} {source}\0".encode())
    digest.update(platform.machine().encode())
    return digest.hexdigest()


def _packages() -> list[Path]:
    """Return the folders that the package's modules come from.

    There are two where a model was loaded first that brought modules along: those run in the place of ours.
    """
    own, places = Path(__file__).parents[1], [Path(place) for place in sys.modules["sweepgrad"].__path__]
    return places if own in places else [own]


def environment() -> dict[str, str]:
    """Versions, platform and machine, for people who look at a run later, and for `differences`."""
    return {
        "code": code(),
        **_platform(),
        **_machine(),
        **{name: _version(name) for name in (*_PACKAGES, *_COMPILERS)},
        **{f"extension {name}": source[:12] for name, source in extensions.digests().items()},
    }


@cache
def _platform() -> dict[str, str]:
    return {"python": platform.python_version(), "platform": platform.platform(), "host": platform.node()}


@cache
def _machine() -> dict[str, str]:
    """What decides how sums are rounded: the processor, what the compiler knows of it, and BLAS.

    Both NumPy and SciPy bring a BLAS, and both are looked at, whichever is in use so far.
    """
    import numpy as np  # noqa: F401 - loads its BLAS
    from scipy.linalg import cython_blas  # noqa: F401 - likewise
    from threadpoolctl import threadpool_info

    blas = {
        " ".join(str(library.get(key)) for key in ("internal_api", "version", "architecture"))
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }
    return {"processor": processor(), "instructions": _instructions(), "blas": ", ".join(sorted(blas))}


def processor() -> str:
    """The model of this machine's processor, or what kind it is where the model is not told."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # macOS
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _instructions() -> str:
    """The kind of processor that code is compiled for, and what it can do; empty without the compiler."""
    try:
        from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
    except ImportError:
        return ""
    name = os.environ.get("NUMBA_CPU_NAME") or get_host_cpu_name()
    chosen = os.environ.get("NUMBA_CPU_FEATURES")
    can = [feature for feature, there in get_host_cpu_features().items() if there]
    return " ".join([name, *(chosen.split(",") if chosen else sorted(can))])


# Who it was trained by, and what only carries settings and results to and fro.
_ROUNDS_NOTHING = {"host", "sweepgrad", "hydra-core", "omegaconf", "mlflow"}


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """In words, what has changed between two environments that may round numbers differently; empty: nothing.

    Arguments:
        then, now: as `environment` gave them, `then` perhaps long ago.
    """
    found = []
    for name in sorted((then.keys() | now.keys()) - _ROUNDS_NOTHING):
        before, after = then.get(name), now.get(name)
        if before is None:
            found.append(f"{name}: not recorded then, now {after}")
        elif after is None:
            found.append(f"{name}: {before} then, not known now")
        elif before != after:
            found.append(f"{name}: {_apart(name, before, after)}")
    return tuple(found)


def _apart(name: str, before: str, after: str) -> str:
    if name == "code":
        return f"{before[:12]} then, {after[:12]} now (SHA-256 of what trains and what it stands on)"
    if name == "instructions":
        one, other = before.split(), after.split()
        words = [f"{one[0]} then, {other[0]} now"] if one[:1] != other[:1] else []
        words += [f"without {' '.join(lost)}"] if (lost := sorted(set(one[1:]) - set(other[1:]))) else []
        words += [f"with {' '.join(won)}"] if (won := sorted(set(other[1:]) - set(one[1:]))) else []
        return ", ".join(words)
    return f"{before} then, {after} now"


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
