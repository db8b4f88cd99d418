"""What may stand at the cursor of a Tiltfile cell: names, parameters, and what belongs into a string.

Pure functions of text and of what the session knows (`Known`), on whatever thread asks. The text is not evaluated and
may be half written; all that is asked of the world is what a folder holds and what a loaded file defines.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from ipytilt.tiltfile import manual
from ipytilt.tiltfile.builtin import Parameter, registered
from ipytilt.tiltfile.cursor import KEYWORDS, Call, Cursor, Defined, Names, cursor, name_at, names_of
from ipytilt.tiltfile.pathnames import absolute

Listing = Callable[[str], Iterable[tuple[str, bool]]]
"""What a folder holds: name, and whether it is a folder. Nothing for what is none."""

Reading = Callable[[str], str]
"""The text of a file, or the beginning of it; "" for what cannot be read."""

MOST_FILES = 500
_READ = 16_000  # so many characters around the cursor are looked at: a cell of 300 lines


class Offer(NamedTuple):
    """One thing to insert in place of what stands between the start and the cursor; `type` is a word for its icon."""

    text: str
    type: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is known besides the cell: texts of earlier cells, names in force by what they name, where paths start."""

    texts: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    directory: str = "/"


@dataclass(frozen=True, slots=True)
class _World:
    listing: Listing
    reading: Reading


@dataclass(frozen=True, slots=True)
class Completion:
    """What to offer, best first, in place of the text from `start` to the cursor."""

    start: int
    offers: tuple[Offer, ...] = ()


NOTHING = Known()


def complete(
    text: str,
    offset: int,
    known: Known = NOTHING,
    *,
    listing: Listing = lambda _path: (),
    reading: Reading = lambda _path: "",
) -> Completion:
    """What may stand at `offset` of a cell's text."""
    near, at = _near(text, offset)
    found = cursor(near, at)
    scope = _Scope(near, known)
    if found.silent:
        return Completion(offset)
    if found.string is not None:
        prefix, offers = _in_string(found.string, found.call, scope, _World(listing, reading))
    else:
        prefix, offers = found.prefix, _names(found, scope)
    chosen = dict.fromkeys(offer for offer in offers if offer.text.startswith(prefix) and not _hidden(offer, prefix))
    return Completion(offset - len(prefix), tuple(chosen))


def _hidden(offer: Offer, prefix: str) -> bool:
    """Private names and hidden files are offered to those who begin to write them."""
    return offer.type != "text" and not prefix and offer.text.startswith(("_", "."))


def describe(text: str, offset: int, known: Known = NOTHING) -> str:
    """What can be read about the name the cursor touches, else about the call it stands in; "" if nothing can."""
    near, at = _near(text, offset)
    scope = _Scope(near, known)
    touched, call = name_at(near, at), cursor(near, at).call
    parameter = _parameter(call, scope)
    here = parameter.name if parameter else ""
    if call and _KEYWORD.match(near, at) and touched in scope.keywords(call.function):
        touched, here = "", touched
    for name, argument in ((touched, ""), (call.function if call else "", here)):
        entry = scope.entry(name)
        found = manual.shown(entry, argument) if entry else manual.text(name)
        if found:
            return found
    return ""


_KEYWORD = re.compile(r"\w*\s*=(?!=)")


