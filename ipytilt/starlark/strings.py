"""The methods of strings and bytes.

Positions and lengths count bytes (see `text`); everything else works on characters, which comes to the same for
UTF-8. Arguments of a wrong type make Python fail somewhere inside; `calls.mistyped` then finds out which by the
parameters' names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ipytilt.starlark.calls import register
from ipytilt.starlark.control import MAX_TEXT, check_text
from ipytilt.starlark.errors import EvalError
from ipytilt.starlark.operators import checked_index, elements
from ipytilt.starlark.text import decode, encode, format_text, joined, to_repr, whole
from ipytilt.starlark.values import List, Value, type_name


class StringView(Value):
    """What `.elems()` and its like return: an iterable that shows as the call it came from."""

    def __init__(self, source: str | bytes, way: str, items: list[Any]) -> None:
        self.source = source
        self.way = way
        self.items = items
        self.type_name = f"{type_name(source)}.{'codepoints' if way.startswith('codepoint') else 'elems'}"

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: Any) -> Any:
        return self.items[checked_index(self, place, len(self.items))]

    def __str__(self) -> str:
        return f"{to_repr(self.source)}.{self.way}()"


def _elems(text: str) -> list[str]:
    return list(text) if text.isascii() else [decode(bytes([byte])) for byte in encode(text)]


def _ords(text: str) -> list[int]:
    return [0xFFFD if 0xDC80 <= ord(char) <= 0xDCFF else ord(char) for char in text]


def _cased(text: str, convert: Callable[[str], str]) -> str:
    """Convert case character by character, leaving alone those that would become several (such as ß)."""
    return "".join(new if len(new := convert(char)) == 1 else char for char in text)


def _window(text: str, sub: str, start: Any, end: Any) -> tuple[Any, Any, int]:
    """The part of the text between two byte positions, the needle in the same form, and where the part begins."""
    for bound in (start, end):
        if bound is not None and type(bound) is not int:
            raise EvalError(f"got {type_name(bound)}, want int")
    data, needle = (text, sub) if text.isascii() else (encode(text), encode(sub))
    begin, stop, _ = slice(start, end).indices(len(data))
    return data[begin:stop], needle, begin


def _find(text: str, sub: str, *bounds: Any, last: bool = False) -> int:
    part, needle, begin = _window(text, sub, *bounds)
    found: int = part.rfind(needle) if last else part.find(needle)
    return found if found < 0 else found + begin


def _found(place: int) -> int:
    if place < 0:
        raise EvalError("substring not found")
    return place


def _affixed(text: str, affix: Any, *bounds: Any, test: str) -> bool:
    if type(affix) is str and bounds == (None, None) and (affix.isascii() or text.isascii()):
        return bool(getattr(text, test)(affix))
    affixes = affix if type(affix) is tuple else (affix,)
    for place, item in enumerate(affixes):
        if type(item) is not str:
            where = f"want string, got {type_name(item)}, for element {place}"
            raise EvalError(where if type(affix) is tuple else f"got {type_name(item)}, want string or tuple of string")
    parts = [_window(text, item, *bounds) for item in affixes]
    return any(getattr(part, test)(needle) for part, needle, _ in parts)


def _join(text: str, items: Any) -> str:
    if type(items) is not List:
        try:
            items = elements(items)
        except EvalError:
            raise EvalError(f"for parameter 1: got {type_name(items)}, want iterable") from None
    for item in items:
        if type(item) is not str:
            raise EvalError(f"in list, want string, got {type_name(item)}")
    return joined(items, text)


def _replace(text: str, old: str, new: str, count: int) -> str:
    if len(text) * len(new) > MAX_TEXT:
        found = text.count(old) if count < 0 else min(count, text.count(old))
        check_text(len(text) + found * (len(new) - len(old)))
    return whole(text.replace(old, new, count))


def _separator(sep: Any) -> Any:
    if sep is not None and type(sep) is not str:
        raise EvalError(f"got {type_name(sep)} for separator, want string")
    if sep == "":
        raise EvalError("empty separator")
    return sep


def _lines(text: str, keepends: Any) -> List:
    """Only a line feed ends a line."""
    lines = text.split("\n")
    last = lines.pop()
    return List([f"{line}\n" if keepends else line for line in lines] + ([last] if last else []))


register(bytes, {"elems": lambda data, /: StringView(data, "elems", list(data))})
register(
    str,
    {
        "capitalize": lambda text, /: text.capitalize(),
        "codepoint_ords": lambda text, /: StringView(text, "codepoint_ords", _ords(text)),
        "codepoints": lambda text, /: StringView(text, "codepoints", list(text)),
        "count": lambda text, sub, start=None, end=None, /: (part := _window(text, sub, start, end))[0].count(part[1]),
        "elem_ords": lambda text, /: StringView(text, "elem_ords", list(encode(text))),
        "elems": lambda text, /: StringView(text, "elems", _elems(text)),
        "endswith": lambda text, suffix, start=None, end=None, /: _affixed(text, suffix, start, end, test="endswith"),
        "find": lambda text, sub, start=None, end=None, /: _find(text, sub, start, end),
        "format": lambda text, /, *args, **kwargs: format_text(text, args, kwargs),
        "index": lambda text, sub, start=None, end=None, /: _found(_find(text, sub, start, end)),
        "isalnum": lambda text, /: text.isalnum(),
        "isalpha": lambda text, /: text.isalpha(),
        "isdigit": lambda text, /: text.isdecimal(),
        "islower": lambda text, /: text.islower(),
        "isspace": lambda text, /: text.isspace(),
        "istitle": lambda text, /: text.istitle(),
        "isupper": lambda text, /: text.isupper(),
        "join": lambda text, iterable, /: _join(text, iterable),
        "lower": lambda text, /: text.lower() if text.isascii() else _cased(text, str.lower),
        "lstrip": lambda text, cutset="", /: text.lstrip(cutset or None),
        "partition": lambda text, sep, /: text.partition(_separator(sep)),
        "removeprefix": lambda text, prefix, /: text.removeprefix(prefix),
        "removesuffix": lambda text, suffix, /: text.removesuffix(suffix),
        "replace": lambda text, old, new, count=-1, /: _replace(text, old, new, count),
        "rfind": lambda text, sub, start=None, end=None, /: _find(text, sub, start, end, last=True),
        "rindex": lambda text, sub, start=None, end=None, /: _found(_find(text, sub, start, end, last=True)),
        "rpartition": lambda text, sep, /: text.rpartition(_separator(sep)),
        "rsplit": lambda text, sep=None, maxsplit=-1, /: List(text.rsplit(_separator(sep), maxsplit)),
        "rstrip": lambda text, cutset="", /: text.rstrip(cutset or None),
        "split": lambda text, sep=None, maxsplit=-1, /: List(text.split(_separator(sep), maxsplit)),
        "splitlines": lambda text, keepends=False, /: _lines(text, keepends),
        "startswith": lambda text, prefix, start=None, end=None, /: _affixed(
            text, prefix, start, end, test="startswith"
        ),
        "strip": lambda text, cutset="", /: text.strip(cutset or None),
        "title": lambda text, /: text.title(),
        "upper": lambda text, /: text.upper() if text.isascii() else _cased(text, str.upper),
    },
)
