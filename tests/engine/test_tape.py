"""Tapes: no needless instruction, a small buffer, and no two live numbers in one place."""

import re
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from tests.engine.support import (
    DTYPES,
    ENGINES,
    PRECISION,
    Ends,
    Problem,
    assert_close,
    assert_same_bits,
    eager,
    filled,
    real,
    replayed,
)
from tests.engine.test_agreement import CARRIED, CARRYING, UPDATES, programs, random_step

from sweepgrad.autograd.value import Array, ShapeError, Value, mask
from sweepgrad.engine import recorder as recording
from sweepgrad.engine.recorder import record
from sweepgrad.engine.rewrite import RULES
from sweepgrad.engine.tape import FIELDS, Code, Tape
from sweepgrad.nn.network import Network
from sweepgrad.nn.optimizers import SGD, Adagrad, Adam, Momentum
from sweepgrad.rng import key, permutation
from sweepgrad.training.steps import Update, evaluation, training

ADAM = Adam(0.01, 0.9, 0.999, 1e-8)
NETWORKS = [
    Network(4, (), None),
    Network(4, (8,), "relu"),
    Network(4, (8, 5), "tanh"),
    Network(4, (8, 5), "relu", 0.5),
    Network(4, (8, 5), "sigmoid", 0.5),
]
UPDATING = [
    Update(SGD(0.1)),
    Update(Momentum(0.1, 0.9), clip=1.0),
    Update(Adagrad(0.1, 1e-8), weight_decay=0.1),
    Update(ADAM, 0.1, 1.0),
]


def codes(tape: Tape) -> list[str]:
    return [Code(line[0]).name for line in tape.program]


def parts(tape: Tape) -> tuple[list[dict[str, int]], set[int]]:
    """Return the instructions' fields, and the places of inputs and constants."""
    slots = [*tape.inputs.values(), *(slot for slot, _ in tape.constants)]
    outside = {place for slot in slots for place in range(slot.start, slot.start + slot.size)}
    return [dict(zip(FIELDS, line, strict=True)) for line in tape.program.tolist()], outside


def touched(f: dict[str, int], tables: Any) -> tuple[set[int], set[int]]:
    """Return the places that an instruction reads and writes, by the documentation of `Code`."""
    code, n, m, k = Code(f["code"]), f["n"], f["m"], f["k"]

    def span(name: str, size: int) -> set[int]:
        return set(range(f[name], f[name] + size))

    one = {"a": 1, "b": 1, "c": 1, "d": 1}
    match code.name.split("_"):
        case ["FEATURES"] | ["TARGETS"]:
            reads, size = {}, n * m
        case ["ADD"] | ["SUBTRACT"] | ["MULTIPLY"] | ["DIVIDE"] | ["POWER"]:
            bits = f["x"]
            sizes = [(m if bits >> i & 1 else 1) * (n if bits >> i & 2 else 1) for i in (0, 2)]
            reads, size = dict(zip("ab", sizes, strict=True)), n * m
        case ["MULTIPLY", _]:
            reads, size = {"a": n if f["x"] & 1 else 1, "b": n, "c": n if f["x"] & 2 else 1}, n
        case ["DROPPED", *_]:
            reads, size = {"a": n, "b": n, "c": 1}, n
        case [_, "GRADIENT"]:
            reads, size = {"a": n, "b": n}, n
        case ["TAKE"]:
            table = tables[f["x"] : f["x"] + n].tolist()
            return {f["a"] + i for i in table}, span("o", n)
        case ["SCATTER"]:
            reads, size = {"a": n}, m
        case ["SUM"]:
            reads, size = {"a": n * m * k}, n * k
        case ["MASK"]:
            reads, size = {"a": 1}, n
        case ["MATMUL"]:
            reads, size = {"a": n * k, "b": k * m}, n * m
            if f["z"]:
                reads["c"] = n * m
            if f["z"] == 4:
                reads["d"] = one["d"]
        case ["LAYER"]:
            reads, size = {"a": n * k, "b": k * m, "c": n}, n * m
            if f["z"] >= 0:
                reads["d"] = one["d"]
        case ["FINITE"]:
            return span("a", n), set()
        case _:
            reads, size = {"a": n}, n
    return set().union(*(span(name, count) for name, count in reads.items())), span("o", size)


