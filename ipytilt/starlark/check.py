"""From text to a runnable program: refuse, resolve names, lower to Python code.

The tree that Python's parser made is rewritten in place: operators become calls of `operators`, loops and functions count
their steps, every global function of the universe is addressed by a name that no program can assign ("@len"). The top level
becomes a function whose variables are declared global, because Python runs functions several times faster. Nodes that can
fail carry the line and column at which Tilt reports their failure (a call: its opening parenthesis), so that positions can be
read from code objects and nothing is recorded while running. Pure functions; any thread.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from ipytilt.starlark.calls import did_you_mean
from ipytilt.starlark.errors import Position
from ipytilt.starlark.library import FUNCTIONS, UNIVERSE
from ipytilt.starlark.recursion import deep_recursion
from ipytilt.starlark.syntax import Source, refuse

TOPLEVEL = "<toplevel>"
_MAX_NESTING = 1_000  # levels of the tree; Python's compiler recurses on it
_BINARY: dict[type[ast.operator], str] = {
    ast.Add: ".add",
    ast.Sub: ".sub",
    ast.Mult: ".mul",
    ast.Div: ".divide",
    ast.FloorDiv: ".floor_divide",
    ast.Mod: ".modulo",
    ast.BitOr: ".bit_or",
    ast.BitAnd: ".bit_and",
    ast.BitXor: ".bit_xor",
    ast.LShift: ".shift_left",
    ast.RShift: ".shift_right",
}
_IN_PLACE = {ast.Add: ".add_in_place", ast.BitOr: ".or_in_place"}
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: ".equal",
    ast.NotEq: ".not_equal",
    ast.Lt: ".less",
    ast.LtE: ".less_equal",
    ast.Gt: ".greater",
    ast.GtE: ".greater_equal",
    ast.In: ".contains",
    ast.NotIn: ".not_contains",
}
_UNARY: dict[type[ast.unaryop], str] = {ast.USub: ".negate", ast.UAdd: ".positive", ast.Invert: ".invert"}
_Place = tuple[int, int]


@dataclass(frozen=True)
class Load:
    """A `load` statement: which names of which module, under which local names, and where it stands."""

    module: str
    names: tuple[tuple[str, str], ...]  # (local, name in the module)
    position: Position


@dataclass(frozen=True)
class Call:
    """How a call was written, kept to explain one that does not fit its function."""

    callee: str  # the variable called, as the lowered code names it
    positional: int
    keywords: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """A checked program. `defines` are the global names it assigns, loaded ones left out."""

    file: str
    code: CodeType
    loads: tuple[Load, ...]
    defines: frozenset[str]
    calls: dict[_Place, Call] = field(repr=False)


def check(text: str, file: str, *, globals: Collection[str] = frozenset(), predeclared: Collection[str]) -> Program:  # noqa: A002
    """Check a program that may use the universe, the predeclared names and the globals of earlier programs.

    Raises StarlarkSyntaxError, also for undefined names.
    """
    source = Source(text, file)
    tree = source.parse()
    _limit_nesting(source, tree)
    refuse(source, tree)
    with deep_recursion(10 * _MAX_NESTING):
        return _Lowering(source, frozenset(globals), frozenset(predeclared)).program(tree)


def _limit_nesting(source: Source, tree: ast.Module) -> None:
    level: list[ast.AST] = [tree]
    for _ in range(_MAX_NESTING):
        below = [child for node in level for child in ast.iter_child_nodes(node)]
        if not below:
            return
        level = below
    raise source.error_at("the program is nested too deeply", next(node for node in level if hasattr(node, "lineno")))


class _Lowering:
    """One pass over the tree, resolving and rewriting."""

    def __init__(self, source: Source, earlier: frozenset[str], predeclared: frozenset[str]) -> None:
        self.source = source
        self.earlier = earlier  # globals of programs executed before in the same module
        self.outside = predeclared | UNIVERSE.keys()
        self.library = {f"@{name}" for name in FUNCTIONS.keys() - predeclared}
        self.file_globals: set[str] = set()  # all that this program assigns at top level
        self.bound: set[str] = set()  # those assigned so far
        self.scopes: list[set[str]] = []  # names of the enclosing functions and comprehensions
        self.functions = 0
        self.loops = 0
        self.conditions = 0
        self.temporaries = 0
        self.loads: list[Load] = []
        self.calls: dict[_Place, Call] = {}

    def program(self, tree: ast.Module) -> Program:
        self.file_globals = set(_bound_names(tree.body))
        body = self.block(tree.body) or [_at(ast.Pass(), (1, 0))]
        declared = [_at(ast.Global(names=sorted(self.file_globals)), (1, 0))] if self.file_globals else []
        toplevel = _at(_function(TOPLEVEL, [*declared, *body]), (1, 0))
        try:
            module = compile(ast.Module(body=[toplevel], type_ignores=[]), self.source.file, "exec", dont_inherit=True)
        except SyntaxError as error:  # what Python checks only now: duplicate parameters, too many nested blocks
            raise self.source.error(error.msg, error.lineno or 1, (error.offset or 1) - 1) from None
        code = next(const for const in module.co_consts if isinstance(const, CodeType))
        loaded = {local for load in self.loads for local, _ in load.names}
        defines = frozenset(self.file_globals - loaded)
        return Program(self.source.file, code, tuple(self.loads), defines, self.calls)

    # Names

    def resolve(self, name: str, place: _Place) -> str:
        """The name of a variable in the lowered code."""
        if any(name in scope for scope in self.scopes):
            return name
        if name in (self.file_globals if self.scopes else self.bound) or name in self.earlier:
            return name
        if name in self.outside:
            return f"@{name}"
        known = {*self.outside, *self.earlier, *self.file_globals, *(other for scope in self.scopes for other in scope)}
        raise self.source.error(f"undefined: {name}{did_you_mean(name, sorted(known - {name}))}", *place)

    def bind(self, target: ast.AST) -> None:
        if not self.scopes:
            self.bound.update(_names(target))

    def temporary(self, place: _Place) -> str:
        self.temporaries += 1
        return f".{self.temporaries}"

    # Statements

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        return [new for statement in statements for new in getattr(self, f"stmt_{type(statement).__name__}")(statement)]

    def stmt_Pass(self, node: ast.Pass) -> list[ast.stmt]:
        return [node]

    def stmt_Break(self, node: ast.Break | ast.Continue) -> list[ast.stmt]:
        if not self.loops:
            raise self.source.error_at(f"{type(node).__name__.lower()} not in a loop", node)
        return [node]

    stmt_Continue = stmt_Break

    def stmt_Return(self, node: ast.Return) -> list[ast.stmt]:
        if not self.functions:
            raise self.source.error_at("return statement not within a function", node)
        if node.value:
            node.value = self.expr(node.value)
        return [node]

    def stmt_Expr(self, node: ast.Expr) -> list[ast.stmt]:
        if isinstance(node.value, ast.Call) and _is_load(node.value):
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
        wanted = _at(ast.Tuple([_constant(remote, place) for _, remote in names], ast.Load()), place)
        targets = _at(ast.Tuple([_name(local, place, ast.Store()) for local, _ in names], ast.Store()), place)
        return _at(ast.Assign([targets], _call(".load", [_constant(module, place), wanted], place)), place)

    def stmt_If(self, node: ast.If) -> list[ast.stmt]:
        node.test = self.expr(node.test)
        self.conditions += 1
        node.body, node.orelse = self.block(node.body), self.block(node.orelse)
        self.conditions -= 1
        return [node]

    def stmt_While(self, node: ast.While) -> list[ast.stmt]:
        place = self.source.at(node)
        node.test = self.expr(node.test)
        self.loops += 1
        node.body = [_at(ast.Expr(_call(".tick", [], place)), place), *self.block(node.body)]
        self.loops -= 1
        return [node]

    def stmt_For(self, node: ast.For) -> list[ast.stmt]:
        place = self.source.at(node)
        turns = self.expr(node.iter)
        self.bind(node.target)
        first: list[ast.stmt] = []
        if _only_names(node.target):
            node.iter = self.iteration(turns, node.target, place)
        else:
            item = self.temporary(place)
            first = self.assign(node.target, _name(item, place), place)
            node.target, node.iter = _name(item, place, ast.Store()), _call(".iterate", [turns], place)
        self.loops += 1
        node.body = [*first, *self.block(node.body)]
        self.loops -= 1
        return [node]

    def iteration(self, turns: ast.expr, target: ast.expr, place: _Place) -> ast.expr:
        if isinstance(target, ast.Name):
            return _call(".iterate", [turns], place)
        return _call(".iterate_unpacked", [turns, _constant(_shape(target), place)], place)

    def stmt_FunctionDef(self, node: ast.FunctionDef) -> list[ast.stmt]:
        place = self.source.at(node)
        self.bind(_name(node.name, place))
        self.parameters(node.args)
        self.functions, loops, self.loops = self.functions + 1, self.loops, 0
        conditions, self.conditions = self.conditions, 0
        self.scopes.append({*_parameter_names(node.args), *_bound_names(node.body)})
        start = [_at(ast.Expr(_call(".tick", [], place)), place)]
        if node.args.kwarg:
            name = node.args.kwarg.arg
            start.append(_at(ast.Assign([_name(name, place, ast.Store())], self.as_dict(name, place)), place))
        node.body = [*start, *self.block(node.body)]
        self.scopes.pop()
        self.functions, self.loops, self.conditions = self.functions - 1, loops, conditions
        return [node]

    def as_dict(self, name: str, place: _Place) -> ast.expr:
        return _call(".Dict", [_name(name, place)], place)

    def parameters(self, args: ast.arguments) -> None:
        args.defaults = [self.expr(default) for default in args.defaults]
        args.kw_defaults = [default and self.expr(default) for default in args.kw_defaults]

    def stmt_Assign(self, node: ast.Assign) -> list[ast.stmt]:
        target = node.targets[0]
        place = self.source.at(target)
        value = self.expr(node.value)
        self.bind(target)
        return self.assign(target, value, place)

    def assign(self, target: ast.expr, value: ast.expr, place: _Place) -> list[ast.stmt]:
        """Statements that assign a lowered value to a target."""
        if isinstance(target, ast.Name):
            return [_at(ast.Assign([target], value), place)]
        if isinstance(target, ast.Subscript):
            where = self.source.after(target.value)
            return [self.run(".set_index", [value, self.expr(target.value), self.expr(target.slice)], where)]
        if isinstance(target, ast.Attribute):
            where = self.source.after(target.value)
            return [self.run(".set_attribute", [value, self.expr(target.value), _constant(target.attr, where)], where)]
        later: list[ast.stmt] = []
        target, shape = self.spread(target, later), _shape(target)
        if not (isinstance(value, ast.Tuple) and len(value.elts) == len(shape) and not any(shape)):
            value = _call(".unpack", [value, _constant(shape, place)], place)
        return [_at(ast.Assign([target], value), place), *later]

    def spread(self, target: ast.expr, later: list[ast.stmt]) -> ast.expr:
        """A target of names only; what else it held is assigned later."""
        if isinstance(target, ast.Tuple | ast.List):
            target.elts = [self.spread(item, later) for item in target.elts]
        elif not isinstance(target, ast.Name):
            place = self.source.at(target)
            name = self.temporary(place)
            later += self.assign(target, _name(name, place), place)
            return _name(name, place, ast.Store())
        return target

    def run(self, helper: str, args: list[ast.expr], place: _Place) -> ast.stmt:
        return _at(ast.Expr(_call(helper, args, place)), place)

    def stmt_AugAssign(self, node: ast.AugAssign) -> list[ast.stmt]:
        place, target = self.source.after(node.target), node.target
        helper = _IN_PLACE.get(type(node.op)) or _BINARY[type(node.op)]
        if isinstance(target, ast.Name):
            name = _name(self.resolve(target.id, self.source.at(target)), self.source.at(target))
            value = _call(helper, [name, self.expr(node.value)], place)
            if name.id != target.id:
                raise self.source.error_at(f"undefined: {target.id}", target)
            return [_at(ast.Assign([target], value), place)]
        where = self.source.after(target.value)
        owner = self.temporary(place)
        before: list[ast.stmt] = [_at(ast.Assign([_name(owner, where, ast.Store())], self.expr(target.value)), where)]
        if isinstance(target, ast.Subscript):
            inner = self.temporary(place)
            before.append(_at(ast.Assign([_name(inner, where, ast.Store())], self.expr(target.slice)), where))
            access, get, put = _name(inner, where), ".index", ".set_index"
        else:
            access, get, put = _constant(target.attr, where), ".attribute", ".set_attribute"
        old = _call(get, [_name(owner, where), access], where)
        new = _call(helper, [old, self.expr(node.value)], place)
        return [*before, self.run(put, [new, _name(owner, where), access], where)]

    # Expressions

    def expr(self, node: ast.expr) -> ast.expr:
        return getattr(self, f"expr_{type(node).__name__}")(node)  # type: ignore[no-any-return]

    def exprs(self, nodes: Iterable[ast.expr]) -> list[ast.expr]:
        return [self.expr(node) for node in nodes]

    def expr_Constant(self, node: ast.Constant) -> ast.expr:
        if isinstance(node.value, bytes):
            node.value = self.source.bytes[self.source.at(node)]
        return node

    def expr_Name(self, node: ast.Name) -> ast.expr:
        place = self.source.at(node)
        if node.id == "load":
            raise self.source.error("load is a statement, not a value", *place)
        return _name(self.resolve(node.id, place), place)

    def expr_List(self, node: ast.List) -> ast.expr:
        node.elts = self.exprs(node.elts)
        return _call(".List", [node] if node.elts else [], self.source.at(node))

    def expr_Tuple(self, node: ast.Tuple) -> ast.expr:
        node.elts = self.exprs(node.elts)
        return node

    def expr_Dict(self, node: ast.Dict) -> ast.expr:
        place, keys = self.source.at(node), [key for key in node.keys if key]
        literal = [key.value for key in keys if isinstance(key, ast.Constant) and type(key.value) is str]
        if len(set(literal)) == len(keys):
            node.values = self.exprs(node.values)
            return _call(".Dict", [node] if keys else [], place)
        pairs = [
            _at(ast.Tuple([self.expr(k), self.expr(v)], ast.Load()), place)
            for k, v in zip(keys, node.values, strict=True)
        ]
        return _call(".dict_display", [_at(ast.Tuple(pairs, ast.Load()), place)], place)

    def expr_BinOp(self, node: ast.BinOp) -> ast.expr:
        args = self.exprs((node.left, node.right))
        return _call(_BINARY[type(node.op)], args, self.source.after(node.left))

    def expr_Compare(self, node: ast.Compare) -> ast.expr:
        operator, place = node.ops[0], self.source.after(node.left)
        left, right = self.exprs((node.left, node.comparators[0]))
        if isinstance(operator, ast.Eq | ast.NotEq) and any(_compares_as_python(side) for side in (left, right)):
            return _at(ast.Compare(left, [operator], [right]), place)
        return _call(_COMPARE[type(operator)], [left, right], place)

    def expr_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        node.values = self.exprs(node.values)
        return node

    def expr_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        place = self.source.at(node)
        node.operand = self.expr(node.operand)
        number = isinstance(node.operand, ast.Constant) and type(node.operand.value) in (int, float)
        if isinstance(node.op, ast.Not) or (isinstance(node.op, ast.USub) and number):
            return node
        return _call(_UNARY[type(node.op)], [node.operand], place)

    def expr_IfExp(self, node: ast.IfExp) -> ast.expr:
        node.test, node.body, node.orelse = self.exprs((node.test, node.body, node.orelse))
        return node

    def expr_Lambda(self, node: ast.Lambda) -> ast.expr:
        place = self.source.at(node)
        self.parameters(node.args)
        self.scopes.append(set(_parameter_names(node.args)))
        body, tick = self.expr(node.body), _call(".tick", [], place)
        if node.args.kwarg:  # (tick(), kwargs := Dict(kwargs), body)[2]
            name = node.args.kwarg.arg
            named = _at(ast.NamedExpr(_name(name, place, ast.Store()), self.as_dict(name, place)), place)
            steps = _at(ast.Tuple([tick, named, body], ast.Load()), place)
            node.body = _at(ast.Subscript(steps, _constant(2, place), ast.Load()), place)
        else:  # tick() is None
            node.body = _at(ast.BoolOp(ast.Or(), [tick, body]), place)
        self.scopes.pop()
        return node

    def expr_ListComp(self, node: ast.ListComp) -> ast.expr:
        with_element = self.clauses(node.generators)
        next(with_element)
        node.elt = self.expr(node.elt)
        next(with_element, None)
        return _call(".List", [node], self.source.at(node))

    def expr_DictComp(self, node: ast.DictComp) -> ast.expr:
        place, with_element = self.source.at(node), self.clauses(node.generators)
        next(with_element)
        pair = _at(ast.Tuple(self.exprs((node.key, node.value)), ast.Load()), place)
        next(with_element, None)
        return _call(".dict_from_pairs", [_at(ast.ListComp(pair, node.generators), place)], place)

    def clauses(self, generators: list[ast.comprehension]) -> Iterator[None]:
        """Lower the clauses of a comprehension; while suspended, its variables are in scope."""
        first = self.expr(generators[0].iter)
        self.scopes.append({name for clause in generators for name in _names(clause.target)})
        for clause in generators:
            place = self.source.at(clause.target)
            if not _only_names(clause.target):
                raise self.source.error("a comprehension assigns to names only", *place)
            turns = first if clause is generators[0] else self.expr(clause.iter)
            clause.iter = self.iteration(turns, clause.target, place)
            clause.ifs = self.exprs(clause.ifs)
        yield
        self.scopes.pop()

    def expr_Subscript(self, node: ast.Subscript) -> ast.expr:
        place, owner = self.source.after(node.value), self.expr(node.value)
        if isinstance(node.slice, ast.Slice):
            bounds = (node.slice.lower, node.slice.upper, node.slice.step)
            return _call(
                ".cut", [owner, *(self.expr(bound) if bound else _constant(None, place) for bound in bounds)], place
            )
        return _call(".index", [owner, self.expr(node.slice)], place)

    def expr_Attribute(self, node: ast.Attribute) -> ast.expr:
        place = self.source.after(node.value)
        return _call(".attribute", [self.expr(node.value), _constant(node.attr, place)], place)

    def expr_Call(self, node: ast.Call) -> ast.expr:
        if _is_load(node):
            raise self.source.error_at("load is a statement, not a value", node)
        place = self.source.after(node.func)
        if any(isinstance(arg, ast.Starred) for arg in node.args) or any(not keyword.arg for keyword in node.keywords):
            return self.spreading_call(node, place)
        if isinstance(node.func, ast.Attribute):
            args = [self.expr(node.func.value), _constant(node.func.attr, place)]
            call = _call(".invoke", [*args, *self.exprs(node.args)], place)
        elif isinstance(node.func, ast.Name):
            name = self.resolve(node.func.id, self.source.at(node.func))
            called = f"{name}()" if name in self.library else name
            call = _call(called, self.exprs(node.args), place)
            call.func = _name(called, self.source.at(node.func))
            keywords = tuple(keyword.arg or "" for keyword in node.keywords)
            self.calls[place] = Call(called, len(node.args), keywords)
        else:
            call = _call(".call", [self.expr(node.func), *self.exprs(node.args)], place)
        call.keywords = [ast.keyword(keyword.arg, self.expr(keyword.value)) for keyword in node.keywords]
        for keyword in call.keywords:
            _at(keyword, place)
        return call

    def spreading_call(self, node: ast.Call, place: _Place) -> ast.expr:
        """A call with *args or **kwargs; these are evaluated last."""
        function = self.expr(node.func)
        plain = _at(
            ast.Tuple(self.exprs(arg for arg in node.args if not isinstance(arg, ast.Starred)), ast.Load()), place
        )
        named = [keyword for keyword in node.keywords if keyword.arg]
        keys: list[ast.expr | None] = [_constant(keyword.arg, place) for keyword in named]
        kwargs = _at(ast.Dict(keys, self.exprs(keyword.value for keyword in named)), place)
        star = next((arg.value for arg in node.args if isinstance(arg, ast.Starred)), None)
        stars = next((keyword.value for keyword in node.keywords if not keyword.arg), None)
        rest = [self.expr(value) if value else _constant(None, place) for value in (star, stars)]
        call = _call(".apply", [function, plain, kwargs, rest[0]], place)
        call.keywords = [_at(ast.keyword("stars", rest[1]), place)]
        return call


def _at(node: Any, place: _Place) -> Any:
    """Put a node at a place of the original text."""
    node.lineno = node.end_lineno = place[0]
    node.col_offset, node.end_col_offset = place[1], place[1] + 1
    return node


def _name(name: str, place: _Place, context: ast.expr_context | None = None) -> Any:
    return _at(ast.Name(name, context or ast.Load()), place)


def _constant(value: Any, place: _Place) -> Any:
    return _at(ast.Constant(value), place)


def _call(helper: str, args: list[ast.expr], place: _Place) -> Any:
    return _at(ast.Call(_name(helper, place), args, []), place)


def _function(name: str, body: list[ast.stmt]) -> ast.FunctionDef:
    args = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.FunctionDef(name=name, args=args, body=body, decorator_list=[], type_params=[])


def _is_load(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == "load"


def _compares_as_python(node: ast.expr) -> bool:
    """Whether comparing with this means the same in Python, whatever the other side is."""
    return isinstance(node, ast.Constant) and (node.value is None or type(node.value) is str)


def _shape(target: ast.expr) -> Any:
    """The shape of an assignment target, see `operators.unpack`."""
    return tuple(map(_shape, target.elts)) if isinstance(target, ast.Tuple | ast.List) else None


def _only_names(target: ast.expr) -> bool:
    return (
        all(map(_only_names, target.elts)) if isinstance(target, ast.Tuple | ast.List) else isinstance(target, ast.Name)
    )


def _names(target: ast.AST) -> Iterator[str]:
    """The variables that an assignment target binds."""
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Tuple | ast.List):
        for item in target.elts:
            yield from _names(item)


def _parameter_names(args: ast.arguments) -> Iterator[str]:
    for arg in [*args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]:
        yield arg.arg


def _bound_names(statements: list[ast.stmt]) -> Iterator[str]:
    """The variables that a body binds, those of functions inside left out."""
    for statement in statements:
        match statement:
            case ast.FunctionDef(name=name):
                yield name
            case ast.Assign(targets=[target]) | ast.AugAssign(target=target):
                yield from _names(target)
            case ast.For(target=target, body=body):
                yield from _names(target)
                yield from _bound_names(body)
            case ast.If(body=body, orelse=orelse) | ast.While(body=body, orelse=orelse):
                yield from _bound_names([*body, *orelse])
            case ast.Expr(value=ast.Call() as call) if _is_load(call):
                for operand in call.args[1:]:
                    if isinstance(operand, ast.Constant) and isinstance(operand.value, str):
                        yield operand.value
                yield from (keyword.arg for keyword in call.keywords if keyword.arg)
