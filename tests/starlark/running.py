"""How tests run Starlark: one module, one thread, printed lines collected."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ipytilt.starlark import Builtin, EvalError, Module, Struct, Thread, Value, check, equal, freeze, to_repr


class Box(Value):
    """A host value with everything: fields that can be set, an index, an operator."""

    type_name = "box"

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.frozen = False

    def attr(self, name: str) -> Any:
        return self.fields[name] if name in self.fields else super().attr(name)

    def attr_names(self) -> list[str]:
        return sorted(self.fields)

    def set_attr(self, name: str, value: Any) -> None:
        if self.frozen:
            raise EvalError("cannot set field of frozen box")
        self.fields[name] = value

    def binary(self, op: str, other: Any, *, left: bool) -> Any:
        return f"box {op}" if left and op == "*" else super().binary(op, other, left=left)

    def freeze(self) -> list[Any]:
        self.frozen = True
        return list(self.fields.values())

    def __getitem__(self, name: Any) -> Any:
        if name not in self:
            raise KeyError(name)
        return self.fields[name]

    def __setitem__(self, name: Any, value: Any) -> None:
        if not isinstance(name, str):
            raise EvalError("a box has names only")
        self.set_attr(name, value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.fields

    def __iter__(self) -> Any:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def pairs(self) -> list[tuple[str, Any]]:
        return list(self.fields.items())

    def __str__(self) -> str:
        return "<box>"


class Blob(Value):
    """A host value with nothing but a text."""

    type_name = "blob"

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        return bool(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blob) and other.text == self.text

    __hash__ = None  # type: ignore[assignment]


def assert_eq(_thread: Thread, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
    """`assert_eq(got, want)`."""
    got, want = args
    if not equal(got, want) or type(got) is not type(want):
        raise EvalError(f"assert_eq: {to_repr(got)} != {to_repr(want)}")


def assert_fails(thread: Thread, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
    """`assert_fails(function, regex)`: the call fails with a message that has a match."""
    function, regex = args
    try:
        result = thread.call(function)
    except EvalError as error:
        if not re.search(regex, error.message):
            raise EvalError(f"assert_fails: {error.message!r} does not match {regex!r}") from None
        return
    raise EvalError(f"assert_fails: returned {to_repr(result)}")


def _builtin(name: str, fn: Callable[..., Any]) -> Builtin:
    return Builtin(name, lambda _thread, args, kwargs: fn(*args, **kwargs))


def _frozen(value: Any) -> Any:
    freeze(value)
    return value


PREDECLARED: dict[str, Any] = {
    "assert_eq": Builtin("assert_eq", assert_eq),
    "assert_fails": Builtin("assert_fails", assert_fails),
    "freeze": _builtin("freeze", _frozen),
    "struct": _builtin("struct", lambda **fields: Struct(fields)),
    "link": _builtin("link", lambda **fields: Struct(fields, constructor="link", type_name="struct")),
    "box": _builtin("box", Box),
    "blob": _builtin("blob", Blob),
    "position": Builtin("position", lambda thread, _args, _kwargs: str(thread.position())),
    "stack": Builtin("stack", lambda thread, _args, _kwargs: [str(frame) for frame in thread.stack()]),
}


def run(
    text: str, file: str = "Tiltfile", *, thread: Thread | None = None, predeclared: Mapping[str, Any] = PREDECLARED
) -> Module:
    """Check and execute a program; the module is not frozen."""
    module = Module(file, predeclared)
    module.execute(check(text, file, predeclared=predeclared.keys()), thread or Thread())
    return module


def value_of(expression: str, **variables: Any) -> Any:
    """The value of an expression over some variables."""
    return run(f"result = ({expression})", predeclared=PREDECLARED | variables).globals["result"]