def check_places(tape: Tape, carried: set[str]) -> None:
    """Check that reads follow writes, fixed inputs are never written, and no place is out of bounds."""
    lines, outside = parts(tape)
    kept = {
        place
        for slot in [
            *(s for label, s in tape.inputs.items() if label not in carried),
            *(s for s, _ in tape.constants),
        ]
        for place in range(slot.start, slot.start + slot.size)
    }
    written = set(outside)
    for number, f in enumerate(lines):
        reads, writes = touched(f, tape.tables)
        text = tape.instructions[number].text
        assert reads <= written, f"line {number} reads what was not written: {text}\n{tape}"
        assert not writes & kept, f"line {number} overwrites what stays: {text}\n{tape}"
        assert max(reads | writes, default=0) < tape.length
        in_place = Code(f["code"]) in (Code.MULTIPLY_ADD, Code.MULTIPLY_SUBTRACT)
        assert in_place or not reads & writes, f"line {number} reads and writes one place: {text}\n{tape}"
        written |= writes
    assert set(tape.collected.tolist()) <= written
    slots = sorted(
        (slot.start, slot.start + slot.size)
        for slot in [*tape.inputs.values(), *(s for s, _ in tape.constants)]
    )
    assert all(end <= start for (_, end), (start, _) in pairwise(slots))


def dead(tape: Tape, carried: set[str]) -> list[str]:
    """Return lines whose result is not read before it is overwritten or the tape ends."""
    lines, _ = parts(tape)
    slots = [tape.inputs[label] for label in carried]
    needed = {place for slot in slots for place in range(slot.start, slot.start + slot.size)}
    needed |= set(tape.collected.tolist())
    found = []
    for number in reversed(range(len(lines))):
        reads, writes = touched(lines[number], tape.tables)
        if Code(lines[number]["code"]) is not Code.FINITE and not writes & needed:
            found.append(tape.instructions[number].text)
        needed = (needed - writes) | reads
    return found


def tapes() -> list[Any]:
    found = [pytest.param(evaluation(n, 6, np.float64), set(), id=f"evaluation {n}") for n in NETWORKS]
    for network in NETWORKS:
        for update in UPDATING:
            for rows in (1, 6):
                tape = training(network, update, rows, np.float32)
                carried = {label for label in tape.inputs if label.startswith(("weights", "state"))}
                found.append(pytest.param(tape, carried, id=f"{network} {update} {rows}"))
    for name, problem in CARRYING.items():
        found.append(pytest.param(problem.tape(), set(problem.carried), id=name))
    return found


each_tape = pytest.mark.parametrize(("tape", "carried"), tapes())


@each_tape
def test_what_is_read_was_written_and_what_stays_is_not(tape, carried):
    check_places(tape, carried)


@each_tape
def test_no_line_is_for_nothing(tape, carried):
    assert dead(tape, carried) == []


def test_what_nothing_depends_on_is_not_recorded():
    def step(i: Any, keys: Any) -> Ends:
        unused = (i["a"] @ i["features"]).exp().sum() * mask(0.5, keys[0], (3,))
        return Ends({"a": i["a"] - i["a"] * 0.5 if unused.size else i["a"]})

    tape = Problem(step, {"a": real(3)}, features=real(6, 3), n_keys=1).tape()
    assert codes(tape) == ["MULTIPLY_SUBTRACT"]


def test_the_same_is_computed_once():
    def step(i: Any, keys: Any) -> Ends:
        return Ends({"a": i["a"].exp() * i["a"].exp() + (i["a"] * 1).exp()})

    tape = Problem(step, {"a": real(3)}).tape()
    assert codes(tape).count("EXP") == 1


