"""What the top-level statements of a program say about global names, without running anything.

For programs that are cut into pieces or put together from some: a name used inside a function, lambda or comprehension
is looked up in all of the program, one used at top level in what stands before it. Pure functions; any thread. Beside
`check`, which resolves the names of one program for good.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ipytilt.starlark.syntax import Source, refuse
from ipytilt.starlark.tree import Place, bound_names, is_load, names_of, parameter_names


class Use(NamedTuple):
    """A global name (or a builtin's) that is read; `inside` a function, lambda or comprehension, or at top level."""

    name: str
    place: Place
    inside: bool


@dataclass(frozen=True, slots=True)
class Statement:
    """A top-level statement in lines `first` to `last`, counted from 1.

    `binds` are the global names it may assign, `certain` those that have a value whenever it was executed, `loaded`
    those that a load statement brings.
    """

    first: int
    last: int
    binds: frozenset[str]
    certain: frozenset[str]
    loaded: frozenset[str]
    uses: tuple[Use, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """A program's lines, with one kind of line end, and its statements."""

    lines: tuple[str, ...]
    statements: tuple[Statement, ...]


def outline(text: str, file: str) -> Outline:
    """Parse a program. Raises StarlarkSyntaxError; whether names are defined is not looked at."""
    source = Source(text, file)
    tree = source.parse()
    refuse(source, tree)
    return Outline(tuple(source.text.split("\n")), tuple(_statement(source, node) for node in tree.body))


def _statement(source: Source, node: ast.stmt) -> Statement:
    binds = frozenset(bound_names([node]))
    loads = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and is_load(node.value)
    always = loads or isinstance(node, ast.FunctionDef | ast.Assign | ast.AugAssign)
    return Statement(
        first=node.lineno,
        last=node.end_lineno or node.lineno,
        binds=binds,
        certain=binds if always else frozenset(),
        loaded=binds if loads else frozenset(),
        uses=() if loads else tuple(sorted(_uses(source, node), key=lambda use: use.place)),
    )


_Todo: TypeAlias = tuple[ast.AST, frozenset[str], bool]  # a node, the local names there, whether it is inside


def _uses(source: Source, statement: ast.stmt) -> Iterator[Use]:
    todo: list[_Todo] = [(statement, frozenset(), False)]
    while todo:
        node, local, inside = todo.pop()
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.AugAssign(target=ast.Name(id=name)) if name not in local:
                place = node.target if isinstance(node, ast.AugAssign) else node
                yield Use(name, source.at(place), inside)
        match node:
            case ast.FunctionDef(args=args, body=body):
                own = local | {*parameter_names(args), *bound_names(body)}
                todo += [(default, local, inside) for default in _defaults(args)]
                todo += [(each, own, True) for each in body]
            case ast.Lambda(args=args, body=result):
                todo += [(default, local, inside) for default in _defaults(args)]
                todo.append((result, local | {*parameter_names(args)}, True))
            case ast.ListComp(generators=[first, *_]) | ast.DictComp(generators=[first, *_]):
                own = local | {name for clause in node.generators for name in names_of(clause.target)}
                todo.append((first.iter, local, inside))
                todo += [(each, own, True) for each in _within(node) if each is not first.iter]
            case _:
                todo += [(child, local, inside) for child in ast.iter_child_nodes(node)]


def _defaults(args: ast.arguments) -> Iterator[ast.expr]:
    yield from args.defaults
    yield from filter(None, args.kw_defaults)


def _within(node: ast.ListComp | ast.DictComp) -> Iterator[ast.expr]:
    yield from [node.elt] if isinstance(node, ast.ListComp) else [node.key, node.value]
    for clause in node.generators:
        yield from (clause.iter, *clause.ifs)
