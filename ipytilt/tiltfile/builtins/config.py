"""`config.*`: settings a Tiltfile takes from its arguments and `tilt_config.json`, and which resources run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ipytilt.starlark import from_python
from ipytilt.tiltfile.builtin import builtin, constant
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.evaluation import Eval, unreadable
from ipytilt.tiltfile.pathnames import dirname, join
from ipytilt.tiltfile.vocabulary import Seq

_FILE = "tilt_config.json"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting a Tiltfile defined; `positional`: it takes the arguments that are no flags."""

    name: str
    kind: str
    positional: bool
    usage: str


@constant("config.tilt_subcommand")
def _subcommand(ev: Eval) -> str:
    """What was asked for on the command line: "up", "down", "ci", ..."""
    return ev.host.subcommand


@constant("config.main_path")
def _main_path(ev: Eval) -> str:
    """The path of the root Tiltfile, also in files it loads; for a cell, where it would stand."""
    return ev.main


@constant("config.main_dir")
def _main_dir(ev: Eval) -> str:
    """The folder of the root Tiltfile, also in files it loads."""
    return dirname(ev.main)


def _definer(kind: str, what: str) -> None:
    """Register `config.define_<kind>`."""

    def define(ev: Eval, name: str, args: bool = False, usage: str = "") -> None:
        config = ev.draft.config
        function = f"config.define_{kind}"
        if not name:
            raise Wrong("'name' is required")
        if config.parsed_in is not None:
            raise Wrong(f"{function} cannot be called after config.parse is called")
        if name in config.settings:
            raise Wrong(f"{name} defined multiple times")
        other = next((setting.name for setting in config.settings.values() if setting.positional), "")
        if args and other:
            raise Wrong(f"both {name} and {other} are defined as positional args")
        config.settings[name] = Setting(name, kind, args, usage)

    define.__doc__ = f"Define a setting {what}; with `args=True` it takes the words that belong to no flag."
    builtin(f"config.define_{kind}")(define)


for _kind, _what in (
    ("string", "that is a string"),
    ("string_list", "that is a list of strings"),
    ("bool", "that is True or False"),
    ("object", "that is any JSON value"),
):
    _definer(_kind, _what)


@builtin("config.set_enabled_resources")
def set_enabled_resources(ev: Eval, resources: Seq) -> None:
    """Run only these resources and what they depend on; an empty list means all.

    The others stay in the list, switched off, until somebody enables them. Without this call and `config.parse`, the
    Tiltfile's arguments are the names of the resources to run.
    """
    ev.draft.config.selected = resources or None


@builtin("config.clear_enabled_resources")
def clear_enabled_resources(ev: Eval) -> None:
    """Run no resource until somebody enables one."""
    ev.draft.config.selected = ()


@builtin("config.parse")
def parse(ev: Eval) -> Any:
    """The settings that were given, as a dict: from `tilt_config.json` beside the Tiltfile and from the arguments.

    Arguments win, setting by setting; what was not given is not in the dict, so ask with `.get(name, default)`. They
    are what stands after `--` (`%%tiltfile -- --name value`, `%tilt args -- ...`). A change of the file evaluates anew.
    Define the settings before.
    """
    config = ev.draft.config
    if config.parsed_in not in (None, ev.dir):
        raise Wrong(
            "config.parse can only be called from one Tiltfile working directory per run. It was called from "
            f"{config.parsed_in} and {ev.dir}"
        )
    config.parsed_in = ev.dir
    values = _from_file(ev, config.settings)
    values |= _from_args(ev.args, config.settings)
    return from_python({name: values[name] for name in sorted(values)})


# ---------------------------------------------------------------------------------------------- the file


def _from_file(ev: Eval, settings: Mapping[str, Setting]) -> dict[str, Any]:
    path = join(ev.dir, _FILE)
    try:
        text = ev.host.read(path).decode(errors="replace")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Wrong(f"error reading {_FILE}: {unreadable(path, error)}") from None
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Wrong(f"error parsing {path}: {error}") from None
    if not isinstance(given, dict):
        raise Wrong(f"error parsing {path}: want a JSON object")
    values = {}
    for name, value in given.items():
        if name not in settings:
            raise Wrong(f"{path} specified unknown setting name '{name}'")
        try:
            values[name] = _checked(settings[name].kind, value)
        except ValueError as error:
            raise Wrong(f"{path} specified invalid value for setting {name}: {error}") from None
    return values


