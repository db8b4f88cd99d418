"""`@builtin`: one annotated Python function is registration, argument checking, completion and documentation at once.

    @builtin("read_file")
    def read_file(ev: Eval, paths: Path, default: StrOrNone = None) -> Blob: ...

The first parameter is the evaluation; the rest are the Tiltfile parameters with their exact names, order and defaults.
An annotation is a word of `vocabulary` (or str, bool, int, Any), which checks and converts what was passed; a default
is used as it stands, so it can tell "not given" from None. A name with dots is a member of a module.

The registry is filled when the modules of `builtins/` are imported, by `registered`; it is read-only afterwards.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from ipytilt.errors import Cancelled, TiltError
from ipytilt.starlark import MISSING, Builtin, EvalError, Value, type_name
from ipytilt.tiltfile.draft import Wrong, did_you_mean
from ipytilt.tiltfile.evaluation import Eval


@dataclass(frozen=True, slots=True)
class Kind:
    """A word of the type vocabulary: `convert` returns what the function gets, or raises `Wrong` saying why not.

    `verbatim`: the message stands for itself, without naming function and parameter.
    """

    word: str
    convert: Callable[[Eval, Any], Any]
    verbatim: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter as Tiltfiles see it."""

    name: str
    kind: Kind
    required: bool
    default: Any
    keyword_only: bool


