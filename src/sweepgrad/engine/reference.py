"""The NumPy engine: it replays a tape one instruction at a time, as a reference and a fallback."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from sweepgrad import rng
from sweepgrad.engine.tape import ACTIVATIONS, FIELDS, FUSED, Array, Code, Tape

_UNARY: dict[Code, Callable[[Array], Array]] = {
    Code.COPY: lambda x: x,
    Code.NEGATE: np.negative,
    Code.EXP: np.exp,
    Code.LOG: np.log,
    Code.SQRT: np.sqrt,
    Code.RELU: lambda x: np.maximum(x, 0),
    Code.STEP: lambda x: (x > 0).astype(x.dtype),
    Code.TANH: np.tanh,
    Code.SIGMOID: expit,
    Code.SOFTPLUS: lambda x: np.logaddexp(x, 0, dtype=x.dtype),
}
_BINARY: dict[Code, Callable[[Array, Array], Array]] = {
    Code.ADD: np.add,
    Code.SUBTRACT: np.subtract,
    Code.MULTIPLY: np.multiply,
    Code.DIVIDE: np.divide,
    Code.POWER: np.power,
}
_GRADIENTS: dict[str, Callable[[Array, Array, Array], Array]] = {
    "": lambda g, y, p: g,
    "relu": lambda g, y, p: g * (y > 0),
    "tanh": lambda g, y, p: g * (1 - y * y),
    "sigmoid": lambda g, y, p: g * (y * (1 - y)),
    "dropped_relu": lambda g, y, p: g * np.where(y > 0, 1 / (1 - p), 0).astype(g.dtype),
}
_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "": lambda x: x,
    **{name: _UNARY[Code[name.upper()]] for name in FUSED},
}


def replay(
    tape: Tape,
    buffer: Array,
    features: Array,
    targets: Array,
    order: NDArray[np.int64],
    scalars: Array,
    key: int,
    first: int,
) -> tuple[int, Array]:
    """Replay a tape, as `native.replay` does."""
    collected = np.zeros((len(scalars), len(tape.collected)))
    with np.errstate(all="ignore"):
        for step in range(len(scalars)):
            buffer[: tape.n_scalars] = scalars[step]
            rows = order[step * tape.rows : (step + 1) * tape.rows]
            for line in tape.program.tolist():
                if not _run(line, tape, buffer, features, targets, rows, rng.fold(key, first + step)):
                    return step, collected
            collected[step] = buffer[tape.collected]
    return len(scalars), collected


def _run(
    line: list[int],
    tape: Tape,
    buffer: Array,
    features: Array,
    targets: Array,
    rows: NDArray[np.int64],
    key: int,
) -> bool:
    """Execute an instruction; return False if the step must stop."""
    f = dict(zip(FIELDS, line, strict=True))
    code, n, m, k = Code(f["code"]), f["n"], f["m"], f["k"]

    def at(name: str, *shape: int) -> Array:
        size = int(np.prod(shape, dtype=np.int64))
        return buffer[f[name] : f[name] + size].reshape(shape)

    match code:
        case Code.FEATURES:
            at("o", n, m)[:] = features[rows].T
        case Code.TARGETS:
            at("o", n, m)[:] = targets[rows].T
        case Code.MULTIPLY_ADD | Code.MULTIPLY_SUBTRACT:
            term: Array = at("a", n if f["x"] & 1 else 1) * at("b", n)
            c = at("c", n if f["x"] & 2 else 1)
            at("o", n)[:] = c + term if code is Code.MULTIPLY_ADD else c - term
        case Code.TAKE:
            at("o", n)[:] = buffer[f["a"] + tape.tables[f["x"] : f["x"] + n]]
        case Code.SCATTER:
            sums: Array = np.zeros(m, buffer.dtype)
            np.add.at(sums, tape.tables[f["x"] : f["x"] + n], at("a", n))
            at("o", m)[:] = sums
        case Code.SUM:
            at("o", n, k)[:] = at("a", n, m, k).sum(axis=1)
        case Code.MASK:
            at("o", n)[:] = _mask(rng.fold(key, f["z"]), n, buffer[f["a"]])
        case Code.MATMUL:
            product = _product(at, f)
            at("o", n, m)[:] = _GRADIENTS[ACTIVATIONS[f["z"]]](product, at("c", n, m), buffer[f["d"]])
        case Code.LAYER:
            result = _ACTIVATIONS[ACTIVATIONS[f["y"]]](_product(at, {**f, "y": 0}) + at("c", n, 1))
            if f["z"] >= 0:
                result = result * _mask(rng.fold(key, f["z"]), n * m, buffer[f["d"]]).reshape(n, m)
            at("o", n, m)[:] = result
        case Code.FINITE:
            return bool(np.isfinite(at("a", n)).all())
        case _ if code in _UNARY:
            at("o", n)[:] = _UNARY[code](at("a", n))
        case _ if code in _BINARY:
            bits = f["x"]
            a = at("a", n if bits & 2 else 1, m if bits & 1 else 1)
            b = at("b", n if bits & 8 else 1, m if bits & 4 else 1)
            at("o", n, m)[:] = _BINARY[code](a, b)
        case _:
            gradient = _GRADIENTS[code.name.removesuffix("_GRADIENT").lower()]
            at("o", n)[:] = gradient(at("a", n), at("b", n), buffer[f["c"]])
    return True


def _product(at: Callable[..., Array], f: dict[str, int]) -> Array:
    n, m, k = f["n"], f["m"], f["k"]
    a = at("a", k, n).T if f["x"] else at("a", n, k)
    b = at("b", m, k).T if f["y"] else at("b", k, m)
    product: Array = a @ b
    return product


def _mask(key: int, n: int, probability: np.floating) -> Array:
    kept = rng.words(key, n) >= rng.threshold(float(probability))
    return np.where(kept, 1 / (1 - probability), 0).astype(probability.dtype)