_ZERO: Mapping[str, Any] = {"string": "", "string_list": [], "bool": False, "object": None}


def _checked(kind: str, value: Any) -> Any:
    if value is None:
        return _ZERO[kind]
    if kind == "string_list":
        if not isinstance(value, list):
            raise ValueError(f"expected array, found {_go_json_type(value)}")
        return [_typed(item, str, "string") for item in value]
    if kind == "object":
        return _json_numbers(value)
    return _typed(value, str, "string") if kind == "string" else _typed(value, bool, "bool")


def _typed(value: Any, wanted: type, word: str) -> Any:
    if type(value) is not wanted:
        raise ValueError(f"expected {word}, found {_go_json_type(value)}")
    return value


def _go_json_type(value: Any) -> str:
    names = {str: "string", bool: "bool", int: "float64", float: "float64", list: "[]interface {}"}
    return names.get(type(value), "map[string]interface {}")


def _json_numbers(value: Any) -> Any:
    """Inside objects every number is a float."""
    if type(value) is int:
        return float(value)
    if isinstance(value, list):
        return [_json_numbers(item) for item in value]
    return {key: _json_numbers(item) for key, item in value.items()} if isinstance(value, dict) else value


# ---------------------------------------------------------------------------------------------- the arguments

_TRUE = frozenset(["1", "t", "T", "true", "TRUE", "True"])
_FALSE = frozenset(["0", "f", "F", "false", "FALSE", "False"])


def _from_args(args: Sequence[str], settings: Mapping[str, Setting]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    positional: list[str] = []
    flags = {name: setting for name, setting in settings.items() if not setting.positional}
    words = iter(args)
    for word in words:
        if word == "--":
            positional += words
        elif word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            _set_flag(values, flags, name, value=value if equals else None, words=words)
        elif word.startswith("-") and word != "-":
            raise _usage(f"unknown shorthand flag: {word[1]!r} in {word}", flags)
        else:
            positional.append(word)
    takers = [setting for setting in settings.values() if setting.positional]
    if positional and not takers:
        listed = ", ".join(map(json.dumps, positional))
        raise Wrong(
            f"positional CLI args ({listed}) were specified, but none were expected.",
            hint="define a setting with args=True: config.define_string_list('resources', args=True)",
        )
    for value in positional:
        _add(values, takers[0], value)
    return values


def _set_flag(
    values: dict[str, Any], flags: Mapping[str, Setting], name: str, *, value: str | None, words: Iterator[str]
) -> None:
    if name == "help":
        raise _usage("pflag: help requested", flags)
    setting = flags.get(name)
    if setting is None:
        raise _usage(f"unknown flag: --{name}", flags)
    if value is None:
        value = "true" if setting.kind == "bool" else next(words, None)
    if value is None:
        raise _usage(f"flag needs an argument: --{name}", flags)
    try:
        _add(values, setting, value)
    except Wrong as wrong:
        raise _usage(f'invalid argument "{value}" for "--{name}" flag: {wrong.message}', flags) from None


def _add(values: dict[str, Any], setting: Setting, text: str) -> None:
    if setting.kind == "string_list":
        values.setdefault(setting.name, []).append(text)
    elif setting.name in values:
        raise Wrong(f"{setting.kind} settings can only be specified once. multiple values found (last value: {text})")
    else:
        values[setting.name] = _PARSERS[setting.kind](text)


def _bool(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise Wrong(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return text in _TRUE


def _object(text: str) -> Any:
    try:
        return _json_numbers(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise Wrong(f"invalid JSON: {error}") from None


_PARSERS: Mapping[str, Callable[[str], Any]] = {"string": str, "bool": _bool, "object": _object}


def _usage(problem: str, flags: Mapping[str, Setting]) -> Wrong:
    lines = [f"      --{name:<16} {flag.kind:<12} {flag.usage}".rstrip() for name, flag in sorted(flags.items())]
    return Wrong("\n".join([f"invalid Tiltfile config args: {problem}", "Usage:", *lines]))
