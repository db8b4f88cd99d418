"""Files and data: reading, listing, watching, JSON and YAML in both directions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Annotated, Any

from ipytilt.starlark import Dict, List, to_repr, type_name
from ipytilt.tiltfile.builtin import Kind, builtin
from ipytilt.tiltfile.builtins.yaml_text import YamlError, documents, dump
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.evaluation import Eval, unreadable
from ipytilt.tiltfile.values import Blob, GitRepo
from ipytilt.tiltfile.vocabulary import UNSET, Path, Text, go_type


def _string_or_none(_ev: Eval, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Wrong(f"default must be a string or None, got {type_name(value)}")
    return value


def _string_path(ev: Eval, value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong(f"got {type_name(value)}, want string")
    return ev.path(value)


def _list(_ev: Eval, value: Any) -> Any:
    if not isinstance(value, List):
        raise Wrong(f"got {type_name(value)}, want list")
    return value


StringOrNone = Annotated[str | None, Kind("str or None", _string_or_none)]
StringPath = Annotated[str, Kind("str", _string_path)]


def _content(ev: Eval, path: str, default: Any) -> Any:
    """Text of a file; the default in a 1-tuple if there is no such file and one was given."""
    try:
        return ev.host.read(path).decode("utf-8", "surrogateescape")
    except OSError as error:
        if isinstance(error, FileNotFoundError) and default is not UNSET:
            return (default,)
        raise Wrong(f"error reading {path}: {unreadable(path, error)}") from None


@builtin("read_file")
def read_file(ev: Eval, paths: Path, default: StringOrNone = None) -> Blob:
    """The content of a file as a Blob; `default` if it does not exist, else that is an error.

    A change of the file evaluates the Tiltfile again. `str(...)` makes the Blob a string.
    """
    content = _content(ev, paths, UNSET if default is None else default)
    return Blob(content[0] if isinstance(content, tuple) else content, f"file: {paths}")


@builtin("watch_file")
def watch_file(ev: Eval, paths: Path) -> None:
    """Evaluate the Tiltfile again when this file, or anything below this folder, changes."""
    ev.host.record(paths)


@builtin("listdir")
def listdir(ev: Eval, dir: Path, recursive: bool = False) -> list[str]:
    """Absolute paths of the files in a folder, sorted; a folder that does not exist has none.

    With `recursive` also of those below, and then a change anywhere in it evaluates the Tiltfile again.
    """
    if recursive:
        ev.host.record(dir)
    try:
        return list(ev.host.files(dir, recursive=recursive))
    except OSError as error:
        raise Wrong(f"listing {dir}: {unreadable(dir, error)}") from None


@builtin("blob")
def blob(ev: Eval, input: str) -> Blob:
    """A string as a Blob: text where otherwise a path would be meant, as in `k8s_yaml(blob("..."))`."""
    del ev
    return Blob(input, "Tiltfile blob() call")


@builtin("local_git_repo")
def local_git_repo(ev: Eval, paths: StringPath) -> GitRepo:
    """A git checkout, usable where a path is; `.paths(p)` is a path below it."""
    if not ev.host.exists(f"{paths}/.git"):
        raise Wrong(f"{paths} isn't a valid git repo: it doesn't have a .git/ directory")
    return GitRepo(paths)


# ---------------------------------------------------------------------------------------------- JSON


@builtin("read_json")
def read_json(ev: Eval, paths: Path, default: Any = UNSET) -> Any:
    """A JSON file as a value; `default` if it does not exist. A change of the file evaluates the Tiltfile again."""
    content = _content(ev, paths, default)
    return content[0] if isinstance(content, tuple) else _from_json(content, paths)


@builtin("decode_json")
def decode_json(ev: Eval, json: Text) -> Any:
    """A JSON text as a value. Numbers with a point become floats, others ints."""
    del ev
    return _from_json(json, "")


def _integer(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return number


def _float(text: str) -> float:
    if "." not in text:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return float(text)


def _constant(text: str) -> Any:
    raise ValueError(f"invalid character {text[0]!r} looking for beginning of value")


def _from_json(text: str, path: str) -> Any:
    decoder = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_constant)
    place = f" from {path}" if path else ""
    try:
        value, end = decoder.raw_decode(text, len(text) - len(text.lstrip(" \t\r\n")))
    except (ValueError, RecursionError) as error:
        raise Wrong(f"JSON parsing error{place}: {error}") from None
    if text[end:].strip(" \t\r\n"):
        raise Wrong(f"JSON parsing error{place}: found multiple JSON values")
    return value


@builtin("encode_json")
def encode_json(ev: Eval, obj: Any) -> str:
    """A value of dicts, lists, strings, numbers, booleans and None as JSON: keys sorted, indented by two blanks."""
    del ev
    try:
        encoded = json.dumps(_encodable(obj), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise Wrong(f"json: unsupported value: {error}") from None
    for letter in "<>&\u2028\u2029":
        encoded = encoded.replace(letter, f"\\u{ord(letter):04x}")
    return encoded + "\n"


def _encodable(value: Any) -> Any:
    """A Starlark value as plain data; a float without fraction becomes an int, as it is written."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() and abs(value) < 1e21 else value
    if isinstance(value, List):
        return [_encodable(item) for item in value]
    if isinstance(value, Dict):
        for key in value:
            if not isinstance(key, str):
                found = f"found key '{to_repr(key)}' of type {go_type(key)}"
                raise Wrong(f"only string keys are supported in maps. {found}")
        return {key: _encodable(item) for key, item in value.items()}
    raise Wrong(f"unable to convert from starlark value, unsupported type {go_type(value)}")


