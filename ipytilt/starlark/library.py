"""The functions every program can use.

Function names carry an underscore because Python has most of them too; their docstrings are what an editor shows. Error
texts get the function's name in front where they leave evaluation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cmp_to_key
from operator import itemgetter
from typing import Any, Protocol, TypeVar, cast

from ipytilt.starlark import strings  # noqa: F401 - registers the methods of strings
from ipytilt.starlark.calls import (
    LIBRARY,
    Library,
    attribute,
    attribute_names,
    call,
    find_attribute,
    iterable_argument,
    library_value,
    signature,
)
from ipytilt.starlark.containers import update, want_int
from ipytilt.starlark.control import CURRENT, check_int, check_items, tick
from ipytilt.starlark.errors import EvalError
from ipytilt.starlark.operators import elements, greater, less
from ipytilt.starlark.text import encode, length, to_float, to_int, to_repr, to_str
from ipytilt.starlark.values import MISSING, Dict, List, Set, Value, truth, type_name

F = TypeVar("F", bound=Callable[..., Any])

FUNCTIONS: dict[str, Any] = {}  # the universe's functions, as Python functions


class _Printer(Protocol):
    def print(self, text: str) -> None: ...


def universal(function: F) -> F:
    """Register a function of the universe under its name without trailing underscore."""
    name = function.__name__.rstrip("_")
    FUNCTIONS[name] = function
    LIBRARY[function.__code__] = Library(name, 0, function)
    return function


def bounded(iterable: Any) -> Any:
    """The elements of an argument, if there are not too many to be copied."""
    items = iterable_argument(iterable)
    check_items(len(items))
    return items


@universal
def abs_(x: Any, /) -> Any:
    """The magnitude of a number."""
    if type(x) not in (int, float):
        raise EvalError(f"got {type_name(x)}, want int or float")
    return abs(x)


@universal
def any_(iterable: Any, /) -> bool:
    """Whether some element is true."""
    return any(iterable_argument(iterable))


@universal
def all_(iterable: Any, /) -> bool:
    """Whether every element is true."""
    return all(iterable_argument(iterable))


@universal
def bool_(x: Any = None, /) -> bool:
    """Whether the value counts as true."""
    return truth(x)


@universal
def bytes_(x: Any, /) -> bytes:
    """Bytes from a string, or from an iterable of ints."""
    if type(x) is str or type(x) is bytes:
        return encode(x) if isinstance(x, str) else bytes(x)
    for place, item in enumerate(items := iterable_argument(x)):
        if type(item) is not int:
            raise EvalError(f"at index {place}, got {type_name(item)}, want int")
        if not 0 <= item <= 255:
            raise EvalError(f"at index {place}, {item} out of range (want value in unsigned 8-bit range)")
    return bytes(items)


@universal
def chr_(i: int, /) -> str:
    """The string of one code point."""
    want_int(i)
    if i < 0:
        raise EvalError(f"Unicode code point {i} out of range (<0)")
    if i > 0x10FFFF:
        raise EvalError(f"Unicode code point U+{i:X} out of range (>0x10FFFF)")
    return "\ufffd" if 0xD800 <= i < 0xE000 else chr(i)


@universal
def dict_(pairs: Any = None, /, **kwargs: Any) -> Dict:
    """A new dict from another one, or from pairs, and keyword arguments."""
    result = Dict()
    update(result, pairs, kwargs)
    return result


@universal
def dir_(x: Any, /) -> List:
    """The names of a value's fields and methods, sorted."""
    return List(attribute_names(x))


@universal
def enumerate_(iterable: Any, start: int = 0, /) -> List:
    """Pairs of a running number and an element."""
    return List(enumerate(bounded(iterable), want_int(start)))


@universal
def fail_(msg: Any, /) -> None:
    """Stop with an error."""
    raise EvalError(to_str(msg))


_FLOAT = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE)


