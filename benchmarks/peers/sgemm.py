"""The speed of float32 matrix products on one core: an upper bound for every step."""

import numpy as np
from benchmarks.peers import task

SIZES = (192, 256, 384, 512, 768, 1024, 1536, 2048)


def flops_per_second() -> float:
    """Return the best rate of NumPy's BLAS over square products, with 2 operations per multiply-add."""
    rng = np.random.default_rng(0)
    best = 0.0
    for n in SIZES:
        a, b = (rng.standard_normal((n, n)).astype(np.float32) for _ in range(2))
        out = np.empty_like(a)
        best = max(best, 2 * n**3 / task.fastest(lambda a=a, b=b, out=out: np.matmul(a, b, out=out)))
    return best
