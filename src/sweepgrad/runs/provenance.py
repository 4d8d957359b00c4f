"""The code and the environment that a run was trained with: digests, versions, processor."""

import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sweepgrad import extensions
from sweepgrad.runs.imports import PACKAGE, closure

TOLERANCE = {"float64": 1e-6, "float32": 1e-3}
"""Absolute and relative tolerance for runs of another environment: rounding errors grow with the steps."""

_PACKAGES = ("sweepgrad", "numpy", "scipy", "pandas", "pyarrow", "hydra-core", "omegaconf", "mlflow")
_COMPILERS = ("numba", "llvmlite")  # optional: without them the engine uses NumPy


@cache
def code() -> str:
    """Return the SHA-256 of the code that trains.

    It covers the modules that `training.experiment` imports, directly or through others; the extensions; and
    the versions of the libraries that compute. A change elsewhere does not change a trained model.
    """
    digest = sha256(_source("sweepgrad.training.experiment"))
    for name in ("numpy", "scipy", "pandas", "pyarrow", *_COMPILERS):
        digest.update(f"{name} {_version(name)}\0".encode())
    for name, source in extensions.digests().items():
        digest.update(f"{name} {source}\0".encode())
    digest.update(platform.machine().encode())
    return digest.hexdigest()


@cache
def record_code() -> str:
    """Return the SHA-256 of the code that describes a run: its certificate and diagnosis are text."""
    return sha256(_source("sweepgrad.runs.capture")).hexdigest()


def _source(module: str) -> bytes:
    """Return the names and texts of a module and of all modules that it imports."""
    files = closure(module, _packages())
    files.pop(PACKAGE, None)  # it computes nothing
    return b"".join(f"{name}\0".encode() + files[name].read_bytes() + b"\0" for name in sorted(files))


def _packages() -> list[Path]:
    """Return the folders that the package's modules are imported from, in order.

    There are two if a model that was loaded first came with modules of its own: Python imports those first.
    """
    own, places = Path(__file__).parents[1], [Path(place) for place in sys.modules["sweepgrad"].__path__]
    return places if own in places else [own]


def environment() -> dict[str, str]:
    """Return versions, platform and machine, to be read later and compared by `differences`."""
    return {
        "code": code(),
        "record_code": record_code(),
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
    """Return what decides how sums are rounded: the processor, its instructions, and BLAS.

    NumPy and SciPy each come with a BLAS; both are listed.
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
    """Return the model of this machine's processor, or its architecture if the model is unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # macOS
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _instructions() -> str:
    """Return the processor that code is compiled for and its features; empty without the compiler."""
    try:
        from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
    except ImportError:
        return ""
    name = os.environ.get("NUMBA_CPU_NAME") or get_host_cpu_name()
    chosen = os.environ.get("NUMBA_CPU_FEATURES")
    present = [feature for feature, enabled in get_host_cpu_features().items() if enabled]
    return " ".join([name, *(chosen.split(",") if chosen else sorted(present))])


# These do not compute.
_ROUNDS_NOTHING = {"host", "record_code", "sweepgrad", "hydra-core", "omegaconf", "mlflow"}


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Describe the differences between two environments that may change how numbers are rounded.

    Arguments:
        then, now: results of `environment`; `then` may be of an earlier version.
    """
    found = []
    for name in sorted((then.keys() | now.keys()) - _ROUNDS_NOTHING):
        before, after = then.get(name), now.get(name)
        if before is None:
            found.append(f"{name}: was not recorded, now {after}")
        elif after is None:
            found.append(f"{name}: was {before}, now unknown")
        elif before != after:
            found.append(f"{name}: {_difference(name, before, after)}")
    return tuple(found)


def _difference(name: str, before: str, after: str) -> str:
    if name == "code":
        return f"was {before[:12]}, now {after[:12]} (SHA-256 of the training code and its libraries)"
    if name == "instructions":
        one, other = before.split(), after.split()
        parts = [f"was {one[0]}, now {other[0]}"] if one[:1] != other[:1] else []
        parts += [f"without {' '.join(lost)}"] if (lost := sorted(set(one[1:]) - set(other[1:]))) else []
        parts += [f"with {' '.join(added)}"] if (added := sorted(set(other[1:]) - set(one[1:]))) else []
        return ", ".join(parts)
    return f"was {before}, now {after}"


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
