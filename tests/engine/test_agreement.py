"""`Value`s, the reference and the native engine agree, for any step and for every instruction."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from tests.engine.support import DTYPES, ENGINES, SIZES, Ends, Problem, assert_agree, real, replayed

from sweepgrad.autograd.value import Value, concatenate, gradient, mask
from sweepgrad.engine.tape import ACTIVATIONS, FIELDS, Code
from sweepgrad.nn.activations import ACTIVATIONS as NETWORK_ACTIVATIONS
from sweepgrad.rng import key, permutation

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


# Random graphs


LARGEST = 150  # numbers in a value, which would explode by broadcasting


def suited(y: Value, x: Value, c: int) -> Value:
    """Return y, or something made of it, that broadcasts with x: a row, a column, a scalar or all of it."""
    try:
        if np.prod(np.broadcast_shapes(x.shape, y.shape)) <= LARGEST and c % 3:
            return y
    except ValueError:
        pass
    if x.ndim == 2 and y.size >= max(x.shape) and c % 2:
        rows = y.reshape(-1)[: x.shape[0]].reshape(-1, 1)
        return rows if c % 4 == 1 else y.reshape(-1)[: x.shape[1]]
    return y.sum() / y.size


def product(x: Value, y: Value, c: int) -> Value:
    """Return one of x @ y, xᵀ @ y, x @ yᵀ and xᵀ @ yᵀ that fits, else x with itself, or vectors."""
    if x.ndim == 2:
        others = [y] if y.ndim in (1, 2) else []
        pairs = [(a, b) for b in (*others, *(o.T for o in others), x, x.T) for a in (x, x.T)]
        pairs = [(a, b) for a, b in pairs if a.shape[-1] == b.shape[0]]
        a, b = pairs[c % len(pairs)]
    else:
        n = min(x.size, y.size)
        a, b = x.reshape(-1)[:n], y.reshape(-1)[:n]
    result = a @ b
    return result / a.shape[-1] if result.size <= LARGEST else x


def shaped(x: Value, c: int) -> Value:
    n = x.size
    flat = [(n,), (1, n), (n, 1), (1, n, 1)]
    even = [(2, n // 2), (n // 2, 2), (2, n // 2, 1)] if n % 2 == 0 else []
    return x.reshape((*flat, *even)[c % (len(flat) + len(even))])


def repeated(x: Value, c: int) -> Value:
    if 3 * x.size > LARGEST:
        return x
    if c % 3 == 0 and 1 in x.shape:
        axis = x.shape.index(1)
        return x.broadcast_to((*x.shape[:axis], 3, *x.shape[axis + 1 :]))
    return x.broadcast_to((1 if c % 3 == 1 else 2, *x.shape)) if x.ndim < 3 else x


def part(x: Value, c: int) -> Value:
    if x.ndim == 0:
        return x
    n = x.shape[0]
    indices: tuple[Any, ...] = (
        0,
        -1,
        slice(0, n),
        slice(n // 2, None),
        slice(None, None, -1),
        slice(None, None, 2),
        (Ellipsis, slice(0, 1)),
        (Ellipsis, 0),
        np.arange(n + 1) % n,
        np.array([n - 1, 0, 0]),
    )
    return x[indices[c % len(indices)]]


def scattered(x: Value, c: int) -> Value:
    n = x.size
    if c % 2:
        return x.reshape(-1).scatter(permutation(key(c, "scatter"), n + 3)[:n], (n + 3,))
    return x.reshape(-1).scatter(np.arange(n) % max(n // 2, 1), (n // 2 + 1,))


def summed(x: Value, c: int) -> Value:
    axes: tuple[Any, ...] = (
        None,
        (),
        *range(-x.ndim, x.ndim),
        *((i, j) for i in range(x.ndim) for j in range(i)),
    )
    axis = axes[c % len(axes)]
    total = x.sum(axis=axis, keepdims=bool(c % 2))
    return total / max(x.size // max(total.size, 1), 1)


def joined(x: Value, y: Value, c: int) -> Value:
    parts = [[x, y], [x, x], [y, x, y], [x * 2, y], [x.T, y]][c % 5]
    return concatenate([p.reshape(-1) for p in parts]) if sum(p.size for p in parts) <= LARGEST else x


EXPONENTS: tuple[Any, ...] = (0, 1, 2, 3, 0.5, -1, -1.5, np.array([2.0]), np.array([[1.0]]))
SHIFTS = (0.237, -0.113, 0.0718)


class Interpreter:
    """A graph from a list of integers; results are kept moderate, and kinks away from round numbers."""

    def __init__(self, inputs: dict[str, Value], keys: list[int]) -> None:
        self.inputs, self.keys = inputs, keys
        self.pool = [*inputs.values(), Value(real(3, 2)), Value(real()), Value(np.ones((2, 3)))]

    def layer(self, x: Value, y: Value, c: int) -> Value:
        if x.ndim != 2 or y.ndim != 2 or x.shape[0] != y.shape[0]:
            return x
        bias = self.inputs["vector"]
        bias = bias.reshape(-1)[np.arange(x.shape[1]) % bias.size].reshape(-1, 1)
        h = x.T @ y / x.shape[0] + bias if c % 2 else x.T @ y + bias
        h = [h, h.relu(), h.tanh(), h.sigmoid()][c % 4]
        return h * self.mask(h, c) if c % 3 else h

    def mask(self, x: Value, c: int) -> Value:
        return mask(self.inputs["probability"] if c % 5 else 0.4, self.keys[c % len(self.keys)], x.shape)

    def do(self, name: str, i: int, j: int, c: int) -> None:
        x, y = self.pool[i % len(self.pool)], self.pool[j % len(self.pool)]
        shift = SHIFTS[c % 3]
        if name in "+-*/":
            z = suited(y, x, c)
            result = {
                "+": lambda: (x + z) / 2,
                "-": lambda: x - z if c % 2 else z - x,
                "*": lambda: x * z.tanh() if c % 2 else x.tanh() * z,
                "/": lambda: x / (z * z + 0.5) if c % 3 else x / 2,
            }[name]()
        else:
            functions: dict[str, Any] = {
                "neg": lambda: -x,
                "**": lambda: (x * x + 0.5) ** EXPONENTS[c % len(EXPONENTS)] / 2,
                "**Value": lambda: (x.sigmoid() + 0.2) ** suited(y, x, c).tanh(),
                "exp": lambda: x.tanh().exp() / 2,
                "log": lambda: (x * x + 0.5).log(),
                "relu": lambda: (x + shift).relu(),
                "step": lambda: (x + shift).step(),
                "tanh": x.tanh,
                "sigmoid": x.sigmoid,
                "softplus": x.softplus,
                "@": lambda: product(x, y, c),
                "sum": lambda: summed(x, c),
                "broadcast": lambda: repeated(x, c),
                "reshape": lambda: shaped(x, c),
                "transpose": lambda: x.T,
                "index": lambda: part(x, c),
                "scatter": lambda: scattered(x, c),
                "concatenate": lambda: joined(x, y, c),
                "mask": lambda: x * self.mask(x, c),
                "layer": lambda: self.layer(x, y, c),
            }
            result = functions[name]()
        self.pool.append(result)


NAMES = (
    *"+-*/",
    *("neg", "**", "**Value", "exp", "log", "relu", "step", "tanh", "sigmoid", "softplus", "@", "@", "sum"),
    *("broadcast", "reshape", "transpose", "transpose", "index", "scatter", "concatenate", "mask", "layer"),
)
# Operands are mostly recent results: that makes graphs deep.
positions = st.one_of(st.integers(-4, -1), st.integers(0, 40))
programs = st.lists(
    st.tuples(st.sampled_from(NAMES), positions, positions, st.integers(0, 119)), min_size=1, max_size=14
)
UPDATES = ("descend", "momentum", "keep", "other", "pool", "constant", "ratio")


def random_step(program: Any, updates: Any, watched: int) -> Any:
    def step(inputs: dict[str, Value], keys: list[int]) -> Ends:
        interpreter = Interpreter(inputs, keys)
        for line in program:
            interpreter.do(*line)
        made = interpreter.pool[len(inputs) + 3 :]
        loss = made[-1].tanh().sum() / made[-1].size
        for value in made[:-1]:
            loss = loss + 0.3 * value.tanh().sum() / value.size
        labels = [label for label in inputs if label in CARRIED]
        slopes = dict(zip(labels, gradient(loss, [inputs[label] for label in labels]), strict=True))
        carried: dict[str, Value] = {}
        for label, kind in zip(labels, updates, strict=True):
            w, g = inputs[label], slopes[label]
            match kind:
                case "descend":
                    carried[label] = w - inputs["lr"] * g.tanh()
                case "momentum":
                    carried[label] = 0.9 * w + 0.1 * g.tanh() * inputs["lr"]
                case "other":
                    others = [inputs[name] for name in labels if inputs[name].size == w.size]
                    carried[label] = others[-1].reshape(w.shape)
                case "pool":
                    same = [value for value in made if value.size == w.size]
                    carried[label] = same[-1].tanh().reshape(w.shape) if same else w
                case "constant":
                    carried[label] = Value(np.full(w.shape, 0.7))
                case "ratio":
                    carried[label] = (w - 0.3) / (1 + slopes[label] * slopes[label])
        norm = (slopes["matrix"] * slopes["matrix"]).sum()
        collected = [loss, norm, inputs["number"], inputs["lr"], loss]
        return Ends(carried, [[loss], [norm, *carried.values()], []][watched], collected)

    return step


CARRIED = ("matrix", "square", "other", "vector", "number", "cube")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    programs,
    st.tuples(*[st.sampled_from(UPDATES)] * len(CARRIED)),
    st.tuples(*[st.integers(1, 5)] * 4),
    st.integers(0, 2),
    st.sampled_from(DTYPES),
)
def test_random_steps_agree(program, updates, sizes, watched, dtype):
    rows, n, m, k = sizes
    problem = Problem(
        random_step(program, updates, watched),
        carried={
            "matrix": real(n, m),
            "square": real(n, n),
            "other": real(n, n, purpose="other"),
            "vector": real(m),
            "number": real(),
            "cube": real(2, 1, k),
        },
        fixed={"column": real(n, 1), "probability": np.array(0.3)},
        scalars={"lr": np.array([0.1, 0.2, 0.05]), "step": np.array([1.0, 2.0, 3.0])},
        features=real(9, n),
        targets=(real(9, 2) > 0).astype(float),
        order=permutation(key(rows, "order"), 9 * rows)[: 3 * rows] % 9,
        n_keys=3,
    )
    assert_agree(problem, dtype)


# Every instruction


def result_of(function: Any, carried: Any = (), n_keys: int = 0, rows: int = 2, **more: Any) -> Problem:
    """Return a step whose result is carried, but not needed by the next; the inputs stay as they are."""
    inputs = dict(carried)
    keys = [key(0, "recording", i) for i in range(n_keys)]
    values = {label: Value(array) for label, array in inputs.items()}
    features, targets = Value(real(3, rows)), Value(real(1, rows))
    shape = function({**values, "features": features, "targets": targets}, keys).shape
    return Problem(
        lambda inputs, keys: Ends({"result": function(inputs, keys)}),
        carried={"result": np.full(shape, 9.0)},
        fixed=inputs,
        features=real(7, 3),
        targets=real(7, 1),
        order=permutation(key(rows, "rows"), 3 * rows) % 7,
        n_keys=n_keys,
        **more,
    )


def vectors(n: int) -> dict[str, Any]:
    return {"a": real(n), "b": real(n, purpose="b"), "c": real(n, purpose="c"), "p": np.array(0.3)}


def table(n: int, m: int) -> dict[str, Any]:
    """Return two matrices (n, m) that are not symmetric, a row, a column and a number."""
    pair = {"a": real(n, m), "b": real(n, m, purpose="b")}
    return {**pair, "row": real(m), "column": real(n, 1), "number": real(), "p": np.array(0.3)}


ELEMENTWISE: dict[str, Any] = {
    "copy": lambda i, keys: i["a"],
    "negate": lambda i, keys: -i["a"],
    "exp": lambda i, keys: i["a"].exp(),
    "log": lambda i, keys: (i["a"] * i["a"]).log(),
    "sqrt": lambda i, keys: (i["a"] * i["a"]) ** 0.5,
    "relu": lambda i, keys: i["a"].relu(),
    "step": lambda i, keys: i["a"].step(),
    "tanh": lambda i, keys: i["a"].tanh(),
    "sigmoid": lambda i, keys: i["a"].sigmoid(),
    "softplus": lambda i, keys: i["a"].softplus(),
    "add": lambda i, keys: i["a"] + i["b"],
    "subtract": lambda i, keys: i["a"] - i["b"],
    "multiply": lambda i, keys: i["a"] * i["b"],
    "divide": lambda i, keys: i["a"] / i["b"],
    "power": lambda i, keys: (i["a"] * i["a"]) ** 1.5,
    "power of each": lambda i, keys: (i["a"] * i["a"]) ** np.linspace(-2, 3, i["a"].size),
    "multiply add": lambda i, keys: i["c"] + i["a"] * i["b"],
    "multiply add one a": lambda i, keys: i["c"] + i["p"] * i["b"],
    "multiply add one c": lambda i, keys: i["p"] + i["a"] * i["b"],
    "multiply add two": lambda i, keys: i["p"] + i["p"] * i["b"],
    "multiply subtract": lambda i, keys: i["c"] - i["a"] * i["b"],
    "multiply subtract one a": lambda i, keys: i["c"] - i["p"] * i["b"],
    "multiply subtract one c": lambda i, keys: i["p"] - i["a"] * i["b"],
    "multiply subtract two": lambda i, keys: i["p"] - i["p"] * i["b"],
    "relu gradient": lambda i, keys: i["b"] * i["a"].step(),
    "tanh gradient": lambda i, keys: i["b"] * (1 - i["a"].tanh() * i["a"].tanh()),
    "sigmoid gradient": lambda i, keys: i["b"] * (i["a"].sigmoid() * (1 - i["a"].sigmoid())),
    "take": lambda i, keys: i["a"][::-1] * 2,
    "take with repeats": lambda i, keys: i["a"][np.arange(2 * i["a"].size) // 2],
    "scatter": lambda i, keys: i["a"].scatter(np.arange(i["a"].size) // 3, (i["a"].size,)),
    "sum": lambda i, keys: i["a"].sum(),
    "mask": lambda i, keys: mask(i["p"], keys[0], i["a"].shape) * i["a"],
    "two masks": lambda i, keys: (
        mask(i["p"], keys[0], i["a"].shape) * 2 + mask(i["p"], keys[1], i["a"].shape)
    ),
    "concatenate": lambda i, keys: concatenate([i["a"], i["b"] * i["a"], i["b"], i["b"] * i["a"]]),
}


def dropped_relu_gradient(i: Any, keys: Any, g: Any) -> Value:
    h = i["x"].relu()
    kept = mask(i["p"], keys[0], h.shape)
    return concatenate([(h * kept).reshape(-1), ((g * kept) * h.step()).reshape(-1)])


def with_gradient(i: dict[str, Value], keys: Any, g: Value, name: str) -> Value:
    """Return g times the local gradient of an activation."""
    x = i["x"]
    match name:
        case "relu":
            return g * x.step()
        case "tanh":
            return g * (1 - x.tanh() * x.tanh())
        case "sigmoid":
            return g * (x.sigmoid() * (1 - x.sigmoid()))
        case "dropped_relu":
            return dropped_relu_gradient(i, keys, g)
    return g


def matrices(n: int, m: int, k: int, ta: bool, tb: bool) -> dict[str, Any]:
    a, b = real(n, k), real(k, m)
    arrays = {
        "a": a.T if ta else a,
        "b": b.T if tb else b,
        "bias": real(n),
        "x": real(n, m),
        "p": np.array(0.3),
    }
    return {label: np.array(array, order="C") for label, array in arrays.items()}


def product_of(i: Any, ta: bool, tb: bool) -> Value:
    product: Value = (i["a"].T if ta else i["a"]) @ (i["b"].T if tb else i["b"])
    return product


def layer_of(i: dict[str, Value], keys: Any, ta: bool, activation: str, dropped: bool) -> Value:
    h = product_of(i, ta, False) + i["bias"].reshape(-1, 1)
    h = NETWORK_ACTIVATIONS[activation].function(h) if activation else h
    return h * mask(i["p"], keys[0], h.shape) if dropped else h


TRIPLES = [
    (1, 1, 1),
    (1, 7, 3),
    (3, 1, 8),
    (4, 8, 1),
    (8, 3, 17),
    (17, 4, 2),
    (5, 33, 16),
    (7, 16, 9),
    (9, 100, 4),
]


def cases() -> dict[str, Problem]:
    found: dict[str, Problem] = {}
    for n in SIZES:
        for name, function in ELEMENTWISE.items():
            found[f"{name} of {n}"] = result_of(function, vectors(n), n_keys=2)
        arrays = {"x": real(n), "g": real(n, purpose="g"), "p": np.array(0.3)}
        found[f"dropped relu gradient of {n}"] = result_of(
            lambda i, keys: dropped_relu_gradient(i, keys, i["g"]), arrays, n_keys=1
        )
        for rows in (1, 5, n):
            found[f"features and targets, {rows} of {n}"] = result_of(
                lambda i, keys: concatenate([i["features"].reshape(-1), i["targets"].reshape(-1)]), rows=rows
            )
        for m in (1, 3, 8):
            spread = {
                "all and row": lambda i, keys: i["a"] / i["row"],
                "row and all": lambda i, keys: i["row"] - i["a"],
                "all and column": lambda i, keys: i["a"] / i["column"],
                "column and all": lambda i, keys: i["column"] - i["a"],
                "row and column": lambda i, keys: i["row"] / i["column"],
                "column and row": lambda i, keys: i["column"] - i["row"],
                "all and number": lambda i, keys: i["a"] / i["number"],
                "number and all": lambda i, keys: i["number"] - i["a"],
                "all and transposed": lambda i, keys: i["a"] - i["b"].reshape(i["b"].shape[::-1]).T,
                "sum of rows": lambda i, keys: i["a"].sum(axis=0),
                "sum of columns": lambda i, keys: i["a"].sum(axis=1),
                "sum of the middle": lambda i, keys: i["a"].reshape(i["a"].shape[0], -1, 1).sum(axis=(0, 2)),
                "a stored transpose": lambda i, keys: i["a"].T * 3,
                "a stored row": lambda i, keys: i["row"].broadcast_to(i["a"].shape),
                "a stored column": lambda i, keys: i["column"].broadcast_to(i["a"].shape),
            }
            for name, function in spread.items():
                found[f"{name}, {n}×{m}"] = result_of(function, table(n, m))
    for n, m, k in TRIPLES:
        for ta in (False, True):
            for tb in (False, True):
                for name in ACTIVATIONS:
                    found[f"product {n}×{m}×{k} {ta} {tb} {name}"] = result_of(
                        lambda i, keys, ta=ta, tb=tb, name=name: with_gradient(
                            i, keys, product_of(i, ta, tb), name
                        ),
                        matrices(n, m, k, ta, tb),
                        n_keys=1,
                    )
            for activation in ("", "relu", "tanh", "sigmoid"):
                for dropped in (False, True):
                    found[f"layer {n}×{m}×{k} {ta} {activation} {dropped}"] = result_of(
                        lambda i, keys, ta=ta, activation=activation, dropped=dropped: layer_of(
                            i, keys, ta, activation, dropped
                        ),
                        matrices(n, m, k, ta, False),
                        n_keys=1,
                    )
    found["finite"] = Problem(
        lambda i, keys: Ends({"a": i["a"] * 2}, finite=[i["a"] * 3]), carried={"a": real(17)}
    )
    return found


@each_dtype
def test_every_instruction_agrees_at_every_size(dtype):
    done = set()
    for name, problem in cases().items():
        try:
            tape = assert_agree(problem, dtype, 1e-12 if dtype is np.float64 else 1e-5)
        except Exception as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
        done |= {tuple(line) for line in tape.program.tolist()}
    lines = [dict(zip(FIELDS, line, strict=True)) for line in done]
    assert {Code(line["code"]) for line in lines} == set(Code)
    products = [line for line in lines if line["code"] == Code.MATMUL]
    found = {(line["x"], line["y"], line["z"]) for line in products}
    assert found == {(ta, tb, z) for ta, tb in [(0, 0), (1, 0), (0, 1)] for z in range(5)}
    layers = {(line["x"], line["y"], line["z"]) for line in lines if line["code"] == Code.LAYER}
    assert layers >= {(ta, y, -1) for ta in (0, 1) for y in range(4)}
    assert layers >= {(ta, y, 0) for ta in (0, 1) for y in (1, 2, 3)}


# Unusual combinations of shapes

TRICKY: dict[str, tuple[dict[str, Any], Any]] = {
    "a broadcast of a transpose": ({"a": real(2, 3)}, lambda i: i["a"].T.broadcast_to((4, 3, 2)) * 2),
    "a transpose with an axis more": ({"a": real(2, 3)}, lambda i: i["a"].T.broadcast_to((1, 3, 2)) * 2),
    "a transpose times one": ({"a": real(2, 3)}, lambda i: i["a"].T * np.ones((4, 3, 2))),
    "a transpose of a transpose": ({"a": real(2, 3)}, lambda i: (i["a"].T * 2).T.T + i["a"].T),
    "a middle axis of one": ({"a": real(2, 1, 3), "b": real(2, 4, 3)}, lambda i: i["a"] - i["b"]),
    "both ends spread": ({"a": real(2, 1, 3), "b": real(4, 1)}, lambda i: i["a"] / i["b"]),
    "two spread, three axes": ({"a": real(2, 1, 3), "b": real(1, 4, 1)}, lambda i: i["a"] - i["b"]),
    "a middle axis of a constant": ({"a": real(2, 4, 3)}, lambda i: i["a"] - real(2, 1, 3)),
    "outer products of vectors": (
        {"a": real(5), "b": real(3)},
        lambda i: i["a"].reshape(-1, 1) @ i["b"].reshape(1, -1),
    ),
    "views of views": (
        {"a": real(24)},
        lambda i: i["a"][2:22].reshape(4, 5)[1:3].reshape(-1)[3:9].reshape(2, 3) * 2,
    ),
    "a view of what was computed": (
        {"a": real(4, 6)},
        lambda i: (i["a"].exp()[1:3] * i["a"][2:4]).reshape(3, 4)[2],
    ),
    "a power with an axis more": (
        {"a": real(3)},
        lambda i: (i["a"] * i["a"]) ** np.array([[2.0]]) @ real(3, 2),
    ),
    "a power of one with axes more": ({"a": real(3)}, lambda i: (i["a"] ** np.array([[1.0]])).T),
    "a transpose of both transposed": ({"a": real(2, 3), "b": real(4, 2)}, lambda i: (i["a"].T @ i["b"].T).T),
    "a product with a broadcast": (
        {"a": real(2, 3), "b": real(4)},
        lambda i: i["a"] @ i["b"].broadcast_to((3, 4)),
    ),
    "a product with the transpose of a broadcast": (
        {"a": real(2, 3), "b": real(4, 1)},
        lambda i: i["a"] @ i["b"].broadcast_to((4, 3)).T,
    ),
    "a sum of a broadcast": ({"a": real(3)}, lambda i: i["a"].broadcast_to((4, 3)).sum(axis=0)),
    "a sum over nothing": ({"a": real(3, 2)}, lambda i: i["a"].sum(axis=()) * 2),
    "a sum of nothing": ({"a": real(3, 2)}, lambda i: i["a"][:0].sum(axis=0) + 1),
    "stacked": (
        {"a": real(3), "b": real(3)},
        lambda i: Value([[i["a"], i["b"] * 2], [[1.0, 2.0, 3.0], i["b"]], [i["a"], i["a"].exp()]]),
    ),
    "stacked numbers": ({"a": real(3)}, lambda i: Value([i["a"][0], 2.0, i["a"].sum()]) * i["a"]),
    "stacked broadcasts": (
        {"a": real(3)},
        lambda i: Value([i["a"].broadcast_to((2, 3)), i["a"].broadcast_to((2, 3)) * 2]),
    ),
    "concatenated with nothing": ({"a": real(3)}, lambda i: concatenate([i["a"][:0], i["a"], i["a"][3:]])),
    "concatenated twice": (
        {"a": real(3), "b": real(2)},
        lambda i: concatenate(
            [concatenate([i["a"] * 2, i["b"]]), concatenate([i["b"] + 1, i["a"] * 2]), i["a"]]
        ),
    ),
    "concatenated and used before": (
        {"a": real(3), "b": real(2)},
        lambda i: (
            concatenate([i["a"].exp(), i["b"]]) * i["a"].exp().sum() + concatenate([i["b"], i["a"].exp()])
        ),
    ),
    "a tiny divisor": ({"a": np.array([0.0, 1e-39, 2e-39])}, lambda i: i["a"] / 1e-39),
    "constants folded": ({"a": real(2, 3)}, lambda i: i["a"] @ (Value(real(4, 3)).exp().T * 2)[:, 1:]),
    "a number of a constant": ({"a": real()}, lambda i: i["a"] * Value(real(3))[1] + Value(2.0) * 3),
    "a step of what relu sees too": ({"a": real(5)}, lambda i: i["a"].step() + i["a"].relu()),
    "a step and then relu": ({"a": real(5)}, lambda i: i["a"].relu() + i["a"].step() * i["a"]),
    "a gradient of two steps": ({"a": real(5), "b": real(5)}, lambda i: i["a"].step() * i["b"].step()),
    "a gradient along an axis": ({"a": real(4, 3), "b": real(3)}, lambda i: i["b"] * i["a"].step()),
    "a gradient of a row": ({"a": real(4, 3), "b": real(3)}, lambda i: i["a"] * i["b"].step()),
    "a layer whose product is needed too": (
        {"a": real(3, 2), "b": real(3, 4)},
        lambda i: (i["a"].T @ i["b"] + i["a"].sum(axis=0).reshape(-1, 1)).relu() * (i["a"].T @ i["b"]),
    ),
    "a layer with a bias of a row": (
        {"a": real(3, 2), "b": real(3, 4), "c": real(4)},
        lambda i: (i["a"].T @ i["b"] + i["c"]).relu(),
    ),
    "a layer with a square bias": (
        {"a": real(3, 2), "b": real(3, 1), "c": real(2, 1)},
        lambda i: (i["c"] + i["a"].T @ i["b"]).tanh(),
    ),
    "two products added": (
        {"a": real(3, 2), "b": real(3, 1)},
        lambda i: (i["a"].T @ i["b"] + (i["a"] * 2).T @ i["b"]).sigmoid(),
    ),
    "c + a b where c is a": ({"a": real(5), "b": real(5)}, lambda i: i["a"] + i["a"] * i["b"]),
    "c - a b where all are one": ({"a": real(5)}, lambda i: i["a"] - i["a"] * i["a"]),
}


@each_dtype
def test_a_gradient_through_dropout_agrees_where_it_comes_first(dtype):
    def backwards(i: dict[str, Value], keys: Any) -> Value:
        h = i["x"].relu()
        kept = mask(i["p"], keys[0], h.shape)
        return (i["g"] * kept) * h.step() + (h * kept).exp()

    assert_agree(result_of(backwards, {"x": real(9), "g": real(9), "p": np.array(0.4)}, n_keys=1), dtype)


@each_dtype
@pytest.mark.parametrize("name", TRICKY)
def test_shapes_that_meet_in_odd_ways_agree(name, dtype):
    arrays, function = TRICKY[name]
    assert_agree(result_of(lambda i, keys: function(i), arrays), dtype)


# Carried arrays


A, B = real(6), real(6, purpose="b")


def carrying(step: Any, a: Any = A, b: Any = B, **more: Any) -> Problem:
    fixed = {"fixed": real(6, purpose="fixed"), "lr": np.array(0.1)}
    return Problem(step, carried={"a": a, "b": b}, fixed=fixed, steps=3, **more)


def after_one(i: Any, keys: Any) -> Ends:
    """Update a in place, where its old numbers are needed afterwards."""
    new = i["a"] - i["lr"] * i["b"]
    return Ends({"a": new, "b": i["b"] + new * i["a"]}, collected=[new.sum(), i["a"].sum()])


CARRYING: dict[str, Problem] = {
    "nothing": carrying(lambda i, keys: Ends()),
    "an exchange": carrying(lambda i, keys: Ends({"a": i["b"], "b": i["a"]})),
    "an exchange of shapes": carrying(
        lambda i, keys: Ends({"a": i["b"].reshape(6), "b": i["a"].reshape(2, 3)}), b=real(2, 3)
    ),
    "an exchange of halves": carrying(
        lambda i, keys: Ends(
            {"a": concatenate([i["b"][3:], i["a"][:3]]), "b": concatenate([i["a"][3:], i["b"][:3]])}
        )
    ),
    "a round of three": Problem(
        lambda i, keys: Ends({"a": i["b"], "b": i["c"], "c": i["a"]}),
        carried={"a": real(3), "b": real(3, purpose="b"), "c": real(3, purpose="c")},
    ),
    "a copy": carrying(lambda i, keys: Ends({"b": i["a"]})),
    "the old one beside the new": carrying(
        lambda i, keys: Ends({"a": i["a"] - i["lr"] * i["b"], "b": i["a"]})
    ),
    "the old one as a view beside the new": carrying(
        lambda i, keys: Ends({"a": i["a"] - i["lr"] * i["a"].sigmoid(), "b": i["a"].reshape(2, 3)}),
        b=real(2, 3),
    ),
    "a part of the old one": carrying(lambda i, keys: Ends({"a": i["a"] * 2, "b": i["a"][1:3]}), b=real(2)),
    "two from one": carrying(lambda i, keys: Ends(dict.fromkeys("ab", i["a"] - i["lr"] * i["b"]))),
    "what is fixed": carrying(lambda i, keys: Ends({"a": i["fixed"], "b": i["fixed"] + i["a"]})),
    "a constant": carrying(lambda i, keys: Ends({"a": Value(B), "b": Value(np.ones(6))})),
    "itself backwards": carrying(lambda i, keys: Ends({"a": i["a"][::-1]})),
    "in place, and the old one needed after it": carrying(after_one),
    "in place, one after another": carrying(
        lambda i, keys: Ends(
            {"a": i["a"] - i["lr"] * i["b"], "b": i["b"] - i["lr"] * (i["a"] - i["lr"] * i["b"])}
        )
    ),
    "in place by its own square": carrying(lambda i, keys: Ends({"a": i["a"] - i["a"] * i["a"]})),
    "in place by its own parts": carrying(
        lambda i, keys: Ends({"a": i["a"] - i["lr"] * concatenate([i["a"][3:], i["a"][:3]])})
    ),
    "in place by its first number": carrying(lambda i, keys: Ends({"a": i["b"] - i["a"][0] * i["a"]})),
    "in place plus its first number": carrying(lambda i, keys: Ends({"a": i["a"][0] - i["lr"] * i["a"]})),
    "in place, itself in the middle": carrying(lambda i, keys: Ends({"a": i["b"] + i["lr"] * i["a"]})),
    "a gradient of what is concatenated": carrying(
        lambda i, keys: Ends(
            dict(
                zip(
                    "ab",
                    gradient((concatenate([i["a"], i["b"], i["a"]]) ** 2 * real(18)).sum(), [i["a"], i["b"]]),
                    strict=True,
                )
            )
        )
    ),
    "a gradient of what is stacked": carrying(
        lambda i, keys: Ends(
            dict(
                zip(
                    "ab",
                    gradient((Value([i["a"], i["b"], i["a"]]) ** 2).sum(), [i["a"], i["b"]]),
                    strict=True,
                )
            )
        )
    ),
    "rows of the table": carrying(
        lambda i, keys: Ends({"a": i["features"].reshape(4) + i["a"], "b": i["b"]}), a=real(4)
    ),
    "old numbers collected": Problem(
        lambda i, keys: Ends(
            {"n": i["n"] * 2, "v": i["v"] + 1}, collected=[i["n"], i["n"] * 2, i["v"][1], i["t"]]
        ),
        carried={"n": np.array(1.5), "v": real(3)},
        scalars={"t": np.array([1.0, 2.0, 3.0])},
    ),
    "what is watched": carrying(
        lambda i, keys: Ends({"a": i["a"] - i["lr"] * i["b"]}, finite=[i["a"], i["a"] - i["lr"] * i["b"]])
    ),
}


@each_dtype
@pytest.mark.parametrize("name", CARRYING)
def test_what_is_carried_agrees(name, dtype):
    assert_agree(CARRYING[name], dtype)


@each_dtype
@pytest.mark.parametrize("place", ["before", "after", "of itself"])
def test_a_step_that_is_stopped_leaves_what_the_last_one_left(dtype, place):
    """Stop also where the watched number is computed after the update, or is the update."""

    def step(i: Any, keys: Any) -> Ends:
        new = i["a"] + i["growth"] * i["a"]
        watched = {"before": i["a"] * i["growth"], "after": (new * new).sum(), "of itself": new}[place]
        return Ends({"a": new, "b": i["b"] + 1}, finite=[watched])

    growth = np.array([1e5, 1e5, np.inf, 1.0])
    problem = Problem(step, {"a": A, "b": B}, scalars={"growth": growth}, steps=4, order=np.arange(4))
    tape = problem.tape(dtype)
    for replay in ENGINES.values():
        outcome = replayed(replay, problem, tape)
        assert outcome.done == 2
        assert_array_equal(outcome.carried["b"], (B.astype(dtype) + 1 + 1).astype(dtype))
        assert np.isfinite(outcome.carried["a"]).all()
    assert_agree(problem, dtype)
