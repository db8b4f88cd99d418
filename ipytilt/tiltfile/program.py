"""A Python function in the place of a Tiltfile, and the words it says: what `ipytilt.docker_build` and its like are.

A word is a name. Called, it finds the function of that name in the environment of the evaluation that is going on, the
very one Tiltfiles see: one registry, one check of arguments, one set of messages. The function runs on the thread that
evaluates, again at every reload, and errors and rules carry the line of its own file or cell.
"""

from __future__ import annotations

import inspect
import linecache
import os
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from types import FrameType, TracebackType
from typing import Any

from ipytilt.core.events import Source
from ipytilt.core.spec import NOWHERE, Origin
from ipytilt.errors import Cancelled, TiltError, UsageError
from ipytilt.starlark import (
    MISSING,
    Builtin,
    EvalError,
    Frame,
    Position,
    StarlarkError,
    Value,
    from_python,
    to_python,
)
from ipytilt.tiltfile.builtin import Module, environment, registered
from ipytilt.tiltfile.draft import Wrong, did_you_mean
from ipytilt.tiltfile.evaluation import Eval, Exit
from ipytilt.tiltfile.host import DiskHost

_EXAMPLE = "say it in a function that is the session's Tiltfile:\n@session.tiltfile\ndef dev():\n    {call}"


@dataclass(frozen=True, slots=True)
class _Running:
    """The program that is being run: its evaluation, the names it may use, and what its file is called in errors."""

    ev: Eval
    names: Mapping[str, Any]
    file: str
    shown: str

    def position(self, frame: FrameType, at: int) -> Position:
        """Where a frame stands."""
        line, _, column, _ = list(frame.f_code.co_positions())[at // 2]
        file = self.shown if frame.f_code.co_filename == self.file else frame.f_code.co_filename
        return Position(file, line or frame.f_lineno, (column or 0) + 1)


_RUNNING: ContextVar[_Running | None] = ContextVar("ipytilt_program", default=None)


def run(program: Callable[[], object], ev: Eval, names: Mapping[str, Any], *, shown: str) -> None:
    """Run a function as a Tiltfile; `names` are what Tiltfiles see in `ev`, `shown` is how errors call its file.

    Raises EvalError for wrong calls of words, `Wrong` for any other exception of the function, with its line.
    """
    running = _Running(ev, names, file_of(program), shown)
    token = _RUNNING.set(running)
    try:
        program()
    except (Exit, Wrong, StarlarkError, Cancelled):
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's own code: whatever it raises is its error
        message, hint = str(error), ""
        if isinstance(error, TiltError):
            message, hint = error.message, error.hint
        raise Wrong(f"{type(error).__name__}: {message}", origin=_raised_at(running, error), hint=hint) from None
    finally:
        _RUNNING.reset(token)


def is_running() -> bool:
    """Whether whoever asks is such a function, being run."""
    return _RUNNING.get() is not None


def file_of(program: Callable[[], object]) -> str:
    """The file a function was written in, as Python calls it; "" if it was not written in Python."""
    code = getattr(inspect.unwrap(program), "__code__", None)
    return str(code.co_filename) if code else ""


def source_of(function: Callable[[], object], name: str, base: str) -> Source:
    """The function as a source of Tiltfiles; UsageError if it is none."""
    title = getattr(function, "__qualname__", type(function).__name__)
    if inspect.iscoroutinefunction(function):
        raise UsageError(f"{title}() is asynchronous", hint="a Tiltfile is a plain function: def, not async def")
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in optional]
    if needed:
        raise UsageError(
            f"{title}() wants arguments ({', '.join(needed)})", hint="a Tiltfile is a function without parameters"
        )
    file = file_of(function)
    shown = file if os.path.isfile(file) else f"{title}()"
    return Source(f"python:{name or title}", shown, base, "", program=function)


def text_of(program: Callable[[], object]) -> str:
    """The text of that file or cell, for excerpts; "" if it is not to be had."""
    return "".join(linecache.getlines(file_of(program)))


def _raised_at(running: _Running, error: BaseException) -> Origin:
    """The innermost line of the program's own file that an exception came through."""
    found: TracebackType | None = None
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == running.file:
            found = step
        step = step.tb_next
    return Origin(*running.position(found.tb_frame, found.tb_lasti)) if found else NOWHERE


# ---------------------------------------------------------------------------------------------- words


