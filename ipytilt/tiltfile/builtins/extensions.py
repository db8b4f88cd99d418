"""Extensions: which Tiltfile `ext://name` means, and those we bring ourselves.

A repository is a folder of the user's (`file://`), or a git repository cloned below the user's data folder at first
use and refreshed once in the life of this process; without a network the copy serves as it is. Two from Tilt's public
repository are ours: `restart_process`, which restarts the container's process in place, without a wrapper built into
the image, and `uibutton` (see `buttons`).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ipytilt.processes import StartFailed
from ipytilt.starlark import Builtin, List
from ipytilt.tiltfile.builtin import Registered, registered
from ipytilt.tiltfile.builtins import buttons
from ipytilt.tiltfile.builtins.v1alpha1 import plural
from ipytilt.tiltfile.draft import Draft, Wrong
from ipytilt.tiltfile.evaluation import Eval
from ipytilt.tiltfile.pathnames import join
from ipytilt.tiltfile.values import StepValue
from ipytilt.tiltfile.vocabulary import one_or_many

SCHEME = "ext://"
PUBLIC = "https://github.com/tilt-dev/tilt-extensions"

_BROUGHT = ("restart_process", "uibutton")

_EXTENSIONS, _REPOSITORIES = plural("extension"), plural("extension_repo")
_CLONE = (
    'set -e; rm -rf "$3.part"; git clone --quiet -- "$1" "$3.part"; '
    'if [ -n "$2" ]; then git -C "$3.part" checkout --quiet "$2" --; fi; mv "$3.part" "$3"'
)
_GIT_ENV = {"GIT_TERMINAL_PROMPT": "0", "GIT_HTTP_LOW_SPEED_LIMIT": "1000", "GIT_HTTP_LOW_SPEED_TIME": "10"}

_refreshed: set[str] = set()  # clones brought up to date by this process


class Backoff:
    """Which downloads failed lately: they are not tried again at once, each time after twice as long.

    Used by one evaluation at a time. `clock` gives seconds.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, first: float = 5.0, longest: float = 300.0
    ) -> None:
        self._clock = clock
        self._first = first
        self._longest = longest
        self._failed: dict[str, tuple[float, float, str]] = {}  # until when, how long that is, what went wrong

    def waiting(self, what: str) -> str:
        """Why it failed, while it is too early to try again; else ""."""
        until, _seconds, problem = self._failed.get(what, (0.0, 0.0, ""))
        return problem if self._clock() < until else ""

    def seconds_left(self, what: str) -> int:
        """For how long it is too early, rounded up."""
        return math.ceil(max(self._failed[what][0] - self._clock(), 0)) if what in self._failed else 0

    def failed(self, what: str, problem: str) -> None:
        """It was tried and failed."""
        _until, before, _problem = self._failed.get(what, (0.0, 0.0, ""))
        seconds = min(2 * before or self._first, self._longest)
        self._failed[what] = (self._clock() + seconds, seconds, problem)

    def succeeded(self, what: str) -> None:
        """It was tried and is there."""
        self._failed.pop(what, None)


_downloads = Backoff()


def locate(ev: Eval, module: str) -> str:
    """The path of the Tiltfile that `ext://module` means; `Wrong` if there is none or it cannot be fetched."""
    repository, path = _place(ev.draft, module)
    ev.draft.loaded_extensions.add(_object_name(module))
    return _tiltfile(ev, module, repository, path)


def own(ev: Eval, module: str) -> Mapping[str, Any] | None:
    """What the extension offers, if it is one we bring ourselves."""
    repository, path = _place(ev.draft, module)
    if path not in _BROUGHT or not _is_public(ev.draft.api_objects.get((_REPOSITORIES, repository), {})):
        return None
    ev.draft.loaded_extensions.add(_object_name(module))
    if path == "uibutton":
        return buttons.offered(ev)
    return {name: _bound(ev, function) for name, function in _RESTARTING.items()}


def brought() -> Mapping[str, Mapping[str, Registered]]:
    """The functions of the extensions we bring ourselves: by extension, by name."""
    return {"restart_process": _RESTARTING, "uibutton": buttons.FUNCTIONS}


def _is_public(repository: Mapping[str, Any]) -> bool:
    return str(repository.get("url", PUBLIC)).removesuffix("/").removesuffix(".git") == PUBLIC


