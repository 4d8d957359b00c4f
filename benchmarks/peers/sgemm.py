"""How fast this machine multiplies float32 matrices on one core: the most any step can hope for."""

import numpy as np
from benchmarks.peers import task

SIZES = (192, 256, 384, 512, 768, 1024, 1536, 2048)


def flops_per_second() -> float:
    """The best rate of NumPy's BLAS over square products of several sizes, 2 operations a multiply-add."""
    rng = np.random.default_rng(0)
    best = 0.0
    for n in SIZES:
        a, b = (rng.standard_normal((n, n)).astype(np.float32) for _ in range(2))
        out = np.empty_like(a)
        best = max(best, 2 * n**3 / task.fastest(lambda a=a, b=b, out=out: np.matmul(a, b, out=out)))
    return best