class Word:
    """A function of the Tilt API under its Tiltfile name, to be called in a function that is a session's Tiltfile."""

    def __init__(self, name: str) -> None:
        from ipytilt.tiltfile import manual

        known = registered()[name]
        self.__name__ = self.__qualname__ = name
        self.__doc__ = manual.text(name)
        self.__signature__ = inspect.Signature(
            [
                inspect.Parameter(
                    parameter.name,
                    inspect.Parameter.KEYWORD_ONLY
                    if parameter.keyword_only
                    else inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    default=inspect.Parameter.empty if parameter.required else parameter.default,
                )
                for parameter in known.parameters
            ]
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the Tiltfile's function returns, as plain data; the arguments are checked as there."""
        running = _RUNNING.get()
        if running is None:
            hint = _EXAMPLE.format(call=f"{self.__name__}(...)")
            raise UsageError(f"{self.__name__}() counts only while a Tiltfile is evaluated", hint=hint)
        frame = sys._getframe(1)  # noqa: SLF001 - the line that rules and errors name
        position = running.position(frame, frame.f_lasti)
        ev, function = running.ev, _member(running.names, self.__name__)
        given = [_to_starlark(value) for value in args]
        named = {name: _to_starlark(value) for name, value in kwargs.items()}
        assert ev.thread is not None  # noqa: S101 - an evaluation that is going on has one
        ev.place = Origin(*position)
        try:
            ev.thread.spend(1)
            return _to_python(ev.thread.run(lambda: function(*given, **named)))
        except EvalError as error:
            error.stack = (Frame(frame.f_code.co_name, position), *error.stack)
            raise

    def __repr__(self) -> str:
        return f"<Tiltfile function {self.__name__}>"


class Namespace:
    """A module of the Tilt API such as `config` or `os`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        full = f"{self._name}.{name}"
        found = _member(_known(), full)
        if found is MISSING or name.startswith("__"):
            raise AttributeError(f"the Tilt API has no {full}{did_you_mean(name, dir(self))}")
        if isinstance(found, Builtin | Module):
            return word(full)
        running = _RUNNING.get()
        if running is None:
            raise UsageError(
                f"{full} has a value only while a Tiltfile is evaluated", hint=_EXAMPLE.format(call=f"... {full} ...")
            )
        return _to_python(_member(running.names, full))

    def __dir__(self) -> list[str]:
        found: Module = _member(_known(), self._name)
        return sorted(found.members)

    def __repr__(self) -> str:
        return f"<Tiltfile module {self._name}>"


class Held:
    """A value of the language that Python has no like of: a link, a probe, a blob; its fields are attributes."""

    def __init__(self, value: Value) -> None:
        self._value = value

    def __getattr__(self, name: str) -> Any:
        found = self._value.attr(name)
        if found is MISSING:
            raise AttributeError(f"{self._value.type_name} has no {name}{did_you_mean(name, self._value.attr_names())}")
        return _to_python(found)

    def __dir__(self) -> list[str]:
        return self._value.attr_names()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self._value == other._value

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self._value)

    def __str__(self) -> str:
        return str(self._value)

    def __repr__(self) -> str:
        return f"<{self._value.type_name} {self._value}>"


@cache
def word(name: str) -> Any:
    """The word of that name: a `Word`, a `Namespace`, or a value. Raises AttributeError if Tiltfiles know none."""
    found = _member(_known(), name)
    if found is MISSING:
        raise AttributeError(f"the Tilt API has no {name!r}{did_you_mean(name, words())}")
    if isinstance(found, Builtin):
        return Word(name)
    return Namespace(name) if isinstance(found, Module) else _to_python(found)


def words() -> tuple[str, ...]:
    """Every word, without the members of modules."""
    return tuple(sorted(_known()))


@cache
def _known() -> Mapping[str, Any]:
    """What Tiltfiles see, of an evaluation that never happens."""
    return environment(Eval(host=DiskHost(), args=(), main="", cancelled=lambda: False))


def _member(names: Mapping[str, Any], path: str) -> Any:
    first, *rest = path.split(".")
    found = names.get(first, MISSING)
    for name in rest:
        found = found.members.get(name, MISSING) if isinstance(found, Module) else MISSING
    return found


def _to_starlark(value: Any) -> Any:
    if isinstance(value, Held):
        return value._value  # noqa: SLF001 - made here, opened here
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, dict):
        return from_python({_to_starlark(name): _to_starlark(item) for name, item in value.items()})
    if isinstance(value, list | tuple | set | frozenset):
        return from_python(type(value)(map(_to_starlark, value)))
    return value


def _to_python(value: Any) -> Any:
    plain = to_python(value)
    if isinstance(plain, list | tuple):
        return type(plain)(map(_to_python, plain))
    if isinstance(plain, dict):
        return {name: _to_python(item) for name, item in plain.items()}
    if isinstance(plain, Builtin):
        return lambda *args: _to_python(plain(*map(_to_starlark, args)))
    return Held(plain) if isinstance(plain, Value) else plain
