"""Properties: text and numbers follow the rules whatever the values, and no program makes the evaluator itself fail."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ipytilt.starlark import (
    EvalError,
    StarlarkSyntaxError,
    Thread,
    equal,
    from_python,
    to_python,
    to_repr,
)
from ipytilt.starlark.text import decode, encode, length
from tests.starlark.running import run, value_of

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_INTS = st.integers(-(10**30), 10**30)
_SCALARS = st.none() | st.booleans() | _INTS | _FLOATS | _TEXT | st.binary()
_DATA = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(
            _TEXT | st.integers() | st.booleans() | st.tuples(st.booleans(), st.integers()), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(_DATA)
def test_repr_reads_back(data: Any) -> None:
    value = from_python(data)
    assert equal(value_of(to_repr(value)), value)


@given(_DATA)
def test_plain_data_goes_in_and_out(data: Any) -> None:
    assert to_repr(from_python(to_python(from_python(data)))) == to_repr(from_python(data))


@given(_FLOATS)
def test_floats_show_as_the_shortest_text_that_is_no_int(value: float) -> None:
    text = to_repr(value)
    assert float(text) == value
    assert "." in text or "e" in text
    assert len(text) <= len(repr(value)) + 5


@given(_INTS, _INTS)
def test_integer_division_floors(a: int, b: int) -> None:
    if not b:
        return
    module = run("q = a // b\nr = a % b", predeclared={"a": a, "b": b})
    q, r = module.globals["q"], module.globals["r"]
    assert q == math.floor(Fraction(a, b))
    assert q * b + r == a
    assert r == 0 or (r < 0) == (b < 0)


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_float_division_floors(a: float, b: float) -> None:
    if not b:
        return
    module = run("q = a // b\nr = a % b", predeclared={"a": a, "b": b})
    q, r = module.globals["q"], module.globals["r"]
    assert math.isinf(a / b) or q == math.floor(a / b)
    assert r == 0 or (r < 0) == (b < 0)
    assert abs(r) <= abs(b)


@given(_TEXT, st.integers(-6, 6), st.integers(-6, 6), st.sampled_from([None, 1, 2, -1, -2]))
def test_strings_are_cut_by_bytes(text: str, start: int, stop: int, step: int | None) -> None:
    got = value_of("s[a:b:c]", s=text, a=start, b=stop, c=step)
    assert encode(got) == text.encode()[start:stop:step]
    assert value_of("len(s)", s=text) == len(text.encode())


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_bytes_of_strings_never_get_lost(a: bytes, b: bytes) -> None:
    left, right = decode(a), decode(b)
    assert encode(value_of("a + b", a=left, b=right)) == a + b
    assert encode(value_of("'%s%s' % (a, b)", a=left, b=right)) == a + b
    assert encode(value_of("'{}{}'.format(a, b)", a=left, b=right)) == a + b
    assert encode(value_of("''.join([a, b])", a=left, b=right)) == a + b
    assert value_of("a + b == c", a=left, b=right, c=decode(a + b)) is True
    assert value_of("''.join(list(a.elems()))", a=left) == left
    assert value_of("a < b", a=left, b=right) == (a < b)
    assert value_of("a in b", a=left, b=right) == (a in b)
    assert value_of("b.find(a)", a=left, b=right) == b.find(a)
    assert length(left) == len(a)


@given(st.lists(_INTS | _FLOATS | st.sampled_from([math.nan, math.inf])))
def test_sorting_numbers_is_total(numbers: list[Any]) -> None:
    got = value_of("sorted(l)", l=from_python(numbers))
    finite = [number for number in got if not math.isnan(number)]
    assert finite == sorted(number for number in numbers if not math.isnan(number))
    assert all(math.isnan(number) for number in got[len(finite) :])


@given(_DATA, _DATA)
def test_equality_ignores_how_it_is_asked(a: Any, b: Any) -> None:
    left, right = from_python(a), from_python(b)
    same = equal(left, right)
    assert value_of("[l == r, r == l, not l != r, l in [r]]", l=left, r=right) == [same] * 4
    assert same == (to_repr(left) == to_repr(right)) or not same or _numbers_or_order(a)


def _numbers_or_order(data: Any) -> bool:
    """Whether equal values may show differently: 1 and 1.0, dicts in another order."""
    return isinstance(data, (int, float, dict, list, tuple)) and not isinstance(data, bool)


_NAMES = st.sampled_from(["a", "b", "c", "f", "len", "str", "l", "d", "x", "s"])
_EXPRESSIONS = st.recursive(
    _NAMES
    | st.sampled_from(
        ["0", "1", "-3", "2.5", "'x'", "'é%s'", "[]", "{}", "()", "None", "True", "set([1])", "b'q'", "box()"]
    ),
    lambda e: st.one_of(
        st.tuples(e, st.sampled_from(["+", "-", "*", "/", "//", "%", "|", "&", "^", "<<", ">>"]), e)
        .map(" ".join)
        .map("({})".format),
        st.tuples(e, st.sampled_from(["==", "!=", "<", ">=", "in", "not in", "and", "or"]), e)
        .map(" ".join)
        .map("({})".format),
        st.lists(e, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.tuples(e, e).map(lambda pair: f"{{{pair[0]}: {pair[1]}}}"),
        st.tuples(e, e).map(lambda pair: f"({pair[0]}[{pair[1]}])"),
        st.tuples(e, e).map(lambda pair: f"({pair[0]}[{pair[1]}:])"),
        st.tuples(
            e,
            st.sampled_from(["append", "get", "split", "join", "format", "pop", "items", "foo", "upper", "find"]),
            st.lists(e, max_size=2),
        ).map(lambda call: f"{call[0]}.{call[1]}({', '.join(call[2])})"),
        st.tuples(_NAMES, st.lists(e, max_size=3)).map(lambda call: f"{call[0]}({', '.join(call[1])})"),
        st.tuples(_NAMES, e, e).map(lambda call: f"{call[0]}(*{call[1]}, **{call[2]})"),
        st.tuples(e, _NAMES, e, e).map(lambda c: f"[{c[0]} for {c[1]} in {c[2]} if {c[3]}]"),
        st.tuples(e, e, e).map(lambda c: f"({c[0]} if {c[1]} else {c[2]})"),
        st.tuples(_NAMES, e).map(lambda f: f"(lambda {f[0]}: {f[1]})"),
        e.map("(not {})".format),
        e.map("-({})".format),
    ),
    max_leaves=8,
)
_SIMPLE = st.one_of(
    st.tuples(_NAMES, _EXPRESSIONS).map(" = ".join),
    st.tuples(_NAMES, st.sampled_from(["+=", "|=", "*=", "%="]), _EXPRESSIONS).map(" ".join),
    st.tuples(_NAMES, _NAMES, _EXPRESSIONS).map(lambda s: f"{s[0]}, {s[1]} = {s[2]}"),
    st.tuples(_NAMES, _EXPRESSIONS, _EXPRESSIONS).map(lambda s: f"{s[0]}[{s[1]}] = {s[2]}"),
    _EXPRESSIONS,
    st.just("pass"),
)
_STATEMENTS = st.recursive(
    _SIMPLE.map(lambda text: [text]),
    lambda body: st.one_of(
        st.tuples(_EXPRESSIONS, body).map(lambda s: [f"if {s[0]}:", *(f"\t{line}" for line in s[1])]),
        st.tuples(_NAMES, _EXPRESSIONS, body).map(
            lambda s: [f"for {s[0]} in {s[1]}:", *(f"  {line}" for line in s[2])]
        ),
        st.tuples(_EXPRESSIONS, body).map(lambda s: [f"while {s[0]}:", *(f"    {line}" for line in s[1])]),
        st.tuples(_NAMES, _NAMES, body).map(
            lambda s: [f"def {s[0]}({s[1]}=1):", *(f"  {line}" for line in s[2]), "  return 1"]
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_STATEMENTS, max_size=6))
def test_no_program_makes_the_evaluator_fail(blocks: list[list[str]]) -> None:
    lines = [
        "a = 1",
        "b = [1, 2]",
        "c = 'é'",
        "f = lambda *v, **k: v",
        "l = [[1]]",
        "d = {'k': (1,)}",
        "x = None",
        "s = 0",
    ]
    text = "\n".join([*lines, *(line for block in blocks for line in block)])
    error = _error(text)
    assert error is None or (error.message and (isinstance(error, StarlarkSyntaxError) or error.stack))


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("abx01 \t\n()[]{}:.,=+-*/%<>\"'\\#é\u200b_ifordeflambda")))
def test_no_text_makes_the_checker_fail(text: str) -> None:
    error = _error(text)
    assert error is None or error.message


def _error(text: str) -> EvalError | StarlarkSyntaxError | None:
    """What a program ends in, if that is one of the errors it may end in."""
    try:
        run(text, thread=Thread(max_steps=2_000, max_depth=200)).freeze()
    except (EvalError, StarlarkSyntaxError) as error:
        return error
    return None
