"""Making and asking about nodes of Python's syntax tree, for `check`. Pure functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, TypeGuard, TypeVar

Place = tuple[int, int]  # line from 1, column from 0
N = TypeVar("N", bound=ast.stmt | ast.expr | ast.keyword)


def located(node: N, place: Place) -> N:
    """Put a node at a place of the original text."""
    node.lineno = node.end_lineno = place[0]
    node.col_offset, node.end_col_offset = place[1], place[1] + 1
    return node


def variable(name: str, place: Place, context: ast.expr_context | None = None) -> ast.Name:
    """A variable, to be read unless the context says otherwise."""
    return located(ast.Name(name, context or ast.Load()), place)


def constant(value: Any, place: Place) -> ast.Constant:
    """A literal."""
    return located(ast.Constant(value), place)


def call_helper(helper: str, args: list[ast.expr], place: Place) -> ast.Call:
    """A call of one of our own functions."""
    return located(ast.Call(variable(helper, place), args, []), place)


def toplevel_function(name: str, body: list[ast.stmt]) -> ast.FunctionDef:
    """A function without parameters."""
    args = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    function = ast.FunctionDef(name=name, args=args, body=body, decorator_list=[])
    function.type_params = []  # type: ignore[attr-defined,unused-ignore] # Python 3.12 and later want it
    return function


def calls_something(function: ast.FunctionDef) -> bool:
    """Whether a function can recurse; one that cannot is paid for by the loop that calls it."""
    return any(isinstance(node, ast.Call) for statement in function.body for node in ast.walk(statement))


def is_load(node: ast.Call) -> bool:
    """Whether this is a load statement."""
    return isinstance(node.func, ast.Name) and node.func.id == "load"


def compares_as_python(node: ast.expr) -> bool:
    """Whether comparing with this means the same in Python, whatever the other side is."""
    return isinstance(node, ast.Constant) and (node.value is None or type(node.value) is str)


def small(value: object) -> bool:
    """Whether this is an int that cannot make another one much larger."""
    return type(value) is int and abs(value) < 1 << 32


def is_small(node: ast.expr) -> TypeGuard[ast.Constant]:
    """Whether this is the literal of such an int."""
    return isinstance(node, ast.Constant) and small(node.value)


def shape_of(target: ast.expr) -> Any:
    """The shape of an assignment target, see `operators.unpack`."""
    return tuple(map(shape_of, target.elts)) if isinstance(target, ast.Tuple | ast.List) else None


def only_names(target: ast.expr) -> bool:
    """Whether an assignment target binds nothing but variables."""
    if isinstance(target, ast.Tuple | ast.List):
        return all(map(only_names, target.elts))
    return isinstance(target, ast.Name)


def names_of(target: ast.AST) -> Iterator[str]:
    """The variables that an assignment target binds."""
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Tuple | ast.List):
        for item in target.elts:
            yield from names_of(item)


def parameter_names(args: ast.arguments) -> Iterator[str]:
    """The variables that calling a function binds."""
    for arg in [*args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]:
        yield arg.arg


def bound_names(statements: list[ast.stmt]) -> Iterator[str]:
    """The variables that a body binds, those of functions inside left out."""
    for statement in statements:
        match statement:
            case ast.FunctionDef(name=name):
                yield name
            case ast.Assign(targets=[target]) | ast.AugAssign(target=target):
                yield from names_of(target)
            case ast.For(target=target, body=body):
                yield from names_of(target)
                yield from bound_names(body)
            case ast.If(body=body, orelse=orelse) | ast.While(body=body, orelse=orelse):
                yield from bound_names([*body, *orelse])
            case ast.Expr(value=ast.Call() as call) if is_load(call):
                for operand in call.args[1:]:
                    if isinstance(operand, ast.Constant) and isinstance(operand.value, str):
                        yield operand.value
                yield from (keyword.arg for keyword in call.keywords if keyword.arg)