def test_constants_are_computed_when_recording():
    def step(i: Any, keys: Any) -> Ends:
        return Ends({"a": i["a"] * (Value(real(3)).exp().sum() + 2)})

    problem = Problem(step, {"a": real(3)})
    assert codes(problem.tape()) == ["MULTIPLY", "COPY"]
    ((_, constant),) = problem.tape().constants
    assert constant == np.exp(real(3)).sum() + 2


def test_nothing_but_inputs_is_a_tape_of_nothing():
    tape = Problem(lambda i, keys: Ends(), {"a": real(3)}).tape()
    assert (codes(tape), str(tape), tape.program.shape) == ([], "", (0, len(FIELDS)))
    empty = Problem(lambda i, keys: Ends()).tape()
    assert (empty.inputs, empty.length) == ({}, 0)


# Length of the buffer


def length_of(depth: int, training_it: bool) -> int:
    """Return the length of the buffer, without the weights, for a network of this depth."""
    network = Network(4, (16,) * depth, "tanh")
    tape = (
        training(network, UPDATING[0], 32, np.float32) if training_it else evaluation(network, 32, np.float32)
    )
    return tape.length - network.n_parameters


def test_places_are_used_again():
    """Check that evaluation needs two layers' places at any depth, and training those of all layers."""
    layer = 16 * 32
    assert length_of(40, False) <= length_of(3, False) + 16
    grown = length_of(40, True) - length_of(20, True)
    assert grown <= 20 * (2 * layer + 16 * 16 + 16)  # with the gradient of its weights


def test_a_chain_needs_two_places():
    def step(i: Any, keys: Any) -> Ends:
        x = i["a"]
        for _ in range(50):
            x = x.tanh().exp()
        return Ends(collected=[x.sum()])

    problem = Problem(step, fixed={"a": real(64)})
    assert problem.tape().length <= 3 * 64 + 8


# No two live numbers in one place


def scratch_of(tape: Tape) -> Array:
    """Return the places of the buffer that belong to no input and no constant."""
    free: Any = np.ones(tape.length, bool)
    for slot in [*tape.inputs.values(), *(slot for slot, _ in tape.constants)]:
        free[slot.start : slot.start + slot.size] = False
    return free  # type: ignore[no-any-return]


STEP_BY_STEP = settings(max_examples=60, deadline=None)
any_updates = st.tuples(*[st.sampled_from(UPDATES)] * len(CARRIED))


def random_problem(program: Any, updates: Any, watched: int) -> Problem:
    return Problem(
        random_step(program, updates, watched),
        carried={
            "matrix": real(3, 4),
            "square": real(3, 3),
            "other": real(3, 3, purpose="other"),
            "vector": real(4),
            "number": real(),
            "cube": real(2, 1, 3),
        },
        fixed={"column": real(3, 1), "probability": np.array(0.3)},
        scalars={"lr": np.array([0.1, 0.2, 0.05]), "step": np.array([1.0, 2.0, 3.0])},
        features=real(9, 3),
        targets=(real(9, 2) > 0).astype(float),
        order=permutation(key(0, "order"), 6),
        n_keys=3,
    )


@STEP_BY_STEP
@given(programs, any_updates, st.integers(0, 2))
def test_a_step_leaves_nothing_to_the_next_but_what_is_carried(program, updates, watched):
    """Fill all other places with any numbers before each step: the results stay the same."""
    problem = random_problem(program, updates, watched)
    tape = problem.tape()
    check_places(tape, set(problem.carried))
    scalars = np.stack(list(problem.scalars.values()), axis=1)
    for replay in ENGINES.values():
        whole = replayed(replay, problem, tape, poison=0.0)
        buffer, collected = filled(tape, {**problem.carried, **problem.fixed}), []
        for step in range(problem.steps):
            buffer[scratch_of(tape)] = np.nan
            rows = problem.order[step * problem.rows : (step + 1) * problem.rows]
            _, numbers = replay(
                tape,
                buffer,
                problem.features,
                problem.targets,
                rows,
                scalars[step : step + 1],
                problem.key,
                problem.first + step,
            )
            collected.append(numbers[0])
        assert_array_equal(np.array(collected), whole.collected)
        for label, array in whole.carried.items():
            assert_array_equal(tape.inputs[label].of(buffer), array)


