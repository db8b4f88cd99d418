"""The extension `uibutton`, brought by ourselves: Tilt's own makes its buttons by calling the tilt command.

A button and the command it runs are registered as the `v1alpha1` objects that extension would apply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from ipytilt.starlark import Builtin, Dict, List, Struct, from_python, type_name
from ipytilt.tiltfile.builtin import Kind, Registered, registered
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.evaluation import Eval
from ipytilt.tiltfile.pathnames import dirname
from ipytilt.tiltfile.vocabulary import StrList, Text, maybe, text_list
from ipytilt.tiltfile.vocabulary import text as as_text

MaybeText = Annotated[str | None, Kind("text or None", maybe(as_text))]

_NAV, _RESOURCE = "nav", "resource"
_SUBCOMMANDS = ("up", "ci")  # a button is of use to these only


def offered(ev: Eval) -> Mapping[str, Any]:
    """What can be loaded from the extension."""
    bound = {name: _bound(ev, function) for name, function in FUNCTIONS.items()}
    return {**bound, "location": Struct({"RESOURCE": _RESOURCE, "NAV": _NAV})}


def _bound(ev: Eval, function: Registered) -> Builtin:
    return Builtin(function.name, lambda _thread, args, kwargs: function.call(ev, args, kwargs), doc=function.doc)


def _inputs(_ev: Eval, value: Any) -> Any:
    """Inputs with keys as the `v1alpha1` helpers have them; this extension's own write them like `defaultValue`."""
    items = value if isinstance(value, List | tuple) else [value]
    for item in items:
        if not isinstance(item, Dict):
            raise Wrong(f"expected dict, actual: {type_name(item)}")
    return from_python([_snake_case(item) for item in items])


def _snake_case(value: Any) -> Any:
    if not isinstance(value, Dict):
        return value
    return {re.sub(r"[A-Z]", lambda m: f"_{m[0].lower()}", str(key)): _snake_case(item) for key, item in value.items()}


def cmd_button(
    ev: Eval,
    name: str,
    resource: str = "",
    argv: StrList = (),
    text: MaybeText = None,
    location: str = _RESOURCE,
    icon_name: MaybeText = None,
    icon_svg: MaybeText = None,
    inputs: Annotated[Any, Kind("list of dict", _inputs)] = (),
    disabled: bool = False,
    requires_confirmation: bool = False,
) -> None:
    """A button that runs a command on this machine, in the log of `resource`.

    `location.NAV` puts it above all resources. `inputs` become environment variables of the command.
    """
    if ev.host.subcommand not in _SUBCOMMANDS:
        return
    if not location:
        raise Wrong("location is required")
    if not resource and location == _RESOURCE:
        raise Wrong("Must provide a resource name")
    if not argv:
        raise Wrong("argv cannot be empty")
    kind, slash, component = location.partition("/")
    if location in (_NAV, _RESOURCE):
        kind, component = ("Global", "nav") if location == _NAV else ("Resource", resource)
    elif not slash:
        raise Wrong(f"Unsupported location {location}")
    button = {
        "name": name,
        "text": text or name,
        "location": {"component_type": kind, "component_id": component},
        "icon_name": icon_name or "",
        "icon_svg": icon_svg or "",
        "inputs": list(inputs),
        "disabled": disabled,
        "requires_confirmation": requires_confirmation,
    }
    command = {
        "name": f"btn-{name}",
        "annotations": {"tilt.dev/resource": resource or "(Tiltfile)"},
        "args": list(argv),
        "dir": dirname(ev.main),
        "start_on": {"ui_buttons": [name]},
    }
    for builder, given in (("ui_button", button), ("cmd", command)):
        values = {key: from_python(value) for key, value in given.items()}
        registered()[f"v1alpha1.{builder}"].call(ev, (), values)


def text_input(ev: Eval, name: str, label: Text = "", default: Text = "", placeholder: Text = "") -> Any:
    """A text field of a button."""
    del ev
    return _input(name, label, "text", {"defaultValue": default, "placeholder": placeholder})


def bool_input(
    ev: Eval,
    name: str,
    label: Text = "",
    default: bool = False,
    true_string: MaybeText = None,
    false_string: MaybeText = None,
) -> Any:
    """A checkbox of a button."""
    del ev
    words = {"trueString": true_string, "falseString": false_string}
    given = {key: word for key, word in words.items() if word is not None}
    return _input(name, label, "bool", {"defaultValue": default, **given})


def choice_input(
    ev: Eval, name: str, label: Text = "", choices: Annotated[tuple[str, ...], Kind("strlist", text_list)] = ()
) -> Any:
    """A choice of a button, the first is the default."""
    del ev
    return _input(name, label, "choice", {"choices": list(choices)})


def hidden_input(ev: Eval, name: str, value: Text) -> Any:
    """A constant of a button."""
    del ev
    return _input(name, "", "hidden", {"value": value})


def _input(name: str, label: str, kind: str, fields: dict[str, Any]) -> Any:
    return from_python({"name": name, "label": label, kind: fields})


FUNCTIONS: Mapping[str, Registered] = {
    function.__name__: Registered(function.__name__, function, raw=False)
    for function in (cmd_button, text_input, bool_input, choice_input, hidden_input)
}
"""What it offers, by name."""