@universal
def float_(x: Any = 0.0, /) -> float:
    """A float from a number, bool or string."""
    if type(x) is str:
        if not _FLOAT.fullmatch(x) or not x.isascii():
            raise EvalError(f"invalid float literal: {x}")
        value = float(x)
        if math.isinf(value) and "n" not in x.lower():
            raise EvalError("floating-point number too large")
        return value
    if type(x) not in (bool, int, float):
        raise EvalError(f"got {type_name(x)}, want number or string")
    return to_float(x)


@universal
def getattr_(x: Any, name: str, default: Any = MISSING, /) -> Any:
    """A field or method by name; default if there is none."""
    if type(name) is not str:
        raise TypeError
    return default if default is not MISSING and find_attribute(x, name) is MISSING else attribute(x, name)


@universal
def hasattr_(x: Any, name: str, /) -> bool:
    """Whether a value has such a field or method."""
    if type(name) is not str:
        raise TypeError
    return find_attribute(x, name) is not MISSING


@universal
def hash_(x: Any, /) -> int:
    """The hash of a string or bytes, the same in every run."""
    if type(x) is str:
        total = 0
        units = x.encode("utf-16-be", "surrogatepass")
        for place in range(0, len(units), 2):
            total = (31 * total + int.from_bytes(units[place : place + 2], "big")) & 0xFFFFFFFF
        return total - (1 << 32) if total >= 1 << 31 else total
    if type(x) is not bytes:
        raise EvalError(f"got {type_name(x)}, want string or bytes")
    total = 0x811C9DC5
    for byte in x:
        total = ((total ^ byte) * 0x01000193) & 0xFFFFFFFF
    return total


@universal
def int_(x: Any = 0, base: Any = MISSING) -> int:
    """An int from a number, a bool, or a string in some base (0: by its prefix)."""
    if type(x) is str:
        return _parse_int(x, 10 if base is MISSING else base)
    if base is not MISSING:
        raise EvalError("can't convert non-string with explicit base")
    return int(x) if type(x) is bool else to_int(x)


def _parse_int(text: str, base: Any) -> int:
    if type(base) is not int or (base != 0 and not 2 <= base <= 36):
        raise EvalError("base must be an integer >= 2 && <= 36")
    if text.isascii() and text[:1] not in (" ", "\t", "\n") and "_" not in text and text == text.strip():
        try:
            return check_int(int(text, base))
        except ValueError as error:
            if "limit" in str(error):
                raise EvalError(f"integer too large ({len(text)} digits)") from None
    raise EvalError(f"invalid literal with base {base}: {text}")


@universal
def len_(x: Any, /) -> int:
    """The number of elements, or of bytes of a string."""
    kind = type(x)
    if kind is str:
        return length(x)
    if kind in (List, Dict, tuple, range, bytes, Set) or (isinstance(x, Value) and hasattr(x, "__len__")):
        return len(x)
    raise EvalError(f"value of type {type_name(x)} has no len")


@universal
def list_(iterable: Any = (), /) -> List:
    """A new list of the elements."""
    return List(bounded(iterable))


@universal
def max_(*args: Any, key: Any = None) -> Any:
    """The greatest of the arguments, or of one iterable's elements."""
    return _extreme(args, key, greater)


@universal
def min_(*args: Any, key: Any = None) -> Any:
    """The least of the arguments, or of one iterable's elements."""
    return _extreme(args, key, less)


def _extreme(args: tuple[Any, ...], rank: Any, better: Callable[[Any, Any], bool]) -> Any:
    if not args:
        raise EvalError("requires at least one positional argument")
    items = iter(elements(args[0]) if len(args) == 1 else args)
    best = next(items, MISSING)
    if best is MISSING:
        raise EvalError("argument is an empty sequence")
    best_rank = best if rank is None else call(rank, best)
    for item in items:
        tick()
        item_rank = item if rank is None else call(rank, item)
        if better(item_rank, best_rank):
            best, best_rank = item, item_rank
    return best


@universal
def ord_(c: Any, /) -> int:
    """The code point of a one-character string."""
    if type(c) not in (str, bytes):
        raise EvalError(f"got {type_name(c)}, want string")
    if len(c) != 1:
        what = "string encodes" if type(c) is str else "bytes has length"
        raise EvalError(f"{what} {len(c)}{' Unicode code points' if type(c) is str else ''}, want 1")
    return ord(c)


