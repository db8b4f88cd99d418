"""The words of the type vocabulary: what a Tiltfile may pass for a parameter, and what the builtin then gets.

Each word is an annotation for parameters of a `@builtin` function: the Python type on the left is what arrives. A
converter raises `Wrong` with Tilt's own wording. Pure but for the working directory, which paths are joined to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Annotated, Any, TypeAlias

from ipytilt.core.images import Reference, parse
from ipytilt.core.spec import Link, TriggerMode
from ipytilt.starlark import Builtin, Dict, List, Set, Struct, to_repr, type_name
from ipytilt.tiltfile import urls
from ipytilt.tiltfile.builtin import Kind
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.evaluation import Eval
from ipytilt.tiltfile.values import Blob, GitRepo, ModeValue, StepValue


class _Unset:
    """What a parameter is when nothing was passed and None would mean something."""

    def __repr__(self) -> str:
        return "(unset)"


UNSET: Any = _Unset()

_GO_TYPES: dict[type, str] = {
    str: "starlark.String",
    int: "starlark.Int",
    float: "starlark.Float",
    bool: "starlark.Bool",
    bytes: "starlark.Bytes",
    type(None): "starlark.NoneType",
    tuple: "starlark.Tuple",
    List: "*starlark.List",
    Dict: "*starlark.Dict",
    Set: "*starlark.Set",
    Struct: "*starlarkstruct.Struct",
    FunctionType: "*starlark.Function",
    Builtin: "*starlark.Builtin",
    Blob: "*io.blob",
}


def go_type(value: Any) -> str:
    """The type of a value as Tilt's older messages name it."""
    return _GO_TYPES.get(type(value), type_name(value))


def is_sequence(value: Any) -> bool:
    """Tilt takes it for a list of things: list, tuple, set, dict (its keys), range."""
    return isinstance(value, List | tuple | Set | Dict | range)


# ---------------------------------------------------------------------------------------------- text


def text(_ev: Eval, value: Any) -> str:
    """A string or a Blob."""
    if isinstance(value, str):
        return value
    if isinstance(value, Blob):
        return value.text
    raise Wrong(f"Value should be convertible to string, but is type {type_name(value)}")


def _path_safe(ev: Eval, value: Any) -> str:
    name = text(ev, value)
    if name in (".", ".."):
        raise Wrong(f"invalid value \"{name}\": may not be '{name}'")
    for letter in "/%":
        if letter in name:
            raise Wrong(f"invalid value \"{name}\": may not contain '{letter}'")
    return name


def path(ev: Eval, value: Any) -> str:
    """A string or a git repository, as an absolute path."""
    if isinstance(value, str):
        return ev.path(value)
    if isinstance(value, GitRepo):
        return value.root
    raise Wrong(f"expected path | string. Actual type: {go_type(value)}")


def paths(ev: Eval, value: Any) -> tuple[str, ...]:
    """Nothing, one path, or a list of them."""
    if value is None:
        return ()
    if isinstance(value, str | GitRepo):
        return (path(ev, value),)
    if isinstance(value, List | tuple):
        return tuple(path(ev, item) for item in value)
    raise Wrong(f"value should be a string or List or Tuple of strings, but is of type {type_name(value)}")


def texts(ev: Eval, value: Any) -> tuple[str, ...]:
    """Nothing, one text, or a list of them."""
    return (text(ev, value),) if isinstance(value, str | Blob) else text_list(ev, value)


def text_list(ev: Eval, value: Any) -> tuple[str, ...]:
    """Nothing, or a list of texts."""
    if value is None:
        return ()
    if isinstance(value, List | tuple):
        return tuple(text(ev, item) for item in value)
    raise Wrong(f"value should be a List or Tuple of strings, but is of type {type_name(value)}")


def sequence(_ev: Eval, value: Any) -> tuple[str, ...]:
    """A sequence of strings that is no string itself."""
    if not is_sequence(value):
        raise Wrong(f"got {type_name(value)}, want starlark.Sequence")
    return _strings(value)


def _strings(values: Iterable[Any]) -> tuple[str, ...]:
    items = tuple(values)
    for item in items:
        if not isinstance(item, str):
            raise Wrong(f"'{to_repr(item)}' is a {go_type(item)}, not a string")
    return items


