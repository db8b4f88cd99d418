"""Calls and attributes: how a method is found, how `*args` spread, and what a call that does not fit its function says.

`LIBRARY` and `METHODS` are filled while `strings` and `library` are imported and only read afterwards.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from difflib import get_close_matches
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from ipytilt.starlark.errors import EvalError
from ipytilt.starlark.operators import elements
from ipytilt.starlark.text import function_name, quote
from ipytilt.starlark.values import MISSING, Builtin, Dict, Value, type_name


class Library(NamedTuple):
    """A function of the library: its name, how many of its parameters are no arguments (the receiver), and itself."""

    name: str
    skipped: int
    function: Any


METHODS: dict[type, dict[str, Any]] = {}  # functions whose first parameter is the receiver
LIBRARY: dict[CodeType | None, Library] = {}  # by the code of the function
_WANTED: dict[str, tuple[type, str]] = dict.fromkeys(
    ("sub", "old", "new", "cutset", "prefix", "suffix", "sep", "name"), (str, "string")
)
_WANTED |= dict.fromkeys(("count", "maxsplit"), (int, "int"))


def register(kind: type, methods: dict[str, Any]) -> None:
    """Make functions the methods of a type; their first parameter is the receiver."""
    METHODS[kind] = methods
    for name, function in methods.items():
        LIBRARY[function.__code__] = Library(name, 1, function)


def library_value(function: Any, receiver: Any = MISSING) -> Builtin:
    """A library function or method as a value of the language."""
    before = () if receiver is MISSING else (receiver,)

    def run(_thread: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return call(function, *before, *args, **kwargs)

    return Builtin(LIBRARY[function.__code__].name, run, doc=function.__doc__ or "", receiver=receiver)


def find_attribute(value: Any, name: str) -> Any:
    """`value.name`, or MISSING."""
    if isinstance(value, Value):
        return value.attr(name)
    found = METHODS.get(type(value), {}).get(name)
    return MISSING if found is None else library_value(found, value)


def attribute(value: Any, name: str) -> Any:
    """`value.name`."""
    found = find_attribute(value, name)
    if found is MISSING:
        hint = did_you_mean(name, attribute_names(value), ".{}")
        raise EvalError(f"{type_name(value)} has no .{name} field or method{hint}")
    return found


def attribute_names(value: Any) -> list[str]:
    """What `dir(value)` lists."""
    return value.attr_names() if isinstance(value, Value) else sorted(METHODS.get(type(value), ()))


def set_attribute(value: Any, target: Any, name: str) -> None:
    """`target.name = value`."""
    if not isinstance(target, Value):
        raise EvalError(f"can't assign to .{name} field of {type_name(target)}")
    target.set_attr(name, value)


def did_you_mean(name: str, candidates: Sequence[str], form: str = "{}") -> str:
    """The hint appended to an error about a name that is not known, or nothing."""
    near = get_close_matches(name, candidates, n=1, cutoff=0.6)
    return f" (did you mean {form.format(near[0])}?)" if near else ""


def invoke(receiver: Any, name: str, /, *args: Any) -> Any:
    """`receiver.name(...)` without keyword arguments."""
    try:
        function = METHODS[type(receiver)][name]
    except KeyError:
        return call(attribute(receiver, name), *args)
    return function(receiver, *args)


def invoke_one(receiver: Any, name: str, argument: Any, /) -> Any:
    """`receiver.name(argument)`: as `invoke`, at two thirds of its cost."""
    try:
        function = METHODS[type(receiver)][name]
    except KeyError:
        return call(attribute(receiver, name), argument)
    return function(receiver, argument)


def invoke_named(receiver: Any, name: str, /, *args: Any, **kwargs: Any) -> Any:
    """`receiver.name(...)` with keyword arguments."""
    try:
        function = METHODS[type(receiver)][name]
    except KeyError:
        return call(attribute(receiver, name), *args, **kwargs)
    return function(receiver, *args, **kwargs)


def call(function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """`function(...)` where the function is any value."""
    if (
        type(function) is FunctionType
        or type(function) is Builtin
        or (isinstance(function, Value) and callable(function))
    ):
        return function(*args, **kwargs)
    raise EvalError(f"invalid call of non-function ({type_name(function)})")


def apply(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], star: Any, *, stars: Any) -> Any:
    """`function(args, kwargs, *star, **stars)`; star and stars are None where absent."""
    if star is not None:
        try:
            args = (*args, *elements(star))
        except EvalError:
            raise EvalError(f"argument after * must be iterable, not {type_name(star)}") from None
    if stars is not None:
        if type(stars) is not Dict:
            raise EvalError(f"argument after ** must be a mapping, not {type_name(stars)}")
        for name, value in stars.pairs():
            if type(name) is not str:
                raise EvalError(f"keywords must be strings, not {type_name(name)}")
            if name in kwargs:
                who = f"function {function_name(function)}" if type(function) is FunctionType else "call"
                raise EvalError(f"{who} got multiple values for parameter {quote(name)}")
            kwargs[name] = value
    return call(function, *args, **kwargs)


def signature(function: FunctionType) -> inspect.Signature:
    """The parameters of a Starlark or library function as the language sees them."""
    found = inspect.signature(function)
    library = LIBRARY.get(function.__code__)
    skipped = library.skipped if library else 0
    return found.replace(
        parameters=list(found.parameters.values())[skipped:], return_annotation=inspect.Signature.empty
    )


def misfit(function: Any, given: int, keywords: Sequence[str]) -> str | None:
    """Why a call with so many positional arguments and these keywords does not fit; None if it does."""
    if type(function) is not FunctionType:
        return None if callable(function) else f"invalid call of non-function ({type_name(function)})"
    fit = _Fit(list(signature(function).parameters.values()), given, keywords)
    library = LIBRARY.get(function.__code__)
    if library is None:
        return _function_misfit(function_name(function), fit)
    name = library.name
    if fit.surplus or (fit.missing and fit.missing[0] not in fit.names):
        return f"{name}: got {_count(given, 'argument')}, want {fit.wanted()}"
    if fit.unknown and not fit.names:
        return f"{name}: unexpected keyword arguments"
    if fit.unknown:
        return f"{name}: unexpected keyword argument {quote(fit.unknown[0])}{did_you_mean(fit.unknown[0], fit.names)}"
    if fit.taken:
        return f"{name}: got multiple values for keyword argument {quote(fit.taken[0])}"
    return f"{name}: missing argument for {fit.missing[0]}" if fit.missing else None


class _Fit:
    """How a call's arguments meet the parameters of its function."""

    def __init__(self, parameters: list[inspect.Parameter], given: int, keywords: Sequence[str]) -> None:
        by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        kinds = {p.kind for p in parameters}
        self.given = given
        self.positional = [p for p in parameters if p.kind in by_place]
        self.names = [p.name for p in parameters if p.kind in by_name]
        passed = [p.name for p in self.positional[:given]]
        self.surplus = inspect.Parameter.VAR_POSITIONAL not in kinds and given > len(self.positional)
        self.taken = [name for name in keywords if name in passed and name in self.names]
        takes_any = inspect.Parameter.VAR_KEYWORD in kinds
        self.unknown = [name for name in keywords if not takes_any and name not in self.names]
        found = {*passed, *(name for name in keywords if name in self.names)}
        required = [p for p in parameters if p.default is p.empty and p.kind in by_place + by_name]
        self.missing = [p.name for p in required if p.name not in found]

    def wanted(self) -> str:
        """How many positional arguments there may be."""
        required = sum(p.default is p.empty for p in self.positional)
        if required == len(self.positional):
            return str(required)
        return f"at least {required}" if self.given < required else f"at most {len(self.positional)}"


