"""Lowering expressions: the part of `check` that resolves names and turns operators into calls of `operators`."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ipytilt.starlark.calls import METHODS, did_you_mean
from ipytilt.starlark.kinds import INT, OTHER, SMALL, Kinds, kind_of, kind_of_turns
from ipytilt.starlark.library import FUNCTIONS, UNIVERSE
from ipytilt.starlark.syntax import Source
from ipytilt.starlark.tree import (
    Place,
    call_helper,
    compares_as_python,
    constant,
    is_load,
    is_small,
    located,
    names_of,
    only_names,
    parameter_names,
    shape_of,
    variable,
)

BINARY: dict[type[ast.operator], str] = {
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
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: ".equal",
    ast.NotEq: ".equal",
    ast.Lt: ".less",
    ast.LtE: ".less_equal",
    ast.Gt: ".greater",
    ast.GtE: ".greater_equal",
    ast.In: ".contains",
    ast.NotIn: ".contains",
}
_UNARY: dict[type[ast.unaryop], str] = {ast.USub: "-", ast.UAdd: "+", ast.Invert: "~"}
_ONE_TEXT = re.compile(r"[^%]*%s[^%]*")
_ONE_INT = re.compile(r"[^%]*%[sd][^%]*", re.ASCII)  # a template that takes one int
_PLAIN = (ast.BitOr, ast.BitAnd, ast.BitXor)  # mean the same for ints as in Python, and make none larger
_BY_LITERAL = (ast.FloorDiv, ast.Mod)  # so do these unless the right side is zero
_GROWING = (ast.Add, ast.Sub, ast.Mult)
_CALL_BACK = {"max", "min", "sorted"}  # functions that call what they are given


@dataclass(frozen=True)
class Call:
    """How a call was written, kept to explain one that does not fit its function."""

    callee: str  # the variable called, as the lowered code names it
    positional: int
    keywords: tuple[str, ...]


class Expressions:
    """Lowers expressions, in the order of the text; `check` adds the statements."""

    def __init__(self, source: Source, earlier: frozenset[str], predeclared: frozenset[str]) -> None:
        self.source = source
        self.earlier = earlier  # globals of programs executed before in the same module
        self.outside = predeclared | UNIVERSE.keys()
        self.library = {f"@{name}" for name in FUNCTIONS.keys() - predeclared}
        self.file_globals: set[str] = set()  # all that this program assigns at top level
        self.bound: set[str] = set()  # those assigned so far
        self.scopes: list[set[str]] = []  # names of the enclosing functions and comprehensions
        self.kinds: list[Kinds] = []  # of the variables of each scope, as far as they are known
        self.toplevel_kinds: Kinds = {}
        self.deferred = 0  # how many of the enclosing scopes run later than they are written: functions and lambdas
        self.comprehensions = 0
        self._known: dict[ast.expr, int] = {}
        self.calls: dict[Place, Call] = {}
        self.temporaries = 0

    def resolve(self, name: str, place: Place) -> str:
        """The name of a variable in the lowered code."""
        if any(name in scope for scope in self.scopes):
            return name
        if name in (self.file_globals if self.scopes else self.bound) or name in self.earlier:
            return name
        if name in self.outside:
            return f"@{name}"
        known = {*self.outside, *self.earlier, *self.file_globals, *(other for scope in self.scopes for other in scope)}
        raise self.source.error(f"undefined: {name}{did_you_mean(name, sorted(known - {name}))}", *place)

    def variable_kind(self, name: str) -> int:
        """The kind of a variable; another program of the module may rebind a global before a function runs."""
        for scope, kinds in zip(reversed(self.scopes), reversed(self.kinds), strict=True):
            if name in scope:
                return kinds.get(name, OTHER)
        unsure = self.deferred or name in self.earlier
        return OTHER if unsure else self.toplevel_kinds.get(name, OTHER)

    def kind(self, node: ast.expr) -> int:
        """The kind of an expression, which may have been lowered already if this was asked before."""
        if node not in self._known:
            self._known[node] = kind_of(node, self.variable_kind, self.is_library)
        return self._known[node]

    def bind(self, target: ast.AST) -> None:
        """Note what an assignment at top level defines."""
        if not self.scopes:
            self.bound.update(names_of(target))

    def temporary(self) -> str:
        """A fresh variable that no program can name."""
        self.temporaries += 1
        return f".{self.temporaries}"

    def is_harmless(self, node: ast.AST) -> bool:
        """Whether a node cannot change a list, dict or set: no call, or one of a function known not to."""
        if not isinstance(node, ast.Call):
            return True
        if isinstance(node.func, ast.Attribute):
            return node.func.attr in METHODS[str]
        return isinstance(node.func, ast.Name) and self.is_library(node.func.id) and node.func.id not in _CALL_BACK

    def is_library(self, name: str) -> bool:
        """Whether a name means a function of the universe in every scope."""
        own = any(name in scope for scope in (*self.scopes, self.file_globals, self.earlier))
        return not own and f"@{name}" in self.library

    def iteration(self, turns: ast.expr, target: ast.expr, place: Place, *, helper: str = ".iterate") -> ast.expr:
        """What a loop over some lowered value iterates."""
        if isinstance(target, ast.Name):
            return call_helper(helper, [turns], place)
        return call_helper(".iterate_unpacked", [turns, constant(shape_of(target), place)], place)

    def as_dict(self, name: str, place: Place) -> ast.expr:
        """What becomes of a `**kwargs` parameter."""
        return call_helper(".Dict", [variable(name, place)], place)

    def parameters(self, args: ast.arguments) -> None:
        """Lower the default values."""
        args.defaults = [self.expr(default) for default in args.defaults]
        args.kw_defaults = [default and self.expr(default) for default in args.kw_defaults]

    def expr(self, node: ast.expr) -> ast.expr:
        """Lower one expression."""
        lower: Callable[[ast.expr], ast.expr] = getattr(self, f"_expr_{type(node).__name__.lower()}")
        return lower(node)

    def exprs(self, nodes: Iterable[ast.expr]) -> list[ast.expr]:
        """Lower several, in order."""
        return [self.expr(node) for node in nodes]

    def _expr_constant(self, node: ast.Constant) -> ast.expr:
        if isinstance(node.value, bytes):
            node.value = self.source.bytes[self.source.at(node)]
        return node

    def _expr_name(self, node: ast.Name) -> ast.expr:
        place = self.source.at(node)
        if node.id == "load":
            raise self.source.error("load is a statement, not a value", *place)
        return variable(self.resolve(node.id, place), place)

    def _expr_list(self, node: ast.List) -> ast.expr:
        node.elts = self.exprs(node.elts)
        return call_helper(".List", [node] if node.elts else [], self.source.at(node))

    def _expr_tuple(self, node: ast.Tuple) -> ast.expr:
        node.elts = self.exprs(node.elts)
        return node

    def _expr_dict(self, node: ast.Dict) -> ast.expr:
        place, keys = self.source.at(node), [key for key in node.keys if key]
        literal = [key.value for key in keys if isinstance(key, ast.Constant) and type(key.value) is str]
        if len(set(literal)) == len(keys):
            node.values = self.exprs(node.values)
            return call_helper(".Dict", [node] if keys else [], place)
        pairs: list[ast.expr] = [
            located(ast.Tuple([self.expr(k), self.expr(v)], ast.Load()), place)
            for k, v in zip(keys, node.values, strict=True)
        ]
        return call_helper(".dict_display", [located(ast.Tuple(pairs, ast.Load()), place)], place)

    def _expr_binop(self, node: ast.BinOp) -> ast.expr:
        place, slow = self.source.after(node.left), BINARY[type(node.op)]
        if isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant) and isinstance(node.left.value, str):
            slow = ".interpolate_one" if _ONE_TEXT.fullmatch(node.left.value) else ".interpolate"
            if _ONE_INT.fullmatch(node.left.value) and self.kind(node.right) <= INT:
                return located(ast.BinOp(node.left, node.op, self.expr(node.right)), place)
        return self.arithmetic(node, slow, place)

    def arithmetic(self, node: ast.BinOp, slow: str, place: Place) -> ast.expr:
        """Python's own operator where both sides are ints (a call costs several times as much), else the helper."""
        kinds = self.kind(node.left), self.kind(node.right)
        left, right = self.exprs((node.left, node.right))
        literal = isinstance(right, ast.Constant) and bool(right.value)
        if OTHER not in kinds and (isinstance(node.op, _PLAIN) or (isinstance(node.op, _BY_LITERAL) and literal)):
            return located(ast.BinOp(left, node.op, right), place)
        by_literal = isinstance(node.op, _BY_LITERAL) and literal and is_small(right)
        if not (by_literal or isinstance(node.op, _GROWING)):
            return call_helper(slow, [left, right], place)
        times = isinstance(node.op, ast.Mult)
        grows_slowly = by_literal or (max(kinds) == SMALL if times else SMALL in kinds)

        def fast(one: ast.expr, other: ast.expr) -> ast.expr:
            result = located(ast.BinOp(one, node.op, other), place)
            return result if grows_slowly else call_helper(".check_int", [result], place)

        return self.if_ints((left, right), kinds, place, fast=fast, slow=slow)

    def if_ints(
        self,
        sides: tuple[ast.expr, ast.expr],
        kinds: tuple[int, int],
        place: Place,
        *,
        fast: Callable[[ast.expr, ast.expr], ast.expr],
        slow: str,
    ) -> ast.expr:
        """What `fast` makes of two operands if both are ints, else a call of the helper; each is evaluated once."""
        if max(kinds) <= INT:
            return fast(*sides)
        tests: list[ast.expr] = []
        again: list[ast.expr] = []
        for side, kind in zip(sides, kinds, strict=True):
            if isinstance(side, ast.Name | ast.Constant):
                first: ast.expr = side
                again.append(side)
            elif isinstance(side, ast.Call) and kind == OTHER and self.may_keep(sides, kinds):
                name = self.temporary()
                first = located(ast.NamedExpr(variable(name, place, ast.Store()), side), place)
                again.append(variable(name, place))
            else:
                return call_helper(slow, list(sides), place)
            if kind == OTHER or first is not side:
                tests.append(call_helper(".type", [first], place))
        if any(isinstance(side, ast.Constant) and type(side.value) is not int for side in sides):
            return call_helper(slow, list(sides), place)
        test = ast.Compare(tests[0], [ast.Is()] * len(tests), [*tests[1:], variable(".int", place)])
        return located(ast.IfExp(located(test, place), fast(*again), call_helper(slow, again, place)), place)

    def may_keep(self, sides: tuple[ast.expr, ast.expr], kinds: tuple[int, int]) -> bool:
        """Whether a temporary variable can hold an operand here, without changing what is evaluated first."""
        any_simple = any(isinstance(side, ast.Name | ast.Constant) for side in sides)
        return not self.comprehensions and (any_simple or kinds == (OTHER, OTHER))

    def _expr_compare(self, node: ast.Compare) -> ast.expr:
        operator, place = node.ops[0], self.source.after(node.left)
        kinds = self.kind(node.left), self.kind(node.comparators[0])
        left, right = self.exprs((node.left, node.comparators[0]))
        if isinstance(operator, ast.Eq | ast.NotEq) and any(compares_as_python(side) for side in (left, right)):
            return located(ast.Compare(left, [operator], [right]), place)
        helper, negated = _COMPARE[type(operator)], isinstance(operator, ast.NotEq | ast.NotIn)
        sign = ast.Eq() if isinstance(operator, ast.NotEq) else operator

        def fast(one: ast.expr, other: ast.expr) -> ast.expr:
            return located(ast.Compare(one, [sign], [other]), place)

        equality = isinstance(sign, ast.Eq)  # is mostly asked of strings, which the helper looks at first
        if helper == ".contains" or (equality and min(kinds) > INT):
            result: ast.expr = call_helper(helper, [left, right], place)
        else:
            result = self.if_ints((left, right), kinds, place, fast=fast, slow=helper)
        return located(ast.UnaryOp(ast.Not(), result), place) if negated else result

    def _expr_boolop(self, node: ast.BoolOp) -> ast.expr:
        node.values = self.exprs(node.values)
        return node

    def _expr_unaryop(self, node: ast.UnaryOp) -> ast.expr:
        place = self.source.at(node)
        is_int = self.kind(node.operand) <= INT
        node.operand = self.expr(node.operand)
        number = is_int or (isinstance(node.operand, ast.Constant) and type(node.operand.value) in (int, float))
        if isinstance(node.op, ast.Not) or (isinstance(node.op, ast.USub) and number):
            return node
        return call_helper(".unary", [constant(_UNARY[type(node.op)], place), node.operand], place)

    def _expr_ifexp(self, node: ast.IfExp) -> ast.expr:
        node.test, node.body, node.orelse = self.exprs((node.test, node.body, node.orelse))
        return node

    def _expr_lambda(self, node: ast.Lambda) -> ast.expr:
        place = self.source.at(node)
        self.parameters(node.args)
        self.scopes.append(set(parameter_names(node.args)))
        self.kinds.append({})
        self.deferred, comprehensions, self.comprehensions = self.deferred + 1, self.comprehensions, 0
        body, tick = self.expr(node.body), call_helper(".tick", [], place)
        if node.args.kwarg:  # (tick(), kwargs := Dict(kwargs), body)[2]
            name = node.args.kwarg.arg
            named = located(ast.NamedExpr(variable(name, place, ast.Store()), self.as_dict(name, place)), place)
            steps = located(ast.Tuple([tick, named, body], ast.Load()), place)
            node.body = located(ast.Subscript(steps, constant(2, place), ast.Load()), place)
        else:  # tick() is None
            node.body = located(ast.BoolOp(ast.Or(), [tick, body]), place)
        self.scopes.pop()
        self.kinds.pop()
        self.deferred, self.comprehensions = self.deferred - 1, comprehensions
        return node

    def _expr_listcomp(self, node: ast.ListComp) -> ast.expr:
        with_element = self.clauses(node)
        next(with_element)
        node.elt = self.expr(node.elt)
        next(with_element, None)
        return call_helper(".List", [node], self.source.at(node))

    def _expr_dictcomp(self, node: ast.DictComp) -> ast.expr:
        place, with_element = self.source.at(node), self.clauses(node)
        next(with_element)
        pair = located(ast.Tuple(self.exprs((node.key, node.value)), ast.Load()), place)
        next(with_element, None)
        return call_helper(".dict_from_pairs", [located(ast.ListComp(pair, node.generators), place)], place)

    def clauses(self, node: ast.ListComp | ast.DictComp) -> Iterator[None]:
        """Lower the clauses of a comprehension; while suspended, its variables are in scope."""
        generators, harmless = node.generators, all(map(self.is_harmless, ast.walk(node)))
        self.comprehensions += 1
        first = self.expr(generators[0].iter)
        self.scopes.append({name for clause in generators for name in names_of(clause.target)})
        self.kinds.append(self.clause_kinds(generators))
        for clause in generators:
            place = self.source.at(clause.target)
            if not only_names(clause.target):
                raise self.source.error("a comprehension assigns to names only", *place)
            turns = first if clause is generators[0] else self.expr(clause.iter)
            clause.iter = self.iteration(turns, clause.target, place, helper=".each" if harmless else ".iterate")
            clause.ifs = self.exprs(clause.ifs)
        yield
        self.scopes.pop()
        self.kinds.pop()
        self.comprehensions -= 1

    def clause_kinds(self, generators: list[ast.comprehension]) -> Kinds:
        """The kinds of a comprehension's variables."""
        kinds: Kinds = {}
        for clause in generators:
            for name in names_of(clause.target):
                kind = kind_of_turns(clause.iter, clause.target, self.is_library)
                kinds[name] = max(kinds.get(name, kind), kind)
        return kinds

    def _expr_subscript(self, node: ast.Subscript) -> ast.expr:
        place, owner = self.source.after(node.value), self.expr(node.value)
        if isinstance(node.slice, ast.Slice):
            bounds = (node.slice.lower, node.slice.upper, node.slice.step)
            return call_helper(
                ".cut", [owner, *(self.expr(bound) if bound else constant(None, place) for bound in bounds)], place
            )
        return call_helper(".index", [owner, self.expr(node.slice)], place)

    def _expr_attribute(self, node: ast.Attribute) -> ast.expr:
        place = self.source.after(node.value)
        return call_helper(".attribute", [self.expr(node.value), constant(node.attr, place)], place)

    def _expr_call(self, node: ast.Call) -> ast.expr:
        if is_load(node):
            raise self.source.error_at("load is a statement, not a value", node)
        place = self.source.after(node.func)
        if any(isinstance(arg, ast.Starred) for arg in node.args) or any(not keyword.arg for keyword in node.keywords):
            return self.spreading_call(node, place)
        if isinstance(node.func, ast.Attribute):
            args = [self.expr(node.func.value), constant(node.func.attr, place)]
            helper = ".invoke_named" if node.keywords else ".invoke_one" if len(node.args) == 1 else ".invoke"
            call = call_helper(helper, [*args, *self.exprs(node.args)], place)
        elif isinstance(node.func, ast.Name):
            name = self.resolve(node.func.id, self.source.at(node.func))
            called = f"{name}()" if name in self.library else name
            call = call_helper(called, self.exprs(node.args), place)
            call.func = variable(called, self.source.at(node.func))
            keywords = tuple(keyword.arg or "" for keyword in node.keywords)
            self.calls[place] = Call(called, len(node.args), keywords)
        else:
            call = call_helper(".call", [self.expr(node.func), *self.exprs(node.args)], place)
        call.keywords = [ast.keyword(keyword.arg, self.expr(keyword.value)) for keyword in node.keywords]
        for keyword in call.keywords:
            located(keyword, place)
        return call

    def spreading_call(self, node: ast.Call, place: Place) -> ast.expr:
        """A call with *args or **kwargs; these are evaluated last."""
        function = self.expr(node.func)
        plain = located(
            ast.Tuple(self.exprs(arg for arg in node.args if not isinstance(arg, ast.Starred)), ast.Load()), place
        )
        named = [keyword for keyword in node.keywords if keyword.arg]
        keys: list[ast.expr | None] = [constant(keyword.arg, place) for keyword in named]
        kwargs = located(ast.Dict(keys, self.exprs(keyword.value for keyword in named)), place)
        star = next((arg.value for arg in node.args if isinstance(arg, ast.Starred)), None)
        stars = next((keyword.value for keyword in node.keywords if not keyword.arg), None)
        rest = [self.expr(value) if value else constant(None, place) for value in (star, stars)]
        call = call_helper(".apply", [function, plain, kwargs, rest[0]], place)
        call.keywords = [located(ast.keyword("stars", rest[1]), place)]
        return call