@universal
def print_(*args: Any, sep: str = " ") -> None:
    """Write the values as one line to the log."""
    if type(sep) is not str:
        raise EvalError(f"for parameter sep: got {type_name(sep)}, want string")
    words = [arg.decode(errors="replace") if type(arg) is bytes else to_str(arg) for arg in args]
    thread = cast("_Printer | None", CURRENT.get())
    if thread is not None:
        thread.print(sep.join(words))


@universal
def range_(start: Any, stop: Any = MISSING, step: int = 1, /) -> range:
    """The ints from start (0) up to stop, by step."""
    if stop is MISSING:
        start, stop = 0, start
    for number in (start, stop, step):
        if not -(1 << 63) <= want_int(number) < 1 << 63:
            raise EvalError(f"{number} out of range (want value in signed 64-bit range)")
    if step == 0:
        raise EvalError("step argument must not be zero")
    numbers = range(start, stop, step)
    if numbers and not -(1 << 62) < numbers[-1] - numbers[0] < 1 << 62:
        raise EvalError("too many elements")
    return numbers


@universal
def repr_(x: Any, /) -> str:
    """The value as a literal would denote it."""
    return to_repr(x)


@universal
def reversed_(iterable: Any, /) -> List:
    """A new list of the elements in reverse."""
    return List(bounded(iterable)[::-1])


@universal
def set_(iterable: Any = (), /) -> Set:
    """A new set of the elements."""
    return Set(bounded(iterable))


@universal
def sorted_(iterable: Any, key: Any = None, reverse: Any = None) -> List:
    """A new list of the elements in order; equal ones keep theirs."""
    items = bounded(iterable)
    ranks = items if key is None else [call(key, item) for item in items]
    kinds = set(map(type, ranks))
    plain = kinds == {int} or (kinds == {str} and all(map(str.isascii, ranks)))
    keys = ranks if plain else map(cmp_to_key(_compare), ranks)
    pairs = sorted(zip(keys, items, strict=True), key=itemgetter(0), reverse=truth(reverse))
    return List([item for _, item in pairs])


def _compare(one: Any, other: Any) -> int:
    tick()
    return -1 if less(one, other) else less(other, one)


@universal
def str_(x: Any, /) -> str:
    """The value as text; a string as it is."""
    if type(x) is int:
        return str(x)
    return x.decode("utf-8", "replace") if type(x) is bytes else to_str(x)


@universal
def tuple_(iterable: Any = (), /) -> tuple[Any, ...]:
    """A tuple of the elements."""
    return tuple(bounded(iterable))


@universal
def type_(x: Any, /) -> str:
    """The name of the value's type."""
    return type_name(x)


@universal
def zip_(*iterables: Any) -> List:
    """Tuples of the elements at the same place, as many as the shortest has."""
    columns = []
    for place, iterable in enumerate(iterables, 1):
        try:
            columns.append(elements(iterable))
        except EvalError:
            raise EvalError(f"argument #{place} is not iterable: {type_name(iterable)}") from None
    check_items(min(map(len, columns), default=0))
    return List(zip(*columns))  # noqa: B905 - the shortest decides


UNIVERSE: dict[str, Any] = {"None": None, "True": True, "False": False}
UNIVERSE |= {name: library_value(function) for name, function in sorted(FUNCTIONS.items())}


def universe_docs() -> dict[str, str]:
    """For every function of the universe: its signature and what it does, on one line."""
    return {name: _doc(name, function) for name, function in FUNCTIONS.items()}


def _doc(name: str, function: Any) -> str:
    shown = str(signature(function))
    shown = (
        re.sub(r": [\w.| \[\],']+?(?=[,)=]| =)", "", shown)
        .replace(", /", "")
        .replace(" = ", "=")
        .replace("=MISSING", "=...")
    )
    return f"{name}{shown} - {function.__doc__}"