def one_or_many_strings(_ev: Eval, value: Any) -> tuple[str, ...]:
    """Nothing, one string, or a sequence of them."""
    return _strings(one_or_many(value))


def one_or_many(value: Any) -> tuple[Any, ...]:
    """The items of a sequence; a single value is one item, None none."""
    if value is None:
        return ()
    return tuple(value) if is_sequence(value) else (value,)


def env(ev: Eval, value: Any) -> dict[str, str]:
    """A dict from text to text, or None for an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Dict):
        raise Wrong(f"got {type_name(value)}, want dict")
    pairs = {}
    for key, item in value.items():
        for what, part in (("key", key), ("value", item)):
            if not isinstance(part, str | Blob):
                raise Wrong(f"{what} is not a string: {to_repr(part)} ({type_name(part)})")
        pairs[text(ev, key)] = text(ev, item)
    return pairs


def command_env(ev: Eval, value: Any) -> tuple[str, ...]:
    """Extra environment of a command as sorted `K=V`."""
    pairs = env(ev, value)
    if "" in pairs:
        raise Wrong(f'environment has empty key for value "{pairs[""]}"')
    return tuple(sorted(f"{key}={item}" for key, item in pairs.items()))


def command(_ev: Eval, value: Any) -> tuple[str, ...]:
    """A shell script (string) or argv (sequence) as argv; () for the empty command."""
    if isinstance(value, str):
        script = value.strip()
        return ("sh", "-c", script) if script else ()
    if is_sequence(value):
        try:
            return _strings(value)
        except Wrong as wrong:
            raise Wrong(f"a command must be a string or a list of strings; {wrong.message}") from None
    raise Wrong(f"a command must be a string or list of strings. found {go_type(value)}")


# ---------------------------------------------------------------------------------------------- flags and numbers


def _optional_bool(_ev: Eval, value: Any) -> bool | None:
    if value is not None and type(value) is not bool:
        raise Wrong(f"expected starlark.Bool or None. Got: {go_type(value)}")
    return value


def int32(_ev: Eval, value: Any) -> int:
    """An int of at most 32 bits."""
    if type(value) is not int:
        raise Wrong(f"got {type_name(value)}, want int")
    if not -(2**31) <= value < 2**31:
        raise Wrong(f"{value} out of range (want value in signed 32-bit range): value out of range for int32")
    return value


_UNITS = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)([a-z\u00b5\u03bc]*)")


def duration(_ev: Eval, value: Any) -> float:
    """Seconds from Go's form, such as "1h5m" or "300ms"."""
    if not isinstance(value, str):
        raise Wrong(f"Expected string, got: {type_name(value)}")
    sign, rest = (-1, value[1:]) if value.startswith("-") else (1, value.removeprefix("+"))
    if rest == "0":
        return 0.0
    seconds, position = 0.0, 0
    while match := _DURATION_PART.match(rest, position):
        if not match[2]:
            raise Wrong(f'time: missing unit in duration "{value}"')
        if match[2] not in _UNITS:
            raise Wrong(f'time: unknown unit "{match[2]}" in duration "{value}"')
        seconds += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if not rest or position != len(rest):
        raise Wrong(f'time: invalid duration "{value}"')
    return sign * seconds


# ---------------------------------------------------------------------------------------------- Tilt's own


def _mode(_ev: Eval, value: Any) -> TriggerMode:
    if not isinstance(value, ModeValue):
        raise Wrong(f"got {type_name(value)}, want TriggerMode")
    return value.mode


_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def labels(ev: Eval, value: Any) -> tuple[str, ...]:
    """Nothing, one label, or a list of them."""
    found = texts(ev, value)
    for label in found:
        if not _LABEL.fullmatch(label):
            raise Wrong(
                f'Invalid label "{label}": a label has 1 to 63 letters, digits, "-", "_" or ".", '
                "and begins and ends with a letter or digit"
            )
    return found


def links(_ev: Eval, value: Any) -> tuple[Link, ...]:
    """Nothing, or one or many of string and `link(...)`."""
    return tuple(_link(item) for item in one_or_many(value))


def _link(value: Any) -> Link:
    if isinstance(value, str):
        return Link(link_url(value))
    if isinstance(value, Struct) and value.constructor == "link":
        return Link(value.fields["url"], value.fields["name"])
    raise Wrong(f"Want a string, a link, or a sequence of these; found {to_repr(value)} (type: {type_name(value)})")


