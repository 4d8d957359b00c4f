"""Import one module of the package with a mutant's change, while nothing changes on disk.

Processes that a test starts do the same: `startup/sitecustomize.py` is found by PYTHONPATH and reads the same
variable.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tests.mutation.mutator import mutants, mutated

VARIABLE = "SWEEPGRAD_MUTANT"
"""Names a module and the number of its mutant, as in `sweepgrad.data.split 17`."""


OURS = ("sweepgrad", "hydra_plugins", "tests", "conftest", "sitecustomize", "__main__")
"""Packages that a process imports itself, since what they import may be mutated."""


def module_name(file: str) -> str:
    """Return the name of a module, given its file below `src/sweepgrad`."""
    return ".".join(("sweepgrad", *Path(file).with_suffix("").parts))


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, number: int) -> None:
        super().__init__(fullname, path)
        self.number = number

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.path).read_text("utf-8")
        tree = mutated(source, mutants(source)[self.number])
        return compile(tree, self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, module: str, number: int) -> None:
        self.module, self.number = module, number

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.module:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path)
        assert found is not None
        assert found.origin is not None
        loader: Any = _Loader(name, found.origin, self.number)
        return importlib.util.spec_from_file_location(name, found.origin, loader=loader)


def install(module: str, number: int) -> None:
    """Let this process, and those that it starts, import the module with its mutant of this number."""
    os.environ[VARIABLE] = f"{module} {number}"
    sys.meta_path.insert(0, _Finder(module, number))


def install_from_environment() -> None:
    """Do what the process that started this one did."""
    if VARIABLE in os.environ:
        module, number = os.environ[VARIABLE].split()
        install(module, int(number))
