"""What a run's numbers depend on besides its configuration and its data: our code, and what it stands on."""

import platform
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# What `experiment.py` stands on, itself included: a change elsewhere does not change a trained model.
TRAINED_BY = (
    "autograd",
    "data",
    "engine",
    "bundle.py",
    "config.py",
    "sections.py",
    "divergence.py",
    "errors.py",
    "examples.py",
    "experiment.py",
    "fit.py",
    "home.py",
    "metrics.py",
    "nn.py",
    "optim.py",
    "order.py",
    "rng.py",
    "signs.py",
    "steps.py",
)
_PACKAGES = ("sweepgrad", "numpy", "scipy", "pandas", "pyarrow", "hydra-core", "omegaconf", "mlflow")
_COMPILERS = ("numba", "llvmlite")  # without them NumPy takes the engine's place


@cache
def code() -> str:
    """SHA-256 of the source files that train, and of the names and versions of what computes below them."""
    digest = sha256()
    package = Path(__file__).parent
    for name in TRAINED_BY:
        path = package / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(package)}\0".encode())
            digest.update(file.read_bytes())
    for name in ("numpy", "pandas", "pyarrow", *_COMPILERS):
        digest.update(f"{name} {_version(name)}\0".encode())
    digest.update(platform.machine().encode())
    return digest.hexdigest()


def environment() -> dict[str, str]:
    """Versions, platform and machine, for people who look at a run later."""
    return {
        "code": code(),
        **_platform(),
        **{name: _version(name) for name in (*_PACKAGES, *_COMPILERS)},
    }


@cache
def _platform() -> dict[str, str]:
    return {"python": platform.python_version(), "platform": platform.platform(), "host": platform.node()}


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
