"""JSON paths in kubectl's template form: where a custom resource keeps its images.

Pure functions over parsed documents, called by the Tiltfile layer while it assembles. `{.spec.image}`, `{.a[*].b}`,
`{..x}`, `{.a[?(@.k=="v")].b}`, `{range .a[*]}{.b}{end}`; what stands outside braces is literal text.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

_Step: TypeAlias = Callable[[list[Any]], list[Any]]
_Block: TypeAlias = "str | tuple[_Step, ...] | _Range"

_NAME = re.compile(r"(?:\\.|[^\s.,\[\]$@{}\\])+")
_QUOTED = re.compile(r"'((?:\\.|[^'\\])*)'|\"((?:\\.|[^\"\\])*)\"")
_SLICE = re.compile(r"(-?\d*):(-?\d*)(?::(\d+))?")
_COMPARISON = re.compile(r"((?:\"[^\"]*\"|'[^']*'|[^!<>=])+)([!<>=]+)(.+)", re.DOTALL)
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class _Range:
    """`{range ...}` to `{end}`: the inner blocks once for every hit."""

    steps: tuple[_Step, ...]
    inner: list[_Block] = field(default_factory=list)


class JsonPath:
    """A parsed path. ValueError if the text is none."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._blocks = _Parser(text).blocks()

    def find(self, document: Any) -> list[Any]:
        """Everything the path leads to, in order; LookupError says what is missing on the way."""
        return list(_found(self._blocks, document))


def _found(blocks: Sequence[_Block], value: Any) -> Iterator[Any]:
    for block in blocks:
        if isinstance(block, str):
            yield block
        elif isinstance(block, _Range):
            for item in _follow(block.steps, value):
                yield from _found(block.inner, item)
        else:
            yield from _follow(block, value)


def _follow(steps: Sequence[_Step], value: Any) -> list[Any]:
    values = [value]
    for step in steps:
        values = step(values) if values else []
    return values


# ---------------------------------------------------------------------------------------------- steps


def _field(name: str, values: list[Any]) -> list[Any]:
    found = [value[name] for value in values if isinstance(value, dict) and name in value]
    if not found:
        raise LookupError(f"{name} is not found")
    return found


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _wildcard(values: list[Any]) -> list[Any]:
    return [child for value in values for child in _children(value)]


def _below(values: list[Any]) -> list[Any]:
    """Every map and list at or below the values, outermost first."""
    found = []
    for value in values:
        if isinstance(value, dict | list):
            found += [value, *_below(_children(value))]
    return found


def _lists(values: list[Any]) -> list[list[Any]]:
    others = [value for value in values if not isinstance(value, list)]
    if others:
        raise LookupError(f"{others[0]} is not array or slice")
    return values


def _index(at: int, values: list[Any]) -> list[Any]:
    found = []
    for items in _lists(values):
        if not -len(items) <= at < len(items):
            raise LookupError(f"array index out of bounds: index {at}, length {len(items)}")
        found.append(items[at])
    return found


def _slice(part: slice, values: list[Any]) -> list[Any]:
    return [item for items in _lists(values) for item in items[part]]


def _union(alternatives: Sequence[Sequence[_Step]], values: list[Any]) -> list[Any]:
    return [hit for value in values for steps in alternatives for hit in _follow(steps, value)]


def _exists(steps: Sequence[_Step], values: list[Any]) -> list[Any]:
    return [item for items in _lists(values) for item in items if _reaches(steps, item)]


def _reaches(steps: Sequence[_Step], item: Any) -> bool:
    try:
        return bool(_follow(steps, item))
    except LookupError:
        return False


_Operand: TypeAlias = Callable[[Any], list[Any]]


def _compared(left: _Operand, compare: Callable[[Any, Any], Any], right: _Operand, values: list[Any]) -> list[Any]:
    return [item for items in _lists(values) for item in items if _holds(left(item), compare, right(item))]


def _holds(lefts: list[Any], compare: Callable[[Any, Any], Any], rights: list[Any]) -> bool:
    if not lefts or not rights:
        return False
    if len(lefts) > 1 or len(rights) > 1:
        raise LookupError("can only compare one element at a time")
    try:
        return bool(compare(lefts[0], rights[0]))
    except TypeError:
        raise LookupError("incompatible types for comparison") from None


