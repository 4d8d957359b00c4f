"""Expressions as text, parsed into `Value`s by walking their syntax tree; no code is run."""

import ast
import operator
import warnings
from collections.abc import Callable, Iterable, Mapping
from math import isfinite

from sweepgrad.autograd.functional import sigmoid
from sweepgrad.autograd.value import DomainError, Value
from sweepgrad.config.check import nearest
from sweepgrad.drawing.graph import Graph, graph_of, number
from sweepgrad.errors import UserError

ASSIGNMENT = "x3 = x1 + x2; x4 = x1 + x3; x5 = x3 * x4; L = log(x5)"
"""The example of the assignment, at x1 = 1 and x2 = 0."""
ASSIGNMENT_AT = ("x1=1", "x2=0")

_MAX_CHARACTERS = 10_000
_MAX_NODES = 1_000  # a drawing with more cannot be read

_OPERATORS: dict[type[ast.operator], Callable[[Value, Value], Value]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: dict[str, Callable[[Value], Value]] = {
    name: getattr(Value, name) for name in ("exp", "log", "relu", "tanh", "softplus")
}


class _Reason(DomainError):
    """An operation has no value; the message says why."""


def numbers(arguments: Iterable[str]) -> dict[str, float]:
    """Return the values of arguments of the form NAME=NUMBER.

    Raises:
        UserError: an argument has another form, or a name is given twice.
    """
    values: dict[str, float] = {}
    for argument in arguments:
        name, _, text = argument.partition("=")
        try:
            given = float(text)
        except ValueError:
            given = float("nan")
        if not name.isidentifier() or not isfinite(given):
            raise UserError(
                f"{argument!r} must be NAME=NUMBER with a finite number; quote an expression that has blanks"
            )
        if name in values:
            raise UserError(f"{argument}: {name} is given twice; leave one out")
        values[name] = given
    return values


def graph_at(text: str, values: Mapping[str, float]) -> tuple[Value, Graph]:
    """Return the result of an expression and its graph.

    Raises:
        UserError: as `parsed`; or a gradient does not exist, or is too large for a float.
    """
    result = parsed(text, values)
    try:
        graph = graph_of(result)
    except DomainError as error:
        raise UserError(f"a gradient does not exist: {error}") from None
    for n, node in enumerate(graph.nodes):
        partials = (edge.partial for edge in graph.edges_from(n))
        if not isfinite(float(node.data)):
            raise UserError(f"{node.name} = {graph.formula(n)} is too large a number; use other values")
        if not all(isfinite(x) for x in (float(node.grad), *partials) if x is not None):
            raise UserError(f"the gradient of {node.name} is too large a number; use other values")
    return result, graph


def parsed(text: str, values: Mapping[str, float]) -> Value:
    """Return the result of an expression, or the last of several assignments separated by ;.

    Arguments:
        text: numbers, names, + - * / **, parentheses, exp, log, relu, tanh, softplus, sigmoid(x) and
            sigmoid(x, scale).
        values: the values of the names that the text does not assign.

    Raises:
        UserError: the text cannot be parsed or computed, or a value is missing or unused.
    """
    try:
        return _result(text, values)
    except (RecursionError, MemoryError):
        raise UserError(
            "the expression is nested too deeply; assign parts of it to names, separated by ;"
        ) from None


def _result(text: str, values: Mapping[str, float]) -> Value:
    if len(text) > _MAX_CHARACTERS:
        raise UserError(f"the expression has {len(text):,} characters, and may have {_MAX_CHARACTERS:,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python, about code that is not run here
            tree = ast.parse(text.strip(), mode="exec")
    except ValueError as error:  # a null character, or half of a surrogate pair
        raise UserError(f"{text[:60]!r} is not an expression: {error}") from None
    except SyntaxError as error:
        where = f" at {text.strip()[(error.offset or 1) - 1 :][:10]!r}" if error.offset else ""
        raise UserError(f"{text[:200]!r} is not an expression: {error.msg}{where}") from None
    if (n := sum(isinstance(node, ast.expr) for node in ast.walk(tree))) > _MAX_NODES:
        raise UserError(f"the expression has {n:,} parts, and may have {_MAX_NODES:,}")
    if not tree.body:
        raise UserError("the expression is empty; give one such as 'log(x) * y'")
    scope = {name: Value(number, name) for name, number in values.items()}
    given, used = set(scope), set[str]()
    result = None
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=expression):
                if name in given:
                    raise UserError(f"{name}={values[name]:g}: the expression assigns {name}; leave it out")
                if name in scope:
                    raise UserError(f"{name} is assigned twice; use another name for the second")
                result = _value(expression, scope, used)
                if result.label:  # the second name would replace the first
                    raise UserError(f"{name} = {result.label} names the same value twice; leave one out")
                result.label = name
                scope[name] = result
            case ast.Expr(value=expression):
                result = _value(expression, scope, used)
            case _:
                raise UserError(
                    f"{ast.unparse(statement)!r} cannot be drawn; use expressions and NAME = EXPRESSION only"
                )
    for name in sorted(given - used):
        raise UserError(f"{name}={values[name]:g}: the expression does not use {name}; leave it out")
    assert result is not None
    if result.operation is None:
        raise UserError(f"{text!r} has no operation to draw")
    names = ("L", "R", *(f"R{n}" for n in range(1, len(scope) + 1)))
    result.label = result.label or next(name for name in names if name not in scope)
    return result


def _value(tree: ast.expr, scope: Mapping[str, Value], used: set[str]) -> Value:
    here = ast.unparse(tree)
    try:
        literal = _constant(tree)
    except OverflowError:
        raise UserError(f"{here[:20]}… is too large a number") from None
    if literal is not None:
        return Value(literal, f"{literal + 0.0:g}")  # + 0 turns -0 into 0
    return _computed(tree, here, scope, used)


def _computed(tree: ast.expr, here: str, scope: Mapping[str, Value], used: set[str]) -> Value:
    operands: list[tuple[ast.expr, Value]] = []  # for the message

    def value(operand: ast.expr) -> Value:
        operands.append((operand, _value(operand, scope, used)))
        return operands[-1][1]

    try:
        result = _applied(tree, here, scope, used, value)
        if not isfinite(result.item()):
            raise _Reason("the result is too large a number")
        return result
    except DomainError as error:
        at = ", ".join(
            f"{ast.unparse(operand)} = {number(value.item())}"
            for operand, value in operands
            if _constant(operand) is None
        )
        raise UserError(f"{here}: {at}{': ' if at else ''}{_undefined(tree, operands, error)}") from None


def _applied(
    tree: ast.expr, here: str, scope: Mapping[str, Value], used: set[str], value: Callable[[ast.expr], Value]
) -> Value:
    """Apply the operation of a tree to its operands, each computed by `value`."""
    match tree:
        case ast.Name(id=name):
            if name not in scope:
                close = nearest(name, list(scope))
                raise UserError(f"{name} has no value: add {name}=NUMBER after it.{close}")
            used.add(name)
            return scope[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return value(operand)
        case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
            constant = _constant(exponent)
            if constant is not None:
                return value(base) ** constant
            positive = value(base)
            if positive.item() <= 0:
                raise _Reason("a power with a variable exponent needs a base above 0")
            return positive ** value(exponent)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](value(left), value(right))
        case ast.Call(func=ast.Name(id="sigmoid"), args=[x], keywords=[]):
            return value(x).sigmoid()
        case ast.Call(func=ast.Name(id="sigmoid"), args=[x, scale], keywords=[]):
            return sigmoid(value(x), value(scale))
        case ast.Call(
            func=ast.Name(id="sigmoid"), args=[x], keywords=[ast.keyword(arg="scale", value=scale)]
        ):
            return sigmoid(value(x), value(scale))
        case ast.Call(func=ast.Name(id=name), args=[x], keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](value(x))
        case ast.Call(func=ast.Name(id=name)):
            known = [*_FUNCTIONS, "sigmoid"]
            problem = (
                f"{name} takes one argument."
                if name in known
                else f"unknown function {name}.{nearest(name, known)}"
            )
            raise UserError(f"{here}: {problem} Use {', '.join(known)} of (x), or sigmoid(x, scale).")
    raise UserError(f"{here} cannot be drawn; use numbers, names, + - * / ** and functions")


def _undefined(tree: ast.expr, operands: list[tuple[ast.expr, Value]], error: DomainError) -> str:
    """Return why an operation has no value."""
    if isinstance(error, _Reason):
        return str(error)
    x = number(operands[0][1].item())
    match tree:
        case ast.Call(func=ast.Name(id=name)):
            return f"{name} has no value at {x}"
        case ast.BinOp(op=ast.Div()):
            return "a division by 0 has no value"
        case ast.BinOp(op=ast.Pow(), right=exponent) if _constant(exponent) is not None:
            return f"{x} has no power {ast.unparse(exponent)}"
    return str(error)


def _constant(tree: ast.expr) -> float | None:
    """Return a literal number with its sign, else None.

    Raises:
        OverflowError: it is too large for a float.
    """
    match tree:
        case ast.Constant(value=int() | float() as literal) if not isinstance(literal, bool):
            number = float(literal)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as literal)):
            number = -float(literal)
        case _:
            return None
    if not isfinite(number):
        raise OverflowError
    return number


def assignment_example() -> Value:
    """Return L of the assignment's example."""
    return parsed(ASSIGNMENT, numbers(ASSIGNMENT_AT))
