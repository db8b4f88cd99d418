"""What the cursor stands in: a tolerant reading of Tiltfile text that may be half written.

Pure functions of text, on whatever thread asks; nothing is evaluated, nothing is ever raised. `completion` and `manual`
work on what is found here. The real parser (`starlark.check`) refuses such text, which is why this one exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
       |(?P<open>[rRbB]{0,2}(?:\"\"\"|'''|"|'))
       |(?P<number>\d[\w.]*)
       |(?P<name>[^\W\d]\w*)
       |(?P<blank>[ \t\r\f]+|\\\n)
       |(?P<line>\n)
       |(?P<op>[=!<>]=|.)""",
    re.VERBOSE | re.DOTALL,
)
_ENDS = {quote: re.compile(r"(?:\\.|[^\\\n])*?(?P<end>" + quote + ")", re.DOTALL) for quote in ("'", '"')}
_ENDS |= {quote: re.compile(r"(?:\\.|[^\\])*?(?P<end>" + quote + ")", re.DOTALL) for quote in ("'''", '"""')}
_CLOSES = {")": "(", "]": "[", "}": "{"}
KEYWORDS = (
    *("and", "break", "continue", "def", "elif", "else", "for", "if", "in", "lambda", "load", "not", "or", "pass"),
    *("return", "while"),
)
"""The words of the language; none of them is the name of a function that is called, `load` apart."""

_NO_FUNCTION = frozenset(KEYWORDS) - {"load"}


class Token(NamedTuple):
    """A piece of text. `value` is a string's content; an `open` string has no end before the text has."""

    kind: str  # comment, string, open, number, name, line, op
    text: str
    start: int
    end: int
    value: str = ""


def tokens(text: str) -> Iterator[Token]:
    """The pieces of a text, blanks left out. A string that is left open ends with its line, or with the text."""
    at = 0
    while match := _TOKEN.match(text, at):
        kind, start, at = match.lastgroup or "", at, match.end()
        if kind == "open":
            quote = match[0].lstrip("rRbB")
            closed = _ENDS[quote].match(text, at)
            body = at
            if closed:
                at = closed.end()
                yield Token("string", text[start:at], start, at, text[body : closed.start("end")])
                continue
            line = text.find("\n", at) if len(quote) == 1 else -1
            at = len(text) if line < 0 else line
            yield Token("open" if line < 0 else "string", text[start:at], start, at, text[body:at])
        elif kind != "blank":
            yield Token(kind, match[0], start, at)


# ---------------------------------------------------------------------------------------------- the cursor