# Rewriting


@STEP_BY_STEP
@given(
    programs,
    any_updates,
    st.lists(st.sampled_from(range(len(RULES))), unique=True, max_size=len(RULES)),
    st.sampled_from(DTYPES),
)
def test_rewriting_changes_nothing_but_rounding(program, updates, chosen, dtype):
    """Apply no rules, and some, in any order."""
    problem = random_problem(program, updates, 1)
    expected = eager(problem, dtype)
    for rules in ((), tuple(RULES[i] for i in chosen)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(recording, "RULES", rules)
            tape = problem.tape(dtype)
        for replay in ENGINES.values():
            assert_close(replayed(replay, problem, tape), expected, PRECISION[dtype], str(tape))


def test_every_rule_is_of_use():
    """Check that a training step has more instructions without the rule."""
    network = Network(4, (8, 5), "relu", 0.5)

    def length(rules: Any) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(recording, "RULES", rules)
            training.__globals__["_training"].cache_clear()
            n = len(training(network, UPDATING[3], 6, np.float64).instructions)
        training.__globals__["_training"].cache_clear()
        return n

    full = length(RULES)
    for rule in RULES:
        without = length(tuple(other for other in RULES if other is not rule))
        assert without > full, rule.__name__
    assert length(()) > 1.3 * full


# Sharing


def test_numbers_that_may_change_are_inputs_and_so_tapes_are_shared():
    base = training(
        Network(4, (8,), "relu", 0.5), Update(Adam(0.1, 0.9, 0.999, 1e-8), 0.1, 1.0), 6, np.float64
    )
    for network in (Network(4, (8,), "relu", 0.1), Network(4, (8,), "relu", 0.5, scale=3.0)):
        for update in (Update(Adam(3.0, 0.5, 0.7, 1e-3), 0.7, 9.0), Update(ADAM, 1e-9, 1e9)):
            assert training(network, update, 6, np.float64) is base
    assert training(Network(4, (8,), "relu", 0.5), UPDATING[3], 6, np.float64) is base
    assert set(base.inputs) == {
        *("weights", "state1", "state2", "lr", "step", "scale", "dropout"),
        *("beta1", "beta2", "epsilon", "weight_decay", "clip"),
    }
    evaluated = evaluation(Network(4, (8,), "relu"), 6, np.float64)
    assert evaluation(Network(4, (8,), "relu", 0.5, scale=9.0), 6, np.float64) is evaluated
    assert set(evaluated.inputs) == {"weights", "scale"}


def test_what_decides_how_a_step_is_computed_makes_another_tape():
    network, update = Network(4, (8,), "relu", 0.5), UPDATING[3]
    others = [
        training(network, update, 6, np.float64),
        training(network, update, 5, np.float64),
        training(network, update, 6, np.float32),
        training(Network(4, (8,), "relu"), update, 6, np.float64),
        training(Network(4, (8,), "tanh", 0.5), update, 6, np.float64),
        training(Network(4, (9,), "relu", 0.5), update, 6, np.float64),
        training(network, Update(ADAM, 0.1), 6, np.float64),
        training(network, Update(ADAM, 0.0, 1.0), 6, np.float64),
        training(network, Update(SGD(0.1), 0.1, 1.0), 6, np.float64),
    ]
    assert len({id(tape) for tape in others}) == len(others)


# Printing


def test_a_tape_is_printed_with_names_and_shapes():
    tape = training(Network(4, (8,), "relu", 0.5), Update(SGD(0.1)), 6, np.float64)
    lines = str(tape).splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(len(tape.instructions)))
    text = "\n".join(re.sub(" +", " ", line.strip()) for line in lines)
    assert "features 4×6 features of 6 rows" in text
    assert re.search(r"\d 8×6 relu\(W1ᵀ @ features \+ b1\) \* mask 0 \(p = dropout\)", text)
    assert re.search(r"\d 1×6 W2 @ \w+ \+ b2", text)
    assert re.search(r"stop unless \w+ is finite", text)
    assert "weights 49 weights - lr * gradient" in text
    for instruction, line in zip(tape.instructions, lines, strict=True):
        if instruction.shape:
            assert "×".join(map(str, instruction.shape)) in line