def _function_misfit(name: str, fit: _Fit) -> str | None:
    who = f"function {name}"
    if fit.surplus:
        if not fit.names:
            return f"{who} accepts no arguments ({fit.given} given)"
        most = "at most " if any(p.default is not p.empty for p in fit.positional) else ""
        return f"{who} accepts {most}{_count(len(fit.positional), 'positional argument')} ({fit.given} given)"
    if fit.taken:
        return f"{who} got multiple values for parameter {quote(fit.taken[0])}"
    if fit.unknown:
        hint = did_you_mean(fit.unknown[0], fit.names)
        return f"{who} got an unexpected keyword argument {quote(fit.unknown[0])}{hint}"
    return f"{who} missing {_count(len(fit.missing), 'argument')} ({', '.join(fit.missing)})" if fit.missing else None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def mistyped(code: CodeType, values: dict[str, Any]) -> str | None:
    """Which argument of a library function has the wrong type, judged by parameter names; None if all fit."""
    name, skipped, _ = LIBRARY[code]
    for place, parameter in enumerate(code.co_varnames[skipped : code.co_argcount], 1):
        wanted, value = _WANTED.get(parameter), values[parameter]
        if wanted and type(value) is not wanted[0]:
            return f"{name}: for parameter {place}: got {type_name(value)}, want {wanted[1]}"
        if type(value) is int and not -(1 << 63) <= value < 1 << 63:
            return f"{name}: for parameter {place}: {value} out of range (want value in signed 64-bit range)"
    return None


def iterable_argument(value: Any) -> Any:
    """The elements of a library function's argument."""
    try:
        return elements(value)
    except EvalError:
        raise EvalError(f"for parameter 1: got {type_name(value)}, want iterable") from None