@dataclass(slots=True)
class Call:
    """An open bracket before the cursor; `function` is what is called, "" if that is no plain name or no call.

    `index` counts the positional arguments before the cursor, `keyword` names the argument it stands in, `given` are
    the keywords so far, `literals` the arguments that are plain strings, by position or name.
    """

    bracket: str
    function: str = ""
    index: int = 0
    keyword: str = ""
    given: set[str] = field(default_factory=set)
    literals: dict[int | str, str] = field(default_factory=dict)
    size: int = 0  # pieces of the argument the cursor stands in

    def finish_argument(self) -> None:
        """A comma."""
        self.index += not self.keyword
        self.keyword, self.size = "", 0


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the cursor stands.

    Attributes:
        prefix: the part of a name before the cursor.
        owner: what stands before the dot before `prefix`: a dotted name, "?" for any other value, "" without a dot.
        string: the content of the string the cursor is in, up to the cursor; None outside of strings.
        silent: in a comment or a number, where there is nothing to offer.
        call: the innermost open call, if the cursor stands in an argument of one.
        at_argument: nothing of the argument stands before `prefix`.
    """

    prefix: str = ""
    owner: str = ""
    string: str | None = None
    silent: bool = False
    call: Call | None = None
    at_argument: bool = False


@dataclass(slots=True)
class _Reader:
    """Walks the pieces before the cursor; `chain` is the dotted name that has just been read."""

    calls: list[Call] = field(default_factory=list)
    chain: str = ""
    word: str = ""  # the name before the one just read, such as def

    def read(self, token: Token) -> None:
        top = self.calls[-1] if self.calls else None
        if token.kind == "op":
            self._operator(token.text, top)
        elif token.kind == "name":
            self.word = "" if self.chain.endswith(".") else self.chain
            self.chain = self.chain + token.text if self.chain.endswith(".") else token.text
        elif token.kind == "string":
            if top and not top.size:
                top.literals[top.keyword or top.index] = token.value
            self.chain = "?"
        elif token.kind == "number":
            self.chain = "?"
        elif token.kind == "line" and not self.calls:
            self.chain = self.word = ""
        if top and token.kind in ("name", "number", "string", "op") and token.text not in (",", "="):
            top.size += 1

    def _operator(self, text: str, top: Call | None) -> None:
        if text == "." and self.chain:
            self.chain += "."
            return
        if text in ("(", "[", "{"):
            defines = self.word == "def"
            called = text == "(" and not defines and self.chain not in _NO_FUNCTION and "?" not in self.chain
            self.calls.append(Call(text, self.chain if called else ""))
        elif text in _CLOSES:
            if top and top.bracket == _CLOSES[text]:
                self.calls.pop()
            self.chain = "?"
            return
        elif text == "," and top:
            top.finish_argument()
        elif text == "=" and top and top.bracket == "(" and top.size == 1 and self.chain.isidentifier():
            top.keyword, top.size = self.chain, 0
            top.given.add(self.chain)
        self.chain = ""


def cursor(text: str, offset: int) -> Cursor:
    """What the cursor at this offset of the text stands in."""
    before, reader = text[:offset], _Reader()
    last = Token("line", "", 0, 0)
    for token in tokens(before):
        if token.end == len(before) and token.kind in ("comment", "open", "name", "number"):
            last = token
            break
        reader.read(token)
        last = token
    call = _innermost(reader.calls)
    if last.end == len(before) and last.kind in ("comment", "number"):
        return Cursor(silent=True, call=call)
    if last.kind == "open":
        return Cursor(string=last.value, call=call)
    prefix = last.text if last.kind == "name" and last.end == len(before) else ""
    fresh = bool(reader.calls) and not reader.calls[-1].size and reader.calls[-1].bracket == "("
    return Cursor(
        prefix=prefix,
        owner=reader.chain[:-1] if reader.chain.endswith(".") else "",
        silent=reader.chain == "def" and bool(prefix),
        call=call,
        at_argument=fresh and not reader.chain,
    )


def _innermost(calls: list[Call]) -> Call | None:
    """The call whose argument the cursor is in, lists and plain parentheses around it being looked through."""
    for call in reversed(calls):
        if call.function:
            return call
        if call.bracket == "{":
            return None
    return None


def name_at(text: str, offset: int) -> str:
    """The dotted name the cursor touches, up to and with the part it is in; "" if it touches none."""
    chain, end = "", -1
    for token in tokens(text):
        if token.start > offset:
            break
        if token.kind == "name":
            chain = chain + token.text if chain.endswith(".") else token.text
            if token.start <= offset <= token.end and token.text not in _NO_FUNCTION:
                return chain
        else:
            chain = chain + "." if token.text == "." and chain and token.start == end else ""
        end = token.end
    return ""


# ---------------------------------------------------------------------------------------------- what a text defines


@dataclass(frozen=True, slots=True)
class Defined:
    """A function of the user's: its parameters without stars, how its head is written, its docstring."""

    name: str
    parameters: tuple[str, ...]
    head: str
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """What a text binds: `names` in order of appearance, functions with what they take.

    `globals` are the names that stand at the beginning of a line, which other files may load; `first` are, for each
    function that is called, the strings it was given first.
    """

    names: tuple[str, ...]
    globals: tuple[str, ...]
    functions: Mapping[str, Defined]
    first: Mapping[str, tuple[str, ...]]


