"""Buttons of a Tiltfile: what a press runs, and which environment the values of its inputs make. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipytilt.core.spec import Command
from ipytilt.errors import UsageError


@dataclass(frozen=True, slots=True)
class ButtonInput:
    """A value a button asks for, by its `label`; its command finds it in the environment, as `name`.

    `default` counts when nothing is given (a bool's is "true" or "false"); `choices` are all a choice may be, `true`
    and `false` what stands for the two values of a bool. `kind` is text, bool, hidden or choice.
    """

    name: str
    kind: str
    default: str = ""
    choices: tuple[str, ...] = ()
    true: str = "true"
    false: str = "false"
    label: str = ""
    placeholder: str = ""


@dataclass(frozen=True, slots=True)
class Button:
    """A button and the command it runs on this machine, in the log of `resource` ("": of the Tiltfile).

    It stands beside the resource `beside`, or above all of them if there is none of that name.
    """

    name: str
    text: str
    command: Command
    resource: str = ""
    inputs: tuple[ButtonInput, ...] = ()
    disabled: bool = False
    confirm: bool = False
    beside: str = ""


@dataclass(frozen=True, slots=True)
class Press:
    """The newest run of a button: it goes on, or it ended, with what was wrong ("": nothing)."""

    running: bool = False
    problem: str = ""


def environment(button: Button, values: Mapping[str, str]) -> dict[str, str]:
    """What the inputs add to the environment of the command; what is not given is the default.

    Raises UsageError for an input the button does not have, and for a value it cannot have.
    """
    asked = {one.name: one for one in button.inputs if one.kind != "hidden"}
    for name in values:
        if name not in asked:
            hint = f"its inputs: {', '.join(asked)}" if asked else "it has none"
            raise UsageError(f"The button {button.name} has no input {name!r}", hint=hint)
    return {one.name: _value(one, values.get(one.name, one.default)) for one in button.inputs}


def _value(one: ButtonInput, value: str) -> str:
    if one.kind == "bool":
        if value not in ("true", "false"):
            raise UsageError(f"{one.name} is true or false, not {value!r}")
        return one.true if value == "true" else one.false
    if one.kind == "choice" and value not in one.choices:
        raise UsageError(f"{one.name} cannot be {value!r}", hint=f"one of: {', '.join(one.choices)}")
    return value
