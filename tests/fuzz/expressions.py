"""Fuzz target: the expression and the values of `sweepgrad draw`."""

import json

from hypothesis import strategies as st
from tests.fuzz.grammar import NUMBERS, mutated

from sweepgrad.cli.main import parser
from sweepgrad.cli.verbs import draw

_VALID = (
    "x3 = x1 + x2; x4 = x1 + x3; x5 = x3 * x4; L = log(x5)", "x1 * x2", "sigmoid(x1, 2) ** 2",
    "exp(-x1) / x2",
    "softplus(tanh(relu(x1)))", "sigmoid(x1, scale=3)",
)  # fmt: skip
_NAMES = ("x1", "x2", "y", "exp", "log", "sigmoid", "L", "_", "é", "lambda", "None", "True", "__import__")


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = (
        "+",
        "-",
        "*",
        "/",
        "**",
        "%",
        "//",
        "@",
        "<",
        "and",
        "if",
        ":=",
        "=",
        ";",
        "\n",
        "if 1 else",
    )
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(operators), inner),
        st.builds("{}({})".format, st.sampled_from(_NAMES), inner),
        st.builds("{}({}, {})".format, st.sampled_from(("sigmoid", "exp")), inner, inner),
        st.builds("{}{}".format, st.sampled_from(("-", "+", "~", "not ", "await ", "*")), inner),
    )


def examples() -> st.SearchStrategy[bytes]:
    """Return expressions with values: made by a grammar, changed, or deep."""
    leaves = st.sampled_from(NUMBERS + _NAMES) | st.floats().map(str) | st.text(max_size=3)
    made = st.recursive(leaves, _nested, max_leaves=12)
    size = st.sampled_from((1, 10, 100, 1000, 20_000))
    deep = st.builds(
        lambda part, n, last: part * n + last,
        st.sampled_from(
            ("(", "-", "x1+", "x1**", "exp(", "[", "x1 = x1 * x1; ", "not ", "1.", "lambda: ", "a.b.")
        ),
        size,
        st.sampled_from(("x1", "x1" + ")" * 100, "", "1")),
    )
    chain = st.integers(1, 400).map(
        lambda n: "; ".join(["a0 = x1 * x2", *(f"a{i + 1} = a{i} * a{i} / a{i}" for i in range(n))])
    )
    value = st.builds("{}={}".format, st.sampled_from(_NAMES), st.sampled_from(NUMBERS))
    given = st.lists(value, max_size=3) | st.just(["x1=1", "x2=2"]) | st.just(["x1=0", "x2=-1"])
    text = st.one_of(made, mutated(st.sampled_from(_VALID)), deep, chain)
    return st.builds(lambda t, v: json.dumps([t, *v]).encode(), text, given)


def attack(data: bytes) -> None:
    """Draw an expression, as text."""
    arguments = [word if not word.startswith("-") else f" {word}" for word in json.loads(data)]
    draw.run(parser("draw").parse_args(arguments))