class Registered:
    """A builtin function.

    Attributes:
        name: with dots for a member of a module.
        doc: its docstring.
        topic: the module of `builtins/` it stands in.
    """

    def __init__(self, name: str, function: Callable[..., Any], *, raw: bool, shown: str = "...") -> None:
        self.name = name
        self.doc = inspect.getdoc(function) or ""
        self.topic = function.__module__.rpartition(".")[2]
        self._function = function
        self._raw = raw
        self._arguments = shown

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """In order; empty for a function that takes anything."""
        if self._raw:
            return ()
        hints = typing.get_type_hints(self._function, include_extras=True)
        own = list(inspect.signature(self._function).parameters.values())[1:]
        return tuple(
            Parameter(
                name=parameter.name,
                kind=_kind(hints[parameter.name]),
                required=parameter.default is inspect.Parameter.empty,
                default=parameter.default,
                keyword_only=parameter.kind is inspect.Parameter.KEYWORD_ONLY,
            )
            for parameter in own
        )

    @property
    def signature(self) -> str:
        """As documentation shows it: `read_file(paths, default=None)`."""
        if self._raw:
            return f"{self.name}({self._arguments})"
        shown: list[str] = []
        for parameter in self.parameters:
            if parameter.keyword_only and "*" not in shown:
                shown.append("*")
            shown.append(_shown(parameter))
        return f"{self.name}({', '.join(shown)})"

    @cached_property
    def _by_name(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def _positional(self) -> tuple[Parameter, ...]:
        return tuple(parameter for parameter in self.parameters if not parameter.keyword_only)

    def call(self, ev: Eval, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Check and convert the arguments and run the function; EvalError has the problem as its cause."""
        try:
            if self._raw:
                return self._function(ev, args, kwargs)
            return self._function(ev, **self._bind(ev, args, kwargs))
        except Cancelled:
            raise
        except (Wrong, TiltError) as problem:
            raise EvalError(problem.message) from problem

    def _bind(self, ev: Eval, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if len(args) > len(self._positional):
            raise Wrong(f"{self.name}: got {len(args)} arguments, want at most {len(self._positional)}")
        bound: dict[str, Any] = {}
        for parameter, value in zip(self._positional, args, strict=False):
            bound[parameter.name] = self._convert(ev, parameter, value, shown=parameter.name)
        for name, value in kwargs.items():
            known = self._by_name.get(name)
            if known is None:
                raise Wrong(f'{self.name}: unexpected keyword argument "{name}"{did_you_mean(name, self._by_name)}')
            if name in bound:
                raise Wrong(f'{self.name}: got multiple values for keyword argument "{name}"')
            bound[name] = self._convert(ev, known, value, shown=f'"{name}"')
        for parameter in self.parameters:
            if parameter.required and parameter.name not in bound:
                raise Wrong(f"{self.name}: missing argument for {parameter.name}")
        return bound

    def _convert(self, ev: Eval, parameter: Parameter, value: Any, *, shown: str) -> Any:
        try:
            return parameter.kind.convert(ev, value)
        except Wrong as wrong:
            if parameter.kind.verbatim:
                raise
            raise Wrong(f"{self.name}: for parameter {shown}: {wrong.message}", hint=wrong.hint) from None


def _shown(parameter: Parameter) -> str:
    if parameter.required:
        return parameter.name
    empty = {(): "{}" if parameter.kind.word == "env" else "[]", "": '""'}
    default = parameter.default
    shown = empty.get(default) if isinstance(default, str | tuple) else None
    return f"{parameter.name}={shown or repr(default)}"


def _wanted(cls: type, word: str) -> Callable[[Eval, Any], Any]:
    def convert(_ev: Eval, value: Any) -> Any:
        if type(value) is not cls:
            raise Wrong(f"got {type_name(value)}, want {word}")
        return value

    return convert


_PLAIN = {
    str: Kind("str", _wanted(str, "string")),
    bool: Kind("bool", _wanted(bool, "bool")),
    int: Kind("int", _wanted(int, "int")),
    Any: Kind("any", lambda _ev, value: value),
}


def _kind(hint: Any) -> Kind:
    """The vocabulary word in an annotation; `X | None` with a default of None means X or not given."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, Kind):
            return part
    for part in typing.get_args(hint):
        if part is not type(None):
            return _kind(part)
    raise TypeError(f"no word of the vocabulary: {hint!r}")


# ---------------------------------------------------------------------------------------------- the registry

_FUNCTIONS: dict[str, Registered] = {}
_CONSTANTS: dict[str, Callable[[Eval], Any]] = {}


def builtin(name: str, *, raw: bool = False, shown: str = "...") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function under its Tiltfile name.

    `raw`: it gets `(ev, args, kwargs)` unchecked, and `shown` is what documentation puts between its brackets.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        _FUNCTIONS[name] = Registered(name, function, raw=raw, shown=shown)
        return function

    return register


def constant(name: str) -> Callable[[Callable[[Eval], Any]], Callable[[Eval], Any]]:
    """Register a value under its Tiltfile name; the function yields it once per evaluation."""

    def register(function: Callable[[Eval], Any]) -> Callable[[Eval], Any]:
        _CONSTANTS[name] = function
        return function

    return register


@cache
def registered() -> Mapping[str, Registered]:
    """Every builtin function by name."""
    package = importlib.import_module("ipytilt.tiltfile.builtins")
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
    return dict(sorted(_FUNCTIONS.items()))


def constants() -> Mapping[str, tuple[str, str]]:
    """Every value that is no function, by name: the module of `builtins/` it stands in, and what it is."""
    registered()
    found = sorted(_CONSTANTS.items())
    return {name: (value.__module__.rpartition(".")[2], inspect.getdoc(value) or "") for name, value in found}


class Module(Value):
    """A namespace of builtins such as `os`; its members are read-only."""

    type_name = "module"

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[str, Any] = {}

    def attr(self, name: str) -> Any:
        """A member."""
        return self.members.get(name, MISSING)

    def attr_names(self) -> list[str]:
        """The members' names."""
        return sorted(self.members)

    def __str__(self) -> str:
        return f"[module: {self.name}]"


def environment(ev: Eval) -> dict[str, Any]:
    """Every global name of the Tilt API, bound to this evaluation."""
    names: dict[str, Any] = {}
    for name, value in _members(ev):
        *modules, last = name.split(".")
        scope, path = names, ""
        for module in modules:
            path = f"{path}.{module}" if path else module
            scope = scope.setdefault(module, Module(path)).members
        scope[last] = value
    return names


def _members(ev: Eval) -> Iterator[tuple[str, Any]]:
    for name, function in registered().items():
        yield name, Builtin(name.rpartition(".")[2], _bound(ev, function))
    for name, value in _CONSTANTS.items():
        yield name, value(ev)


def _bound(ev: Eval, function: Registered) -> Callable[..., Any]:
    return lambda _thread, args, kwargs: function.call(ev, args, kwargs)
