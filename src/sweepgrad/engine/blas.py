"""Limiting BLAS to one thread, since rounding depends on how threads share a sum."""

from functools import cache

from threadpoolctl import threadpool_limits


@cache
def keep_to_one_thread() -> None:
    """Limit NumPy's BLAS and SciPy's, which Numba calls, for the rest of the process.

    Jobs run in parallel threads. Their results must not depend on the number of cores, or on the engine that
    another job of the process has loaded.
    """
    from scipy.linalg import cython_blas  # noqa: F401 - only a loaded library can be limited

    threadpool_limits(1, "blas")
