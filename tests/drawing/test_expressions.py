"""Expressions as text: their results, and the errors of those that cannot be parsed."""

import math

import pytest

from sweepgrad.drawing.expressions import graph_at, numbers, parsed
from sweepgrad.errors import UserError


def p(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 * (a + 3) - b / 4", 2 * (1.5 + 3) - 0.5 / 4),
        ("a ** 2 + b ** -1", 1.5**2 + 1 / 0.5),
        ("a ** b", 1.5**0.5),
        ("-a + +b", -1.0),
        ("log(a) + exp(b)", math.log(1.5) + math.exp(0.5)),
        (
            "sigmoid(a) + sigmoid(b, 2) + sigmoid(b, scale=3)",
            p(1.5) + p(1) + p(1.5),
        ),
        ("tanh(a) + softplus(b) + relu(-a)", math.tanh(1.5) + math.log(1 + math.exp(0.5))),
        ("c = a * b; c + c", 1.5),
    ],
)
def test_an_expression_comes_to_what_it_says(text, expected):
    values = {name: number for name, number in {"a": 1.5, "b": 0.5}.items() if name in text}
    assert parsed(text, values).item() == pytest.approx(expected, rel=1e-15)


def test_names_become_labels():
    result = parsed("h = a * a; L = log(h)", {"a": 2.0})
    assert result.label == "L"
    assert result.parents[0].label == "h"
    assert parsed("a * a", {"a": 2.0}).label == "L"


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("a + ", {"a": 1.0}, "'a + ' is not an expression"),
        ("", {}, "the expression is empty"),
        (
            "a + bet",
            {"a": 1.0, "beta": 2.0},
            "bet has no value: add bet=NUMBER after it. Did you mean beta?",
        ),
        ("a + 1", {"a": 1.0, "c": 2.0}, "c=2: the expression does not use c; leave it out"),
        ("a = 1 + 2", {"a": 1.0}, "a=1: the expression assigns a; leave it out"),
        ("lg(2)", {}, "lg(2): unknown function lg. Did you mean log?"),
        ("log(2, 3)", {}, "log(2, 3): log takes one argument."),
        ("log(a)", {"a": 0.0}, "log(a): a = 0: log has no value at 0"),
        ("log(1 - 2)", {}, "log(1 - 2): 1 - 2 = -1: log has no value at -1"),
        ("1 / (2 - 2)", {}, "1 / (2 - 2): 2 - 2 = 0: a division by 0 has no value"),
        ("a ** b", {"a": -2.0, "b": 2.0}, "a = -2: a power with a variable exponent needs a base above 0"),
        ("a ** 0.5", {"a": -2.0}, "a ** 0.5: a = -2: -2 has no power 0.5"),
        ("exp(a)", {"a": 1000.0}, "exp(a): a = 1000: the result is too large a number"),
        ("a = 2 * 3; a = a * 2", {}, "a is assigned twice; use another name for the second"),
        ("import os", {}, "use expressions and NAME = EXPRESSION only"),
        ("__import__('os')", {}, "unknown function __import__"),
        ("a.b", {"a": 1.0}, "a.b cannot be drawn"),
        ("[1, 2]", {}, "cannot be drawn"),
        ("True + 1", {}, "cannot be drawn"),
        ("(lambda: 1)()", {}, "cannot be drawn"),
        ("a", {"a": 1.0}, "'a' has no operation to draw"),
        ("b = a + 1; c = b", {"a": 1.0}, "c = b names the same value twice; leave one out"),
        ("-" * 100_000 + "1", {}, "the expression has 100,001 characters, and may have 10,000"),
        ("-" * 9_000 + "1", {}, "nested too deeply"),
        ("(" * 9_000, {}, "too many nested parentheses"),
        ("+".join("a" * 900), {"a": 1.0}, "the expression has 1,799 parts, and may have 1,000"),
        ("\ud800", {}, "is not an expression"),
        ("-" * 900 + "a", {"a": 1.0}, "nested too deeply"),
        ("1\0", {}, "null bytes"),
        ("1 + 1" + "0" * 400, {}, "too large a number"),
        ("1 + 1e999", {}, "too large a number"),
    ],
)
def test_bad_expressions_are_refused(text, values, message):
    with pytest.raises(UserError) as caught:
        parsed(text, values)
    assert message in str(caught.value)


def test_the_result_has_a_name_of_its_own():
    assert parsed("L * 2", {"L": 1.0}).label == "R"
    assert parsed("L = a * 2; L * R", {"a": 1.0, "R": 2.0}).label == "R1"
    names = [node.name for node in graph_at("L * R * 2 + R1", {"L": 1.0, "R": 2.0, "R1": 3.0})[1].nodes]
    assert len(set(names)) == len(names)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("(a - 1) ** 0.5", {"a": 1.0}, "a gradient does not exist"),
        ("a / b", {"a": 1e-10, "b": 1e-300}, "the gradient of b is too large a number"),
        ("sigmoid(a, 1e308)", {"a": 100.0}, "v1 = a * 1e+308 is too large a number"),
    ],
)
def test_graphs_without_finite_numbers_are_refused(text, values, message):
    with pytest.raises(UserError) as caught:
        graph_at(text, values)
    assert message in str(caught.value)


def test_names_are_given_once():
    with pytest.raises(UserError, match="a=2: a is given twice; leave one out"):
        numbers(["a=1", "a=2"])


def test_values_are_arguments():
    assert numbers(["a=1", "b=-2.5e3"]) == {"a": 1, "b": -2500}
    for argument in ("a", "a=", "1=2", "=3", "a=b", "a=nan", "a=inf"):
        with pytest.raises(UserError, match="NAME=NUMBER"):
            numbers([argument])
