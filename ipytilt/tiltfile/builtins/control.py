"""Ending early, complaining, running other files, and the plain values `struct` and `module`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ipytilt.starlark import Dict, Struct, freeze, to_repr
from ipytilt.tiltfile.builtin import builtin
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.evaluation import Eval, Exit
from ipytilt.tiltfile.values import UserModule
from ipytilt.tiltfile.vocabulary import Text


@builtin("fail")
def fail(ev: Eval, msg: str) -> NoReturn:
    """Stop with this message: the Tiltfile is in error, and what was good before stays in force."""
    del ev
    raise Wrong(msg)


@builtin("warn")
def warn(ev: Eval, msg: str) -> None:
    """Show a warning in the log and with the result of the evaluation, and go on."""
    ev.warn(msg)


@builtin("exit")
def exit_(ev: Eval, code: Any = None) -> NoReturn:
    """Skip the rest of all files; what was registered so far counts, and nothing is in error.

    `code` is logged as it is written in code (a string with its quotes); without it nothing is.
    """
    if code is not None:
        ev.log(to_repr(code))
    raise Exit


@builtin("include")
def include(ev: Eval, path: str) -> None:
    """Run another Tiltfile for what it registers; `path` may be an extension such as "ext://name".

    While it runs, relative paths start at its folder. Each file runs at most once, however often it is included or
    loaded.
    """
    ev.globals_of(path)


@builtin("load_dynamic")
def load_dynamic(ev: Eval, path: Text) -> Dict:
    """Run another file and return all its globals as a dict that cannot be changed.

    For files whose `path` is only known when the Tiltfile runs, and for names that begin with an underscore; otherwise
    `load("path", "name")` is the way. Each file runs at most once.
    """
    found = Dict()
    for name, value in ev.globals_of(path).items():
        found.store(name, value)
    freeze(found)
    return found


@builtin("struct", raw=True, shown="**fields")
def struct(ev: Eval, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Struct:
    """A value with these fields: `struct(a=1).a` is 1. Two of them are added to a new one; fields cannot be changed."""
    del ev
    if args:
        raise Wrong("struct: unexpected positional arguments")
    return Struct(kwargs)


@builtin("module", raw=True, shown="name, **members")
def module(ev: Eval, args: Sequence[Any], kwargs: Mapping[str, Any]) -> UserModule:
    """A namespace with these members: `module("m", f=f).f`."""
    del ev
    if len(args) != 1 or not isinstance(args[0], str):
        raise Wrong(f"module: got {len(args)} arguments, want 1 string")
    return UserModule(args[0], kwargs)
