"""Run one measurement in this process: `python -m benchmarks.measure` with a JSON request on standard input.

The last line of output is a JSON answer: {"value": a number} or {"why_not": a reason}. `bench.py` has set the
environment, which libraries read at import; this module first binds the process to its cores.
"""

import json
import os
import sys
from importlib import import_module
from typing import Any


def our_first_step() -> float:
    """Return the median seconds to the first step, over architectures that are not in any cache."""
    ours = import_module("benchmarks.ours")
    task = import_module("benchmarks.peers.task")
    times = sorted(ours.first_step_seconds(hidden) for hidden in task.FIRST_SEEN)
    return float(times[len(times) // 2])


def tuples(value: Any) -> Any:
    """Convert JSON lists to tuples, recursively."""
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def answer(function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    module, name = function.split(":")
    try:
        measure = getattr(import_module(f"benchmarks.{module}"), name)
        arguments = {key: tuples(value) for key, value in arguments.items()}
        if "shapes" in arguments:
            arguments["shapes"] = list(arguments["shapes"])
        return {"value": float(measure(**arguments))}
    except ModuleNotFoundError as error:
        missing = (error.name or "").removeprefix("benchmarks.")
        return {"why_not": "not measured" if missing == "ours" else f"{missing} is not installed"}
    except Exception as error:  # noqa: BLE001  an error in one library is reported, and the others continue
        lines = str(error).strip().splitlines()
        return {"why_not": ": ".join([type(error).__name__, *lines[:1]])}


def main() -> None:
    request = json.load(sys.stdin)
    if hasattr(os, "sched_setaffinity"):  # Linux; elsewhere only the environment limits threads
        os.sched_setaffinity(0, request["cores"])
    print(json.dumps(answer(request["function"], request["arguments"])), flush=True)


if __name__ == "__main__":
    main()
