"""Make small changes to a module's source, one at a time: its mutants.

Mutants that no test should kill are not made where syntax decides that: docstrings, annotations, decorators,
f-strings, the text of an exception, calls that only pass texts on (log lines, progress), assertions (which
narrow types), `__all__`, `strict=` of `zip`.
"""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_PAIRS = (
    *(("min", "max"), ("any", "all"), ("minimum", "maximum"), ("argmin", "argmax"), ("floor", "ceil")),
    *(("left", "right"), ("isdisjoint", "issubset"), ("union", "intersection")),
)
_NAMES = dict(_PAIRS) | {right: left for left, right in _PAIRS}

PROBE = "__reached__"
"""The function that is called where it has to be known which lines are reached."""


@dataclass(frozen=True)
class Mutant:
    """One change to a source.

    Attributes:
        scope: the class and function around the change, such as `Parts.mask`; empty for the module.
        repeat: how many equal changes come earlier in this scope.
        node, variant: which node of the syntax tree is replaced, and by which of its changes.
    """

    line: int
    scope: str
    before: str
    after: str
    repeat: int
    node: int
    variant: int

    @property
    def key(self) -> str:
        """Return what identifies the mutant while lines around it change."""
        repeat = f" ({self.repeat + 1})" if self.repeat else ""
        return f"{self.scope or 'module'}: {self.before} → {self.after}{repeat}"


def mutants(source: str) -> list[Mutant]:
    """Return all mutants of a source, in the order of the source."""
    found, seen = [], Counter[tuple[str, str, str]]()
    for index, (node, scope) in enumerate(_nodes(ast.parse(source))):
        for variant, after in enumerate(_changes(node)):
            change = (scope, _text(node), _text(after))
            line = next(part.lineno for part in ast.walk(node) if hasattr(part, "lineno"))
            found.append(Mutant(line, *change, repeat=seen[change], node=index, variant=variant))
            seen[change] += 1
    return found


def mutated(source: str, mutant: Mutant) -> ast.Module:
    """Return the syntax tree of a source with one mutant's change."""
    tree = ast.parse(source)
    for index, (node, _) in enumerate(_nodes(tree)):
        if index == mutant.node:
            _Replace(node, _changes(node)[mutant.variant]).visit(tree)
            return ast.fix_missing_locations(tree)
    raise ValueError(f"the source has no node {mutant.node}")


def probed(source: str) -> ast.Module:
    """Return the syntax tree of a source whose functions call `PROBE` with the lines of each statement."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = {id(node): node for function in functions for node in ast.walk(function)}
    for node in inside.values():
        for name in ("body", "orelse", "finalbody"):
            if isinstance(block := getattr(node, name, None), list):
                setattr(node, name, [one for statement in block for one in (*_probe(statement), statement)])
    return ast.fix_missing_locations(tree)


def _probe(statement: ast.stmt) -> list[ast.stmt]:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return []  # a docstring
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if body else statement.end_lineno or 0
    lines: list[ast.expr] = [ast.Constant(line) for line in (statement.lineno, max(statement.lineno, last))]
    return [ast.copy_location(ast.Expr(ast.Call(ast.Name(PROBE, ast.Load()), lines, [])), statement)]


def sample(keys: list[str], n: int, seed: int = 0) -> list[str]:
    """Return n of the keys, chosen by a digest of each: an edit elsewhere does not change the choice."""
    return sorted(keys, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())[:n]


class _Replace(ast.NodeTransformer):
    def __init__(self, node: ast.AST, by: ast.AST) -> None:
        self.node, self.by = node, by

    def visit(self, node: ast.AST) -> ast.AST:
        return ast.copy_location(self.by, node) if node is self.node else self.generic_visit(node)


def _text(node: ast.AST) -> str:
    lines = ast.unparse(node).splitlines()
    return lines[0] if len(lines) == 1 or isinstance(node, ast.stmt) else " ".join(map(str.strip, lines))


def _nodes(node: ast.AST, scope: str = "") -> Iterator[tuple[ast.AST, str]]:
    """Yield the nodes below one, each before its parts, without those whose mutants say nothing."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        scope = f"{scope}.{node.name}".lstrip(".")
    for name, field in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
            continue
        for child in field if isinstance(field, list) else [field]:
            if isinstance(child, ast.AST) and not _is_text(child):
                yield child, scope
                if not isinstance(child, ast.Raise):
                    yield from _nodes(child, scope)


