"""Keeping BLAS to one thread: how it shares a sum among several decides how that is rounded."""

from functools import cache

from threadpoolctl import threadpool_limits


@cache
def keep_to_one_thread() -> None:
    """Limit every BLAS of this process from now on: NumPy's, and SciPy's, which Numba calls.

    Jobs run side by side on threads of ours, and what they come to must not depend on how many cores there
    are, or on which engine another job of the process has loaded before.
    """
    from scipy.linalg import cython_blas  # noqa: F401 - loads it, so that it is there to be limited

    threadpool_limits(1, "blas")
