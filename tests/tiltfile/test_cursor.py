"""The tolerant reading of Tiltfile text: what the cursor stands in, and what a text defines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipytilt.tiltfile.cursor import Cursor, cursor, name_at, names_of, tokens


def at(text: str) -> Cursor:
    """The cursor where the bar stands."""
    return cursor(text.replace("|", "", 1), text.index("|"))


@pytest.mark.parametrize(
    "text, prefix, owner",
    [
        ("|", "", ""),
        ("do|", "do", ""),
        ("do|cker", "do", ""),
        ("os.|", "", "os"),
        ("os.path.jo|", "jo", "os.path"),
        ("x = os . pa|", "pa", "os"),
        ("a['x'].ke|", "ke", "?"),
        ("'text'.|", "", "?"),
        ("f(1).|", "", "?"),
        ("1\nfoo|", "foo", ""),
        ("a = b.c\nd|", "d", ""),
        ("f(os.na|", "na", "os"),
    ],
)
def test_names(text: str, prefix: str, owner: str) -> None:
    found = at(text)
    assert (found.prefix, found.owner, found.string, found.silent) == (prefix, owner, None, False)


@pytest.mark.parametrize("text", ["# os.|", "x = 1 # |", "x = 12|", "x = 0x1f|", "def na|"])
def test_places_with_nothing_to_say(text: str) -> None:
    assert at(text).silent


@pytest.mark.parametrize(
    "text, string",
    [
        ("f('|", ""),
        ("f('ab|", "ab"),
        ("f('ab|')", "ab"),
        ("f(\"a'b|", "a'b"),
        ("f('a\\'b|", "a\\'b"),
        ("f('''a\n'b|", "a\n'b"),
        ("f(r'a|", "a"),
        ("x = 'a' + 'b|", "b"),
        ("'open\nf('c|", "c"),
    ],
)
def test_strings(text: str, string: str) -> None:
    assert at(text).string == string


@pytest.mark.parametrize("text", ["f('a'|", "f('a', |", "'''a'''|", "x = 'open\n|"])
def test_no_strings(text: str) -> None:
    assert at(text).string is None


@pytest.mark.parametrize(
    "text, function, index, keyword",
    [
        ("f(|", "f", 0, ""),
        ("f (|", "f", 0, ""),
        ("a.b(|", "a.b", 0, ""),
        ("f(1, |", "f", 1, ""),
        ("f(1, k=|", "f", 1, "k"),
        ("f(1, k = 2, |", "f", 1, ""),
        ("f(k='a', |", "f", 0, ""),
        ("f(\n  1,  # why (\n  '),', |", "f", 2, ""),
        ("f(g(1, 2), |", "f", 1, ""),
        ("f(g(|", "g", 0, ""),
        ("f([1, 2, '|", "f", 0, ""),
        ("f(deps=['a', '|", "f", 0, "deps"),
        ("f((1, |", "f", 0, ""),
        ("f(a == |", "f", 0, ""),
        ("f(x[0], |", "f", 1, ""),
        ("x = f(lambda a, b: 1, |", "f", 2, ""),
    ],
)
def test_calls(text: str, function: str, index: int, keyword: str) -> None:
    call = at(text).call
    assert call is not None
    assert (call.function, call.index, call.keyword) == (function, index, keyword)


@pytest.mark.parametrize("text", ["|", "f()|", "if (|", "def f(|", "x = [|", "f({'a': '|", "not (|", "'a'.join(x)(|"])
def test_no_calls(text: str) -> None:
    assert at(text).call is None


@pytest.mark.parametrize("text, begins", [("f(|", True), ("f(a|", True), ("f(1, a|", True), ("f(1 + a|", False)])
def test_the_beginning_of_an_argument(text: str, begins: bool) -> None:  # noqa: FBT001 - a table
    assert at(text).at_argument is begins


def test_arguments_that_are_strings_are_remembered() -> None:
    call = at("docker_build('img', context='./web', only=['a'], ignore='|").call
    assert call is not None
    assert call.literals == {0: "img", "context": "./web"}
    assert call.given == {"context", "only", "ignore"}


@pytest.mark.parametrize(
    "text, name",
    [
        ("os.path.jo|in(x)", "os.path.join"),
        ("os.pa|th.join(x)", "os.path"),
        ("|os.path", "os"),
        ("f(a|)", "a"),
        ("f(|)", ""),
        ("f(1|)", ""),
        ("x = 'docker_|build'", ""),
        ("# docker_|build", ""),
        ("if| x:", ""),
    ],
)
def test_the_name_under_the_cursor(text: str, name: str) -> None:
    assert name_at(text.replace("|", "", 1), text.index("|")) == name


def test_what_a_text_binds() -> None:
    names = names_of(
        "a, (b, c) = 1, (2, 3)\n"
        "d += 1\n"
        "e.f = 1\n"
        "g[0] = 1\n"
        "load('./x', 'h', i='j')\n"
        "for k, l in m: n = 1\n"
        "if o: p = q == r\n"
        "local_resource(\n  'api',\n  cmd='x',\n)\nlocal_resource(name='web')\n"
        "def s(t, u=(1, 2), *v, **w):\n  '''Does s.\n'''\n  x = [y for y in z]\n"
    )
    assert set(names.names) == set("abcdhiklnpstuvwxy")
    assert set(names.globals) == set("abcds")
    assert names.functions["s"].head == "s(t, u=(1, 2), *v, **w)"
    assert names.functions["s"].parameters == ("t", "u", "v", "w")
    assert names.functions["s"].doc == "Does s."
    assert names.first["local_resource"] == ("api", "web")


@given(st.text(alphabet="ab.(),='\"[]{}#\\\n :=1 def load for in", max_size=60), st.integers(0, 60))
def test_no_text_is_too_strange(text: str, offset: int) -> None:
    pieces = list(tokens(text))
    assert all(piece.text == text[piece.start : piece.end] for piece in pieces)
    assert [piece.start for piece in pieces] == sorted(piece.start for piece in pieces)
    found = cursor(text, min(offset, len(text)))
    assert text[: min(offset, len(text))].endswith(found.prefix)
    names_of(text)
    name_at(text, min(offset, len(text)))
