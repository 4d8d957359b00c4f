"""Fuzz a target with Atheris, which prefers inputs that reach new code. It is optional, and in no lock:

    pip install atheris
    python -m tests.fuzz.atheris_run TARGET -max_total_time=600 tests/fuzz/corpus/TARGET

Atheris has no wheels for every version of Python; 3.0.0 has one for 3.11.
"""

import sys
from importlib import import_module
from typing import Any

from tests.fuzz.property import Failed, check, keep, target


def main() -> None:
    """Attack a target until an input fails, which is added to its corpus."""
    atheris: Any = import_module("atheris")

    name = sys.argv[1]
    with atheris.instrument_imports(include=["sweepgrad", "hydra", "omegaconf", "yaml"]):
        module = target(name)

    def one(data: bytes) -> None:
        try:
            check(module.attack, data)
        except Failed as failure:
            places = [line for line in str(failure).splitlines() if line.strip().startswith("File ")]
            if places and ("/tests/fuzz/" in places[-1] or "/json/" in places[-1]):
                return  # bytes that are no input of this target
            keep(name, data)
            raise

    atheris.Setup([sys.argv[0], *sys.argv[2:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
