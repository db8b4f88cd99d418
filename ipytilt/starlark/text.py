"""How values become text (`str`, `repr`, `%`, `.format`) and how byte strings live in Python's str.

A Starlark string is bytes holding UTF-8. Here it is a str that decodes those bytes, with a surrogate escape for each
byte that is not UTF-8; one sequence of bytes has exactly one such str. ASCII strings, nearly all there are, need no
care.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from types import FunctionType
from typing import Any

from ipytilt.starlark.control import MAX_TEXT, check_text, tick
from ipytilt.starlark.errors import EvalError
from ipytilt.starlark.values import Dict, List, Set, Value, type_name

_ESCAPES = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}
_ESCAPES |= {'"': r"\"", "\\": r"\\"}
_MAX_SHOWN = 1 << 23  # bytes that showing a value may make; shared parts count each time
_SPECIAL = re.compile(r'["\\\x00-\x1f\x7f]|[^\x00-\x7f]')
_EXPONENT_FROM = 6  # the decimal exponent from which a float is shown with one


def encode(text: str) -> bytes:
    """The bytes of a string."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """The string of some bytes."""
    return data.decode("utf-8", "surrogateescape")


def length(text: str) -> int:
    """The number of bytes of a string."""
    return len(text) if text.isascii() else len(encode(text))


def whole(text: str) -> str:
    """A string made of others: within bounds, and bytes split apart before become characters again."""
    if text.isascii() and len(text) <= MAX_TEXT:
        return text
    data = encode(text)
    check_text(len(data))
    return decode(data)


def joined(parts: list[str], separator: str = "") -> str:
    """Join strings, see `whole`."""
    if len(parts) > 8 or len(separator) > 8:
        check_text(sum(map(len, parts)) + len(separator) * len(parts))
    return whole(separator.join(parts))


def quote(text: str) -> str:
    """The string as a double-quoted literal."""
    return f'"{_SPECIAL.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def float_text(value: float, conversion: str = "g") -> str:
    """A float as `%e`, `%f` or `%g` shows it; `%g` is the shortest text that reads back, never looking like an int."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "+inf" if value > 0 else "-inf"
    if conversion not in "gG":
        return f"%.6{conversion}" % value
    digits, exponent = _shortest(abs(value))
    if exponent < -4 or exponent >= _EXPONENT_FROM:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        text = f"{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    elif exponent < 0:
        text = f"0.{'0' * (-exponent - 1)}{digits}"
    else:
        digits = digits.ljust(exponent + 1, "0")
        text = f"{digits[: exponent + 1]}.{digits[exponent + 1 :] or '0'}"
    sign = "-" if repr(value).startswith("-") else ""
    return sign + (text.upper() if conversion == "G" else text)


def _shortest(value: float) -> tuple[str, int]:
    """The digits of a finite float without zeros around them, and the decimal exponent of the first."""
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "0", 0
    return digits.rstrip("0"), int(exponent or 0) + len(whole) - 1 - (len(whole + fraction) - len(digits))


def to_str(value: Any) -> str:
    """What `str(value)` and `print` show: a string as it is, everything else as `repr`."""
    return value if type(value) is str else to_repr(value)


def to_repr(value: Any) -> str:
    """What `repr(value)` shows."""
    kind = type(value)
    if kind is str:
        return quote(value)
    if kind is int:
        return str(value)
    writer = _Writer()
    writer.write(value)
    return joined(writer.parts)


