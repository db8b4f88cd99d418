"""Dockerfiles as text: instructions with their lines, words with variables, and the images they are built on.

Owns the syntax and nothing else: pure functions, usable on any thread, light to import, for the sandbox's builder and
for engines that replace `FROM web` by what was built under that name. What instructions *do* is `sandbox_image`'s
business. Neighbour: `core.images` asks which references a Dockerfile mentions while a Tiltfile is assembled, and needs
no positions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ipytilt.core.images import matches
from ipytilt.core.images import parse as parse_reference

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z]+)\s*=\s*(\S+)\s*$")
_FLAG = re.compile(r"\s*--([a-z][a-z-]*)(?:=(\S*))?(?=\s|$)")
_HEREDOC = re.compile(r"<<(-?)([\"']?)([A-Za-z_][\w.]*)\2")
_VARIABLE = r"\$\{(\w+)(?:(:?[-+?])((?:\$\{[^}]*\}|[^}])*))?\}|\$(\w+)"
_TOKEN = re.compile(
    rf"""\\(?P<quoted>.) | '(?P<single>[^']*)' | "(?P<double>(?:\\.|[^"\\])*)" | (?P<variable>{_VARIABLE})
       | (?P<space>\s+) | (?P<plain>.)""",
    re.DOTALL | re.VERBOSE,
)
_IN_DOUBLE_QUOTES = re.compile(rf"\\([\"\\$])|(?P<variable>{_VARIABLE})", re.DOTALL)


class DockerfileError(ValueError):
    """The text is no Dockerfile, or a word of it cannot be expanded; `line` is 1-based, 0 when it is not known."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document: its text with final newline, and whether variables in it are meant to be expanded."""

    name: str
    text: str
    expands: bool


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    `word` is upper case, `flags` the `--name=value` ones before the arguments, `rest` the arguments on one line, `argv`
    the arguments written as a JSON list, or None. It stands on lines `line` to `end`, both included.
    """

    word: str
    rest: str
    line: int
    end: int
    flags: tuple[tuple[str, str], ...] = ()
    argv: tuple[str, ...] | None = None
    heredocs: tuple[Heredoc, ...] = field(default=())

    def __str__(self) -> str:
        flags = "".join(f" --{name}={value}" for name, value in self.flags)
        return f"{self.word}{flags} {self.rest}"

    def flag(self, name: str) -> str:
        """The value of a flag, or ""."""
        return dict(self.flags).get(name, "")


def parse(text: str) -> tuple[Instruction, ...]:
    """All instructions in order.

    Raises:
        DockerfileError: there are none, one has no arguments, or a here-document does not end.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    escape = _escape_character(lines)
    found = []
    at = 0
    while at < len(lines):
        first = at
        if not lines[at].strip() or lines[at].lstrip().startswith("#"):
            at += 1
            continue
        logical, at = _joined(lines, at, escape=escape)
        word, arguments = [*logical.split(None, 1), "", ""][:2]
        heredocs: list[Heredoc] = []
        if word.upper() in {"RUN", "COPY", "ADD"}:
            for opening in _HEREDOC.finditer(arguments):
                heredoc, at = _heredoc(lines, at, opening=opening)
                heredocs.append(heredoc)
        found.append(_instruction(word, arguments, lines=(first + 1, at), heredocs=heredocs))
    if not found:
        raise DockerfileError("file with no instructions")
    return tuple(found)


def _escape_character(lines: Sequence[str]) -> str:
    for line in lines:
        directive = _DIRECTIVE.match(line.strip())
        if directive is None:
            break
        if directive[1].lower() == "escape":
            return directive[2]
    return "\\"


def _joined(lines: Sequence[str], at: int, *, escape: str) -> tuple[str, int]:
    """A logical line from physical ones, and where the next begins; comments and blank lines may stand in between."""
    logical = ""
    while at < len(lines):
        line = lines[at]
        at += 1
        if logical and (not line.strip() or line.lstrip().startswith("#")):
            continue
        if not line.rstrip().endswith(escape):
            return logical + line, at
        logical += line.rstrip()[: -len(escape)] or " "
    return logical, at


def _heredoc(lines: Sequence[str], at: int, *, opening: re.Match[str]) -> tuple[Heredoc, int]:
    body: list[str] = []
    for end in range(at, len(lines)):
        line = lines[end].lstrip("\t") if opening[1] else lines[end]
        if line == opening[3]:
            return Heredoc(opening[3], "".join(f"{each}\n" for each in body), not opening[2]), end + 1
        body.append(line)
    raise DockerfileError(f"here-document {opening[3]} does not end", at)


def _instruction(word: str, arguments: str, *, lines: tuple[int, int], heredocs: Sequence[Heredoc]) -> Instruction:
    flags = []
    rest = arguments
    if word.upper() in {"FROM", "RUN", "COPY", "ADD", "HEALTHCHECK"}:
        while flag := _FLAG.match(rest):
            flags.append((flag[1], flag[2] or ""))
            rest = rest[flag.end() :]
    rest = rest.strip()
    if not rest:
        raise DockerfileError(f"{word.upper()} requires at least one argument", lines[0])
    return Instruction(
        word=word.upper(),
        rest=rest,
        line=lines[0],
        end=lines[1],
        flags=tuple(flags),
        argv=_json_list(rest),
        heredocs=tuple(heredocs),
    )


