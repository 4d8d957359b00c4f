"""Expressions as text, read into `Value`s by a walk through their syntax tree, which runs nothing of it."""

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import isfinite

from sweepgrad.autograd.functional import sigmoid
from sweepgrad.autograd.value import DomainError, Value
from sweepgrad.config.check import nearest
from sweepgrad.errors import UserError

ASSIGNMENT = "x3 = x1 + x2; x4 = x1 + x3; x5 = x3 * x4; L = log(x5)"
"""The assignment's example, at x1 = 1 and x2 = 0."""
ASSIGNMENT_AT = ("x1=1", "x2=0")

_OPERATORS: dict[type[ast.operator], Callable[[Value, Value], Value]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: dict[str, Callable[[Value], Value]] = {
    name: getattr(Value, name) for name in ("exp", "log", "relu", "tanh", "softplus")
}


def numbers(words: Iterable[str]) -> dict[str, float]:
    """The values that words of the form NAME=NUMBER give.

    Raises:
        UserError: a word is none of that form.
    """
    values = {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            values[name] = float(number)
            name = name if isfinite(values[name]) else ""
        except ValueError:
            name = ""
        if not name.isidentifier():
            raise UserError(
                f"{word!r}: should be NAME=NUMBER, and finite. An expression with blanks goes into quotes"
            )
    return values


def parsed(text: str, values: Mapping[str, float]) -> Value:
    """The result of an expression, or of several assignments with ; between them, of which it is the last.

    Arguments:
        text: numbers, names, + - * / **, parentheses, and exp, log, relu, tanh, softplus and
            sigmoid(x) or sigmoid(x, scale).
        values: of the names that the text does not assign.

    Raises:
        UserError: something of it cannot be read or computed, or a value is missing or has no use.
    """
    try:
        return _result(text, values)
    except (RecursionError, MemoryError):
        raise UserError(
            "this expression is nested too deep; give parts of it names, with ; between them"
        ) from None


def _result(text: str, values: Mapping[str, float]) -> Value:
    try:
        tree = ast.parse(text.strip(), mode="exec")
    except SyntaxError as error:
        where = f" at {text.strip()[(error.offset or 1) - 1 :][:10]!r}" if error.offset else ""
        raise UserError(f"{text!r} is no expression: {error.msg}{where}") from None
    if not tree.body:
        raise UserError("there is no expression to draw")
    scope = {name: Value(number, name) for name, number in values.items()}
    given, used = set(scope), set[str]()
    result = None
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=expression):
                if name in given:
                    raise UserError(f"{name}={values[name]:g}: the expression assigns {name} itself")
                result = _value(expression, scope, used)
                if result.label:  # a second name for the same: it would take the first one's place
                    raise UserError(f"{name} = {result.label}: is another name for the same; leave one out")
                result.label = name
                scope[name] = result
            case ast.Expr(value=expression):
                result = _value(expression, scope, used)
            case _:
                raise UserError(
                    f"{ast.unparse(statement)!r}: only expressions and NAME = EXPRESSION can be drawn"
                )
    for name in sorted(given - used):
        raise UserError(f"{name}={values[name]:g}: the expression has no {name}")
    assert result is not None
    if result.operation is None:
        raise UserError(f"{text!r}: computes nothing")
    result.label = result.label or "L"
    return result


def _value(tree: ast.expr, scope: Mapping[str, Value], used: set[str]) -> Value:
    here = ast.unparse(tree)
    of = partial(_value, scope=scope, used=used)
    try:
        number = _constant(tree)
    except OverflowError:
        raise UserError(f"{here[:20]}…: is too large a number") from None
    if number is not None:
        return Value(number, f"{number:g}")
    try:
        match tree:
            case ast.Name(id=name):
                if name not in scope:
                    close = nearest(name, list(scope))
                    raise UserError(f"{name} has no value: add {name}=NUMBER after it.{close}")
                used.add(name)
                return scope[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -of(operand)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return of(operand)
            case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
                constant = _constant(exponent)
                return of(base) ** (of(exponent) if constant is None else constant)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](of(left), of(right))
            case ast.Call(func=ast.Name(id="sigmoid"), args=[x], keywords=[]):
                return of(x).sigmoid()
            case ast.Call(func=ast.Name(id="sigmoid"), args=[x, scale], keywords=[]):
                return sigmoid(of(x), of(scale))
            case ast.Call(
                func=ast.Name(id="sigmoid"), args=[x], keywords=[ast.keyword(arg="scale", value=scale)]
            ):
                return sigmoid(of(x), of(scale))
            case ast.Call(func=ast.Name(id=name), args=[x], keywords=[]) if name in _FUNCTIONS:
                return _FUNCTIONS[name](of(x))
            case ast.Call(func=ast.Name(id=name)):
                known = [*_FUNCTIONS, "sigmoid"]
                wrong = "takes one number" if name in known else f"is no function.{nearest(name, known)}"
                raise UserError(
                    f"{here}: {name} {wrong} There are {', '.join(known)}(x) and sigmoid(x, scale)."
                )
    except DomainError as error:
        raise UserError(f"{here}: {error}") from None
    raise UserError(f"{here}: cannot be drawn; there are numbers, names, + - * / ** and functions")


def _constant(tree: ast.expr) -> float | None:
    """The number that is written there, with its sign."""
    match tree:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -float(number)
    return None


def assignment_example() -> Value:
    """L of the assignment's example."""
    return parsed(ASSIGNMENT, numbers(ASSIGNMENT_AT))
