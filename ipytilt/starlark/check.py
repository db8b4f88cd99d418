"""From text to a runnable program: refuse, resolve names, lower to Python code.

The tree that Python's parser made is rewritten in place: operators become calls of `operators`, loops and functions
count their steps, every global function of the universe is addressed by a name that no program can assign ("@len").
The top level becomes a function whose variables are declared global, because Python runs functions several times
faster. Nodes that can fail carry the line and column at which Tilt reports their failure (a call: its opening
parenthesis), so that positions can be read from code objects and nothing is recorded while running. Pure functions;
any thread.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import dataclass, field
from types import CodeType

from ipytilt.starlark.errors import Position
from ipytilt.starlark.expressions import BINARY, Call, Expressions
from ipytilt.starlark.kinds import OTHER, kinds_in
from ipytilt.starlark.recursion import deep_recursion
from ipytilt.starlark.syntax import MAX_NESTING, Source, refuse
from ipytilt.starlark.tree import (
    Place,
    bound_names,
    call_helper,
    calls_something,
    constant,
    is_load,
    located,
    only_names,
    parameter_names,
    shape_of,
    toplevel_function,
    variable,
)

TOPLEVEL = "<toplevel>"
_IN_PLACE = {ast.Add: ".add_in_place", ast.BitOr: ".or_in_place"}


@dataclass(frozen=True)
class Load:
    """A `load` statement: which names of which module, under which local names, and where it stands."""

    module: str
    names: tuple[tuple[str, str], ...]  # (local, name in the module)
    position: Position


@dataclass(frozen=True)
class Program:
    """A checked program. `defines` are the global names it assigns, loaded ones left out."""

    file: str
    code: CodeType
    loads: tuple[Load, ...]
    defines: frozenset[str]
    calls: dict[Place, Call] = field(repr=False)


def check(
    text: str,
    file: str,
    *,
    globals: Collection[str] = frozenset(),  # noqa: A002
    predeclared: Collection[str],
) -> Program:
    """Check a program that may use the universe, the predeclared names and the globals of earlier programs.

    Raises StarlarkSyntaxError, also for undefined names.
    """
    source = Source(text, file)
    tree = source.parse()
    refuse(source, tree)
    with deep_recursion(10 * MAX_NESTING):
        return _Lowering(source, frozenset(globals), frozenset(predeclared)).program(tree)


class _Lowering(Expressions):
    """One pass over the tree, resolving and rewriting."""

    def __init__(self, source: Source, earlier: frozenset[str], predeclared: frozenset[str]) -> None:
        super().__init__(source, earlier, predeclared)
        self.functions = 0  # how many of these enclose the current statement
        self.loops = 0
        self.conditions = 0
        self.loads: list[Load] = []

    def program(self, tree: ast.Module) -> Program:
        self.file_globals = set(bound_names(tree.body))
        unsure = self.outside | self.earlier
        self.toplevel_kinds = kinds_in(tree.body, lambda _name: OTHER, self.is_library, unsure=unsure)
        body = self.block(tree.body) or [located(ast.Pass(), (1, 0))]
        declared = [located(ast.Global(names=sorted(self.file_globals)), (1, 0))] if self.file_globals else []
        toplevel = located(toplevel_function(TOPLEVEL, [*declared, *body]), (1, 0))
        try:
            module = compile(ast.Module(body=[toplevel], type_ignores=[]), self.source.file, "exec", dont_inherit=True)
        except SyntaxError as error:  # what Python checks only now: duplicate parameters, too many nested blocks
            raise self.source.error(error.msg, error.lineno or 1, (error.offset or 1) - 1) from None
        code = next(const for const in module.co_consts if isinstance(const, CodeType))
        loaded = {local for load in self.loads for local, _ in load.names}
        defines = frozenset(self.file_globals - loaded)
        return Program(self.source.file, code, tuple(self.loads), defines, self.calls)

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        return [
            new
            for statement in statements
            for new in getattr(self, f"_stmt_{type(statement).__name__.lower()}")(statement)
        ]

    def _stmt_pass(self, node: ast.Pass) -> list[ast.stmt]:
        return [node]

    def _stmt_break(self, node: ast.Break | ast.Continue) -> list[ast.stmt]:
        if not self.loops:
            raise self.source.error_at(f"{type(node).__name__.lower()} not in a loop", node)
        return [node]

    _stmt_continue = _stmt_break

    def _stmt_return(self, node: ast.Return) -> list[ast.stmt]:
        if not self.functions:
            raise self.source.error_at("return statement not within a function", node)
        if node.value:
            node.value = self.expr(node.value)
        return [node]

    def _stmt_expr(self, node: ast.Expr) -> list[ast.stmt]:
        if isinstance(node.value, ast.Call) and is_load(node.value):
            return [self.load(node.value)]
        node.value = self.expr(node.value)
        return [node]

    def load(self, node: ast.Call) -> ast.stmt:
        for inside, what in ((self.functions, "function"), (self.loops, "loop"), (self.conditions, "conditional")):
            if inside:
                raise self.source.error_at(f"load statement within a {what}", node)
        pairs = [(None, arg) for arg in node.args[1:]] + [(keyword.arg, keyword.value) for keyword in node.keywords]
        names = []
        for operand in (node.args[:1] or [node]) + [value for _, value in pairs]:
            if not (isinstance(operand, ast.Constant) and isinstance(operand.value, str)):
                raise self.source.error_at("load operands must be string literals", operand)
        for local, value in pairs:
            remote = ast.literal_eval(value)
            if remote.startswith("_"):
                raise self.source.error_at(f"load: names with leading underscores are not exported: {remote}", value)
            names.append((local or remote, remote))
        if not names:
            raise self.source.error_at("load statement must import at least 1 symbol", node)
        place = self.source.at(node)
        module = ast.literal_eval(node.args[0])
        self.loads.append(Load(module, tuple(names), Position(self.source.file, place[0], place[1] + 1)))
        self.bound.update(local for local, _ in names)
        wanted = located(ast.Tuple([constant(remote, place) for _, remote in names], ast.Load()), place)
        targets = located(ast.Tuple([variable(local, place, ast.Store()) for local, _ in names], ast.Store()), place)
        return located(ast.Assign([targets], call_helper(".load", [constant(module, place), wanted], place)), place)

    def _stmt_if(self, node: ast.If) -> list[ast.stmt]:
        node.test = self.expr(node.test)
        self.conditions += 1
        node.body, node.orelse = self.block(node.body), self.block(node.orelse)
        self.conditions -= 1
        return [node]

    def _stmt_while(self, node: ast.While) -> list[ast.stmt]:
        place = self.source.at(node)
        node.test = self.expr(node.test)
        self.loops += 1
        node.body = [self.run(".tick", [], place), *self.block(node.body)]
        self.loops -= 1
        return [node]

    def _stmt_for(self, node: ast.For) -> list[ast.stmt]:
        place = self.source.at(node)
        turns = self.expr(node.iter)
        self.bind(node.target)
        first: list[ast.stmt] = []
        if only_names(node.target):
            node.iter = self.iteration(turns, node.target, place)
        else:
            item = self.temporary()
            first = self.assign(node.target, variable(item, place), place)
            node.target, node.iter = variable(item, place, ast.Store()), call_helper(".iterate", [turns], place)
        self.loops += 1
        node.body = [*first, *self.block(node.body)]
        self.loops -= 1
        return [node]

    def _stmt_functiondef(self, node: ast.FunctionDef) -> list[ast.stmt]:
        place = self.source.at(node)
        self.bind(variable(node.name, place))
        self.parameters(node.args)
        self.functions, loops, self.loops = self.functions + 1, self.loops, 0
        conditions, self.conditions = self.conditions, 0
        parameters = set(parameter_names(node.args))
        self.scopes.append({*parameters, *bound_names(node.body)})
        self.deferred += 1
        self.kinds.append({})
        self.kinds[-1] = kinds_in(node.body, self.variable_kind, self.is_library, unsure=parameters)
        start = [self.run(".tick", [], place)] if calls_something(node) else []
        if node.args.kwarg:
            name = node.args.kwarg.arg
            start.append(located(ast.Assign([variable(name, place, ast.Store())], self.as_dict(name, place)), place))
        node.body = [*start, *self.block(node.body)]
        self.scopes.pop()
        self.kinds.pop()
        self.deferred -= 1
        self.functions, self.loops, self.conditions = self.functions - 1, loops, conditions
        return [node]

    def _stmt_assign(self, node: ast.Assign) -> list[ast.stmt]:
        target = node.targets[0]
        place = self.source.at(target)
        value = self.expr(node.value)
        self.bind(target)
        return self.assign(target, value, place)

    def assign(self, target: ast.expr, value: ast.expr, place: Place) -> list[ast.stmt]:
        """Statements that assign a lowered value to a target."""
        if isinstance(target, ast.Name):
            return [located(ast.Assign([target], value), place)]
        if isinstance(target, ast.Subscript):
            where = self.source.after(target.value)
            return [self.run(".set_index", [value, self.expr(target.value), self.expr(target.slice)], where)]
        if isinstance(target, ast.Attribute):
            where = self.source.after(target.value)
            return [self.run(".set_attribute", [value, self.expr(target.value), constant(target.attr, where)], where)]
        later: list[ast.stmt] = []
        target, shape = self.spread(target, later), shape_of(target)
        if not (isinstance(value, ast.Tuple) and len(value.elts) == len(shape) and not any(shape)):
            value = call_helper(".unpack", [value, constant(shape, place)], place)
        return [located(ast.Assign([target], value), place), *later]

    def spread(self, target: ast.expr, later: list[ast.stmt]) -> ast.expr:
        """A target of names only; what else it held is assigned later."""
        if isinstance(target, ast.Tuple | ast.List):
            target.elts = [self.spread(item, later) for item in target.elts]
        elif not isinstance(target, ast.Name):
            place = self.source.at(target)
            name = self.temporary()
            later += self.assign(target, variable(name, place), place)
            return variable(name, place, ast.Store())
        return target

    def run(self, helper: str, args: list[ast.expr], place: Place) -> ast.stmt:
        return located(ast.Expr(call_helper(helper, args, place)), place)

    def _stmt_augassign(self, node: ast.AugAssign) -> list[ast.stmt]:
        place, target = self.source.after(node.target), node.target
        helper = _IN_PLACE.get(type(node.op)) or BINARY[type(node.op)]
        if isinstance(target, ast.Name):
            name = variable(self.resolve(target.id, self.source.at(target)), self.source.at(target))
            if name.id != target.id:
                raise self.source.error_at(f"undefined: {target.id}", target)
            value = self.arithmetic(
                ast.BinOp(variable(target.id, self.source.at(target)), node.op, node.value), helper, place
            )
            return [located(ast.Assign([target], value), place)]
        where = self.source.after(target.value)
        owner = self.temporary()
        before: list[ast.stmt] = [
            located(ast.Assign([variable(owner, where, ast.Store())], self.expr(target.value)), where)
        ]
        access: ast.expr
        if isinstance(target, ast.Subscript):
            inner = self.temporary()
            before.append(located(ast.Assign([variable(inner, where, ast.Store())], self.expr(target.slice)), where))
            access, get, put = variable(inner, where), ".index", ".set_index"
        else:
            access, get, put = constant(target.attr, where), ".attribute", ".set_attribute"
        old = call_helper(get, [variable(owner, where), access], where)
        new = call_helper(helper, [old, self.expr(node.value)], place)
        return [*before, self.run(put, [new, variable(owner, where), access], where)]