@each_tape
def test_every_line_is_printed(tape, carried):
    assert len(str(tape).splitlines()) == len(tape.program)
    assert not re.search(r"Node\(|<|None", str(tape))


# Errors


def recorded(**more: Any) -> Tape:
    return record(**{"features": Value(real(2, 3), "X"), "targets": Value(real(1, 3), "y"), **more})


A, B = Value(real(3), "a"), Value(real(3), "b")


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        (
            {"features": Value(real(2, 4))},
            ShapeError,
            r"features must be \(D, N\).*not \(2, 4\) and \(1, 3\)",
        ),
        ({"features": Value(real(3))}, ShapeError, r"features must be \(D, N\)"),
        ({"targets": Value(real(3))}, ShapeError, r"targets \(E, N\)"),
        ({"carried": [(A, A.sum())]}, ShapeError, r"the shape of 'a' from \(3,\) to \(\)"),
        ({"carried": [(A, A.reshape(3, 1))]}, ShapeError, r"the shape of 'a' from \(3,\) to \(3, 1\)"),
        ({"scalars": [A]}, ShapeError, r"shape \(\), not \(3,\) as 'a'"),
        ({"collected": [A * 2]}, ShapeError, r"shape \(\), not \(3,\)"),
        ({"carried": [(A, A)], "fixed": [Value(1.0, "a")]}, ValueError, "a unique label"),
        ({"fixed": [Value(1.0)]}, ValueError, "a unique label"),
        ({"carried": [(A, A * mask(0.5, 7, (3,)))]}, ValueError, r"the key of a mask of shape \(3,\)"),
        (
            {"carried": [(A, A * mask(0.5, 7, (3,)))], "keys": [8]},
            ValueError,
            r"the key of a mask of shape \(3,\)",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_recorded_is_refused(more, error, message):
    with pytest.raises(error, match=message):
        recorded(**more)


def test_wrong_shapes_are_named_by_layer():
    network = Network(4, (8, 5), "relu")
    weights = [Value(w) for w in network.initial(1)]
    with pytest.raises(ShapeError, match=r"the network needs features of shape \(N, 4\), not \(6, 3\)"):
        network.scores(weights, Value(real(6, 3)))
    weights[2] = Value(real(7, 5))
    with pytest.raises(
        ShapeError, match=r"layer 2 of 3 needs weights of shapes \(8, 5\) and \(5,\), not \(7, 5\) and \(5,\)"
    ):
        network.scores(weights, Value(real(6, 4)))
    with pytest.raises(ShapeError, match="3 layers need 6 weight arrays, not 4"):
        network.scores(weights[:4], Value(real(6, 4)))


def test_an_operation_without_an_instruction_is_named():
    from sweepgrad.autograd import value

    cube = value.Operation("cube", lambda a: a**3, (None,))
    with pytest.raises(ValueError, match="no instruction for cube"):
        recorded(carried=[(A, value._apply(cube, A))])


def test_a_tape_says_all_it_is_made_of():
    tape = CARRYING["an exchange"].tape()
    assert {field.name for field in fields(tape)} >= {"program", "tables", "inputs", "constants", "collected"}
    found = replayed(ENGINES["reference"], CARRYING["an exchange"], tape)
    assert_same_bits(found, replayed(ENGINES["machine"], CARRYING["an exchange"], tape))
