"""Functions of one or two numbers, for the loops of the native engine; compiled by Numba."""

import math
from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload

from sweepgrad.engine.vector import bits_of, float_of

# A multiply may be fused with an add. No other fast-math flag is allowed: it would apply to inlined functions
# too, and `exp` depends on its order of operations.
exact = njit(nogil=True, error_model="numpy", fastmath={"contract"})


def exp(x: Any) -> Any:
    """Return e to the x, within 2 units in the last place; plain arithmetic, so that loops vectorise.

    x = k log 2 + r with |r| ≤ log 2 / 2, a polynomial for e^r, and k put into the exponent (Cody & Waite,
    "Software manual for the elementary functions", 1980, chapter 6).
    """
    raise NotImplementedError("compiled only")


_BIAS64, _SHIFT64 = np.int64(1022 - 0x4338000000000000), np.int64(52)


@exact
def _exp64(x: float) -> Any:
    clipped = 709.8 if x > 709.8 else (max(x, -708.5))
    shifted = clipped * 1.4426950408889634 + 6755399441055744.0  # the sum's last bits are the rounded k
    k = shifted - 6755399441055744.0
    r = (clipped - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10
    p = 1.6059043836821613e-10
    p = p * r + 2.08767569878681e-09
    p = p * r + 2.505210838544172e-08
    p = p * r + 2.755731922398589e-07
    p = p * r + 2.7557319223985893e-06
    p = p * r + 2.48015873015873e-05
    p = p * r + 0.0001984126984126984
    p = p * r + 0.001388888888888889
    p = p * r + 0.008333333333333333
    p = p * r + 0.041666666666666664
    p = p * r + 0.16666666666666666
    p = p * r + 0.5
    p = p * r * r + r + 1.0
    # 2^(k - 1), since 2^1024 overflows; it is 0 for k = -1022, so subnormal results become 0.
    return p * float_of((bits_of(shifted) + _BIAS64) << _SHIFT64) * 2.0


@exact
def _exp32(x: Any) -> Any:
    f = np.float32
    clipped = f(88.8) if x > f(88.8) else (max(x, f(-87.5)))
    shifted = clipped * f(1.44269504) + f(12582912.0)
    k = shifted - f(12582912.0)
    r = (clipped - k * f(0.693359375)) - k * f(-2.12194440e-4)
    p = f(1.984126984e-4)
    p = p * r + f(1.388888889e-3)
    p = p * r + f(8.333333333e-3)
    p = p * r + f(4.166666667e-2)
    p = p * r + f(1.666666667e-1)
    p = p * r + f(0.5)
    p = p * r * r + r + f(1.0)
    return p * float_of(np.int32((bits_of(shifted) + np.int32(126 - 0x4B400000)) << np.int32(23))) * f(2.0)


@overload(exp, jit_options={"error_model": "numpy"})
def _exp(x: Any) -> Any:
    if x.bitwidth == 32:

        def exp(x: Any) -> Any:
            return _exp32(x)
    else:

        def exp(x: Any) -> Any:
            return _exp64(x)

    return exp


@exact
def tanh(x: Any) -> Any:
    """Compute tanh by a convergent of Lambert's continued fraction near 0, and from exp elsewhere."""
    one = type(x)(1)
    size = abs(x)
    s = x * x
    upper = ((s + type(x)(378)) * s + type(x)(17325)) * s + type(x)(135135)
    lower = ((type(x)(28) * s + type(x)(3150)) * s + type(x)(62370)) * s + type(x)(135135)
    u = exp(type(x)(-2) * size)
    far = one - type(x)(2) * u / (one + u)
    return x * upper / lower if size < type(x)(0.5) else (-far if x < 0 else far)


@exact
def sigmoid(x: Any) -> Any:
    one = type(x)(1)
    return one / (one + exp(-x))


@exact
def softplus(x: Any) -> Any:
    """Return max(x, 0) + log(1 + u) with u = exp(-|x|).

    log v = 2 artanh((v - 1) / (v + 1)): a short series, for v = 1 + u or its half, whichever is nearer to 1.
    """
    number = type(x)
    u = exp(-abs(x))
    halve = u > number(0.41421356)
    s = (u - number(1)) / (u + number(3)) if halve else u / (u + number(2))
    q = s * s
    p = number(1 / 21)
    p = p * q + number(1 / 19)
    p = p * q + number(1 / 17)
    p = p * q + number(1 / 15)
    p = p * q + number(1 / 13)
    p = p * q + number(1 / 11)
    p = p * q + number(1 / 9)
    p = p * q + number(1 / 7)
    p = p * q + number(1 / 5)
    p = p * q + number(1 / 3)
    p = p * q + number(1)
    above = max(x, number(0))
    return above + ((number(0.6931471805599453) if halve else number(0)) + number(2) * s * p)


@exact
def negate(x: Any) -> Any:
    return -x


@exact
def log(x: Any) -> Any:
    return math.log(x)


@exact
def sqrt(x: Any) -> Any:
    return math.sqrt(x)


@exact
def relu(x: Any) -> Any:
    return type(x)(0) if x < 0 else x  # NaN stays NaN


@exact
def step(x: Any) -> Any:
    return type(x)(1) if x > 0 else type(x)(0)


@exact
def copy(x: Any) -> Any:
    return x


@exact
def add(x: Any, y: Any) -> Any:
    return x + y


@exact
def subtract(x: Any, y: Any) -> Any:
    return x - y


@exact
def multiply(x: Any, y: Any) -> Any:
    return x * y


@exact
def divide(x: Any, y: Any) -> Any:
    return x / y


@exact
def power(x: Any, y: Any) -> Any:
    return x**y


@exact
def relu_gradient(g: Any, y: Any) -> Any:
    return g * (type(g)(1) if y > 0 else type(g)(0))  # a choice between g and 0 does not vectorise


@exact
def tanh_gradient(g: Any, y: Any) -> Any:
    return g * (type(g)(1) - y * y)


@exact
def sigmoid_gradient(g: Any, y: Any) -> Any:
    return g * (y * (type(g)(1) - y))


@exact
def exponential(x: Any) -> Any:
    return exp(x)
