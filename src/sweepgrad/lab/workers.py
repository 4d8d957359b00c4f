"""Run tasks in parallel threads: the engine releases the interpreter lock while it replays."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sweepgrad.sweeps.threads import cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Apply a function to each item in parallel, and return the results in order.

    After Ctrl-C or the first error, no further item is started.
    """
    with ThreadPoolExecutor(cores()) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