class _Writer:
    """Collects the text of nested values, showing `...` where a value contains itself."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.size = 0
        self.open: list[Any] = []

    def add(self, part: str) -> None:
        self.size += len(part)
        check_text(self.size, _MAX_SHOWN)
        self.parts.append(part)

    def write(self, value: Any) -> None:
        kind = type(value)
        if kind is str:
            self.add(quote(value))
        elif kind is float:
            self.add(float_text(value))
        elif kind is bytes:
            self.add("b" + quote(decode(value)))
        elif kind is List:
            self.items(value, "[", "]")
        elif kind is tuple:
            self.items(value, "(", ",)" if len(value) == 1 else ")")
        elif kind is Set:
            self.items(value, "set([", "])")
        elif kind is Dict:
            self.dict(value)
        elif kind is FunctionType:
            self.add(f"<function {function_name(value)}>")
        elif kind is range and value.step == 1:
            self.add(f"range({value.start}, {value.stop})" if value.start else f"range({value.stop})")
        else:
            self.add(str(value))

    def items(self, value: Any, start: str, end: str) -> None:
        if self.is_open(value):
            self.add(f"{start}...{end}")
            return
        self.open.append(value)
        self.add(start)
        for number, item in enumerate(value):
            tick()
            if number:
                self.add(", ")
            self.write(item)
        self.add(end)
        self.open.pop()

    def dict(self, value: Dict) -> None:
        if self.is_open(value):
            self.add("{...}")
            return
        self.open.append(value)
        self.add("{")
        for number, (name, item) in enumerate(value.pairs()):
            tick()
            if number:
                self.add(", ")
            self.write(name)
            self.add(": ")
            self.write(item)
        self.add("}")
        self.open.pop()

    def is_open(self, value: Any) -> bool:
        return any(value is other for other in self.open)


def function_name(function: FunctionType) -> str:
    """The name of a Starlark function; "lambda" for one without."""
    name = function.__code__.co_name
    return "lambda" if name == "<lambda>" else name


def to_int(value: Any) -> int:
    """The integer a number truncates to. Raises EvalError."""
    if type(value) is int:
        return value
    if type(value) is not float:
        raise EvalError(f"cannot convert {type_name(value)} to int")
    if math.isnan(value):
        raise EvalError("cannot convert float NaN to integer")
    if math.isinf(value):
        raise EvalError("cannot convert float infinity to integer")
    return int(value)


_PERCENT = re.compile(r"%(?:\(([^)]*)(\))?)?(.)?", re.DOTALL)
_PLAIN = {"s": str, "d": int}


@lru_cache(maxsize=512)
def _percent_fields(template: str) -> tuple[list[tuple[str, re.Match[str]]], str, tuple[type, ...] | None]:
    """The conversions of a template with the text before each, the rest, and the types Python formats alike."""
    fields, end = [], 0
    for match in _PERCENT.finditer(template):
        fields.append((template[end : match.start()], match))
        end = match.end()
    plain = all(match[0] in ("%s", "%d") for _, match in fields) and len(fields) <= 4
    return fields, template[end:], tuple(_PLAIN[match[3]] for _, match in fields) if plain else None


def interpolate(template: str, operand: Any) -> str:
    """`template % operand`."""
    fields, rest, plain = _percent_fields(template)
    if plain is not None:
        if len(plain) == 1 and type(operand) is plain[0]:
            text = template % operand
            return text if len(text) < 4_096 and text.isascii() else whole(text)
        if type(operand) is tuple and tuple(map(type, operand)) == plain:
            return whole(template % operand)
    args = operand if type(operand) is tuple else (operand,)
    parts, used = [], 0
    for before, match in fields:
        parts.append(before)
        name, closed, conversion = match.groups()
        if conversion == "%" and name is None:
            parts.append("%")
            continue
        if name is None and used >= len(args):
            raise EvalError("not enough arguments for format string")
        value = args[used] if name is None else _named(operand, name, closed=closed is not None)
        parts.append(_convert(value, conversion))
        used += 1
    if used < len(args) and type(operand) is not Dict:
        raise EvalError("too many arguments for format string")
    return joined([*parts, rest])


def interpolate_one(template: str, operand: Any) -> str:
    """`template % operand` for a template whose only conversion is one `%s`."""
    if type(operand) is not str:
        return interpolate(template, operand)
    text = template % operand
    return text if text.isascii() and len(text) < MAX_TEXT else whole(text)


def _named(mapping: Any, name: str, *, closed: bool) -> Any:
    if not closed:
        raise EvalError("incomplete format key")
    if type(mapping) is not Dict and not (isinstance(mapping, Value) and hasattr(mapping, "__getitem__")):
        raise EvalError("format requires a mapping")
    try:
        return mapping[name]
    except KeyError:
        raise EvalError(f"key not found: {name}") from None


def _convert(value: Any, conversion: str | None) -> str:
    """One argument of `%` as text."""
    if conversion == "s":
        return to_str(value)
    if conversion == "r":
        return to_repr(value)
    if conversion is None:
        raise EvalError("incomplete format")
    if conversion in "dioxX":
        try:
            number = to_int(value)
        except EvalError as error:
            raise EvalError(f"%{conversion} format requires integer: {error.message}") from None
        return str(number) if conversion in "di" else f"%{conversion}" % number
    if conversion in "eEfFgG":
        if type(value) not in (int, float):
            raise EvalError(f"%{conversion} format requires float, not {type_name(value)}")
        return float_text(to_float(value), conversion)
    if conversion == "c":
        return _character(value)
    raise EvalError(f"unknown conversion %{conversion}")


def to_float(value: Any) -> float:
    """A number as a float. Raises EvalError for an int out of range."""
    try:
        return float(value)
    except OverflowError:
        raise EvalError("int too large to convert to float") from None


def _character(value: Any) -> str:
    if type(value) is int:
        if 0 <= value <= 0x10FFFF:
            return chr(value) if not 0xD800 <= value < 0xE000 else "\ufffd"
        raise EvalError(f"%c format requires a valid Unicode code point, got {value}")
    if type(value) is str:
        if len(value) == 1:
            return value
        raise EvalError("%c format requires a single-character string")
    raise EvalError(f"%c format requires int or single-character string, not {type_name(value)}")


_FIELD = re.compile(r"\{\{|\}\}|\{([^}]*)(\}?)|\}")


@lru_cache(maxsize=512)
def _format_fields(template: str) -> tuple[list[tuple[str, int | str, str]], str]:
    """The fields of a template: text before, number or name, conversion; and the text after the last."""
    fields: list[tuple[str, int | str, str]] = []
    before, end, automatic, manual = "", 0, 0, False
    for match in _FIELD.finditer(template):
        before += template[end : match.start()]
        end = match.end()
        if match[1] is None:
            if match[0] == "}":
                raise EvalError("single '}' in format")
            before += match[0][0]
            continue
        if not match[2]:
            raise EvalError("unmatched '{' in format")
        name, conversion = _field(match[1])
        if (not name and manual) or (name.isdecimal() and automatic):
            kinds = ("automatic field numbering", "manual field specification")
            raise EvalError(f"cannot switch from {kinds[not automatic]} to {kinds[bool(automatic)]}")
        manual = manual or name.isdecimal()
        fields.append((before, automatic if not name else int(name) if name.isdecimal() else name, conversion))
        automatic += not name
        before = ""
    return fields, before + template[end:]


def format_text(template: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """`template.format(*args, **kwargs)`."""
    fields, rest = _format_fields(template)
    parts = []
    for before, name, conversion in fields:
        parts.append(before)
        if isinstance(name, str):
            value = _keyword(kwargs, name)
        elif name < len(args):
            value = args[name]
        else:
            raise EvalError("tuple index out of range")
        parts.append(to_repr(value) if conversion == "r" else to_str(value))
    return joined([*parts, rest])


def _field(text: str) -> tuple[str, str]:
    """The name and conversion of a replacement field."""
    name, mark, rest = text.partition("!")
    name, _, spec = (name, "", rest.partition(":")[2]) if mark else text.partition(":")
    conversion = rest.partition(":")[0] if mark else "s"
    if spec:
        raise EvalError(f"format spec features not supported in replacement fields: {spec}")
    if conversion not in ("s", "r"):
        raise EvalError(f"unknown conversion {quote(conversion)}")
    return name, conversion


def _keyword(kwargs: dict[str, Any], name: str) -> Any:
    if name in kwargs:
        return kwargs[name]
    for mark, what in ((".", "attribute syntax x.y is"), ("[", "element syntax a[i] is"), ("{", "nested fields are")):
        if mark in name:
            raise EvalError(f"{what} not supported in replacement fields: {name}")
    raise EvalError(f"keyword {name} not found")
