"""`v1alpha1`: objects registered directly, and helpers that make the dicts such objects consist of.

A table of fields makes every function here. A nested object is written as a dict or with its helper; both are checked
alike. What is registered stands in the draft as plain data.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from ipytilt.starlark import Dict, List, freeze, type_name
from ipytilt.tiltfile.builtin import Kind, builtin
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.evaluation import Eval
from ipytilt.tiltfile.vocabulary import UNSET, duration, env, int32, path, text_list

# What each nested object holds. A field is a str unless it says otherwise; `[x]` is a list of x.
_HELPERS = {
    "config_map_disable_source": "name key",
    "disable_source": "config_map:config_map_disable_source every_config_map:[config_map_disable_source]",
    "exec_action": "command:strlist",
    "forward": "local_port:int container_port:int host name path",
    "http_get_action": "path port:int host scheme http_headers:[http_header]",
    "http_header": "name value",
    "handler": "exec:exec_action http_get:http_get_action tcp_socket:tcp_socket_action",
    "ignore_def": "base_path:path patterns:strlist",
    "kubernetes_apply_cmd": "args:strlist dir:path env:strlist",
    "kubernetes_discovery_template_spec": "extra_selectors:[label_selector]",
    "kubernetes_image_locator": "object_selector:object_selector path object:kubernetes_image_object_descriptor",
    "kubernetes_image_object_descriptor": "repo_field tag_field",
    "kubernetes_watch_ref": "uid namespace name",
    "label_selector": "match_labels:env match_expressions:[label_selector_requirement]",
    "label_selector_requirement": "key operator values:strlist",
    "object_selector": "api_version_regexp kind_regexp name_regexp namespace_regexp",
    "pod_log_stream_template_spec": "since_time:never only_containers:strlist ignore_containers:strlist",
    "port_forward_template_spec": "forwards:[forward]",
    "probe": "handler:never initial_delay_seconds:int timeout_seconds:int period_seconds:int success_threshold:int "
    "failure_threshold:int",
    "restart_on_spec": "file_watches:strlist ui_buttons:strlist",
    "start_on_spec": "start_after:never ui_buttons:strlist",
    "tcp_socket_action": "port:int host",
    "ui_bool_input_spec": "default_value:bool true_string false_string",
    "ui_choice_input_spec": "choices:strlist",
    "ui_component_location": "component_id component_type",
    "ui_hidden_input_spec": "value",
    "ui_input_spec": "name label text:ui_text_input_spec bool:ui_bool_input_spec hidden:ui_hidden_input_spec "
    "choice:ui_choice_input_spec",
    "ui_text_input_spec": "default_value placeholder",
}
_IN_DICTS_ONLY = {"probe": _HELPERS["handler"]}

# What each registered object holds besides name, labels and annotations.
_OBJECTS = {
    "cmd": "args:strlist dir:path env:strlist readiness_probe:probe restart_on:restart_on_spec "
    "start_on:start_on_spec disable_source:disable_source",
    "config_map": "data:env",
    "extension": "repo_name repo_path args:strlist",
    "extension_repo": "url ref load_host git_subpath",
    "file_watch": "watched_paths:paths ignores:[ignore_def] disable_source:disable_source",
    "kubernetes_apply": "yaml image_maps:strlist image_locators:[kubernetes_image_locator] timeout:duration "
    "kubernetes_discovery_template_spec:kubernetes_discovery_template_spec "
    "port_forward_template_spec:port_forward_template_spec "
    "pod_log_stream_template_spec:pod_log_stream_template_spec discovery_strategy disable_source:disable_source "
    "apply_cmd:kubernetes_apply_cmd restart_on:restart_on_spec delete_cmd:kubernetes_apply_cmd cluster "
    "server_side_apply:bool",
    "kubernetes_discovery": "watches:[kubernetes_watch_ref] extra_selectors:[label_selector] "
    "port_forward_template_spec:port_forward_template_spec "
    "pod_log_stream_template_spec:pod_log_stream_template_spec cluster",
    "ui_button": "location:ui_component_location text icon_name icon_svg disabled:bool requires_confirmation:bool "
    "inputs:[ui_input_spec]",
}
_ABOUT = {
    "cmd": "Run a command on this machine; again when what `restart_on` names changes.",
    "config_map": "Keep some settings under a name: a dict from string to string.",
    "extension": "Name an extension: the folder `repo_path` of the repository `repo_name`.",
    "extension_repo": "Name a repository of extensions: a git `url` at `ref`, or a folder as `file:///path`.",
    "file_watch": "Watch paths, less those that `ignores` leaves out.",
    "kubernetes_apply": "Deploy `yaml`, or what `apply_cmd` prints.",
    "kubernetes_discovery": "Find pods by what `watches` names, or by their labels.",
    "ui_button": "Put a button beside a resource, or into the navigation.",
    "config_map_disable_source": "Switch something off while the key `key` of the config map `name` says so.",
    "disable_source": "What switches something off.",
    "exec_action": "A probe by a command.",
    "forward": "A port that leads to a pod.",
    "http_get_action": "A probe by HTTP GET.",
    "http_header": "A header of an HTTP probe.",
    "handler": "How a probe looks: one of `exec`, `http_get`, `tcp_socket`.",
    "ignore_def": "Patterns of files to leave out, below a folder; all of it without `patterns`.",
    "kubernetes_apply_cmd": "A command that deploys, or takes down.",
    "kubernetes_discovery_template_spec": "Labels that pods of a deployment have besides those it gives them.",
    "kubernetes_image_locator": "Where objects of a kind keep an image: at `path`, or in two fields there.",
    "kubernetes_image_object_descriptor": "The names of the two fields an image is written in.",
    "kubernetes_watch_ref": "An object whose pods are looked for.",
    "label_selector": "Labels that something must have.",
    "label_selector_requirement": "A condition on one label: `operator` is In, NotIn, Exists or DoesNotExist.",
    "object_selector": "Objects whose kind, name and so on match regular expressions.",
    "pod_log_stream_template_spec": "Which containers' logs are shown.",
    "port_forward_template_spec": "Ports that lead to a pod.",
    "probe": "How to find out whether something is ready; write `exec`, `http_get` or `tcp_socket` in a dict instead.",
    "restart_on_spec": "What makes it run again: file watches and buttons, by name.",
    "start_on_spec": "What makes it start: buttons, by name.",
    "tcp_socket_action": "A probe by TCP connection.",
    "ui_bool_input_spec": "A checkbox of a button.",
    "ui_choice_input_spec": "A choice of a button.",
    "ui_component_location": "Where a button stands: `component_type` is Resource or Global.",
    "ui_hidden_input_spec": "A fixed value that a button passes on.",
    "ui_input_spec": "An input of a button: exactly one of `text`, `bool`, `hidden`, `choice`.",
    "ui_text_input_spec": "A text field of a button.",
}
_PLURALS = {"config_map": "configmaps", "kubernetes_apply": "kubernetesapplys"}
_ACTED_ON = ("extension", "extension_repo", "ui_button")


def plural(kind: str) -> str:
    """The kind as keys of registered objects have it."""
    return _PLURALS.get(kind, kind.replace("_", "") + "s")


# ---------------------------------------------------------------------------------------------- values


def _plain(cls: type, word: str) -> Callable[[Eval, Any], Any]:
    def convert(_ev: Eval, value: Any) -> Any:
        if type(value) is not cls:
            raise Wrong(f"got {type_name(value)}, want {word}")
        return value

    return convert


def _never(_ev: Eval, value: Any) -> Any:
    raise Wrong(f"cannot be given here, got {type_name(value)}")


def _paths(ev: Eval, value: Any) -> tuple[str, ...]:
    return tuple(ev.path(item) for item in text_list(ev, value))


_SCALARS: dict[str, Callable[[Eval, Any], Any]] = {
    "str": _plain(str, "string"),
    "bool": _plain(bool, "bool"),
    "int": int32,
    "strlist": text_list,
    "env": env,
    "path": path,
    "paths": _paths,
    "duration": duration,
    "never": _never,
}


def _fields(words: str) -> dict[str, str]:
    return {word.partition(":")[0]: word.partition(":")[2] or "str" for word in words.split()}


def _converter(kind: str) -> Callable[[Eval, Any], Any]:
    """How a field of this type is checked and made plain data."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind.startswith("["):
        return lambda ev, value: _list(ev, value, kind[1:-1])
    return lambda ev, value: _nested(ev, value, kind)


def _list(ev: Eval, value: Any, kind: str) -> list[Any]:
    if not isinstance(value, List):
        raise Wrong(f"expected list, actual: {type_name(value)}")
    return [_nested(ev, item, kind) for item in value]


def _nested(ev: Eval, value: Any, kind: str) -> dict[str, Any]:
    if not isinstance(value, Dict):
        raise Wrong(f"expected dict, actual: {type_name(value)}")
    fields = _fields(f"{_HELPERS[kind]} {_IN_DICTS_ONLY.get(kind, '')}")
    plain = {}
    for name, item in value.pairs():
        if name not in fields:
            raise Wrong(f"Unexpected attribute name: {name}")
        try:
            plain[name] = _converter(fields[name])(ev, item)
        except Wrong as wrong:
            raise Wrong(f"unpacking {name}: {wrong.message}") from None
    freeze(value)
    return plain


# ---------------------------------------------------------------------------------------------- functions


def _define(name: str, doc: str, fields: Mapping[str, str], body: Callable[[Eval, dict[str, Any]], Any]) -> None:
    """Register `v1alpha1.<name>` with these parameters; only `name` of an object is required.

    `body` gets what was passed: plain data for an object, the values themselves for a helper.
    """

    def function(ev: Eval, **given: Any) -> Any:
        return body(ev, given)

    required = ("name",) if name in _OBJECTS else ()
    ways = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = [
        inspect.Parameter(field, ways, default=inspect.Parameter.empty if field in required else UNSET)
        for field in fields
    ]
    function.__doc__ = doc
    function.__annotations__ = {
        field: Annotated[Any, Kind(kind, _converter(kind) if name in _OBJECTS else _checked(_converter(kind)))]
        for field, kind in fields.items()
    }
    function.__dict__["__signature__"] = inspect.Signature([inspect.Parameter("ev", ways), *own])
    builtin(f"v1alpha1.{name}")(function)


def _checked(convert: Callable[[Eval, Any], Any]) -> Callable[[Eval, Any], Any]:
    def check(ev: Eval, value: Any) -> Any:
        convert(ev, value)
        return value

    return check


def _as_dict(_ev: Eval, given: dict[str, Any]) -> Dict:
    made = Dict()
    for name, value in given.items():
        made.store(name, value)
    freeze(made)
    return made


def _registering(kind: str) -> Callable[[Eval, dict[str, Any]], None]:
    def register(ev: Eval, given: dict[str, Any]) -> None:
        if kind == "cmd":
            given.setdefault("dir", ev.dir)
        problem = _CHECKS[kind](given) if kind in _CHECKS else ""
        if problem:
            raise Wrong(f"v1alpha1.{kind}: {problem}")
        key = (plural(kind), given["name"])
        if ev.draft.api_objects.setdefault(key, given) != given:
            raise Wrong(f'{key[0]} "{key[1]}" already registered')
        warning = f"v1alpha1.{kind} objects are checked, but nothing acts on them yet"
        waits_for_a_button = bool((given.get("start_on") or {}).get("ui_buttons"))
        if kind not in _ACTED_ON and not waits_for_a_button and warning not in ev.draft.warnings:
            ev.warn(warning)

    return register


# ---------------------------------------------------------------------------------------------- validation


def _repo_problem(given: dict[str, Any]) -> str:
    url = urlsplit(given.get("url", ""))
    if url.scheme == "file":
        if not url.path.startswith("/") or url.netloc:
            return "spec.url: file:// URLs must be absolute paths"
        for field in ("ref", "git_subpath"):
            if given.get(field):
                return f"spec.{field}: not supported on file:// repositories"
        return ""
    if given.get("ref", "").startswith("-"):
        return f"spec.ref: {given['ref']} is no git reference"
    return "" if url.scheme in ("http", "https") else "spec.url: URLs must start with http(s):// or file://"


def _watch_problem(given: dict[str, Any]) -> str:
    return "" if given.get("watched_paths") else "spec.watchedPaths: at least one path is required"


def _apply_problem(given: dict[str, Any]) -> str:
    if bool(given.get("yaml")) == bool(given.get("apply_cmd")):
        return "spec: must specify exactly one of yaml or apply_cmd"
    if given.get("discovery_strategy", "") not in ("", "default", "selectors-only"):
        return 'spec.discoveryStrategy: must be one of "default", "selectors-only"'
    return ""


def _discovery_problem(given: dict[str, Any]) -> str:
    watches = given.get("watches") or []
    if not watches and not given.get("extra_selectors"):
        return "spec: at least one of watches or extra_selectors is required"
    return "" if all(watch.get("namespace") for watch in watches) else "spec.watches: a namespace is required"


def _button_problem(given: dict[str, Any]) -> str:
    location = given.get("location") or {}
    if not given.get("text"):
        return "spec.text: button text cannot be empty"
    for field in ("component_id", "component_type"):
        if not location.get(field):
            return f"spec.location.{field}: is required"
    if given.get("icon_svg") and "<svg" not in given["icon_svg"]:
        return "spec.iconSVG: invalid <svg> element"
    names = [item.get("name", "") for item in given.get("inputs") or []]
    if len(set(names)) < len(names):
        return "spec.inputs: duplicate input name"
    for item in given.get("inputs") or []:
        if sum(kind in item for kind in ("text", "bool", "hidden", "choice")) != 1:
            return f'spec.inputs: "{item.get("name", "")}" must specify exactly one of text, bool, hidden, choice'
        if "choice" in item and not item["choice"].get("choices"):
            return f'spec.inputs: "{item.get("name", "")}": choice must have choices'
    return ""


_CHECKS = {
    "extension_repo": _repo_problem,
    "file_watch": _watch_problem,
    "kubernetes_apply": _apply_problem,
    "kubernetes_discovery": _discovery_problem,
    "ui_button": _button_problem,
}

_UNUSED = "Not supported: it is checked and kept, and nothing acts on it yet."
_BUTTONS_ONLY = "Not supported: it runs when a button starts it (`start_on`), and is otherwise only checked and kept."

for _kind, _words in _OBJECTS.items():
    _parts = (
        f"{_ABOUT[_kind]} An object of its own: the same `name` again must mean the same.",
        *([] if _kind in _ACTED_ON else [_BUTTONS_ONLY if _kind == "cmd" else _UNUSED]),
    )
    _define(
        _kind,
        "\n\n".join(_parts),
        {"name": "str", "labels": "env", "annotations": "env", **_fields(_words)},
        _registering(_kind),
    )
for _kind, _words in _HELPERS.items():
    _define(_kind, f"{_ABOUT[_kind]} Returns the dict that may be written in its place.", _fields(_words), _as_dict)