def link_url(url: str) -> str:
    """The URL as it is shown, with a scheme: `http` if it has none."""
    if not url:
        raise Wrong("url empty")
    try:
        return urls.normal(url, scheme="http")
    except ValueError as error:
        raise Wrong(f'validating URL "{url}": {error}') from None


def reference(text_: str, place: str) -> Reference:
    """An image reference; `place` names the parameter in the message."""
    try:
        return parse(text_)
    except ValueError as error:
        raise Wrong(f'{place}: can\'t parse "{text_}": {error}') from None


def _ref(_ev: Eval, value: Any) -> Reference:
    if not isinstance(value, str):
        raise Wrong(f"got {type_name(value)}, want string")
    return reference(value, "Argument 1 (ref)")


def _image_deps(ev: Eval, value: Any) -> tuple[Reference, ...]:
    try:
        return tuple(parse(item) for item in text_list(ev, value))
    except ValueError as error:
        raise Wrong(f"must be a valid image reference: {error}") from None


def _steps(_ev: Eval, value: Any) -> tuple[StepValue, ...]:
    items = one_or_many(value)
    for item in items:
        if not isinstance(item, StepValue):
            raise Wrong(
                "live_update: 'steps' must be a list of live update steps - "
                f"got value '{to_repr(item)}' of type '{type_name(item)}'"
            )
    return items


def patterns(parameter: str) -> Callable[[Eval, Any], tuple[str, ...]]:
    """Ignore patterns: one or many strings of one line each."""

    def convert(_ev: Eval, value: Any) -> tuple[str, ...]:
        items = one_or_many(value)
        for item in items:
            if not isinstance(item, str):
                raise Wrong(f"{parameter} must be a string or a sequence of strings; found a {go_type(item)}")
            if "\n" in item:
                raise Wrong(f"{parameter} cannot contain newlines; found {parameter}: {to_repr(item)}")
        return items

    return convert


Text: TypeAlias = Annotated[str, Kind("text", text)]
Name: TypeAlias = Annotated[str, Kind("name", _path_safe)]
Path: TypeAlias = Annotated[str, Kind("path", path)]
Paths: TypeAlias = Annotated[tuple[str, ...], Kind("paths", paths)]
Strs: TypeAlias = Annotated[tuple[str, ...], Kind("strs", texts)]
StrList: TypeAlias = Annotated[tuple[str, ...], Kind("strlist", text_list)]
Seq: TypeAlias = Annotated[tuple[str, ...], Kind("seq", sequence)]
OneOrMany: TypeAlias = Annotated[tuple[str, ...], Kind("oneormany str", one_or_many_strings)]
Env: TypeAlias = Annotated[dict[str, str], Kind("env", env)]
CommandEnv: TypeAlias = Annotated[tuple[str, ...], Kind("env", command_env)]
Cmd: TypeAlias = Annotated[tuple[str, ...], Kind("cmd", command)]
MaybeBool: TypeAlias = Annotated[bool | None, Kind("bool?", _optional_bool)]
Int32: TypeAlias = Annotated[int, Kind("int", int32)]
Duration: TypeAlias = Annotated[float, Kind("duration", duration)]
Mode: TypeAlias = Annotated[TriggerMode, Kind("mode", _mode)]
Labels: TypeAlias = Annotated[tuple[str, ...], Kind("labels", labels)]
Links: TypeAlias = Annotated[tuple[Link, ...], Kind("links", links)]
Ref: TypeAlias = Annotated[Reference, Kind("ref", _ref, verbatim=True)]
ImageDeps: TypeAlias = Annotated[tuple[Reference, ...], Kind("refs", _image_deps)]
Steps: TypeAlias = Annotated[tuple[StepValue, ...], Kind("steps", _steps, verbatim=True)]
Ignores: TypeAlias = Annotated[tuple[str, ...], Kind("oneormany str", patterns("ignore"), verbatim=True)]
Only: TypeAlias = Annotated[tuple[str, ...], Kind("oneormany str", patterns("only"), verbatim=True)]


def maybe(convert: Callable[[Eval, Any], Any]) -> Callable[[Eval, Any], Any]:
    """The converter, with None passed on."""
    return lambda ev, value: None if value is None else convert(ev, value)


MaybePath: TypeAlias = Annotated[str | None, Kind("path or None", maybe(path))]
