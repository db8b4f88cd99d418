"""The methods of strings and bytes.

Positions and lengths count bytes (see `text`); everything else works on characters, which comes to the same for UTF-8.
Arguments of a wrong type make Python fail somewhere inside; `evaluate` turns that into the error the annotations call for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ipytilt.starlark.calls import method
from ipytilt.starlark.control import check_text
from ipytilt.starlark.errors import EvalError
from ipytilt.starlark.operators import checked_index, elements
from ipytilt.starlark.text import decode, encode, format_text, joined, to_repr
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


@method(str)
def str_elems(text: str, /) -> StringView:
    """The bytes, each as a string."""
    return StringView(text, "elems", list(text) if text.isascii() else [decode(bytes([b])) for b in encode(text)])


@method(str)
def str_elem_ords(text: str, /) -> StringView:
    """The bytes, each as an int."""
    return StringView(text, "elem_ords", list(encode(text)))


@method(str)
def str_codepoints(text: str, /) -> StringView:
    """The characters."""
    return StringView(text, "codepoints", list(text))


@method(str)
def str_codepoint_ords(text: str, /) -> StringView:
    """The characters, each as its code point."""
    return StringView(text, "codepoint_ords", [0xFFFD if 0xDC80 <= ord(char) <= 0xDCFF else ord(char) for char in text])


@method(bytes)
def bytes_elems(data: bytes, /) -> StringView:
    """The bytes, each as an int."""
    return StringView(data, "elems", list(data))


def _cased(text: str, convert: Callable[[str], str]) -> str:
    """Convert case character by character, leaving alone those that would become several (such as ß)."""
    if text.isascii():
        return convert(text)
    return "".join(new if len(new := convert(char)) == 1 else char for char in text)


@method(str)
def str_lower(text: str, /) -> str:
    """The string in lower case."""
    return _cased(text, str.lower)


@method(str)
def str_upper(text: str, /) -> str:
    """The string in upper case."""
    return _cased(text, str.upper)


@method(str)
def str_title(text: str, /) -> str:
    """The string with each word capitalized."""
    return text.title()


@method(str)
def str_capitalize(text: str, /) -> str:
    """The string with its first letter in upper case, the rest in lower case."""
    return text.capitalize()


@method(str)
def str_isalnum(text: str, /) -> bool:
    """Whether all are letters or digits."""
    return text.isalnum()


@method(str)
def str_isalpha(text: str, /) -> bool:
    """Whether all are letters."""
    return text.isalpha()


@method(str)
def str_isdigit(text: str, /) -> bool:
    """Whether all are digits."""
    return text.isdecimal()


@method(str)
def str_islower(text: str, /) -> bool:
    """Whether there are letters and none is upper case."""
    return text.islower()


@method(str)
def str_isupper(text: str, /) -> bool:
    """Whether there are letters and none is lower case."""
    return text.isupper()


@method(str)
def str_isspace(text: str, /) -> bool:
    """Whether all are white space."""
    return text.isspace()


@method(str)
def str_istitle(text: str, /) -> bool:
    """Whether every word is capitalized."""
    return text.istitle()


def _window(text: str, needle: str, start: Any, end: Any) -> tuple[Any, Any, int]:
    """The part of the text between two byte positions, the needle in the same form, and where the part begins."""
    if type(needle) is not str:
        raise TypeError  # the annotation says what was wanted
    for bound in (start, end):
        if bound is not None and type(bound) is not int:
            raise EvalError(f"got {type_name(bound)}, want int")
    place = slice(start, end).indices(len(text) if text.isascii() else len(encode(text)))
    if text.isascii():
        return text[place[0] : place[1]], needle, place[0]
    return encode(text)[place[0] : place[1]], encode(needle), place[0]


@method(str)
def str_find(text: str, sub: str, start: Any = None, end: Any = None, /) -> int:
    """Where sub first occurs, or -1."""
    part, needle, begin = _window(text, sub, start, end)
    found: int = part.find(needle)
    return found if found < 0 else found + begin


@method(str)
def str_rfind(text: str, sub: str, start: Any = None, end: Any = None, /) -> int:
    """Where sub last occurs, or -1."""
    part, needle, begin = _window(text, sub, start, end)
    found: int = part.rfind(needle)
    return found if found < 0 else found + begin


@method(str)
def str_index(text: str, sub: str, start: Any = None, end: Any = None, /) -> int:
    """Where sub first occurs; an error if it does not."""
    return _found(str_find(text, sub, start, end))


@method(str)
def str_rindex(text: str, sub: str, start: Any = None, end: Any = None, /) -> int:
    """Where sub last occurs; an error if it does not."""
    return _found(str_rfind(text, sub, start, end))


def _found(place: int) -> int:
    if place < 0:
        raise EvalError("substring not found")
    return place


@method(str)
def str_count(text: str, sub: str, start: Any = None, end: Any = None, /) -> int:
    """How often sub occurs without overlap."""
    part, needle, _ = _window(text, sub, start, end)
    count: int = part.count(needle)
    return count


@method(str)
def str_startswith(text: str, prefix: Any, start: Any = None, end: Any = None, /) -> bool:
    """Whether the string begins with the prefix, or one of a tuple of them."""
    return any(_window(text, item, start, end)[0].startswith(_window(text, item, 0, 0)[1]) for item in _affixes(prefix))


@method(str)
def str_endswith(text: str, suffix: Any, start: Any = None, end: Any = None, /) -> bool:
    """Whether the string ends with the suffix, or one of a tuple of them."""
    return any(_window(text, item, start, end)[0].endswith(_window(text, item, 0, 0)[1]) for item in _affixes(suffix))


def _affixes(value: Any) -> tuple[str, ...]:
    affixes = value if type(value) is tuple else (value,)
    for place, item in enumerate(affixes):
        if type(item) is not str:
            where = f"want string, got {type_name(item)}, for element {place}"
            raise EvalError(where if type(value) is tuple else f"got {type_name(item)}, want string or tuple of string")
    return affixes


@method(str)
def str_format(text: str, /, *args: Any, **kwargs: Any) -> str:
    """The string with its {} fields replaced."""
    return format_text(text, args, kwargs)


@method(str)
def str_join(text: str, items: Any, /) -> str:
    """The strings of an iterable with this one between them."""
    try:
        parts = elements(items)
    except EvalError:
        raise EvalError(f"for parameter 1: got {type_name(items)}, want iterable") from None
    for item in parts:
        if type(item) is not str:
            raise EvalError(f"in list, want string, got {type_name(item)}")
    return joined(parts, text)


@method(str)
def str_strip(text: str, cutset: str = "", /) -> str:
    """The string without white space, or characters of the cutset, at its ends."""
    return text.strip(cutset or None)


@method(str)
def str_lstrip(text: str, cutset: str = "", /) -> str:
    """As strip, at the start only."""
    return text.lstrip(cutset or None)


@method(str)
def str_rstrip(text: str, cutset: str = "", /) -> str:
    """As strip, at the end only."""
    return text.rstrip(cutset or None)


@method(str)
def str_removeprefix(text: str, prefix: str, /) -> str:
    """The string without the prefix, if it has it."""
    return text.removeprefix(prefix)


@method(str)
def str_removesuffix(text: str, suffix: str, /) -> str:
    """The string without the suffix, if it has it."""
    return text.removesuffix(suffix)


@method(str)
def str_partition(text: str, sep: str, /) -> tuple[str, str, str]:
    """What is before, at and after the first sep."""
    return text.partition(_separator(sep))


@method(str)
def str_rpartition(text: str, sep: str, /) -> tuple[str, str, str]:
    """What is before, at and after the last sep."""
    return text.rpartition(_separator(sep))


@method(str)
def str_replace(text: str, old: str, new: str, count: int = -1, /) -> str:
    """The string with old replaced by new, at most count times."""
    check_text(len(text) + (text.count(old) if count < 0 else min(count, text.count(old))) * len(new))
    return joined([text.replace(old, new, count)])


@method(str)
def str_split(text: str, sep: Any = None, maxsplit: int = -1, /) -> List:
    """The parts between separators, by default between white space."""
    return List(text.split(_separator(sep), maxsplit))


@method(str)
def str_rsplit(text: str, sep: Any = None, maxsplit: int = -1, /) -> List:
    """As split, but maxsplit counts from the end."""
    return List(text.rsplit(_separator(sep), maxsplit))


def _separator(sep: Any) -> Any:
    if sep is not None and type(sep) is not str:
        raise EvalError(f"got {type_name(sep)} for separator, want string")
    if sep == "":
        raise EvalError("empty separator")
    return sep


@method(str)
def str_splitlines(text: str, keepends: Any = False, /) -> List:  # noqa: FBT002 - the language's own signature
    """The lines; only a line feed ends one."""
    lines = text.split("\n")
    last = lines.pop()
    return List([f"{line}\n" if keepends else line for line in lines] + ([last] if last else []))