# ---------------------------------------------------------------------------------------------- parsing


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def blocks(self) -> list[_Block]:
        """The whole template."""
        outer: list[list[_Block]] = [[]]
        while self._at < len(self._text):
            start = self._text.find("{", self._at)
            literal = self._text[self._at : start if start >= 0 else len(self._text)]
            if literal:
                outer[-1].append(literal)
            if start < 0:
                break
            self._at = start + 1
            self._group(outer)
        if len(outer) > 1:
            raise ValueError("unclosed range: {end} is missing")
        return outer[0]

    def _group(self, outer: list[list[_Block]]) -> None:
        """One `{...}`, up to and with its brace."""
        if self._take(r"\s*end\s*\}"):
            if len(outer) == 1:
                raise ValueError("not in range, nothing to end")
            outer.pop()
        elif self._take(r"\s*range\s+"):
            loop = _Range(tuple(self._steps("}")))
            outer[-1].append(loop)
            outer.append(loop.inner)
        elif (quoted := self._take(rf"\s*({_QUOTED.pattern})\s*\}}")) is not None:
            outer[-1].append(_unquoted(quoted[1]))
        else:
            outer[-1].append(tuple(self._steps("}")))

    def _steps(self, end: str) -> Iterator[_Step]:
        """Steps up to and with `end` ("" for the end of the text)."""
        while True:
            self._take(r"[\s@$]*")
            if end and self._take(re.escape(end)):
                return
            if self._at >= len(self._text):
                if end:
                    raise ValueError(f"unclosed action: {end!r} is missing")
                return
            yield self._step()

    def _step(self) -> _Step:
        if self._take(r"\.\.(?=[^\[.])"):
            self._at -= 1
            return _below
        if self._take(r"\.\.(?=\[)"):
            return _below
        if self._take(r"\.?\*"):
            return _wildcard
        if self._take(r"\.(?=\[)"):
            return self._step()
        if self._take(r"\."):
            name = self._take(_NAME.pattern)
            return partial(_field, re.sub(r"\\(.)", r"\1", name[0])) if name else list
        if self._take(r"\["):
            return self._bracket()
        if word := self._take(r"[A-Za-z]\w*(\(\))?"):
            raise ValueError(f"unrecognized identifier {word[0]}")
        raise ValueError(f"unrecognized character in action: {self._text[self._at]!r}")

    def _bracket(self) -> _Step:
        """What stands in brackets, up to and with the closing one."""
        body, depth, start = "", 1, self._at
        while depth:
            if self._at >= len(self._text):
                raise ValueError("unterminated array")
            if self._take(_QUOTED.pattern) is None:
                depth += {"[": 1, "]": -1}.get(self._text[self._at], 0)
                self._at += 1
            body = self._text[start : self._at - 1]
        if body.lstrip().startswith("?"):
            return _filter(body.strip())
        parts = [part.strip() for part in _split(body)]
        if len(parts) > 1:
            return partial(_union, [(_subscript(part),) for part in parts])
        return _subscript(parts[0])

    def _take(self, pattern: str) -> re.Match[str] | None:
        match = re.compile(pattern).match(self._text, self._at)
        if match:
            self._at = match.end()
        return match


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), text[1:-1])


def _split(body: str) -> list[str]:
    """The parts between commas that stand outside quotes."""
    parts, start = [], 0
    for match in re.finditer(rf"{_QUOTED.pattern}|,", body):
        if match[0] == ",":
            parts.append(body[start : match.start()])
            start = match.end()
    return [*parts, body[start:]]


def _subscript(part: str) -> _Step:
    if part == "*":
        return _wildcard
    if _QUOTED.fullmatch(part):
        return partial(_field, _unquoted(part))
    if re.fullmatch(r"(-?\d+)?", part):
        return partial(_index, int(part or 0))
    if bounds := _SLICE.fullmatch(part):
        return partial(_slice, slice(*(int(bound) if bound else None for bound in bounds.groups())))
    raise ValueError(f"invalid array index {part}")


def _filter(body: str) -> _Step:
    match = re.fullmatch(r"\?\((.*)\)", body, re.DOTALL)
    if not match:
        raise ValueError(f"unterminated filter: {body}")
    comparison = _COMPARISON.fullmatch(match[1])
    if not comparison:
        return partial(_exists, tuple(_Parser(match[1].strip())._steps("")))  # noqa: SLF001
    left, sign, right = comparison.groups()
    if sign not in _COMPARE:
        raise ValueError(f"unrecognized filter operator {sign}")
    return partial(_compared, _operand(left.strip()), _COMPARE[sign], _operand(right.strip()))


def _operand(text: str) -> _Operand:
    if _QUOTED.fullmatch(text):
        return _constant(_unquoted(text))
    if text in ("true", "false"):
        return _constant(text == "true")
    if _NUMBER.fullmatch(text):
        return _constant(float(text))
    steps = tuple(_Parser(text)._steps(""))  # noqa: SLF001
    return lambda item: _follow(steps, item)


def _constant(value: Any) -> _Operand:
    return lambda _item: [value]
