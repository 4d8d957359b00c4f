"""Import modules of the package with a change, such as a mutant's, while nothing changes on disk.

Processes that a test starts do the same: `startup/sitecustomize.py` is found by PYTHONPATH and reads the same
variable.
"""

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tests.mutation.mutator import PROBE, mutants, mutated, probed

Change = Callable[[str], ast.Module]

VARIABLE = "SWEEPGRAD_MUTANT"
"""Names a module and the number of its mutant, as in `sweepgrad.data.split 17`."""


OURS = ("sweepgrad", "hydra_plugins", "tests", "conftest", "sitecustomize", "__main__")
"""Packages that a process imports itself, since what they import may be mutated."""


def module_name(file: str) -> str:
    """Return the name of a module, given its file below `src/sweepgrad`."""
    return ".".join(("sweepgrad", *Path(file).with_suffix("").parts))


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, change: Change, names: Mapping[str, object]) -> None:
        super().__init__(fullname, path)
        self.change, self.names = change, names

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.change(Path(self.path).read_text("utf-8")), self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(self.names)
        super().exec_module(module)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, module: str, change: Change, names: Mapping[str, object]) -> None:
        self.module, self.change, self.names = module, change, names

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.module:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path)
        assert found is not None
        assert found.origin is not None
        loader: Any = _Loader(name, found.origin, self.change, self.names)
        return importlib.util.spec_from_file_location(name, found.origin, loader=loader)


def install(module: str, number: int) -> None:
    """Let this process, and those that it starts, import the module with its mutant of this number."""
    os.environ[VARIABLE] = f"{module} {number}"
    sys.meta_path.insert(0, _Finder(module, lambda source: mutated(source, mutants(source)[number]), {}))


def observe(module: str, reached: Callable[[int, int], None]) -> None:
    """Let this process import a module whose functions report the lines of each statement that they run."""
    sys.meta_path.insert(0, _Finder(module, probed, {PROBE: reached}))


def install_from_environment() -> None:
    """Do what the process that started this one did."""
    if VARIABLE in os.environ:
        module, number = os.environ[VARIABLE].split()
        install(module, int(number))
