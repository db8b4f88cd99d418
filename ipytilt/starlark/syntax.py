"""The text of a program: its tokens, and what of Python's grammar Starlark does not have.

Python's own parser does the parsing. Before that, a small tokenizer refuses what differs below the grammar (string
prefixes, escapes, number forms, adjacent strings) and rewrites, without moving any line, what Python would refuse:
tabs mixed with blanks in indentation, and bytes literals that are not ASCII. Afterwards `refusals` walks the tree.
Pure functions.
"""

from __future__ import annotations

import ast
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from ipytilt.starlark.errors import Position, StarlarkSyntaxError

_TOKEN = re.compile(
    r"""(?P<skip>[ \t\f]+|\\\n|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<string>(?P<prefix>[rRbBuUfFtT]{0,2})
          (?P<quote>\"{3}|'{3}|"|')(?P<body>(?:(?<=\"{3})[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*(?=\"{3})
            |(?<='{3})[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*(?='{3})
            |(?<=")(?:[^"\\\n]|\\.)*(?=")|(?<=')(?:[^'\\\n]|\\.)*(?=')))(?P=quote))
      | (?P<number>0[xX]\w*|(?:\d|\.\d)(?:[eE][+-](?=\d)|[\w.])*)
      | (?P<name>[^\W\d]\w*)
      | (?P<op>\*\*=?|//=?|>>=?|<<=?|[-+*/%&|^=<>!@:]=|->|[-+*/%&|^~<>=()\[\]{},:;.@])""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(
    r"0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|0+|[1-9][0-9]*"
    r"|(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+"
)
_ESCAPE = re.compile(
    r"\\(?:(?P<plain>[abfnrtv\\'\"\n])|(?P<octal>[0-7]{1,3})|x(?P<hex>[0-9a-fA-F]{2})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<bad>.?))",
    re.DOTALL,
)
_PLAIN = dict(zip("abfnrtv\\'\"\n", "\a\b\f\n\r\t\v\\'\"", strict=False)) | {"\n": ""}
_TAB = 8
_MAX_DIGITS = 3_400  # of a literal; hexadecimal ones stay below control.MAX_INT
_RESERVED = {"__builtins__", "__debug__"}  # names that Python treats specially


class Token(NamedTuple):
    """A token that is neither blank nor comment; line from 1, column from 0."""

    text: str
    line: int
    col: int


class Source:
    """A program's text with its tokens and, once parsed, its tree."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.starts = [0, *(match.end() for match in re.finditer("\n", self.text))]
        try:
            self.text.encode()
        except UnicodeEncodeError as error:
            raise self._unexpected(error.start) from None
        self.tokens: list[Token] = []
        self.bytes: dict[tuple[int, int], bytes] = {}  # the values of bytes literals, by place
        self._shifts: dict[int, int] = {}  # how far the rewriting moved a line's text to the right
        self._lines = self._rewrite().split("\n")
        self._places: list[tuple[int, int]] = [(token.line, token.col) for token in self.tokens]

    def error(self, message: str, line: int, col: int) -> StarlarkSyntaxError:
        """An error at a line (from 1) and column (from 0)."""
        return StarlarkSyntaxError(message, Position(self.file, line, col + 1))

    def error_at(self, message: str, node: ast.AST) -> StarlarkSyntaxError:
        """An error where a node begins."""
        return self.error(message, *self.at(node))

    def at(self, node: ast.AST) -> tuple[int, int]:
        """Where a node begins: line from 1, column from 0 in characters of the original text."""
        return self._original(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def after(self, node: ast.AST) -> tuple[int, int]:
        """Where the first token after a node begins, closing parentheses around the node left out."""
        end = self._original(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
        place = bisect_left(self._places, end)
        while place < len(self.tokens) and self.tokens[place].text == ")":
            place += 1
        return self._places[place] if place < len(self.tokens) else end

    def ends_with_comma(self, node: ast.AST) -> bool:
        """Whether the last token of a node is a comma."""
        end = self._original(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
        place = bisect_left(self._places, end)
        return place > 0 and self.tokens[place - 1].text == ","

    def parse(self) -> ast.Module:
        """Parse with Python's grammar. Raises StarlarkSyntaxError."""
        try:
            return ast.parse("\n".join(self._lines))
        except SyntaxError as error:
            line, col = error.lineno or 1, max(0, (error.offset or 1) - 1)
            line = min(line, len(self._lines))
            raise self.error(error.msg, line, max(0, col - self._shifts.get(line, 0))) from None
        except (RecursionError, MemoryError):
            raise self.error("the program is nested too deeply", 1, 0) from None

    def _original(self, line: int, offset: int) -> tuple[int, int]:
        text = self._lines[line - 1]
        col = offset if text.isascii() else len(text.encode()[:offset].decode("utf-8", "ignore"))
        return line, max(0, col - self._shifts.get(line, 0))

    def _locate(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1]

    def _rewrite(self) -> str:
        """Tokenize, and return the text that Python shall parse."""
        text, parts, end, depth = self.text, [], 0, 0
        fresh, after_string = True, False  # at the start of a logical line; right after a string
        for match in _TOKEN.finditer(text):
            line, col = self._locate(match.start())
            if match.start() != end:
                raise self._unexpected(end)
            piece, kind, end = match[0], match.lastgroup, match.end()
            if kind == "skip":
                if fresh and col == 0 and "\t" in piece:
                    piece = piece.expandtabs(_TAB)
                    self._shifts[line] = len(piece) - len(match[0])
                parts.append(piece)
                continue
            if kind == "newline":
                fresh, after_string = fresh or depth == 0, after_string and depth > 0
                parts.append(piece)
                continue
            if match["string"]:
                if after_string:
                    raise self.error("adjacent strings are not joined: use +", line, col)
                piece = self._string(match, line, col)
            elif kind == "number":
                self._check_number(piece, line, col)
            elif kind == "name" and piece in _RESERVED:
                raise self.error(f"{piece} is a reserved name", line, col)
            depth += (piece in "([{") - (piece in ")]}")
            fresh, after_string = False, bool(match["string"])
            self.tokens.append(Token(match[0], line, col))
            parts.append(piece)
        if end != len(text):
            raise self._unexpected(end)
        return "".join(parts)

    def _check_number(self, literal: str, line: int, col: int) -> None:
        if not _NUMBER.fullmatch(literal):
            raise self.error(f"invalid number literal {literal}", line, col)
        is_float = not literal.isalnum() or ("e" in literal.lower() and literal[:2] not in ("0x", "0X"))
        if len(literal) > _MAX_DIGITS or (is_float and math.isinf(float(literal))):
            raise self.error("number literal too large", line, col)

    def _unexpected(self, offset: int) -> StarlarkSyntaxError:
        char = self.text[offset]
        if char in "\"'" and self.text[max(0, offset - 2) : offset] == 2 * char:
            offset -= 2
        what = "unterminated string" if char in "\"'" else f"unexpected input character {char!r}"
        return self.error(what, *self._locate(offset))

    def _string(self, match: re.Match[str], line: int, col: int) -> str:
        """Check a string literal; bytes are replaced by as many characters that Python accepts."""
        prefix, quote, body = match["prefix"], match["quote"], match["body"]
        if prefix not in ("", "r", "b", "rb"):
            what = "f-strings are" if "f" in prefix.lower() else f"string prefix {prefix} is"
            raise self.error(f"{what} not part of Starlark", line, col)
        is_bytes = "b" in prefix
        if "r" not in prefix and "\\" in body:
            body = _ESCAPE.sub(lambda escape: self._unescape(escape, match.start("body"), is_bytes=is_bytes), body)
        if not is_bytes:
            return match[0]
        self.bytes[line, col] = body.encode("utf-8", "surrogateescape")
        masked = re.sub(r"[^\n]", "x", match["body"])
        return f"{prefix}{quote}{masked}{quote}"

    def _unescape(self, escape: re.Match[str], begin: int, *, is_bytes: bool) -> str:
        digits = escape["octal"] or escape["hex"]
        if escape["plain"]:
            return _PLAIN[escape["plain"]]
        if digits:
            number = int(digits, 8 if escape["octal"] else 16)
            if number < 128 or (is_bytes and number < 256):
                return chr(number) if number < 128 else chr(0xDC00 + number)
            problem = f"escape sequence {escape[0]} is not ASCII (use \\u{number:04X})"
        elif escape["bad"] is None:
            number = int(escape["short"] or escape["long"], 16)
            if number <= 0x10FFFF and not 0xD800 <= number < 0xE000:
                return chr(number)
            problem = f"invalid Unicode code point U+{number:04X}"
        else:
            problem = f"invalid escape sequence {escape[0]}"
        raise self.error(problem, *self._locate(begin + escape.start()))


_ABSENT: dict[type[ast.AST], str] = {
    getattr(ast, name): what
    for what, names in {
        "async": "AsyncFor AsyncFunctionDef AsyncWith Await",
        "assert statements": "Assert",
        "classes": "ClassDef",
        "del statements": "Delete",
        "f-strings": "JoinedStr",
        "generator expressions": "GeneratorExp",
        "global statements": "Global Nonlocal",
        "import statements (use load)": "Import ImportFrom",
        "match statements": "Match",
        "raise statements (use fail)": "Raise",
        "set comprehensions (use set([...]))": "SetComp",
        "set literals (use set([...]))": "Set",
        "the ** operator": "Pow",
        "the := operator": "NamedExpr",
        "the @ operator": "MatMult",
        "try statements": "Try TryStar",
        "type annotations": "AnnAssign",
        "with statements": "With",
        "yield": "Yield YieldFrom",
    }.items()
    for name in names.split()
}
_SIMPLE = {ast.Name, ast.Load, ast.Store, ast.alias}
MAX_NESTING = 1_000  # levels of the tree; Python's compiler recurses on it


def refuse(source: Source, tree: ast.Module) -> None:
    """Raise StarlarkSyntaxError at the first construct that Starlark does not have."""
    problems: list[tuple[tuple[int, int], str]] = []
    level: list[ast.AST] = [tree]
    allowed: set[int] = set()  # starred expressions that are arguments
    for _ in range(MAX_NESTING):
        below: list[ast.AST] = []
        for node in level:
            if type(node) in _SIMPLE:
                continue
            children = list(ast.iter_child_nodes(node))
            below += children
            for child in children:
                if type(child) in _ABSENT:
                    where = child if hasattr(child, "lineno") else node
                    problems.append((source.at(where), f"Starlark has no {_ABSENT[type(child)]}"))
            if isinstance(node, ast.Call):
                allowed.update(map(id, node.args))
            problems.extend((source.at(where), message) for where, message in _problems(source, node))
            if isinstance(node, ast.Starred) and id(node) not in allowed:
                problems.append((source.at(node), "starred expressions are only for arguments"))
        if not below:
            break
        level = below
    else:
        problems.append((source.at(next(node for node in level if hasattr(node, "lineno"))), "nested too deeply"))
    if problems:
        (line, col), message = min(problems)
        raise source.error(message, line, col)


def _problems(source: Source, node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """What is wrong with one node by itself."""
    match node:
        case ast.FunctionDef() | ast.Lambda():
            yield from _function_problems(node)
        case ast.Assign(targets=[_, second, *_]):
            yield second, "Starlark has no chained assignment"
        case ast.Compare(ops=[_, _, *_]):
            yield node.comparators[1], "comparisons cannot be chained (use and)"
        case ast.Compare(ops=[ast.Is() | ast.IsNot()]):
            yield node.comparators[0], "Starlark has no is operator (use ==)"
        case ast.Constant(value=value) if value is ... or isinstance(value, complex):
            yield node, "Starlark has no such literal"
        case ast.For(orelse=[first, *_]) | ast.While(orelse=[first, *_]):
            yield first, "loops have no else"
        case ast.Dict(keys=keys) if None in keys:
            yield node, "Starlark has no {**dict} (use |)"
        case ast.Tuple(ctx=ast.Load()) if node.elts and source.ends_with_comma(node):
            yield node, "a tuple with a trailing comma needs parentheses"
        case ast.Tuple(elts=[]) | ast.List(elts=[]) if isinstance(node.ctx, ast.Store):
            yield node, "cannot assign to an empty sequence"
        case ast.Tuple(elts=elts) if any(isinstance(item, ast.Slice) for item in elts):
            yield node, "a slice has one range"
        case ast.Call():
            yield from _argument_problems(node)
        case ast.AugAssign(target=ast.Tuple() | ast.List()):
            yield node, "cannot use a sequence in augmented assignment"


def _function_problems(node: ast.FunctionDef | ast.Lambda) -> Iterator[tuple[ast.AST, str]]:
    args = node.args
    if args.posonlyargs:
        yield args.posonlyargs[0], "Starlark has no positional-only parameters"
    for arg in [*args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]:
        if arg.annotation:
            yield arg.annotation, "Starlark has no type annotations"
    if isinstance(node, ast.FunctionDef):
        for decorator in node.decorator_list:
            yield decorator, "Starlark has no decorators"
        if node.returns:
            yield node.returns, "Starlark has no type annotations"
        if getattr(node, "type_params", None):
            yield node, "Starlark has no type parameters"


def _argument_problems(node: ast.Call) -> Iterator[tuple[ast.AST, str]]:
    """The order of arguments: positional, named, *args, **kwargs."""
    ranks = ["positional argument", "keyword argument", "*args", "**kwargs"]
    seen = 0
    arguments: list[ast.expr | ast.keyword] = [*node.args, *node.keywords]
    for argument in sorted(arguments, key=lambda arg: (arg.lineno, arg.col_offset)):
        if isinstance(argument, ast.keyword):
            rank = 1 if argument.arg else 3
        else:
            rank = 2 if isinstance(argument, ast.Starred) else 0
        if rank < seen or rank == seen >= 2:
            message = (
                f"multiple {ranks[rank]} not allowed" if rank == seen else f"{ranks[rank]} may not follow {ranks[seen]}"
            )
            yield argument, message
        seen = max(seen, rank)
