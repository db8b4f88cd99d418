"""What the statements of a program bind and use, told without running them."""

from __future__ import annotations

import pytest

from ipytilt.starlark import StarlarkSyntaxError
from ipytilt.starlark.outline import Statement, outline


def only(text: str) -> Statement:
    (statement,) = outline(text, "f").statements
    return statement


@pytest.mark.parametrize(
    "text, certain, perhaps",
    [
        ("x = 1", "x", ""),
        ("x, (y, [z]) = v", "x y z", ""),
        ("x += 1", "x", ""),
        ("a.b = 1", "", ""),
        ("a[0] = 1", "", ""),
        ("def f(a, *b, c=1, **d):\n  e = 1", "f", ""),
        ("load('m', 'x', y='z')", "x y", ""),
        ("if c: x = 1\nelse: y = 2", "", "x y"),
        ("for i, j in v:\n  def f(): pass", "", "i j f"),
        ("while c: x = 1", "", "x"),
        ("print(x)", "", ""),
        ("[x for x in v]", "", ""),
        ("(lambda x: x)(1)", "", ""),
    ],
)
def test_what_is_bound(text: str, certain: str, perhaps: str) -> None:
    statement = only(text)
    assert statement.certain == set(certain.split())
    assert statement.binds - statement.certain == set(perhaps.split())


@pytest.mark.parametrize(
    "text, top, inside",
    [
        ("x = y + z.a[w]", "w y z", ""),
        ("x += y", "x y", ""),
        ("a.b = c", "a c", ""),
        ("a[i] += c", "a c i", ""),
        ("f(k=v, *p, **q)", "f p q v", ""),
        ("load('m', 'x')", "", ""),
        ("if c: x = y\nelse: print(z)", "c print y z", ""),
        ("for i in v: print(i)", "i print v", ""),
        ("def f(a, b=c): return a + b + d", "c", "d"),
        ("def f():\n  x = y\n  return x", "", "y"),
        ("def f():\n  if c: x = 1\n  def g(): return x + z\n  return g", "", "c z"),
        ("def f(*, k=d, **o): return k, o", "d", ""),
        ("x = lambda a, b=c: a + b + d", "c", "d"),
        ("x = [a + b for a in v if c]", "v", "b c"),
        ("x = [a for a in v for b in w(a)]", "v", "w"),
        ("x = {k: e for k, l in v}", "v", "e"),
        ("def f(): return [a for a in v]", "", "v"),
    ],
)
def test_what_is_used(text: str, top: str, inside: str) -> None:
    uses = only(text).uses
    assert " ".join(sorted({use.name for use in uses if not use.inside})) == top
    assert " ".join(sorted({use.name for use in uses if use.inside})) == inside


def test_places_are_those_of_the_text_as_written() -> None:
    parsed = outline("é = 'ü' + x\r\nif c:\r\n\tprint(b'ß', y)\n", "f")
    assert [(s.first, s.last) for s in parsed.statements] == [(1, 1), (2, 3)]
    for statement in parsed.statements:
        for use in statement.uses:
            line, column = use.place
            assert parsed.lines[line - 1][column:].startswith(use.name)


def test_nesting_is_no_problem() -> None:
    assert {use.name for use in only("x = " + "(" * 90 + "y" + ")" * 90 + " + a" * 400).uses} == {"y", "a"}


@pytest.mark.parametrize("text", ["x = ", "class A: pass", "x = 'a' 'b'"])
def test_what_is_no_program(text: str) -> None:
    with pytest.raises(StarlarkSyntaxError):
        outline(text, "f")
