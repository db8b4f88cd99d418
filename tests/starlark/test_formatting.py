"""Text of values against a second, plain reading of the rules: written for clearness, sharing nothing with ours."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ipytilt.starlark import from_python
from tests.starlark.running import value_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(-(10**40), 10**40) | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT | st.binary(max_size=8)
KEYS = st.none() | st.booleans() | st.integers() | TEXT | st.tuples(st.booleans(), TEXT)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.frozensets(st.integers() | TEXT, max_size=3)
    ),
    max_leaves=12,
)


def shown(value: Any) -> str:
    """What `repr(value)` is by the rules."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return _decimal(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bytes):
        return "b" + _quoted_bytes(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{shown(key)}: {shown(item)}" for key, item in value.items()) + "}"
    items = ", ".join(shown(item) for item in value)
    if isinstance(value, tuple):
        return f"({items},)" if len(value) == 1 else f"({items})"
    return f"[{items}]" if isinstance(value, list) else f"set([{items}])"


def _decimal(value: int) -> str:
    digits = ""
    rest = abs(value)
    while rest or not digits:
        rest, digit = divmod(rest, 10)
        digits = "0123456789"[digit] + digits
    return "-" + digits if value < 0 else digits


def _float(value: float) -> str:
    """The fewest digits that read back as the same float; an exponent below 1e-4 and from 1e6 on."""
    if value != value:  # noqa: PLR0124 - what NaN is
        return "nan"
    if value in (float("inf"), float("-inf")):
        return "+inf" if value > 0 else "-inf"
    decimal = Decimal(repr(value))
    sign, digits, _ = decimal.as_tuple()
    exponent = decimal.adjusted() if decimal else 0
    text = "".join(map(str, digits)).lstrip("0").rstrip("0") or "0"
    minus = "-" if sign else ""
    if -4 <= exponent < 6:
        shifted = f"{abs(decimal):f}"
        return minus + (shifted if "." in shifted else shifted + ".0")
    fraction = f".{text[1:]}" if text[1:] else ""
    return f"{minus}{text[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


_NAMED = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v", '"': '"', "\\": "\\"}


def _quoted(text: str) -> str:
    return '"' + "".join(map(_letter, text)) + '"'


def _letter(letter: str) -> str:
    if letter in _NAMED:
        return "\\" + _NAMED[letter]
    if letter.isprintable():
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _quoted_bytes(data: bytes) -> str:
    """Bytes that are UTF-8 show as its letters, others by their number."""
    parts, at = [], 0
    while at < len(data):
        for size in (1, 2, 3, 4):
            try:
                letter = data[at : at + size].decode()
            except UnicodeDecodeError:
                continue
            parts.append(_letter(letter))
            at += size
            break
        else:
            parts.append(f"\\x{data[at]:02x}")
            at += 1
    return '"' + "".join(parts) + '"'


@given(VALUES)
def test_text_of_any_value(data: Any) -> None:
    plain = data if isinstance(data, str) else shown(data)
    found = value_of("[repr(v), '%r|%s' % (v, v), '{0!r}|{0}|{0!s}'.format(v)]", v=from_python(data))
    assert found == [shown(data), f"{shown(data)}|{plain}", f"{shown(data)}|{plain}|{plain}"]
    if not isinstance(data, bytes):
        assert value_of("str(v)", v=from_python(data)) == plain


@given(TEXT)
def test_bytes_become_text_only_by_asking(text: str) -> None:
    assert value_of("[str(v), '%s' % v]", v=text.encode()) == [text, shown(text.encode())]


@given(st.integers(-(10**30), 10**30))
def test_ints_in_other_bases(number: int) -> None:
    def based(base: int) -> str:
        digits, rest = "", abs(number)
        while rest or not digits:
            rest, digit = divmod(rest, base)
            digits = "0123456789abcdef"[digit] + digits
        return "-" + digits if number < 0 else digits

    found = value_of("'%d %i %o %x %X' % (n, n, n, n, n)", n=number)
    assert found == " ".join([based(10), based(10), based(8), based(16), based(16).upper()])


@given(st.floats(-1e15, 1e15), st.integers(-(10**15), 10**15))
def test_conversions_of_numbers(number: float, whole: int) -> None:
    found = value_of("'%d|%g|%e|%f|%g' % (x, x, x, x, n)", x=number, n=whole)
    assert found == f"{_decimal(int(number))}|{_float(number)}|{number:.6e}|{number:.6f}|{_float(float(whole))}"
