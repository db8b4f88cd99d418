"""The values Tilt adds to Starlark, with the type names and texts that Tiltfiles compare and print.

Made by builtins on the evaluating thread, read by other builtins. Everything struct-like (links, probes) is a
`starlark.Struct` with its own type name instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from ipytilt.core.spec import PortForward, TriggerMode
from ipytilt.starlark import MISSING, Builtin, EvalError, Value, to_repr, type_name
from ipytilt.tiltfile.draft import Step
from ipytilt.tiltfile.pathnames import join


@dataclass(frozen=True, eq=True, slots=True)
class Blob(Value):
    """Text from somewhere: `origin` tells where ("local: make", "file: a.yaml"). Equal only with the same origin."""

    text: str
    origin: str = ""
    type_name = "blob"
    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        return bool(self.text)


@dataclass(frozen=True, slots=True)
class StepValue(Value):
    """A live-update step."""

    step: Step

    @property
    def type_name(self) -> str:  # type: ignore[override]
        """Extensions compare these names."""
        return f"live_update_{self.step.kind}_step"

    def __str__(self) -> str:
        return str(self.step)


@dataclass(frozen=True, slots=True)
class ModeValue(Value):
    """`TRIGGER_MODE_AUTO` or `TRIGGER_MODE_MANUAL`."""

    mode: TriggerMode
    type_name = "TriggerMode"

    def __str__(self) -> str:
        return f"TRIGGER_MODE_{self.mode.name}"


@dataclass(frozen=True, slots=True)
class PortForwardValue(Value):
    """`port_forward(...)`."""

    forward: PortForward
    type_name = "port_forward"

    def __str__(self) -> str:
        forward = self.forward
        host = f", host={json.dumps(forward.host)}" if forward.host else ""
        name = json.dumps(forward.name, ensure_ascii=False)
        return f"port_forward(local_port={forward.local}, container_port={forward.container}, name={name}{host})"


@dataclass(frozen=True, slots=True)
class CustomBuildValue(Value):
    """What `custom_build(...)` returns; it can only be shown."""

    name: str
    type_name = "custom_build"

    def __str__(self) -> str:
        return f'custom_build("{self.name}")'


@dataclass(frozen=True, slots=True)
class GitRepo(Value):
    """`local_git_repo(...)`: stands for its root wherever a path is wanted."""

    root: str
    type_name = "git.Repo"

    def attr(self, name: str) -> Any:
        """`paths(relative)`: a path below the root."""
        if name != "paths":
            return MISSING

        def paths(_thread: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
            given = [*args, *kwargs.values()]
            if len(given) != 1 or not isinstance(given[0], str) or set(kwargs) - {"paths"}:
                raise EvalError("paths: want one string")
            return join(self.root, given[0])

        return Builtin("paths", paths)

    def attr_names(self) -> list[str]:
        """What it can do."""
        return ["paths"]

    def __str__(self) -> str:
        return f"[git.Repo] '{self.root}'"


class Environ(Value):
    """`os.environ`: the live environment."""

    type_name = "environ"

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self.environ = environ

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.environ))

    def __len__(self) -> int:
        return len(self.environ)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.environ

    def __getitem__(self, name: Any) -> str:
        if name not in self:
            raise EvalError(f"key {to_repr(name)} not in environ")
        return self.environ[name]

    def __setitem__(self, name: Any, value: Any) -> None:
        for part in (name, value):
            if not isinstance(part, str | Blob):
                raise EvalError(f"Value should be convertible to string, but is type {type_name(part)}")
        set_variable(self.environ, str(name), str(value))

    def __str__(self) -> str:
        return to_repr(self._as_dict())

    def _as_dict(self) -> Any:
        from ipytilt.starlark import from_python

        return from_python(dict(sorted(self.environ.items())))

    def attr(self, name: str) -> Any:
        """The methods of a dict."""
        method = _ENVIRON_METHODS.get(name)
        if method is None:
            return MISSING

        def call(_thread: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            try:
                return method(self.environ, *args, **kwargs)
            except KeyError as error:
                raise EvalError(f"{name}: missing key {error.args[0] if error.args else ''}") from None
            except (TypeError, ValueError) as error:
                raise EvalError(f"{name}: {error}") from None

        return Builtin(name, call, receiver=self)

    def attr_names(self) -> list[str]:
        """The methods' names."""
        return sorted(_ENVIRON_METHODS)


def set_variable(environ: MutableMapping[str, str], name: str, value: str) -> None:
    """Set an environment variable; EvalError if the name is impossible."""
    if not name or "=" in name or "\0" in name + value:
        raise EvalError(f"setenv {name}: invalid argument")
    environ[name] = value


def _popped(environ: MutableMapping[str, str]) -> tuple[str, str]:
    if not environ:
        raise ValueError("empty dict")
    name = min(environ)
    return name, environ.pop(name)


def _update(environ: MutableMapping[str, str], other: Any = (), **kwargs: str) -> None:
    for name, value in [*(other.items() if hasattr(other, "items") else other), *kwargs.items()]:
        set_variable(environ, str(name), str(value))


_ENVIRON_METHODS: dict[str, Callable[..., Any]] = {
    "clear": lambda environ: environ.clear(),
    "get": lambda environ, name, default=None: environ.get(name, default),
    "items": lambda environ: sorted(environ.items()),
    "keys": sorted,
    "pop": lambda environ, name, *default: environ.pop(name, *default),
    "popitem": _popped,
    "setdefault": lambda environ, name, default: environ.setdefault(str(name), str(default)),
    "update": _update,
    "values": lambda environ: [environ[name] for name in sorted(environ)],
}


class UserModule(Value):
    """`module("name", ...)`: members that cannot be changed."""

    type_name = "module"

    def __init__(self, name: str, members: Mapping[str, Any]) -> None:
        self.name = name
        self.members = dict(members)

    def attr(self, name: str) -> Any:
        """A member."""
        return self.members.get(name, MISSING)

    def attr_names(self) -> list[str]:
        """The members' names."""
        return sorted(self.members)

    def freeze(self) -> Iterable[Any]:
        """The members are frozen with it."""
        return self.members.values()

    def __str__(self) -> str:
        return f"<module {json.dumps(self.name)}>"