def _is_text(node: ast.AST) -> bool:
    match node:
        case ast.JoinedStr() | ast.Assert() | ast.Expr(value=ast.Constant()) | ast.keyword(arg="strict"):
            return True
        case ast.Expr(value=ast.Call(args=[_, *_] as arguments)):
            return all(isinstance(a, ast.JoinedStr) or _is_constant(a, str) for a in arguments)
        case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(value=ast.Subscript(value=ast.Name(id=name))):
            return name in ("Callable", "Literal", "NDArray")  # an alias of a type
        case _:
            return False


def _is_constant(node: ast.AST, kind: type) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, kind)


def _changes(node: ast.AST) -> list[ast.AST]:
    """Return what a node may be replaced by."""
    match node:
        case ast.Compare(left=left, ops=[*before, last], comparators=right):
            swaps = _COMPARISONS[type(last)]
            return [ast.Compare(left, [*before, swap()], right) for swap in swaps]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            if isinstance(op, ast.BitOr) and _is_constant(right, type(None)):  # X | None is a type
                return []
            return [ast.BinOp(left, _ARITHMETIC[type(op)](), right)]
        case ast.BoolOp(op=op, values=values):
            other = ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            return [other, *(_without(node, "values", number) for number in range(len(values)))]
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            return [operand]
        case ast.Constant(value=bool(value)):
            return [ast.Constant(not value)]
        case ast.Constant(value=int() | float() as value):
            return [ast.Constant(other) for other in (value + 1, value - 1) if other != value]
        case ast.Constant(value=str(value)) if value in _NAMES:
            return [ast.Constant(_NAMES[value])]
        case ast.Name(id=name, ctx=ast.Load()) if name in _NAMES:
            return [ast.Name(_NAMES[name], ast.Load())]
        case ast.Call():
            return _changed_calls(node)
        case ast.Slice(lower=lower, upper=upper):
            return [
                _with(node, name, ast.BinOp(bound, ast.Add(), ast.Constant(1)))
                for name, bound in (("lower", lower), ("upper", upper))
                if bound is not None and not isinstance(bound, ast.Constant)
            ]
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            negated = not isinstance(
                test, ast.Compare | ast.UnaryOp | ast.Constant
            )  # their own mutants do that
            return [_with(node, "test", ast.UnaryOp(ast.Not(), test))] if negated else []
        case ast.comprehension(ifs=ifs):
            return [_without(node, "ifs", number) for number in range(len(ifs))]
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            return [ast.Return(ast.Constant(None))]
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Delete():
            return [ast.Pass()]
        case ast.Continue() | ast.Break():
            return [ast.Pass()]
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            return [ast.Pass()]
        case _:
            return []


def _changed_calls(call: ast.Call) -> list[ast.AST]:
    found: list[ast.AST] = []
    if isinstance(call.func, ast.Attribute) and call.func.attr in _NAMES:
        changed = ast.Attribute(call.func.value, _NAMES[call.func.attr], ast.Load())
        found.append(_with(call, "func", changed))
    if isinstance(call.func, ast.Name) and call.func.id in ("min", "max"):  # the order makes no difference
        return found
    for first in range(len(call.args) - 1):
        a, b = call.args[first : first + 2]
        if not any(isinstance(x, ast.Starred) for x in (a, b)) and ast.dump(a) != ast.dump(b):
            found.append(_with(call, "args", [*call.args[:first], b, a, *call.args[first + 2 :]]))
    return found


def _with(node: ast.AST, name: str, value: object) -> ast.AST:
    changed = deepcopy(node)
    setattr(changed, name, deepcopy(value))
    return changed


def _without(node: ast.AST, name: str, number: int) -> ast.AST:
    rest = [part for i, part in enumerate(getattr(node, name)) if i != number]
    if isinstance(node, ast.BoolOp) and len(rest) == 1:
        return deepcopy(rest[0])  # type: ignore[no-any-return]
    return _with(node, name, rest)
