"""Which expressions and variables are surely ints, so that `check` may use Python's own operators for them.

A scope's assignments are all in its own text (Starlark has no way to assign to another function's variable), which
makes this a small fixed-point computation. SMALL are ints that cannot make another one much larger by being added:
literals, the numbers of a `range`, lengths. Pure functions.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator

from ipytilt.starlark.tree import is_load, names_of, small

OPEN, SMALL, INT, OTHER = range(4)  # ordered: what may be two of these is the greater; OPEN is not yet known

IsLibrary = Callable[[str], bool]
Kinds = dict[str, int]


def kind_of(node: ast.expr, variable: Callable[[str], int], is_library: IsLibrary) -> int:
    """The kind of a source expression; `variable` and `is_library` say what names mean."""
    match node:
        case ast.Constant(value=value):
            return SMALL if small(value) else INT if type(value) is int else OTHER
        case ast.Name(id=name):
            return variable(name)
        case ast.BinOp(left=left, op=op, right=right):
            one, other = (kind_of(side, variable, is_library) for side in (left, right))
            if OTHER in (one, other) or isinstance(op, ast.Div):
                return OTHER
            if OPEN in (one, other):
                return OPEN
            return other if isinstance(op, ast.Mod) else INT
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return kind_of(operand, variable, is_library)
        case ast.IfExp(body=body, orelse=orelse):
            return max(kind_of(body, variable, is_library), kind_of(orelse, variable, is_library))
        case ast.Call(func=ast.Name(id="len")) if is_library("len"):
            return SMALL
        case _:
            return OTHER


def kind_of_turns(turns: ast.expr, target: ast.expr, is_library: IsLibrary) -> int:
    """The kind of a loop variable."""
    is_range = isinstance(turns, ast.Call) and isinstance(turns.func, ast.Name) and turns.func.id == "range"
    return SMALL if is_range and isinstance(target, ast.Name) and is_library("range") else OTHER


def kinds_in(
    statements: list[ast.stmt], outer: Callable[[str], int], is_library: IsLibrary, *, unsure: Collection[str]
) -> Kinds:
    """The kinds of the variables that a body binds.

    `outer` knows those of the scopes around it; the `unsure` ones have values from elsewhere, too.
    """
    bindings = list(_bindings(statements, is_library))
    kinds: Kinds = {name: OTHER if name in unsure else OPEN for name, _ in bindings}

    def variable(name: str) -> int:
        return kinds[name] if name in kinds else outer(name)

    changed = True
    while changed:
        changed = False
        for name, value in bindings:
            found = value if isinstance(value, int) else kind_of(value, variable, is_library)
            if found > kinds[name]:
                kinds[name], changed = found, True
    return {name: kind if kind != OPEN else OTHER for name, kind in kinds.items()}


def _bindings(statements: list[ast.stmt], is_library: IsLibrary) -> Iterator[tuple[str, ast.expr | int]]:
    """Each variable that is bound, with the expression or kind it is bound to."""
    for statement in statements:
        match statement:
            case ast.Assign(targets=[target], value=value):
                yield from _assigned(target, value)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                yield name, ast.BinOp(ast.Name(name, ast.Load()), op, value)
            case ast.For(target=target, iter=turns, body=body):
                for name in names_of(target):
                    yield name, kind_of_turns(turns, target, is_library)
                yield from _bindings(body, is_library)
            case ast.If(body=body, orelse=orelse) | ast.While(body=body, orelse=orelse):
                yield from _bindings([*body, *orelse], is_library)
            case ast.FunctionDef(name=name):
                yield name, OTHER
            case ast.Expr(value=ast.Call() as call) if is_load(call):
                operands = [operand.value for operand in call.args if isinstance(operand, ast.Constant)]
                for name in (*map(str, operands), *(keyword.arg or "" for keyword in call.keywords)):
                    yield name, OTHER


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr | int]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for inner, item in zip(target.elts, value.elts, strict=True):
            yield from _assigned(inner, item)
    else:
        for name in names_of(target):
            yield name, OTHER
