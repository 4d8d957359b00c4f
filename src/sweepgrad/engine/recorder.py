"""Record a tape from a step that was computed once with `Value`s."""

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np

from sweepgrad.autograd.value import ShapeError, Value, graph
from sweepgrad.engine.allocate import Layout, Step
from sweepgrad.engine.graph import Node, Nodes
from sweepgrad.engine.rewrite import RULES, rewrite
from sweepgrad.engine.tape import DType, Tape


def record(
    *,
    features: Value,
    targets: Value,
    carried: Sequence[tuple[Value, Value]] = (),
    fixed: Sequence[Value] = (),
    scalars: Sequence[Value] = (),
    finite: Sequence[Value] = (),
    collected: Sequence[Value] = (),
    keys: Sequence[int] = (),
    dtype: DType = np.float64,
) -> Tape:
    """Return the tape of a step, given the `Value`s that it starts from and ends with.

    The numbers that the step was computed with do not matter. The arguments below are inputs of the tape,
    named by their labels; every other leaf is a constant.

    Arguments:
        features: (D, N), a column for each row of the batch.
        targets: (E, N), likewise.
        carried: for each array that is carried from step to step, the `Value` before the step and the one
            after it, of the same shape.
        fixed: inputs that stay the same from step to step, such as a dropout probability.
        scalars: inputs of shape () that are set at each step, such as the learning rate.
        finite: the step stops where one of these holds NaN or infinity.
        collected: of shape (); the replay returns them for every step.
        keys: the keys of the dropout masks. At step t the i-th becomes `rng.fold(key, t, i)`.
        dtype: of the buffer; float64 or float32.

    Raises:
        ShapeError: a carried array changes its shape, or a scalar has another shape than ().
        ValueError: a label is missing or used twice; the key of a mask is not in `keys`; an operation has no
            instruction.
    """
    _check(features, targets, carried, fixed, scalars, collected)
    nodes = Nodes(dtype)
    inputs = {value: nodes.node("input", (), value.shape, value.label) for value in (*scalars, *fixed)}
    inputs.update({old: nodes.node("input", (), old.shape, old.label) for old, _ in carried})
    inputs[features] = nodes.node("features", (), features.shape)
    inputs[targets] = nodes.node("targets", (), targets.shape)
    ends = [*finite, *(new for _, new in carried), *collected]
    lowered = _lower(ends, inputs, nodes, keys)
    names = {lowered[value]: value.label for value in lowered if value.label}
    ends_as_nodes = [nodes.stored(lowered[value]) for value in ends]
    rewritten = rewrite(ends_as_nodes, RULES, nodes, names)
    watched, news = rewritten[: len(finite)], rewritten[len(finite) : len(finite) + len(carried)]
    step = Step(
        scalars=[inputs[value] for value in scalars],
        carried=[(inputs[old], new) for (old, _), new in zip(carried, news, strict=True)],
        fixed=[inputs[value] for value in fixed],
        finite=watched,
        collected=rewritten[len(finite) + len(carried) :],
        mask_keys=list(keys),
        names=names,
        rows=features.shape[1],
    )
    return Layout(step, dtype).tape()


def _check(
    features: Value,
    targets: Value,
    carried: Sequence[tuple[Value, Value]],
    fixed: Sequence[Value],
    scalars: Sequence[Value],
    collected: Sequence[Value],
) -> None:
    labels = [value.label for value in (*scalars, *fixed, *(old for old, _ in carried))]
    if not all(labels) or len(set(labels)) < len(labels):
        raise ValueError(f"every input of a tape needs a unique label, not {labels}")
    if features.ndim != 2 or targets.ndim != 2 or features.shape[1] != targets.shape[1]:
        shapes = f"{features.shape} and {targets.shape}"
        raise ShapeError(f"features must be (D, N) and targets (E, N), not {shapes}")
    for old, new in carried:
        if old.shape != new.shape:
            raise ShapeError(f"a step changes the shape of {old.label!r} from {old.shape} to {new.shape}")
    for value in (*scalars, *collected):
        if value.shape != ():
            raise ShapeError(
                f"a number of each step must have shape (), not {value.shape} as {value.label!r}"
            )


