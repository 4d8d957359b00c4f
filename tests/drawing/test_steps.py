"""The evaluator of the page of steps, in Chromium, against `Value`."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.browser import chromium, needs_chromium

import sweepgrad.drawing
from sweepgrad.drawing.expressions import graph_at, numbers
from sweepgrad.drawing.graph import number
from sweepgrad.drawing.page import Source
from sweepgrad.errors import UserError

FILES = Path(sweepgrad.drawing.__file__).parent
FUNCTIONS = ("exp", "log", "relu", "tanh", "softplus", "sigmoid")
pytestmark = [pytest.mark.slow, needs_chromium]


def random_expression(random: Random, names: list[str], depth: int) -> str:
    """Return an expression of the whole grammar; it may have no value."""
    if depth == 0 or random.random() < 0.1:
        literal = f"{random.choice((random.uniform(0, 3), random.uniform(0, 40))):.{random.randint(0, 4)}f}"
        return random.choice((*names, *names, literal, f"{random.uniform(0.1, 3):.2e}"))
    part = lambda: random_expression(random, names, depth - 1)  # noqa: E731
    match random.randrange(9):
        case 0 | 1 | 2:
            return f"{part()} {random.choice('+-*/')} {part()}"
        case 3 | 4:
            return f"({part()} {random.choice('+-*/')} {part()})"
        case 5:
            return f"{random.choice('-+')}{part()}"
        case 6:
            exponent = random.choice(("2", "3", "-1", "0.5", "-(1.5)", "+2", "0", f"({part()})"))
            return f"({part()}){random.choice(('**', ' ** '))}{exponent}"
        case 7:
            scale = random.choice(("", f", {part()}", f", scale={part()}"))
            return f"sigmoid({part()}{scale})"
        case _:
            return f"{random.choice(FUNCTIONS)}({part()})"


def random_program(random: Random) -> Source:
    """Return an expression, or assignments and an expression, and values for its names."""
    names, parts = ["x", "y1", "_z"], []
    for k in range(random.randrange(3)):
        parts.append(f"h{k} = {random_expression(random, names, 2)}")
        names.append(f"h{k}")
    text = "; ".join([*parts, random_expression(random, names, random.randint(1, 4))])
    used = [name for name in ("x", "y1", "_z") if name in text]
    return Source(text, " ".join(f"{name}={random.uniform(-2, 3):.6g}" for name in used))


def by_value(source: Source) -> dict[str, Any] | None:
    """Return the graph by `Value`; None where there is none, or infinite numbers."""
    try:
        graph = graph_at(source.expression, numbers(source.values.split()))[1].to_json()
    except (UserError, ArithmeticError):
        return None
    text = json.dumps(graph)
    return None if "Infinity" in text or "NaN" in text else graph


def well_conditioned(graph: dict[str, Any]) -> bool:
    """Return whether no result loses more than two digits by cancellation.

    Where one does, correct implementations of tanh that differ in the last digit lead to larger differences.
    """
    nodes, passed = graph["nodes"], [0.0] * len(graph["nodes"])
    for edge in graph["edges"]:
        passed[edge["parent"]] += abs(edge["share"])
    for n, node in enumerate(nodes):
        y, operation = abs(node["data"]), node["operation"]
        parents = [abs(nodes[edge["parent"]]["data"]) for edge in graph["edges"] if edge["child"] == n]
        lost = {
            "+": lambda y, parents: max(parents) > 100 * y,
            "-": lambda y, parents: max(parents) > 100 * y,
            "log": lambda y, parents: y < 0.01,
            "exp": lambda _, parents: parents[0] > 100,
            "tanh": lambda y, parents: 1 - y < 0.01,
            "sigmoid": lambda y, parents: 1 - y < 0.01 or parents[0] > 100,
        }.get(operation)
        if (lost and lost(y, parents)) or passed[n] > 100 * abs(node["grad"]):
            return False
    return True


def agree(ours: float, theirs: float) -> bool:
    return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-300)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def evaluator(browser) -> Iterator[Any]:
    tab = browser.new_page()
    tab.add_script_tag(path=FILES / "steps.js")
    yield tab
    tab.close()


EVALUATE = """([text, values]) => {
    try { return evaluate(text, values); }
    catch (mistake) { return {message: mistake.message, from: mistake.from, to: mistake.to}; }
}"""


def test_it_computes_what_value_does_on_1000_random_expressions(evaluator):
    random, compared, refused = Random(15), 0, 0
    programs = [random_program(random) for _ in range(2500)]
    theirs = evaluator.evaluate(
        f"programs => programs.map({EVALUATE})", [[p.expression, p.values] for p in programs]
    )
    for program, found in zip(programs, theirs, strict=True):
        graph = by_value(program)
        if graph is None:
            refused += "message" in found
            continue
        if not well_conditioned(graph):
            continue
        assert "message" not in found, (program, found)
        compared += 1
        assert len(found["nodes"]) == len(graph["nodes"]), program
        for here, there in zip(graph["nodes"], found["nodes"], strict=True):
            assert (here["name"], here["operation"]) == (there["name"], there["operation"]), program
            assert agree(here["data"], there["data"]), (program, here, there)
            assert agree(here["grad"], there["grad"]), (program, here, there)
        for here, there in zip(graph["edges"], found["edges"], strict=True):
            assert (here["parent"], here["child"]) == (there["parent"], there["child"])
            assert agree(here["partial"], there["partial"]), (program, here, there)
            assert agree(here["share"], there["share"]), (program, here, there)
    assert compared >= 1000
    assert refused >= 100


@pytest.mark.parametrize(
    ("text", "values", "message", "place"),
    [
        ("a +", "a=1", "a number, a name or ( is missing: the expression ends", (3, 3)),
        ("log(a", "a=1", ") is missing: the expression ends", (5, 5)),
        ("a $ b", "a=1 b=1", "$ cannot be used here", (2, 3)),
        ("a b", "a=1 b=1", "; is missing: there is b", (2, 3)),
        ("2 + lg(a)", "a=1", "lg is not a function; use exp, log", (4, 6)),
        ("log(a, 2)", "a=1", ") is missing: there is ,", (5, 6)),
        ("a * c", "a=1", "c has no value: add c=NUMBER to the values", (4, 5)),
        ("1 + log(a - 2)", "a=1", "log has no value at -1", (4, 14)),
        ("1 / (a - 1)", "a=1", "/ has no value at 1 and 0", (0, 11)),
        ("(a - 1) ** 0.5", "a=1", "a gradient does not exist: ** 0.5 has no derivative at 0", (0, 0)),
        ("a + 1", "a=1 b=2", "b is not used; leave it out of the values", (0, 0)),
        ("a = 2 * 3", "a=1", "a is among the values and assigned too", (0, 1)),
        ("b = a * 2; c = b", "a=1", "c = b names the same value twice", (11, 12)),
        ("a", "a=1", "there is no operation to draw", (0, 0)),
        (" ", "", "the expression is empty", (0, 0)),
        ("a * 2", "a=one", "a=one must be NAME=NUMBER, without blanks", (0, 0)),
        ("a * 2", "a=1e400", "a=1e400: 1e400 is too large a number", (0, 0)),
        ("a * 2", "a=1 a=2", "a=2: a is given twice; leave one out", (0, 0)),
        ("b + exp(a)", "a=1000 b=1", "exp is too large a number at 1000", (4, 10)),
        ("b * a ** b", "a=-1 b=2", "a power with a variable exponent needs a base above 0", (4, 10)),
        ("b = a * 2; b = b * 3", "a=1", "b is assigned twice; use another name", (11, 12)),
        ("a / b", "a=1e-10 b=1e-300", "a gradient of / is too large a number", (0, 0)),
        ("a * 1e999", "a=1", "1e999 is too large a number", (4, 9)),
        ("alert(1)", "", "alert is not a function", (0, 5)),
        ("a.b", "a=1", ". cannot be used here", (1, 2)),
    ],
)
def test_mistakes_are_named_with_their_place(evaluator, text, values, message, place):
    found = evaluator.evaluate(EVALUATE, [text, values])
    assert message in found["message"]
    assert (found["from"], found["to"]) == place
    with pytest.raises(UserError):
        graph_at(text, numbers(values.split()))


@pytest.mark.parametrize(("text", "values"), [("L * 2", "L=1"), ("L = a * 2; L * R", "a=1 R=2")])
def test_the_result_has_the_same_name_as_in_python(evaluator, text, values):
    found = evaluator.evaluate(EVALUATE, [text, values])
    graph = by_value(Source(text, values))
    assert graph is not None
    assert [node["name"] for node in found["nodes"]] == [node["name"] for node in graph["nodes"]]


def test_numbers_are_formatted_as_in_pictures(evaluator):
    random = Random(3)
    some = [random.uniform(-1, 1) * 10.0 ** random.randint(-12, 12) for _ in range(300)]
    some += [0.0, -0.0, 1.0, 100.0, 12345.0, 9999.5, 1e-4, 1e-5, 0.5, 1e100]
    # What ends in a 5 after four digits: only some of these are exactly in the middle of two.
    some += [float(f"{n}5e{power}") for n in range(1000, 10_000, 3) for power in (-12, -6, -5, -4, -3, -1, 3)]
    some += [
        2.0005,
        62.005,
        0.13525,
        0.5 + 2.0**-13,
        -1234.5,
        -1235.5,
        1024.5,
        5e-324,
        1.7976931348623157e308,
    ]
    assert evaluator.evaluate("all => all.map(x => format(x))", some) == [number(x) for x in some]


def test_the_evaluator_is_short_and_runs_no_text_as_code():
    code = (FILES / "steps.js").read_text(encoding="utf-8")
    assert len(code.splitlines()) < 200
    for file in FILES.glob("*.js"):
        assert not {"eval(", "Function(", "import(", "fetch("} & {
            word for word in ("eval(", "Function(", "import(", "fetch(") if word in file.read_text()
        }