def _json_list(text: str) -> tuple[str, ...] | None:
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None  # then it is shell form, as for Docker
    return tuple(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


# ---------------------------------------------------------------------------------------------- words and variables


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` as one word: variables replaced (unknown ones by nothing), quotes removed.

    Raises:
        DockerfileError: `${NAME:?why}` of a name that has no value.
    """
    return "".join(part for part, _ in _parts(text, values))


def words(text: str, values: Mapping[str, str]) -> list[str]:
    """`text` cut at white space outside quotes, each word as `expand` makes it; a value with blanks stays one word."""
    found: list[str] = []
    open_word = False
    for part, is_space in _parts(text, values):
        if is_space:
            open_word = False
        elif open_word:
            found[-1] += part
        else:
            found.append(part)
            open_word = True
    return found


def _parts(text: str, values: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    for token in _TOKEN.finditer(text):
        match token.lastgroup:
            case "double":
                yield _IN_DOUBLE_QUOTES.sub(lambda m: m[1] or _value(m["variable"], values), token["double"]), False
            case "variable":
                yield _value(token["variable"], values), False
            case group:
                yield token[group or 0], group == "space"


def _value(variable: str, values: Mapping[str, str]) -> str:
    match = re.fullmatch(_VARIABLE, variable, re.DOTALL)
    if match is None:
        return variable
    name, operator, alternative = match[1] or match[4], match[2] or "", match[3] or ""
    value = values.get(name)
    if operator.startswith(":") and not value:
        value = None
    if operator.endswith("+"):
        return "" if value is None else expand(alternative, values)
    if value is None and operator.endswith("?"):
        raise DockerfileError(f"{name}: {expand(alternative, values) or 'not set'}")
    return expand(alternative, values) if value is None and operator else value or ""


def assignments(text: str, values: Mapping[str, str]) -> list[tuple[str, str]]:
    """The pairs of `ENV` and `LABEL`: `a=1 b="2 3"`, or the older `a the rest of the line`."""
    first = text.split(None, 1)
    if "=" not in first[0]:
        if len(first) == 1:
            raise DockerfileError(f"{first[0]} must have a value: write {first[0]}=VALUE")
        return [(first[0], expand(first[1], values))]
    pairs = [word.partition("=") for word in words(text, values)]
    if bad := next((name for name, equals, _ in pairs if not equals or not name), None):
        raise DockerfileError(f"syntax error at {bad!r}: expected NAME=VALUE")
    return [(name, value) for name, _, value in pairs]


# ---------------------------------------------------------------------------------------------- images it is built on


def arguments_before_from(instructions: Sequence[Instruction], build_args: Mapping[str, str]) -> dict[str, str]:
    """What the `ARG`s above the first `FROM` are worth: the build's argument, else the default."""
    values: dict[str, str] = {}
    for instruction in instructions:
        if instruction.word != "ARG":
            break
        for name, default in declared_arguments(instruction, values):
            value = build_args.get(name, default)
            if value is not None:
                values[name] = value
    return values


def declared_arguments(instruction: Instruction, values: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """The names of an `ARG` with their defaults; None where there is none."""
    pairs = [word.partition("=") for word in words(instruction.rest, values)]
    return [(name, default if equals else None) for name, equals, default in pairs]


def from_parts(instruction: Instruction, values: Mapping[str, str]) -> tuple[str, str]:
    """The image of a `FROM` and the name of its stage ("" if it has none).

    Raises:
        DockerfileError: it is neither `FROM image` nor `FROM image AS name`.
    """
    parts = words(instruction.rest, values)
    if len(parts) == 3 and parts[1].lower() == "as":
        return parts[0], parts[2].lower()
    if len(parts) != 1 or not parts[0]:
        raise DockerfileError("FROM requires either one argument, or three: FROM <image> AS <name>", instruction.line)
    return parts[0], ""


def replace_images(text: str, images: Mapping[str, str], build_args: Mapping[str, str]) -> str:
    """The Dockerfile with each `FROM` and `COPY --from` of an image in `images` naming its replacement.

    References are compared as `built_as` does once variables are expanded; names of stages are left alone. Lines keep
    their numbers.
    """
    instructions = parse(text)
    values = arguments_before_from(instructions, build_args)
    lines = text.splitlines(keepends=True)
    stages: set[str] = set()
    for instruction in instructions:
        if instruction.word == "FROM":
            named, stage = from_parts(instruction, values)
            written = instruction.rest.split()[0]
        elif instruction.word in {"COPY", "ADD"} and instruction.flag("from"):
            written = instruction.flag("from")
            named, stage = expand(written, values), ""
        else:
            continue
        replacement = "" if named.lower() in stages else built_as(named, images)
        if replacement:
            _replace_once(lines, instruction, written, by=replacement)
        stages |= {stage} - {""}
    return "".join(lines)


def built_as(named: str, images: Mapping[str, str]) -> str:
    """What a reference of a Dockerfile was built as, of `images` (reference of the Tiltfile to built reference), or "".

    A key without a tag stands for all tags.
    """
    if named in images:
        return images[named]
    try:
        used = parse_reference(named)
        for reference, replacement in images.items():
            build = parse_reference(reference)
            if matches(build, used, exact=bool(build.tag or build.digest)):
                return replacement
    except ValueError:
        return ""  # `scratch`-like words and stage numbers are no references of ours
    return ""


def _replace_once(lines: list[str], instruction: Instruction, written: str, *, by: str) -> None:
    pattern = re.compile(rf"(?<![^\s=]){re.escape(written)}(?!\S)")
    for at in range(instruction.line - 1, instruction.end):
        lines[at], count = pattern.subn(lambda _: by, lines[at], count=1)
        if count:
            return
