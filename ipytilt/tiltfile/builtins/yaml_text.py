"""YAML as Tilt and as Compose read it, and YAML as Tilt writes it: the one place that knows the YAML library.

Pure functions over text. Both dialects yield plain JSON data (maps with string keys). PyYAML is imported at first use:
most Tiltfiles need none.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

_MAX_VALUES = 2_000_000  # what aliases may expand a document to


class YamlError(ValueError):
    """The text is no YAML; the message says where."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value under `!reset` or `!override` in a Compose file."""

    tag: str
    value: Any


@dataclass(frozen=True, slots=True)
class Dialect:
    """How plain scalars are understood: which words are booleans, which digits are integers."""

    true: frozenset[str]
    false: frozenset[str]
    integral_floats_are_ints: bool


def _spellings(*words: str) -> frozenset[str]:
    return frozenset(form for word in words for form in (word, word.capitalize(), word.upper()))


KUBERNETES = Dialect(_spellings("y", "yes", "on", "true"), _spellings("n", "no", "off", "false"), True)
"""YAML 1.1 turned into JSON: what `decode_yaml` and manifests are read with."""

COMPOSE = Dialect(_spellings("true"), _spellings("false"), False)
"""Compose files."""

_INT = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F_]+|0[oO]?[0-7_]+|0[bB][01_]+|[1-9][0-9_]*|0)$")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
)
_NULL = re.compile(r"(?:~|null|Null|NULL|)$")


def documents(text: str, dialect: Dialect = KUBERNETES) -> Iterator[Any]:
    """The documents of a text as JSON data, empty ones as None; YamlError if it is malformed."""
    import yaml

    try:
        for document in yaml.load_all(text, Loader=_loader(dialect)):
            yield _plain(document, [0])
    except yaml.YAMLError as error:
        raise YamlError(_explained(error)) from None
    except (RecursionError, ValueError, TypeError) as error:
        reason = "a value contains itself, or is nested too deeply" if isinstance(error, RecursionError) else error
        raise YamlError(f"error converting YAML to JSON: {reason}") from None


def positions(text: str, *path: str) -> list[tuple[int, int, dict[str, str]]]:
    """Where the maps in the list at that path of a Compose file stand: line, column (from 1), and their plain values.

    Nothing for a file without such a list, or one that cannot be read.
    """
    import yaml

    try:
        node = yaml.compose(text, Loader=_loader(COMPOSE))
    except (yaml.YAMLError, RecursionError):
        return []
    for name in path:
        if not isinstance(node, yaml.MappingNode):
            return []
        node = next((value for key, value in node.value if key.value == name), None)
    items = node.value if isinstance(node, yaml.SequenceNode) else []
    return [
        (
            item.start_mark.line + 1,
            item.start_mark.column + 1,
            {k.value: v.value for k, v in item.value if v.id == "scalar"},
        )
        for item in items
        if isinstance(item, yaml.MappingNode)
    ]


def _explained(error: Any) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"yaml: line {mark.line + 1}: {problem}" if mark else f"yaml: {problem}"


def _plain(value: Any, count: list[int]) -> Any:
    """Copies shared parts (aliases), so that the result is a tree; counts them, so that it stays a small one."""
    count[0] += 1
    if count[0] > _MAX_VALUES:
        raise ValueError("document contains excessive aliasing")
    if isinstance(value, dict):
        return {name: _plain(item, count) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, count) for item in value]
    return Tagged(value.tag, _plain(value.value, count)) if isinstance(value, Tagged) else value


def _key(name: Any) -> str:
    if isinstance(name, str):
        return name
    if isinstance(name, bool | int | float | None):
        return json.dumps(name)
    raise ValueError(f"unsupported map key of type {type(name).__name__}")


