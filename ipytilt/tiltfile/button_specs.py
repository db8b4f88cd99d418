"""From registered `v1alpha1` objects to the buttons of a spec. Pure; called by `assemble`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ipytilt.core.buttons import Button, ButtonInput
from ipytilt.core.spec import Command
from ipytilt.tiltfile.draft import Draft

_TILTFILE = "(Tiltfile)"
_KINDS = ("text", "bool", "hidden", "choice")


def buttons(draft: Draft) -> Iterator[Button]:
    """The buttons that start a command, in the order they were registered."""
    for (kind, name), button in draft.api_objects.items():
        command = _started_by(draft, name) if kind == "uibuttons" else None
        if command and command.get("args"):
            resource = (command.get("annotations") or {}).get("tilt.dev/resource", "")
            location = button["location"]
            extra = tuple(sorted(command.get("env") or ()))
            yield Button(
                name=name,
                text=button.get("text") or name,
                command=Command(tuple(command["args"]), command["dir"], extra),
                resource="" if resource == _TILTFILE else resource,
                inputs=tuple(map(_input, button.get("inputs") or ())),
                disabled=bool(button.get("disabled")),
                confirm=bool(button.get("requires_confirmation")),
                beside=location["component_id"] if location["component_type"] == "Resource" else "",
            )


def _started_by(draft: Draft, button: str) -> Mapping[str, Any] | None:
    """The command that starts when the button is pressed."""
    for (kind, _name), command in draft.api_objects.items():
        if kind == "cmds" and button in ((command.get("start_on") or {}).get("ui_buttons") or ()):
            return command
    return None


def _input(given: Mapping[str, Any]) -> ButtonInput:
    name, label = str(given.get("name", "")), str(given.get("label") or "")
    kind = next(kind for kind in _KINDS if kind in given)
    about = given[kind]
    match kind:
        case "text":
            placeholder = about.get("placeholder", "")
            return ButtonInput(name, kind, about.get("default_value", ""), label=label, placeholder=placeholder)
        case "hidden":
            return ButtonInput(name, kind, about.get("value", ""))
        case "choice":
            choices = tuple(about["choices"])
            return ButtonInput(name, kind, choices[0], choices, label=label)
        case _:
            default = "true" if about.get("default_value") else "false"
            on, off = about.get("true_string", "true"), about.get("false_string", "false")
            return ButtonInput(name, kind, default, true=on, false=off, label=label)
