"""The native engine: the same bits always, accuracy, no GIL, and its cache."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from tests.engine.support import (
    DTYPES,
    ENGINES,
    SIZES,
    Ends,
    Problem,
    assert_agree,
    assert_close,
    assert_same_bits,
    cast,
    eager,
    filled,
    real,
    replayed,
)
from tests.support import until

import sweepgrad
from sweepgrad import rng
from sweepgrad.autograd.value import Array, Value, mask
from sweepgrad.engine import native, reference
from sweepgrad.engine.products import BLAS_ABOVE_INNER, BLAS_ABOVE_OTHER
from sweepgrad.engine.tape import FIELDS, Code, DType
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import SGD, Adagrad, Adam, Momentum
from sweepgrad.rng import key, normal, permutation, uniform
from sweepgrad.training.loop import Examples, fit
from sweepgrad.training.steps import Update, training

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
each_engine = pytest.mark.parametrize("replay", ENGINES.values(), ids=ENGINES)


# The same bits

N, D = 1200, 9
X, LABELS = normal(key(0, "X"), (N, D)), (uniform(key(0, "y"), (N, 1)) < 0.4).astype(float)


def job(network: Network, update: Update, rows: int, dtype: DType, steps: int) -> Any:
    """Return a function that trains, and returns weights and losses after some steps."""
    tape = training(network, update, rows, dtype)
    w = np.concatenate([part.reshape(-1) for part in network.initial(1)])
    state = {f"state{i}": s for i, s in enumerate(update.optimizer.start(w), start=1)}
    fixed = {"scale": 1.0, **({"dropout": network.dropout} if network.dropout else {}), **update.inputs}
    features, targets = cast(X[:, : network.n_features], dtype), cast(LABELS, dtype)
    order = permutation(key(rows, "order"), rows * steps) % N
    scalars = cast(np.stack([np.full(steps, 0.01), np.arange(1, steps + 1)], axis=1), dtype)

    def train() -> Array:
        buffer = filled(tape, {"weights": w, **state, **fixed})
        done, _ = native.replay(tape, buffer, features, targets, order, scalars, key(3, "masks"), 1)
        assert done == steps
        return tape.inputs["weights"].of(buffer).copy()

    return train


def jobs() -> list[Any]:
    adam = Adam(0.01, 0.9, 0.999, 1e-8)
    return [
        job(Network(9, (), None), Update(SGD(0.1)), 1, np.float64, 300),
        job(Network(9, (), None), Update(SGD(0.1)), 7, np.float32, 300),
        job(Network(9, (8, 4), "relu", 0.5), Update(SGD(0.1)), 1, np.float64, 300),
        job(Network(9, (8, 4), "relu", 0.5), Update(SGD(0.1)), 1, np.float32, 300),
        job(Network(5, (17, 3), "tanh", 0.2), Update(Momentum(0.1, 0.9)), 5, np.float64, 100),
        job(Network(3, (33,), "sigmoid"), Update(Adagrad(0.1, 1e-8), clip=0.1), 16, np.float32, 100),
        job(Network(9, (64, 64), "relu", 0.1), Update(adam, weight_decay=0.01), 32, np.float32, 30),
        job(Network(9, (31, 7, 2), "tanh"), Update(adam, 0.01, 1.0), 33, np.float64, 30),
        job(Network(1, (1,), "relu"), Update(adam), 1, np.float32, 300),
        job(Network(9, (100,), "sigmoid", 0.9), Update(SGD(0.1)), 100, np.float64, 30),
        job(Network(9, (256, 256), "relu", 0.5), Update(SGD(0.1)), 128, np.float32, 3),
        job(Network(9, (200, 180), "tanh"), Update(adam), 150, np.float64, 3),
    ]


def test_one_thread_many_threads_and_any_order_give_the_same_bits():
    largest = (256 * 256 * 128, 200 * 180 * 150)  # multiply-adds in a product of the last two jobs
    assert min(largest) > BLAS_ABOVE_INNER
    every = jobs()
    alone = [train() for train in every]
    assert all(np.isfinite(w).all() for w in alone)
    for workers in (1, 2, 8):
        order = permutation(key(workers, "jobs"), 2 * len(every)) % len(every)  # each twice
        with ThreadPoolExecutor(workers) as pool:
            found = list(pool.map(lambda i: every[i](), order))
        for i, w in zip(order, found, strict=True):
            assert_array_equal(w, alone[i])


def test_where_the_buffer_lies_changes_no_bit():
    problem = Problem(
        lambda i, keys: Ends({"a": (i["a"] @ i["b"]).tanh() + i["b"].sum(axis=0)}),
        carried={"a": real(17, 17), "b": real(17, 17, purpose="b")},
    )
    tape = problem.tape(np.float32)
    expected, room = None, np.full(tape.length + 16, np.nan, np.float32)
    for shift in range(9):
        room[:] = np.nan
        buffer = room[shift : shift + tape.length]
        buffer[:] = filled(tape, problem.carried)
        native.replay(
            tape,
            buffer,
            problem.features.astype(np.float32),
            problem.targets.astype(np.float32),
            problem.order,
            np.zeros((3, 0), np.float32),
            0,
            1,
        )
        found = tape.inputs["a"].of(buffer).copy()
        expected = found if expected is None else expected
        assert_array_equal(found, expected)
        assert np.isnan(room[:shift]).all()
        assert np.isnan(room[shift + tape.length :]).all()


def test_steps_replayed_at_once_and_one_by_one_give_the_same_bits():
    """Check that scalars, masks and rows of a step depend on its number only."""
    steps, rows, network = 12, 5, Network(4, (6,), "relu", 0.5)
    tape = training(network, Update(Adam(0.01, 0.9, 0.999, 1e-8)), rows, np.float64)
    w = np.concatenate([part.reshape(-1) for part in network.initial(1)])
    inputs = {"weights": w, "state1": 0, "state2": 0, "scale": 1.0, "dropout": 0.5}
    inputs |= {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    order = permutation(key(0, "order"), steps * rows)
    scalars = np.stack([np.full(steps, 0.1), np.arange(1.0, steps + 1)], axis=1)
    for replay in ENGINES.values():
        whole, parts = filled(tape, inputs), filled(tape, inputs)
        replay(tape, whole, X[:, :4].copy(), LABELS, order, scalars, 77, 1)
        for start, end in ((0, 1), (1, 6), (6, 6), (6, 12)):
            done, _ = replay(
                tape,
                parts,
                X[:, :4].copy(),
                LABELS,
                order[start * rows : end * rows],
                scalars[start:end],
                77,
                1 + start,
            )
            assert done == end - start
        assert_array_equal(tape.inputs["weights"].of(parts), tape.inputs["weights"].of(whole))


def test_other_threads_go_on_while_a_tape_is_replayed():
    """Count in one thread while another replays; with the GIL held it could not count."""
    train = job(Network(9, (64,), "tanh", 0.5), Update(SGD(0.01)), 64, np.float64, 20)
    train()
    steps = 20
    start = time.perf_counter()
    train()
    steps = int(20 / (time.perf_counter() - start))  # about a second
    train = job(Network(9, (64,), "tanh", 0.5), Update(SGD(0.01)), 64, np.float64, steps)
    thread = threading.Thread(target=train)
    moments = [time.perf_counter()]
    thread.start()
    while thread.is_alive():
        time.sleep(0.005)
        moments.append(time.perf_counter())
    assert moments[-1] - moments[0] > 0.1
    assert np.diff(moments).max() < 0.9 * (moments[-1] - moments[0])  # a held GIL would leave one gap


# Functions


def applied(function: Any, x: Array, dtype: DType) -> Array:
    """Return a function of each number, computed by the native engine."""
    problem = Problem(
        lambda i, keys: Ends({"y": function(i["x"])}),
        carried={"y": np.zeros(len(x))},
        fixed={"x": np.ones(len(x))},
        steps=1,
        order=np.array([0]),
    )
    tape = problem.tape(dtype)
    buffer = filled(tape, {"x": x, "y": 0})
    features, targets = cast(problem.features, dtype), cast(problem.targets, dtype)
    native.replay(tape, buffer, features, targets, problem.order, np.zeros((1, 0), dtype), 0, 1)
    return tape.inputs["y"].of(buffer).copy()


def wide(dtype: DType) -> Array:
    """Return numbers of all sizes, and those where the method changes."""
    sizes = np.concatenate(
        [np.logspace(-40, 2.9, 3000), np.linspace(0, 20, 4001), np.linspace(20, 120, 2001)]
    )
    ends = np.array(
        [0.0, 0.34657359, 0.41421356, 0.5, 1.0, 86.9, 87.3, 88.7, 89.0, 700.0, 708.0, 709.7, 745.0]
    )
    sizes = np.concatenate([sizes, ends, [1e4, 1e30, np.inf]])
    return np.concatenate([sizes, -sizes]).astype(dtype)


FUNCTIONS: dict[str, tuple[Any, Any, float]] = {
    "exp": (Value.exp, np.exp, 2),
    "tanh": (Value.tanh, np.tanh, 6),
    "sigmoid": (Value.sigmoid, expit, 5),
    "softplus": (Value.softplus, lambda x: np.logaddexp(x, 0), 6),
}


@each_dtype
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_accurate_to_a_few_units_in_the_last_place(name, dtype):
    """Compare with long doubles or, for float32, doubles. Subnormal results may become 0."""
    function, plain, units = FUNCTIONS[name]
    x = wide(dtype)
    with np.errstate(all="ignore"):
        exact = np.asarray(plain(x.astype(np.longdouble if name in ("exp", "tanh") else np.float64)))
        expected = exact.astype(dtype)
    found, info = applied(function, x, dtype), np.finfo(dtype)
    assert_array_equal(np.isinf(found), np.isinf(expected))
    assert not np.isnan(found).any()
    finite = np.isfinite(expected)
    error = np.abs(found[finite].astype(np.longdouble) - exact[finite])
    allowed = units * np.abs(exact[finite]) * info.eps + 4 * info.tiny
    worst = np.argmax(error - allowed)
    assert (error <= allowed).all(), (x[finite][worst], found[finite][worst], expected[finite][worst])


@each_dtype
@pytest.mark.parametrize("n", SIZES)
def test_functions_pass_on_what_is_no_number(n, dtype):
    """Check every position: in a whole vector register, and in the remainder."""
    for name in ("exp", "tanh", "sigmoid", "softplus", "relu"):
        for place in {0, n // 2, n - 1}:
            x = np.full(n, 0.5)
            x[place] = np.nan
            found = applied(getattr(Value, name), x, dtype)
            assert_array_equal(np.isnan(found), np.isnan(x), name)


@each_dtype
def test_functions_at_zero_and_at_infinity(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf])
    assert_array_equal(applied(Value.exp, x, dtype), [1, 1, np.inf, 0])
    assert_array_equal(applied(Value.sigmoid, x, dtype), [0.5, 0.5, 1, 0])
    assert_array_equal(applied(Value.relu, x, dtype), [0, 0, np.inf, 0])
    assert_array_equal(applied(Value.step, x, dtype), [0, 0, 1, 0])
    assert_array_equal(applied(lambda v: (v**2) ** 0.5, x, dtype), [0, 0, np.inf, np.inf])
    tanh = applied(Value.tanh, x, dtype)
    assert_array_equal(tanh, [0, 0, 1, -1])
    assert_array_equal(np.signbit(tanh), [False, True, False, True])
    softplus = applied(Value.softplus, x, dtype)
    assert_allclose(softplus, [np.log(2), np.log(2), np.inf, 0], rtol=4 * np.finfo(dtype).eps)


# Masks


@each_engine
@each_dtype
@pytest.mark.parametrize("probability", [0.0, 1e-9, 0.1, 0.5, 1 / 3, 0.999])
def test_masks_are_the_words_that_rng_gives_against_its_threshold(probability, dtype, replay):
    n, first, p = 133, 5, dtype(probability)
    problem = Problem(
        lambda i, keys: Ends(
            {"all": i["all"] * 0 + mask(i["p"], keys[1], (n,)), "sum": i["sum"] + mask(i["p"], keys[0], (n,))}
        ),
        carried={"all": np.zeros(n), "sum": np.zeros(n)},
        fixed={"p": np.array(probability)},
        n_keys=2,
        first=first,
        key=key(9, "masks"),
    )
    found = replayed(replay, problem, problem.tape(dtype))
    kept = dtype(1) / (dtype(1) - p)
    expected = np.zeros((2, n), dtype)
    for step in range(3):
        for number in range(2):
            words = rng.words(rng.fold(problem.key, first + step, number), n)
            drawn = np.where(words < rng.threshold(float(p)), 0, kept).astype(dtype)
            expected[number] = expected[number] + drawn if number == 0 else drawn
    assert_array_equal(found.carried["sum"], expected[0])
    assert_array_equal(found.carried["all"], expected[1])


# Products


@each_dtype
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_products_of_all_small_sizes_are_exact(ta, tb, dtype):
    """Use integers, so that no rounding hides a wrong element."""
    sizes = [*range(1, 21)]
    triples = [
        (n, m, k) for n in sizes for m in sizes for k in sizes if len({n, m, k} & {1, 5, 13}) or n == m
    ]
    generator = np.random.default_rng(0)
    for n, m, k in triples:
        a, b = generator.integers(-9, 10, (n, k)), generator.integers(-9, 10, (k, m))
        length = n * k + k * m + n * m
        if ta and tb:
            continue
        buffer = np.full(length + 16, np.nan, dtype)
        buffer[: n * k] = (a.T if ta else a).reshape(-1)
        buffer[n * k : n * k + k * m] = (b.T if tb else b).reshape(-1)
        line = {
            "code": Code.MATMUL,
            "o": n * k + k * m,
            "b": n * k,
            "n": n,
            "m": m,
            "k": k,
            "x": int(ta),
            "y": int(tb),
        }
        run(line, buffer)
        assert_array_equal(buffer[n * k + k * m : length].reshape(n, m), a @ b, f"{n} {m} {k}")
        assert np.isnan(buffer[length:]).all(), f"{n}×{m}×{k} writes beyond its end"


def run(fields: dict[str, int], buffer: Array) -> None:
    """Run one instruction on a buffer."""
    tape = Problem(lambda i, keys: Ends()).tape(buffer.dtype.type)
    program = np.array([[fields.get(name, 0) for name in FIELDS]])
    table = np.zeros((1, 1), buffer.dtype)
    native.replay(
        replace(tape, program=program, rows=1),
        buffer,
        table,
        table,
        np.array([0]),
        np.zeros((1, 0), buffer.dtype),
        0,
        1,
    )


@each_dtype
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("size", [(16, 64, 16), (33, 71, 19), (130, 190, 160), (261, 301, 280)], ids=str)
def test_large_products_agree_with_numpy(ta, tb, dtype, size):
    """Use packed panels and, for the last sizes, BLAS."""
    n, m, k = size
    assert (n * m * k > BLAS_ABOVE_OTHER / np.dtype(dtype).itemsize) == (n > 200)
    assert (n * m * k > BLAS_ABOVE_INNER) == (n > 100)
    arrays = {"a": real(*((k, n) if ta else (n, k))), "b": real(*((m, k) if tb else (k, m)))}
    problem = Problem(
        lambda i, keys: Ends({"o": (i["a"].T if ta else i["a"]) @ (i["b"].T if tb else i["b"])}),
        carried={"o": np.zeros((n, m))},
        fixed=arrays,
    )
    assert_agree(problem, dtype, 1e-13 if dtype is np.float64 else 1e-5)


# Batches and stopping


def growing(steps: int, bad: int | None) -> Problem:
    """Return a step whose weight follows the rows, one of which may be infinite."""
    features = real(40, 3)
    order = permutation(key(0, "rows"), steps * 4) % 40
    if bad is not None:
        features[order[bad * 4 + 2], 1] = np.inf
    return Problem(
        lambda i, keys: Ends(
            {"w": i["w"] - 0.1 * i["features"].sum(axis=1), "t": i["t"] + 1},
            finite=[i["features"] * 2],
            collected=[i["w"].sum(), i["t"]],
        ),
        carried={"w": real(3), "t": np.array(0.0)},
        features=features,
        targets=np.zeros((40, 1)),
        order=order,
        steps=steps,
    )


@each_engine
@each_dtype
@pytest.mark.parametrize("bad", [0, 1, 4, 9, None])
def test_it_stops_at_the_step_that_is_not_finite(bad, dtype, replay):
    problem = growing(10, bad)
    found = replayed(replay, problem, problem.tape(dtype))
    row = problem.features[:, 1]
    first = next((s for s in range(10) if np.isinf(row[problem.order[4 * s : 4 * s + 4]]).any()), 10)
    assert found.done == first == (10 if bad is None else min(first, bad))
    assert found.carried["t"] == first
    assert_close(found, eager(problem, dtype), 1e-5 if dtype is np.float32 else 1e-12)
    assert np.isfinite(found.carried["w"]).all()


@each_dtype
@pytest.mark.parametrize("n", SIZES)
def test_every_number_is_watched(n, dtype):
    for place in {0, n // 2, n - 1}:
        for evil in (np.nan, np.inf, -np.inf):
            x = real(n)
            x[place] = evil
            problem = Problem(
                lambda i, keys: Ends({"t": i["t"] + 1}, finite=[i["x"]]),
                {"t": np.array(0.0)},
                fixed={"x": np.zeros(n)},
            )
            tape = problem.tape(dtype)
            buffer = filled(tape, {"x": x, "t": 0})
            features, targets = cast(problem.features, dtype), cast(problem.targets, dtype)
            none = np.zeros((3, 0), dtype)
            assert native.replay(tape, buffer, features, targets, problem.order, none, 0, 1)[0] == 0
            tape.inputs["x"].of(buffer)[place] = np.finfo(dtype).max
            assert native.replay(tape, buffer, features, targets, problem.order, none, 0, 1)[0] == 3


@each_engine
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_no_steps_change_nothing(rows, replay):
    problem = Problem(
        lambda i, keys: Ends({"w": i["w"] * 2}, collected=[i["w"].sum()]),
        {"w": real(3)},
        order=np.arange(3 * rows) % 6,
    )
    tape = problem.tape()
    buffer = filled(tape, problem.carried)
    before = buffer.copy()
    done, collected = replay(
        tape, buffer, problem.features, problem.targets, problem.order[:0], np.zeros((0, 0)), 0, 1
    )
    assert (done, collected.shape) == (0, (0, 1))
    assert_array_equal(buffer, before)


def test_a_last_short_batch_goes_on_where_the_whole_ones_ended():
    """Replay two tapes over one buffer, as `fit` does."""
    network, update, w = Network(3, (4,), "tanh"), Update(Momentum(0.2, 0.9)), real(21)
    whole, rest = (training(network, update, rows, np.float64) for rows in (5, 2))
    assert whole.inputs == rest.inputs
    features, order = real(7, 3), permutation(key(0, "order"), 7)
    outcomes = []
    for replay in ENGINES.values():
        buffer = np.full(max(whole.length, rest.length), np.nan)
        for tape, rows, first in ((whole, order[:5], 1), (rest, order[5:], 2)):
            for slot, constant in tape.constants:
                slot.of(buffer)[...] = constant
            if first == 1:
                inputs: dict[str, Any] = {"weights": w, "state1": 0, "scale": 1.0, "momentum": 0.9}
                for label, x in inputs.items():
                    tape.inputs[label].of(buffer)[...] = x
            assert replay(tape, buffer, features, LABELS, rows, np.array([[0.2, first]]), 0, first)[0] == 1
        outcomes.append(whole.inputs["weights"].of(buffer).copy())
    assert_allclose(outcomes[0], outcomes[1], rtol=1e-12)
    assert np.abs(outcomes[0] - w).min() > 0


# The cache, in processes of their own

LOAD = """
import sys, numpy as np
import logging
logged = []
class Capture(logging.Handler):
    def emit(self, record):
        logged.append(self.format(record))