def _lower(
    ends: Sequence[Value], inputs: dict[Value, Node], nodes: Nodes, keys: Sequence[int]
) -> dict[Value, Node]:
    """Return each `Value` as a node; a `Value` that depends on no input and no mask is a constant."""
    lowered = dict(inputs)
    for value in graph(*ends):
        if value in lowered:
            continue
        parents = [lowered[parent] for parent in value.parents]
        drawn = value.operation is not None and value.operation.name == "mask"
        if drawn and value.settings["key"] not in keys:
            raise ValueError(f"the key of a mask of shape {value.shape} is not among the keys of the tape")
        if not drawn and all(_is_constant(parent) for parent in parents):
            lowered[value] = nodes.constant(value.data)
            continue
        assert value.operation is not None
        lower = _LOWER.get(value.operation.name)
        if lower is None:
            raise ValueError(f"the tape has no instruction for {value.operation.name}")
        lowered[value] = lower(nodes, value, *parents)
    return lowered


def _is_constant(node: Node) -> bool:
    return node.operation == "constant" or (node.operation == "broadcast" and _is_constant(node.operands[0]))


def _power(nodes: Nodes, value: Value, a: Node) -> Node:
    exponent = np.asarray(value.settings["exponent"])
    a = nodes.broadcast(a, value.shape)
    if exponent.size == 1:
        match exponent.item():
            case 0.5:
                return nodes.elementwise("sqrt", a)
            case 1.0:
                return a
            case 2.0:
                return nodes.elementwise("multiply", a, a)
            case -1.0:
                return nodes.elementwise("divide", nodes.constant(np.ones(())), a)
    return nodes.elementwise("power", a, nodes.constant(exponent))


def _sum(nodes: Nodes, value: Value, a: Node) -> Node:
    """Return one sum over the middle of three axes for each summed axis."""
    axis = value.settings["axis"]
    axes = range(len(a.shape)) if axis is None else (axis if isinstance(axis, tuple) else (axis,))
    summed = {i % max(len(a.shape), 1) for i in axes}
    a, shape = nodes.stored(a), list(a.shape)
    for last in reversed(range(len(shape))):
        if last in summed:
            outer, middle, inner = shape[:last], shape[last], shape[last + 1 :]
            sizes = (int(np.prod(outer)), middle, int(np.prod(inner)))
            shape[last] = 1
            if middle == 1:
                a = nodes.view(a, 0, tuple(shape))
            else:
                a = nodes.node("sum", (a,), tuple(shape), sizes)
    return nodes.view(a, 0, value.shape)


def _moved(nodes: Nodes, value: Value, a: Node) -> Node:
    """Return an operation that only moves numbers, by applying it to their positions."""
    assert value.operation is not None
    positions = np.arange(a.size).reshape(a.shape)
    return nodes.take(nodes.stored(a), np.asarray(value.operation.forward(positions, **value.settings)))


def _scatter(nodes: Nodes, value: Value, a: Node) -> Node:
    positions = np.arange(value.size).reshape(value.shape)[value.settings["index"]]
    table = tuple(np.broadcast_to(positions, a.shape).reshape(-1).tolist())
    return nodes.node("scatter", (nodes.stored(a),), value.shape, table)


def _stack(nodes: Nodes, value: Value, *parents: Node) -> Node:
    vectors = [nodes.view(nodes.stored(parent), 0, (parent.size,)) for parent in parents]
    return nodes.view(reduce(nodes.concatenate, vectors), 0, value.shape)


def _transpose(nodes: Nodes, value: Value, a: Node) -> Node:
    return nodes.transpose(a) if len(a.shape) <= 2 else _moved(nodes, value, a)


def _elementwise(operation: str) -> Callable[..., Node]:
    return lambda nodes, value, *parents: nodes.elementwise(operation, *parents)


_LOWER: dict[str, Callable[..., Node]] = {
    "+": _elementwise("add"),
    "-": _elementwise("subtract"),
    "*": _elementwise("multiply"),
    "/": _elementwise("divide"),
    "neg": _elementwise("negate"),
    **{name: _elementwise(name) for name in ("exp", "log", "relu", "step", "tanh", "sigmoid", "softplus")},
    "**": _power,
    "@": lambda nodes, value, a, b: nodes.matmul(a, b, False, False),
    "sum": _sum,
    "broadcast": lambda nodes, value, a: nodes.broadcast(a, value.shape),
    "reshape": lambda nodes, value, a: nodes.view(nodes.stored(a), 0, value.shape),
    "transpose": _transpose,
    "index": _moved,
    "scatter": _scatter,
    "concatenate": lambda nodes, value, a, b: nodes.concatenate(a, b),
    "stack": _stack,
    "mask": lambda nodes, value, p: nodes.node("mask", (p,), value.shape, value.settings["key"]),
}