def _near(text: str, offset: int) -> tuple[str, int]:
    """The text around the cursor, from a line that is likely to begin a statement, and the cursor's place in it."""
    if len(text) <= _READ:
        return text, offset
    start = 0
    if offset > _READ:
        begins = re.compile(r"^(?=[^\s)\]}#'\"])", re.MULTILINE).search(text, offset - _READ, offset)
        start = begins.start() if begins else offset - _READ
    return text[start : offset + _READ // 4], offset - start


# ---------------------------------------------------------------------------------------------- what names mean


@dataclass(slots=True)
class _Scope:
    """The names in sight: those of the Tilt API, of the language, of this cell and of the earlier ones."""

    text: str
    known: Known

    def read(self) -> Iterator[Names]:
        yield names_of(self.text)
        for text in reversed(self.known.texts):
            if len(text) <= 4 * _READ:
                yield names_of(text)

    def function(self, name: str) -> Defined | None:
        """The user's own function of that name; the one of this cell before those of others."""
        return next((names.functions[name] for names in self.read() if name in names.functions), None)

    def entry(self, name: str) -> manual.Entry | None:
        mine = self.function(name)
        return manual.own(mine) if mine else manual.entries().get(name)

    def parameters(self, function: str) -> tuple[Parameter, ...]:
        """Parameters of a builtin; none for a function of the user's."""
        known = manual.entries().get(_plain(function))
        return known.parameters if known and not self.function(function) else ()

    def keywords(self, function: str) -> tuple[str, ...]:
        """The names of parameters, whoever defined the function."""
        mine = self.function(function)
        return mine.parameters if mine else tuple(parameter.name for parameter in self.parameters(function))

    def named_by(self, *functions: str) -> tuple[str, ...]:
        """The strings these functions are given first, here and in earlier cells."""
        return tuple(text for names in self.read() for word in functions for text in names.first.get(word, ()))


def _plain(function: str) -> str:
    """The builtin whose parameters a function takes: those of the extension we bring wrap one."""
    return function.removesuffix("_with_restart") if function.endswith("_build_with_restart") else function


def _parameter(call: Call | None, scope: _Scope) -> Parameter | None:
    """The parameter the cursor's argument is for."""
    if call is None:
        return None
    parameters = scope.parameters(call.function)
    if call.keyword:
        return next((parameter for parameter in parameters if parameter.name == call.keyword), None)
    positional = [parameter for parameter in parameters if not parameter.keyword_only]
    return positional[call.index] if call.index < len(positional) else None


# ---------------------------------------------------------------------------------------------- names

_VALUES = {
    "bool": ("False", "True"),
    "bool?": ("False", "True", "None"),
    "mode": ("TRIGGER_MODE_AUTO", "TRIGGER_MODE_MANUAL"),
    "steps": ("sync", "run", "fall_back_on", "initial_sync", "restart_container"),
    "links": ("link",),
    "Probe": ("probe",),
    "ExecAction": ("exec_action",),
    "HTTPGetAction": ("http_get_action",),
    "TCPSocketAction": ("tcp_socket_action",),
}
"""What most likely stands for a parameter of a kind."""


def _names(found: Cursor, scope: _Scope) -> Iterator[Offer]:
    if found.owner:
        yield from _members(found.owner)
        return
    call = found.call
    if call and found.at_argument and not call.keyword:
        positional = call.index
        for at, name in enumerate(scope.keywords(call.function)):
            if name not in call.given and at >= positional:
                yield Offer(f"{name}=", "param")
    parameter = _parameter(call, scope)
    kind = parameter.kind.word if parameter else ""
    for name in _VALUES.get(kind, ()):
        yield Offer(name, _type(name))
    if f"v1alpha1.{kind}" in registered():
        yield Offer(f"v1alpha1.{kind}", "function")
    for names in scope.read():
        yield from (Offer(name, "function" if name in names.functions else "instance") for name in names.names)
    at_hand = (name for name, entry in manual.entries().items() if entry.origin != "extension" and "." not in name)
    yield from (Offer(name, _type(name)) for name in at_hand)
    yield from (Offer(name, "module") for name in sorted(manual.modules()) if "." not in name)
    yield from (Offer(word, "keyword") for word in (*KEYWORDS, "None", "True", "False"))


def _members(owner: str) -> Iterator[Offer]:
    """What a module holds; nothing for any other value, whose kind is not known without running the cell."""
    names = sorted({*manual.entries(), *manual.modules()})
    members = (name.removeprefix(f"{owner}.") for name in names if name.startswith(f"{owner}."))
    yield from (Offer(name, _type(f"{owner}.{name}")) for name in members if "." not in name)


def _type(name: str) -> str:
    if name in manual.modules():
        return "module"
    entry = manual.entries().get(name)
    return "keyword" if entry is None else "instance" if entry.origin == "constant" else "function"


# ---------------------------------------------------------------------------------------------- strings

_PATH_KINDS = ("path", "paths", "path or None")
_PATHS = {
    "docker_build": ("only", "ignore"),
    "docker_compose": ("configPaths",),
    "filter_yaml": ("yaml",),
    "helm": ("values",),
    "include": ("path",),
    "k8s_yaml": ("yaml",),
    "load_dynamic": ("path",),
    "local_git_repo": ("paths",),
    "local_resource": ("ignore",),
    "custom_build": ("ignore",),
    "read_yaml": ("paths",),
    "read_yaml_stream": ("paths",),
    "run": ("trigger",),
    "sync": ("local_path",),
    "watch_settings": ("ignore",),
}
"""Parameters that are paths although their kind does not say so."""

_CHOICES = {
    "discovery_strategy": ("default", "selectors-only"),
    "k8s_server_side_apply": ("auto", "true", "false"),
    "msg": ("snapshots", "cluster_refresh"),
    "pod_readiness": ("wait", "ignore", "succeeded"),
    "scheme": ("http", "https"),
}
_RESOURCES = ("resource_deps", "resources")
_DEFINERS = ("local_resource", "test", "k8s_custom_deploy")
_BUILDERS = ("docker_build", "custom_build", "docker_build_with_restart", "custom_build_with_restart")
EXTENSION = "ext://"


def _in_string(content: str, call: Call | None, scope: _Scope, world: _World) -> tuple[str, Iterable[Offer]]:
    """The part of the string to be replaced, and with what."""
    if call is not None and call.function == "load":
        return _in_load(content, call, scope.known.directory, world)
    parameter = _parameter(call, scope)
    if call is None or parameter is None:
        return content, ()
    function, known = _plain(call.function), scope.known
    itself = (call.literals.get(0), call.literals.get("name"), call.literals.get("ref"))
    if parameter.kind.word in _PATH_KINDS or parameter.name in _PATHS.get(function, ()):
        return _paths(content, _base(call, parameter.name, known.directory), world.listing)
    words: tuple[str, ...] = ()
    if parameter.name in _RESOURCES:
        words = (*known.resources, *scope.named_by(*_DEFINERS))
    elif parameter.kind.word in ("ref", "refs") or parameter.name in ("image_selector", "image"):
        words = (*known.images, *scope.named_by(*_BUILDERS))
    elif parameter.name == "suppress_unused_image_warnings":
        words = scope.named_by(*_BUILDERS)
    elif parameter.kind.word == "labels":
        words = known.labels
    else:
        chosen = {"dc_resource.name": known.services, "k8s_resource.workload": known.workloads}
        chosen["sync.remote_path"] = known.containers
        words = chosen.get(f"{function}.{parameter.name}", ()) or _CHOICES.get(parameter.name, ())
    return content, [Offer(word, "text") for word in words if word not in itself]


def _base(call: Call, parameter: str, directory: str) -> str:
    """Where the paths of a parameter start: patterns of an image below its context, all else in the cell's folder."""
    if parameter in ("only", "ignore") and call.function.startswith("docker_build"):
        context = call.literals.get("context", call.literals.get(1))
        return absolute(directory, context) if context else directory
    return directory


def _in_load(content: str, call: Call, directory: str, world: _World) -> tuple[str, Iterable[Offer]]:
    if call.index or call.keyword:
        return content, [Offer(name, "function") for name in _exported(call.literals.get(0, ""), directory, world)]
    if content.startswith("ext:"):
        return content, [Offer(f"{EXTENSION}{name}", "module") for name in manual.extensions_brought()]
    prefix, files = _paths(content, directory, world.listing)
    return prefix, [*files, *([Offer(EXTENSION, "module")] if prefix == content else [])]


def _exported(path: str, directory: str, world: _World) -> Iterable[str]:
    """What may be loaded from a file."""
    if path.startswith(EXTENSION):
        return manual.extensions_brought().get(path.removeprefix(EXTENSION), ())
    if not path:
        return []
    return [name for name in names_of(world.reading(absolute(directory, path))).globals if name[:1] != "_"]


def _paths(content: str, base: str, listing: Listing) -> tuple[str, list[Offer]]:
    """Files and folders that go on from the last slash."""
    folder, slash, name = content.rpartition("/")
    where = absolute(base, folder + slash) if folder + slash else base
    entries = sorted(islice(listing(posixpath.normpath(where)), MOST_FILES))
    shown = [f"{entry}/" if is_folder else entry for entry, is_folder in entries]
    return name, [Offer(entry, "path") for entry in shown if entry.isprintable()]