logging.getLogger("sweepgrad").addHandler(Capture())
logging.getLogger("sweepgrad").setLevel(logging.INFO)
from sweepgrad import engine
replay = engine.load("native", np.float32)
print(len(logged), " ".join(logged), sep="|")
"""


def python(code: str, **environment: str) -> "subprocess.Popen[str]":
    root = str(Path(sweepgrad.__file__).parents[1])
    path = os.pathsep.join([root, str(Path(__file__).parents[2])])
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# Compiled in half the time, without optimization, for tests that keep no result: Numba cannot cache this one.
FAST = {"NUMBA_OPT": "0"}


def logged_by(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert err == ""
    return out.strip()


def test_what_was_compiled_is_loaded_by_the_next_process():
    native.load(np.float32)
    assert logged_by(python(LOAD)) == "0|"


@pytest.mark.slow
def test_two_processes_may_compile_at_once_and_a_third_need_not(tmp_path):
    both = [python(LOAD, XDG_CACHE_HOME=str(tmp_path)) for _ in range(2)]
    for process in both:
        logged = logged_by(process)
        assert logged.startswith("1|compiling the engine for float32")
    folders = list((tmp_path / "sweepgrad").iterdir())
    assert [folder.name.partition("-")[0] for folder in folders] == ["engine"]
    assert list(folders[0].rglob("*.nbc"))
    assert logged_by(python(LOAD, XDG_CACHE_HOME=str(tmp_path))) == "0|"


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_still_works(tmp_path):
    (tmp_path / "file").write_text("")
    logged = logged_by(python(LOAD, XDG_CACHE_HOME=str(tmp_path / "file" / "below"), **FAST))
    assert logged.startswith("2|compiling")
    assert "cannot write the compiled engine to" in logged
    assert "Not a directory" in logged


WITHOUT_NUMBA = """
import sys
if HOW == "absent":
    class Filter:
        def __init__(self, finder):
            self.finder = finder
        def find_spec(self, name, path=None, target=None):
            hidden = name.partition(".")[0] in ("numba", "llvmlite")
            return None if hidden else self.finder.find_spec(name, path, target)
    sys.meta_path[:] = [Filter(finder) for finder in sys.meta_path]