@lru_cache(maxsize=256)
def names_of(text: str) -> Names:
    """What a text binds, wherever in it."""
    found = list(_statements(text))
    names: dict[str, None] = {}
    outer: dict[str, None] = {}
    functions: dict[str, Defined] = {}
    first: dict[str, tuple[str, ...]] = {}
    begin = 0
    for at, (token, depth) in enumerate(found):
        rest = [each for each, _ in found[at + 1 : at + 5]]
        if token.kind == "line" or (token.text == ":" and not depth):
            begin = at + 1
        elif token.text == "=" and not depth:
            targets = dict.fromkeys(_targets([each for each, _ in found[begin:at]]))
            names |= targets
            outer |= targets if _begins_line(text, found[begin][0]) else {}
        elif token.text == "for":
            names |= dict.fromkeys(_loop_variables(each for each, _ in found[at + 1 :]))
        elif token.text == "def" and rest and rest[0].kind == "name":
            made = _defined(text, [each for each, _ in found[at + 1 : at + 1_000]])
            functions[made.name] = made
            names |= dict.fromkeys((made.name, *made.parameters))
            outer |= {made.name: None} if _begins_line(text, token) else {}
        elif token.text == "load" and not depth:
            names |= dict.fromkeys(_loaded([each for each, _ in found[at + 1 : at + 1_000]]))
        if token.kind == "name" and (given := _first_argument(rest)):
            first[token.text] = (*first.get(token.text, ()), given)
    return Names(tuple(names), tuple(outer), functions, first)


def _begins_line(text: str, token: Token) -> bool:
    return text[token.start - 1 : token.start] in ("", "\n")


def _statements(text: str) -> Iterator[tuple[Token, int]]:
    """The pieces of a text with how many brackets are open before them; ends of lines only where they end something."""
    depth = 0
    for token in tokens(text):
        if token.kind == "op" and token.text in _CLOSES:
            depth = max(0, depth - 1)
        if token.kind != "comment" and (token.kind != "line" or not depth):
            yield token, depth
        if token.kind == "op" and token.text in _CLOSES.values():
            depth += 1


def _first_argument(rest: list[Token]) -> str:
    """The string that is the first argument, or the first one by keyword, of the call `rest` begins with."""
    match [token.text if token.kind == "op" else token.kind for token in rest]:
        case ["(", "string", *_]:
            return rest[1].value
        case ["(", "name", "=", "string"]:
            return rest[3].value
    return ""


def _targets(statement: list[Token]) -> Iterator[str]:
    """The names before an equals sign; none if an attribute or an element is what is assigned to."""
    if all(token.kind == "name" or token.text in "(),+-*/%|&^[]" for token in statement) and "[" not in {
        token.text for token in statement[1:]
    }:
        yield from (token.text for token in statement if token.kind == "name" and token.text not in _NO_FUNCTION)


def _loop_variables(rest: Iterable[Token]) -> Iterator[str]:
    for token in rest:
        if token.text == "in" or token.kind == "line":
            return
        if token.kind == "name":
            yield token.text


def _arguments(rest: list[Token]) -> Iterator[list[Token]]:
    """The arguments between the bracket `rest` begins with and its end."""
    depth, argument = 0, list[Token]()
    for token in rest:
        if token.kind == "op" and token.text in "([{":
            depth += 1
            if depth == 1:
                continue
        if token.kind == "op" and token.text in _CLOSES:
            depth -= 1
        if not depth or (depth == 1 and token.text == ","):
            yield argument
            argument = []
            if not depth:
                return
        elif token.kind != "line":
            argument.append(token)
    yield argument


def _loaded(rest: list[Token]) -> Iterator[str]:
    if rest and rest[0].text == "(":
        for argument in list(_arguments(rest))[1:]:
            if argument and argument[0].kind in ("name", "string"):
                yield argument[0].value or argument[0].text


def _defined(text: str, rest: list[Token]) -> Defined:
    name, doc, depth, end = rest[0].text, "", 0, rest[0].end
    for at, token in enumerate(rest[1:], 1):
        depth += (token.text in "([{") - (token.text in _CLOSES) if token.kind == "op" else 0
        if depth == 0 and (token.text == ":" or token.kind == "line"):
            body = [token for token in rest[at + 1 : at + 3] if token.kind != "line"]
            doc = body[0].value if body and body[0].kind == "string" else ""
            break
        end = token.end
    words = (next((token.text for token in argument if token.kind == "name"), "") for argument in _arguments(rest[1:]))
    head = " ".join(text[rest[0].start : end].split())
    return Defined(name, tuple(filter(None, words)), head, doc.strip())