# ---------------------------------------------------------------------------------------------- YAML


def _from_yaml(text: str, place: str) -> list[Any]:
    try:
        return list(documents(text))
    except YamlError as error:
        raise Wrong(f"error parsing YAML{place}: {error}") from None


def _single(found: list[Any], place: str) -> Any:
    present = [document for document in found if document is not None]
    if len(present) > 1:
        raise Wrong(f"expected a yaml document but found a yaml stream (documents separated by `---`){place}")
    return present[0] if present else None


@builtin("read_yaml")
def read_yaml(ev: Eval, paths: StringPath, default: Any = UNSET) -> Any:
    """A YAML file with one document as a value; `default` if it does not exist.

    A change of the file evaluates the Tiltfile again. For several documents use `read_yaml_stream`.
    """
    content = _content(ev, paths, default)
    if isinstance(content, tuple):
        return content[0]
    place = f" from {paths}"
    return _single(_from_yaml(content, place), place)


@builtin("read_yaml_stream")
def read_yaml_stream(ev: Eval, paths: StringPath, default: Annotated[Any, Kind("list", _list)] = UNSET) -> Any:
    """A YAML file as a list of its documents, empty ones left out; `default` if it does not exist.

    A change of the file evaluates the Tiltfile again.
    """
    content = _content(ev, paths, default)
    if isinstance(content, tuple):
        return content[0]
    return [document for document in _from_yaml(content, f" from {paths}") if document is not None]


@builtin("decode_yaml")
def decode_yaml(ev: Eval, yaml: Text) -> Any:
    """A YAML text with one document as a value, None if it is empty. Read as Kubernetes does: `yes` is True."""
    del ev
    return _single(_from_yaml(yaml, ""), "")


@builtin("decode_yaml_stream")
def decode_yaml_stream(ev: Eval, yaml: Text) -> Any:
    """A YAML text as a list of its documents, empty ones left out."""
    del ev
    return [document for document in _from_yaml(yaml, "") if document is not None]


@builtin("encode_yaml")
def encode_yaml(ev: Eval, obj: Any) -> Blob:
    """A value of dicts, lists, strings, numbers, booleans and None as YAML in a Blob: keys sorted."""
    del ev
    return Blob(dump(_encodable(obj)), "encode_yaml")


@builtin("encode_yaml_stream")
def encode_yaml_stream(ev: Eval, objs: Annotated[Any, Kind("seq", lambda _ev, value: _items(value))]) -> Blob:
    """A list of values as the documents of one YAML text, in a Blob."""
    del ev
    return Blob("---\n".join(dump(_encodable(item)) for item in objs), "encode_yaml_stream")


def _items(value: Any) -> Iterable[Any]:
    if not isinstance(value, List | tuple):
        raise Wrong(f"got {type_name(value)}, want starlark.Sequence")
    return value
