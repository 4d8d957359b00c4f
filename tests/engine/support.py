"""Steps computed in three ways: eagerly with `Value`s, and as a tape by both engines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from sweepgrad import rng
from sweepgrad.autograd.value import Array, Value, shapes_only
from sweepgrad.engine import Replay, native, reference
from sweepgrad.engine.recorder import record
from sweepgrad.engine.tape import DType, Tape
from sweepgrad.rng import key, uniform

ENGINES: dict[str, Replay] = {"machine": native.replay, "reference": reference.replay}
DTYPES: tuple[DType, ...] = (np.float64, np.float32)
SIZES = (1, 3, 4, 7, 8, 16, 17, 33, 100)  # whole vector registers, and remainders
PRECISION = {np.float64: 1e-10, np.float32: 2e-4}


def real(*shape: int, purpose: str = "") -> Array:
    """Return numbers of both signs between 0.3 and 1.7 in size."""
    signs = np.where(uniform(key(1, f"signs {purpose}", *shape), shape) < 0.5, -1.0, 1.0)
    sizes: Array = signs * (0.3 + 1.4 * uniform(key(2, f"sizes {purpose}", *shape), shape))
    return sizes


@dataclass(frozen=True)
class Ends:
    """The results of a step; `carried` by the label of the input that it replaces."""

    carried: Mapping[str, Value] = field(default_factory=dict)
    finite: Sequence[Value] = ()
    collected: Sequence[Value] = ()


Function = Callable[[dict[str, Value], list[int]], Ends]


@dataclass(frozen=True)
class Problem:
    """A step of `Value`s, with its inputs.

    Attributes:
        function: takes the inputs, by label, among them `features` (D, rows) and `targets` (E, rows), and
            the keys of masks.
        carried, fixed: the inputs' first arrays, by label.
        scalars: (steps,) each, by label.
        features, targets: the whole tables, (N, D) and (N, E).
        order: (steps · rows,).
    """

    function: Function
    carried: Mapping[str, Array] = field(default_factory=dict)
    fixed: Mapping[str, Array] = field(default_factory=dict)
    scalars: Mapping[str, Array] = field(default_factory=dict)
    features: Array = field(default_factory=lambda: real(6, 2))
    targets: Array = field(default_factory=lambda: (real(6, 1) > 0).astype(float))
    order: NDArray[np.int64] = field(default_factory=lambda: np.array([2, 0, 5, 1, 5, 3]))
    steps: int = 3
    n_keys: int = 0
    key: int = key(0, "masks")
    first: int = 4

    @property
    def rows(self) -> int:
        return len(self.order) // self.steps

    def tape(self, dtype: DType = np.float64) -> Tape:
        features = Value(np.zeros((self.features.shape[1], self.rows)), "features")
        targets = Value(np.zeros((self.targets.shape[1], self.rows)), "targets")
        arrays = {**self.carried, **self.fixed, **{label: x[0] for label, x in self.scalars.items()}}
        inputs = {label: Value(np.asarray(array), label) for label, array in arrays.items()}
        keys = [key(0, "recording", i) for i in range(self.n_keys)]
        with shapes_only():
            ends = self.function({**inputs, "features": features, "targets": targets}, keys)
        assert set(ends.carried) <= set(self.carried)
        return record(
            features=features,
            targets=targets,
            carried=[(inputs[label], ends.carried.get(label, inputs[label])) for label in self.carried],
            fixed=[inputs[label] for label in self.fixed],
            scalars=[inputs[label] for label in self.scalars],
            finite=ends.finite,
            collected=ends.collected,
            keys=keys,
            dtype=dtype,
        )


@dataclass(frozen=True)
class Outcome:
    done: int
    collected: Array
    carried: Mapping[str, Array]


def cast(array: Any, dtype: DType) -> Array:
    converted: Array = np.ascontiguousarray(array, dtype)
    return converted


def rounded(array: Array, dtype: DType) -> Array:
    """Round to `dtype`, and return float64."""
    return np.asarray(array).astype(dtype).astype(np.float64)


def eager(problem: Problem, dtype: DType = np.float64) -> Outcome:
    """Compute steps one by one, in float64, on inputs rounded to `dtype`."""
    carried = {label: rounded(array, dtype) for label, array in problem.carried.items()}
    fixed = {label: rounded(array, dtype) for label, array in problem.fixed.items()}
    features, targets = rounded(problem.features, dtype), rounded(problem.targets, dtype)
    collected: list[list[float]] = []
    for step in range(problem.steps):
        rows = problem.order[step * problem.rows : (step + 1) * problem.rows]
        scalars = {label: rounded(x[step], dtype) for label, x in problem.scalars.items()}
        inputs = {label: Value(x) for label, x in {**carried, **fixed, **scalars}.items()}
        inputs |= {"features": Value(features[rows].T), "targets": Value(targets[rows].T)}
        keys = [rng.fold(problem.key, problem.first + step, i) for i in range(problem.n_keys)]
        with shapes_only():
            ends = problem.function(inputs, keys)
        if not all(np.isfinite(value.data).all() for value in ends.finite):
            break
        carried |= {label: value.data for label, value in ends.carried.items()}
        collected.append([value.item() for value in ends.collected])
    return Outcome(len(collected), np.array(collected), carried)


def replayed(replay: Replay, problem: Problem, tape: Tape, poison: float = np.nan) -> Outcome:
    """Run an engine in a buffer that holds `poison` in every place that is neither input nor constant."""
    buffer = filled(tape, {**problem.carried, **problem.fixed}, poison)
    done, collected = replay(
        tape,
        buffer,
        problem.features.astype(tape.dtype),
        problem.targets.astype(tape.dtype),
        problem.order,
        np.stack(list(problem.scalars.values()), axis=1).astype(tape.dtype)
        if problem.scalars
        else np.zeros((problem.steps, 0), tape.dtype),
        problem.key,
        problem.first,
    )
    carried = {label: tape.inputs[label].of(buffer).copy() for label in problem.carried}
    return Outcome(done, collected[:done], carried)


def filled(tape: Tape, inputs: Mapping[str, Any], poison: float = np.nan) -> Array:
    """Return a buffer with constants and inputs in their places."""
    buffer: Array = np.full(tape.length, poison, tape.dtype)
    for slot, constant in tape.constants:
        slot.of(buffer)[...] = constant
    for label, array in inputs.items():
        tape.inputs[label].of(buffer)[...] = array
    return buffer


def assert_agree(problem: Problem, dtype: DType, tolerance: float | None = None) -> Tape:
    """Check that both engines and `Value`s agree, to rounding."""
    expected, tape = eager(problem, dtype), problem.tape(dtype)
    for name, replay in ENGINES.items():
        assert_close(
            replayed(replay, problem, tape), expected, tolerance or PRECISION[dtype], f"{name}:\n{tape}"
        )
    return tape


def assert_close(found: Outcome, expected: Outcome, tolerance: float, message: str = "") -> None:
    assert found.done == expected.done, message
    pairs = [(found.carried[label], expected.carried[label], label) for label in expected.carried]
    if expected.done:
        pairs.append((found.collected, expected.collected, "collected"))
    for x, y, label in pairs:
        assert x.shape == y.shape
        scale = 1 + np.abs(y[np.isfinite(y)]).max(initial=0)
        assert_allclose(x, y, rtol=tolerance, atol=tolerance * scale, err_msg=f"{label} by {message}")


def assert_same_bits(found: Outcome, expected: Outcome) -> None:
    assert found.done == expected.done
    assert_array_equal(found.collected, expected.collected)
    for label, array in expected.carried.items():
        assert_array_equal(found.carried[label], array)