else:
    sys.modules["numba"] = None
import numpy as np
import logging
logged = []
class Capture(logging.Handler):
    def emit(self, record):
        logged.append(self.format(record))
logging.getLogger("sweepgrad").addHandler(Capture())
logging.getLogger("sweepgrad").setLevel(logging.INFO)
from sweepgrad import engine
from sweepgrad.training.loop import Examples, fit
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import SGD
from sweepgrad.rng import key, normal
replay = engine.load("native", np.float64)
assert replay.__module__ == "sweepgrad.engine.reference", replay
X = normal(key(0, "X"), (50, 3))
examples = Examples(X, (X[:, 0] > 0).astype(float))
*_, result = fit(Network(3, (4,), "tanh", 0.2), SGD(0.1), examples, examples, epochs=3, batch_size=7, seed=1)
print(len(logged), logged[0], repr(result.best.val_loss), sep="|")
"""


@pytest.mark.parametrize("how", ["absent", "none"])
def test_without_numba_numpy_trains_alike_and_one_line_says_so(how):
    number, notice, loss = logged_by(python(f"HOW = {how!r}\n{WITHOUT_NUMBA}")).split("|")
    assert number == "1"
    assert "\n" not in notice
    assert "Numba cannot be imported" in notice
    assert "training uses NumPy" in notice
    features = normal(key(0, "X"), (50, 3))
    examples = Examples(features, (features[:, 0] > 0).astype(float))
    for replay in (native.replay, reference.replay):
        *_, result = fit(
            Network(3, (4,), "tanh", 0.2),
            SGD(0.1),
            examples,
            examples,
            epochs=3,
            batch_size=7,
            seed=1,
            engine=replay,
        )
        assert_allclose(result.best.val_loss, float(loss), rtol=1e-12)


def test_replaying_one_tape_twice_at_once_needs_only_two_buffers():
    problem = Problem(
        lambda i, keys: Ends({"w": (i["w"] @ i["w"]).tanh()}),
        carried={"w": real(20, 20)},
        order=np.zeros(300, int),
        steps=300,
    )
    tape = problem.tape()
    alone = replayed(native.replay, problem, tape)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: replayed(native.replay, problem, tape), range(8)):
            assert_same_bits(found, alone)


@pytest.mark.slow
def test_an_interruption_while_compiling_is_heard(tmp_path):
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = python(f"{listening}\n{LOAD}", XDG_CACHE_HOME=str(tmp_path), **FAST)
    until(lambda: [*tmp_path.glob("sweepgrad/engine-*")])  # made just before the compiler is called
    time.sleep(1)  # well within what it takes
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert process.returncode not in (0, None)
    assert err.rstrip().endswith("KeyboardInterrupt")