def unloaded(ev: Eval) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Name, Tiltfile and arguments of each registered extension that no code has loaded, but for those we bring."""
    for (kind, name), extension in ev.draft.api_objects.items():
        if kind == _EXTENSIONS and name not in ev.draft.loaded_extensions and own(ev, name) is None:
            path = _tiltfile(ev, name, extension.get("repo_name", ""), extension.get("repo_path", ""))
            yield name, path, tuple(extension.get("args", ()))


def _object_name(module: str) -> str:
    return re.sub(r"[/%]", "_", module)


def _place(draft: Draft, module: str) -> tuple[str, str]:
    """Repository and path in it."""
    extension = draft.api_objects.get((_EXTENSIONS, _object_name(module)))
    if extension:
        return extension.get("repo_name", ""), extension.get("repo_path", "")
    host, slash, rest = module.partition("/")
    if slash:
        for (kind, name), repository in draft.api_objects.items():
            if kind == _REPOSITORIES and repository.get("load_host") == host:
                return name, rest
    return "default", module


def _tiltfile(ev: Eval, module: str, repository: str, path: str) -> str:
    about = ev.draft.api_objects.get((_REPOSITORIES, repository), {})
    inside = join(about.get("git_subpath", ""), path)
    if inside.startswith("/") or inside.split("/")[0] == "..":
        raise Wrong(f"loading extension {module}: invalid repo path: {path}")
    found = join(_folder(ev, repository, about), inside, "Tiltfile")
    if not ev.host.exists(found):
        raise Wrong(f"loading extension {module}: no extension tiltfile found at {found}")
    return found


def _folder(ev: Eval, repository: str, about: Mapping[str, Any]) -> str:
    """The folder that holds the repository, fetched if need be."""
    url = urlsplit(str(about.get("url", PUBLIC)))
    if url.scheme == "file":
        if not ev.host.is_dir(url.path):
            raise Wrong(f"loading extension repo {repository}: {url.path} is no directory")
        return url.path
    ref = about.get("ref", "")
    ref = "" if ref == "HEAD" else ref
    place = re.sub(r"[^\w./@-]|\.\.", "_", f"{url.hostname}{url.path}".rstrip("/") + (f"@{ref}" if ref else ""))
    folder = join(_data_folder(ev), "extensions", place)
    if not ev.host.is_dir(folder):
        _download(ev, repository, url.geturl(), ref=ref, folder=folder)
    elif not ref and folder not in _refreshed:
        problem = _git(ev, ("git", "-C", folder, "pull", "--quiet", "--ff-only"))
        if problem:
            ev.log(f"extension repo {repository}: could not be refreshed, using the copy in {folder}: {problem}")
    _refreshed.add(folder)
    return folder


def _download(ev: Eval, repository: str, url: str, *, ref: str, folder: str) -> None:
    problem = _downloads.waiting(folder)
    if not problem:
        problem = _git(ev, ("sh", "-c", _CLONE, "sh", url, ref, folder))
        if problem:
            _downloads.failed(folder, problem)
        else:
            _downloads.succeeded(folder)
    if problem:
        hint = (
            f"check the network and the address {url}, and that git is installed; it is tried again when the Tiltfile "
            f"is next evaluated after {_downloads.seconds_left(folder)} s"
        )
        raise Wrong(f"loading extension repo {repository}: download error: {problem}", hint=hint)


def _git(ev: Eval, argv: tuple[str, ...]) -> str:
    """Run a command that uses git; what it complains of if it fails, else ""."""
    try:
        ran = ev.host.run(argv, cwd="/", env=_GIT_ENV, cancelled=ev.cancelled)
    except StartFailed as error:
        return error.message
    return (ran.stderr.strip() or f"exit status {ran.code}") if ran.code else ""


def _data_folder(ev: Eval) -> str:
    environ = ev.host.environ
    base = environ.get("XDG_DATA_HOME") or join(environ.get("HOME", ""), ".local/share")
    if not base.startswith("/"):
        raise Wrong("no folder to keep extensions in: neither XDG_DATA_HOME nor HOME is set")
    return join(base, "ipytilt")


# ---------------------------------------------------------------------------------------------- restart_process


def _bound(ev: Eval, function: Registered) -> Builtin:
    return Builtin(function.name, lambda _thread, args, kwargs: function.call(ev, args, kwargs), doc=function.doc)


def _docker_build_with_restart(ev: Eval, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """`docker_build`, and restart the container's process, `entrypoint`, after each live update.

    It takes what `docker_build` takes, and needs no helper image.

    Not supported: `trigger`; the process restarts after every live update.
    """
    given = _arguments("docker_build_with_restart", ("ref", "context"), args, kwargs)
    _build(ev, "docker_build", given)


def _custom_build_with_restart(ev: Eval, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """`custom_build`, and restart the container's process, `entrypoint`, after each live update.

    It takes what `custom_build` takes but for `tag` and `skips_local_docker`, and needs no helper image.

    Not supported: `trigger`; the process restarts after every live update.
    """
    name = "custom_build_with_restart"
    given = _arguments(name, ("ref", "command", "deps"), args, kwargs)
    for word in ("skips_local_docker", "tag"):
        if given.get(word):
            raise Wrong(f"`{name}` does not support `{word}`")
    _build(ev, "custom_build", given)


_RESTARTING = {
    "docker_build_with_restart": Registered(
        "docker_build_with_restart",
        _docker_build_with_restart,
        raw=True,
        shown="ref, context, entrypoint, live_update, ...",
    ),
    "custom_build_with_restart": Registered(
        "custom_build_with_restart",
        _custom_build_with_restart,
        raw=True,
        shown="ref, command, deps, entrypoint, live_update, ...",
    ),
}

_OWN = ("base_suffix", "restart_file", "trigger", "exit_policy")  # of use to the wrapper of Tilt's extension only


def _arguments(name: str, first: tuple[str, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What was passed, by name; `Wrong` if something is missing or the steps are not of a kind to be followed."""
    required = (*first, "entrypoint", "live_update")
    names = (*required, *_OWN)
    if len(args) > len(names):
        raise Wrong(f"{name}: got {len(args)} arguments, want at most {len(names)}")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    missing = [word for word in required if word not in given]
    if missing:
        raise Wrong(f"{name}: missing argument for {missing[0]}")
    given["live_update"] = List(one_or_many(given["live_update"]))
    if not given["live_update"]:
        raise Wrong(f"`{name}` requires at least one live_update step")
    for value in given["live_update"]:
        if isinstance(value, StepValue) and value.step.kind == "restart_container":
            raise Wrong(
                f"`{name}` is not compatible with live_update step: `restart_container()` "
                "(this extension is meant to REPLACE restart_container())"
            )
    return given


def _build(ev: Eval, builder: str, given: dict[str, Any]) -> None:
    own_words = {word: given.pop(word) for word in _OWN if word in given}
    if own_words.get("trigger"):
        ev.warn("restart_process: trigger= is not supported, the process restarts after every live update")
    registered()[builder].call(ev, (), given)
    image = ev.draft.images[-1]
    if image.live_update:
        image.live_update = replace(image.live_update, restart=True)
        image.restarts_process = True