@cache
def _loader(dialect: Dialect) -> Any:
    """A loader class with exactly the resolvers of the dialect."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str | None, list[Any]] = {}  # noqa: RUF012 - the library's own table
        yaml_constructors = dict(yaml.SafeLoader.yaml_constructors)  # noqa: RUF012

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
            self.flatten_mapping(node)
            pairs = node.value
            return {_key(self.construct_object(k, deep=True)): self.construct_object(v, deep=deep) for k, v in pairs}

        def flatten_mapping(self, node: Any) -> None:
            if dialect is COMPOSE:
                _check_unique(node)
            super().flatten_mapping(node)

    words = "|".join(sorted(dialect.true | dialect.false))
    resolvers: tuple[tuple[str, re.Pattern[str]], ...] = (
        ("bool", re.compile(f"(?:{words})$")),
        ("null", _NULL),
        ("int", _INT),
        ("float", _FLOAT),
        ("merge", re.compile("<<$")),
    )
    for word, pattern in resolvers:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{word}", pattern, None)
    constructors: tuple[tuple[str, Callable[[str], Any]], ...] = (
        ("bool", lambda text: text in dialect.true),
        ("int", lambda text: _number(text, integral=dialect.integral_floats_are_ints)),
        ("float", lambda text: _number(text, integral=dialect.integral_floats_are_ints)),
        ("timestamp", str),
    )
    for word, made in constructors:
        Loader.add_constructor(f"tag:yaml.org,2002:{word}", _scalar(made))
    Loader.add_constructor(None, _untagged)
    if dialect is COMPOSE:
        for tag in ("!reset", "!override"):
            Loader.add_constructor(tag, lambda loader, node: Tagged(node.tag, _untagged(loader, node)))
    return Loader


def _check_unique(node: Any) -> None:
    """ValueError if a mapping as written has the same key twice; merged keys are not there yet at the first look."""
    if hasattr(node, "looked_at"):
        return
    node.looked_at = True
    seen: set[str] = set()
    for key, _value in node.value:
        if key.id == "scalar" and key.tag != "tag:yaml.org,2002:merge":
            if key.value in seen:
                raise ValueError(f'line {key.start_mark.line + 1}: mapping key "{key.value}" already defined')
            seen.add(key.value)


def _scalar(made: Callable[[str], Any]) -> Callable[[Any, Any], Any]:
    return lambda loader, node: made(loader.construct_scalar(node))


def _untagged(loader: Any, node: Any) -> Any:
    """A value with a tag nobody knows is read as if it had none."""
    match node.id:
        case "mapping":
            return loader.construct_mapping(node, deep=True)
        case "sequence":
            return loader.construct_sequence(node, deep=True)
        case _:
            return loader.construct_scalar(node)


def _number(text: str, *, integral: bool) -> int | float:
    digits = text.replace("_", "")
    if _INT.match(digits):
        body = digits.lstrip("+-")
        octal = len(body) > 1 and body[0] == "0" and body[1].isdigit()
        value = int(body, 8 if octal else 0) * (-1 if digits.startswith("-") else 1)
        return value if -(2**63) <= value < 2**64 else float(value)
    special = digits.lower().lstrip("+-")
    if special in (".inf", ".nan"):
        if integral:
            raise ValueError(f"json: unsupported value: {text}")
        return math.copysign(math.inf, -1 if digits.startswith("-") else 1) if special == ".inf" else math.nan
    number = float(digits)
    return int(number) if integral and number.is_integer() and abs(number) < 1e21 else number


# ---------------------------------------------------------------------------------------------- writing


def dump(value: Any) -> str:
    """JSON data as block-style YAML: keys sorted, strings quoted only when they would be read as something else."""
    import yaml

    printable = _printable(value)
    style: dict[str, Any] = {"default_flow_style": False, "allow_unicode": True, "width": math.inf}
    text: str = yaml.dump(printable, Dumper=_dumper(), **style)
    return text.removesuffix("...\n") if text.endswith("\n...\n") else text  # the end of a document, not of a text


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _printable(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e21 else value


@cache
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        yaml_implicit_resolvers = _loader(KUBERNETES).yaml_implicit_resolvers

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the library's signature
            return True

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=_style(value))

    Dumper.add_representer(str, text)
    return Dumper


_DATE = re.compile(r"\d{4}-\d\d?-\d\d?")


def _style(value: str) -> str | None:
    """Double quotes where a plain scalar would be read as something else, a block for several lines, else plain."""
    if not value.replace("\n", "").isprintable():
        return '"'
    if "\n" in value:
        return '"' if value.startswith((" ", "\n")) else "|"
    plain = bool(_NULL.match(value) or _INT.match(value) or _FLOAT.match(value) or _DATE.match(value))
    return '"' if plain or value in KUBERNETES.true | KUBERNETES.false else None
