"""Expressions as text: what they come to, and what is told of those that cannot be read."""

import math

import pytest

from sweepgrad.drawing.expressions import numbers, parsed
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
    ("text", "values", "said"),
    [
        ("a + ", {"a": 1.0}, "no expression"),
        ("", {}, "no expression to draw"),
        (
            "a + bet",
            {"a": 1.0, "beta": 2.0},
            "bet has no value: add bet=NUMBER after it. Did you mean beta?",
        ),
        ("a + 1", {"a": 1.0, "c": 2.0}, "c=2: the expression has no c"),
        ("a = 1 + 2", {"a": 1.0}, "a=1: the expression assigns a itself"),
        ("lg(2)", {}, "lg is no function. Did you mean log?"),
        ("log(2, 3)", {}, "log takes one number"),
        ("log(1 - 2)", {}, "log(1 - 2): log: invalid value"),
        ("1 / (2 - 2)", {}, "divide by zero"),
        ("import os", {}, "only expressions and NAME = EXPRESSION"),
        ("__import__('os')", {}, "__import__ is no function"),
        ("a.b", {"a": 1.0}, "a.b: cannot be drawn"),
        ("[1, 2]", {}, "cannot be drawn"),
        ("True + 1", {}, "cannot be drawn"),
        ("(lambda: 1)()", {}, "cannot be drawn"),
        ("a", {"a": 1.0}, "computes nothing"),
        ("b = a + 1; c = b", {"a": 1.0}, "another name for the same"),
        ("-" * 100_000 + "1", {}, "nested too deep"),
        ("-" * 900 + "a", {"a": 1.0}, "nested too deep"),
        ("1\0", {}, "null bytes"),
        ("1 + 1" + "0" * 400, {}, "too large a number"),
    ],
)
def test_what_cannot_be_read_is_told(text, values, said):
    with pytest.raises(UserError) as caught:
        parsed(text, values)
    assert said in str(caught.value)


def test_values_are_words():
    assert numbers(["a=1", "b=-2.5e3"]) == {"a": 1, "b": -2500}
    for word in ("a", "a=", "1=2", "=3", "a=b", "a=nan", "a=inf"):
        with pytest.raises(UserError, match="NAME=NUMBER"):
            numbers([word])
