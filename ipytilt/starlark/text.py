"""How values become text (`str`, `repr`, `%`, `.format`) and how byte strings live in Python's str.

A Starlark string is bytes holding UTF-8. Here it is a str that decodes those bytes, with a surrogate escape for each byte
that is not UTF-8; one sequence of bytes has exactly one such str. ASCII strings, nearly all there are, need no care.
"""

from __future__ import annotations

import re
from types import FunctionType
from typing import Any

from ipytilt.starlark.control import check_text, tick
from ipytilt.starlark.errors import EvalError
from ipytilt.starlark.values import Builtin, Dict, List, Set, type_name

_ESCAPES = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}
_ESCAPES |= {'"': r"\"", "\\": r"\\"}
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


def joined(parts: list[str], separator: str = "") -> str:
    """Join strings; bytes split apart before become whole characters again."""
    check_text(sum(map(len, parts)) + len(separator) * len(parts))
    text = separator.join(parts)
    return text if text.isascii() else decode(encode(text))


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
    if value != value:  # noqa: PLR0124 - NaN
        return "nan"
    if value in (float("inf"), float("-inf")):
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
        check_text(self.size)
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
    if value != value:  # noqa: PLR0124 - NaN
        raise EvalError("cannot convert float NaN to integer")
    if value in (float("inf"), float("-inf")):
        raise EvalError("cannot convert float infinity to integer")
    return int(value)


_PERCENT = re.compile(r"%(?:\(([^)]*)(\))?)?(.)?", re.DOTALL)


def interpolate(template: str, operand: Any) -> str:
    """`template % operand`."""
    args = operand if type(operand) is tuple else (operand,)
    mapping = operand if type(operand) is Dict or hasattr(operand, "__getitem__") else None
    parts, used, end = [], 0, 0
    for match in _PERCENT.finditer(template):
        parts.append(template[end : match.start()])
        end = match.end()
        name, closed, conversion = match.groups()
        if conversion == "%" and name is None:
            parts.append("%")
            continue
        if name is not None:
            parts.append(_convert(_named(mapping, name, closed=closed is not None), conversion))
            used += 1
            continue
        if used >= len(args):
            raise EvalError("not enough arguments for format string")
        parts.append(_convert(args[used], conversion))
        used += 1
    if used < len(args) and type(operand) is not Dict:
        raise EvalError("too many arguments for format string")
    return joined([*parts, template[end:]])


def _named(mapping: Any, name: str, *, closed: bool) -> Any:
    if not closed:
        raise EvalError("incomplete format key")
    if mapping is None or isinstance(mapping, str | tuple | list | range | bytes):
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


def format_text(template: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """`template.format(*args, **kwargs)`."""
    parts: list[str] = []
    end = automatic = 0
    manual = False
    for match in _FIELD.finditer(template):
        parts.append(template[end : match.start()])
        end = match.end()
        if match[1] is None:
            if match[0] == "}":
                raise EvalError("format: single '}' in format")
            parts.append(match[0][0])
            continue
        if not match[2]:
            raise EvalError("format: unmatched '{' in format")
        name, conversion = _field(match[1])
        if name.isdecimal():
            if automatic:
                raise EvalError("format: cannot switch from automatic field numbering to manual field specification")
            manual, value = True, _positional(args, int(name))
        elif name:
            value = _keyword(kwargs, name)
        else:
            if manual:
                raise EvalError("format: cannot switch from manual field specification to automatic field numbering")
            value = _positional(args, automatic)
            automatic += 1
        parts.append(to_repr(value) if conversion == "r" else to_str(value))
    return joined([*parts, template[end:]])


def _field(text: str) -> tuple[str, str]:
    """The name and conversion of a replacement field."""
    name, mark, rest = text.partition("!")
    name, _, spec = (name, "", rest.partition(":")[2]) if mark else text.partition(":")
    conversion = rest.partition(":")[0] if mark else "s"
    if spec:
        raise EvalError(f"format: format spec features not supported in replacement fields: {spec}")
    if conversion not in ("s", "r"):
        raise EvalError(f"format: unknown conversion {quote(conversion)}")
    return name, conversion


def _positional(args: tuple[Any, ...], number: int) -> Any:
    if number >= len(args):
        raise EvalError("format: tuple index out of range")
    return args[number]


def _keyword(kwargs: dict[str, Any], name: str) -> Any:
    if name in kwargs:
        return kwargs[name]
    for mark, what in ((".", "attribute syntax x.y is"), ("[", "element syntax a[i] is"), ("{", "nested fields are")):
        if mark in name:
            raise EvalError(f"format: {what} not supported in replacement fields: {name}")
    raise EvalError(f"format: keyword {name} not found")
