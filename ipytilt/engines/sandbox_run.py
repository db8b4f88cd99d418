"""How a process of a sandbox sees files: the host's, and laid over them the image's and the container's own.

Two ways, chosen by trying. *Namespaces*: the host's directories are the lower layer of overlays, the container's tree
the upper one; all processes of a container share a process namespace, so that killing one of them kills all. *proot*,
where namespaces are forbidden: it rewrites paths; the host's files are protected by Landlock where the system has it,
and what an image puts into a directory of the host is seen file by file.

It is not a wall against malicious code: a container may read what the user may read and use the host's network.

Stateless but for what was found out once; called on any thread. `sandbox_init` is the program that runs on the other
side, `processes` starts it. Linux only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ipytilt import processes
from ipytilt.core.paths import is_below
from ipytilt.engines.sandbox_files import clone_tree, remove_tree

_OWN_DIRECTORIES = frozenset({"dev", "proc", "sys", "tmp"})  # every view has its own, or is given them last
_HOME = "/root"
_TMP = "/tmp"  # noqa: S108 - every view's own, in the usual place
_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm"))
_INIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sandbox_init.py")
_INIT_INSIDE = "/dev/ipytilt-init"  # the package itself may be where a view has something of its own
_SHARED = ("/proc", "/sys", *_DEVICES)
_DOCKER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
_SPLIT_DEPTH = 2  # how deep a directory with other file systems mounted in it is taken apart
_PROBE = ("sh", "-c", "echo works > /usr/.ipytilt-probe && cat /usr/.ipytilt-probe")


class StartFailed(Exception):
    """A view could not be made or its command not be found; says why."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory or file of the host shown at a path of the container."""

    source: str
    path: str
    writable: bool = True


@dataclass(slots=True)
class View:
    """What a container or build step sees: `folder` is private to it, `image` a tree nobody changes ("" for none).

    `covered` are directories where the host's files hide the tree, `shadows` the paths below them where they do not.
    """

    folder: str
    image: str = ""
    mounts: tuple[Mount, ...] = ()
    covered: tuple[str, ...] = ()
    shadows: tuple[str, ...] = ()

    @property
    def tree(self) -> str:
        """The part of the files that is the container's own."""
        return os.path.join(self.folder, "tree")

    def shows(self, path: str) -> bool:
        """Whether what is put there in the tree can be seen."""
        hidden = any(is_below(path, each) for each in self.covered)
        return not hidden or any(is_below(path, each) for each in self.shadows)


class Isolation(Protocol):
    """A way to make views.

    Attributes:
        name: as users know it.
        home: a directory that every view may write to.
        whole_tree: whether processes have to be hunted down one by one at the end.
    """

    name: str
    home: str
    whole_tree: bool

    def prepare(self, view: View) -> None:
        """Make ready on disk what the next start needs."""
        ...

    def start(self, view: View, token: str, *, cwd: str, command: Sequence[str]) -> list[str]:
        """The arguments that run a command as the first one of a view, announced with the token."""
        ...

    def join(self, view: View, pid: int, *, cwd: str, command: Sequence[str]) -> list[str]:
        """The arguments that run a command beside the one whose process `start` announced as `pid`."""
        ...

    def root(self, view: View, pid: int) -> str:
        """Where the files of a running view are seen from outside."""
        ...

    def tidy(self, view: View) -> None:
        """Take out of the tree what `prepare` had to put there, once nothing runs in the view."""
        ...


def _program(*words: str, command: Sequence[str], file: str = _INIT) -> list[str]:
    # Not a virtual environment's link to it, which may lie where the container sees something else.
    return [os.path.realpath(sys.executable), "-I", "-S", file, *words, "--", *command]


def environment() -> dict[str, str]:
    """What an image without `ENV` has: the programs of this host are found where the host finds them."""
    places = [*os.environ.get("PATH", "").split(":"), *_DOCKER_PATH.split(":")]
    path = ":".join(dict.fromkeys(place for place in places if place.startswith("/")))
    proxies = {name: value for name, value in os.environ.items() if name.lower() in _PROXIES}
    return {"PATH": path, **proxies}


def launch(
    isolation: Isolation,
    view: View,
    command: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    on_line: Callable[[str], None],
) -> tuple[processes.Process, int]:
    """Start the first command of a view; returns once it runs, with the process to wait for and the one to join.

    Raises:
        StartFailed: the view cannot be made, the working directory not be entered, the program not be found.
    """
    token = f"ipytilt-{os.urandom(8).hex()}"
    told = threading.Event()
    answer: list[str] = []
    noise: list[str] = []

    def hear(_: str, line: str) -> None:
        if told.is_set():
            on_line(line)
        elif line.startswith(token):
            answer.extend(line.removeprefix(token).split(None, 1))
            told.set()
        else:
            noise.append(line)

    isolation.prepare(view)
    arguments = isolation.start(view, token, cwd=cwd, command=command)
    glue = os.path.join(view.folder, "glue")
    os.makedirs(glue, exist_ok=True)
    whole_env = {"HOME": isolation.home, **env, "PROOT_TMP_DIR": glue}
    process = processes.spawn(arguments, cwd="/", env=whole_env, on_line=hear, whole_tree=isolation.whole_tree)
    while not told.wait(0.05) and process.exit_code is None:
        continue
    match answer:
        case ["ready", pid]:
            return process, int(pid)
    process.kill()
    process.wait()
    raise StartFailed(" ".join(answer[1:] or noise) or f"it ended with exit code {process.exit_code}")


def finish(process: processes.Process, cancel: processes.Cancel) -> int:
    """Wait for a command's end, which comes early when the work is cancelled; returns its exit code."""
    try:
        with cancel.on_cancel(process.kill):
            code = process.wait()
    finally:
        process.kill()
        process.wait()
    cancel.check()
    return -1 if code is None else code


# ---------------------------------------------------------------------------------------------- namespaces


class Namespaces:
    """Overlays in user, mount and process namespaces."""

    name = "namespaces"
    home = "/root"
    whole_tree = False

    def prepare(self, view: View) -> None:
        """Write the plan that `sandbox_init` follows, and make the directories it needs."""
        os.makedirs(os.path.join(view.folder, "root"), exist_ok=True)
        own_tmp(view.tree)
        overlays: list[dict[str, str]] = []
        binds: list[tuple[str, str, bool]] = []
        inner_mounts = _mount_points()
        for name in sorted({*os.listdir("/"), *_names(view.image)} - _OWN_DIRECTORIES):
            for path, layers in _parts(f"/{name}", view.image, inner_mounts):
                own = view.tree + path
                if _is_dir(layers[0]) and (_is_dir(own) or not os.path.lexists(own)):
                    overlays.append(self._overlay(view, path, [each for each in layers if _is_dir(each)]))
                elif layers[0] == path and not os.path.islink(path):
                    binds += [(path, path, False)] if path.count("/") > 1 else []  # files in "/" are no programs
                elif not os.path.lexists(own):
                    os.makedirs(os.path.dirname(own), exist_ok=True)
                    shutil.copy2(layers[0], own, follow_symlinks=False)
        binds += [(mount.source, mount.path, mount.writable) for mount in view.mounts]
        plan = {"root": f"{view.folder}/root", "tree": view.tree, "overlays": overlays, "binds": binds}
        Path(view.folder, "view.json").write_text(json.dumps(plan), encoding="utf-8")

    @staticmethod
    def _overlay(view: View, path: str, layers: Sequence[str]) -> dict[str, str]:
        upper = view.tree + path
        work = os.path.join(view.folder, "work", path.strip("/").replace("/", "%"))
        os.makedirs(upper, exist_ok=True)
        os.makedirs(work, exist_ok=True)
        lower = ":".join(map(_escaped, layers))
        options = f"userxattr,lowerdir={lower},upperdir={_escaped(upper)},workdir={_escaped(work)}"
        return {"path": path, "options": options, "host": path if list(layers) == [path] else ""}

    def start(self, view: View, token: str, *, cwd: str, command: Sequence[str]) -> list[str]:
        """See `Isolation`."""
        return _program("new", os.path.join(view.folder, "view.json"), token, cwd, command=command)

    def join(self, view: View, pid: int, *, cwd: str, command: Sequence[str]) -> list[str]:  # noqa: ARG002
        """See `Isolation`."""
        return _program("join", str(pid), cwd, command=command)

    def root(self, view: View, pid: int) -> str:  # noqa: ARG002
        """See `Isolation`. Writing past the overlay, into the tree, would not be noticed by who looked before."""
        return f"/proc/{pid}/root"

    def tidy(self, view: View) -> None:
        """See `Isolation`: an empty directory of the host's name adds nothing to the host's."""
        plan = json.loads(Path(view.folder, "view.json").read_text(encoding="utf-8"))
        for overlay in reversed(plan["overlays"]):
            if overlay["host"]:
                with suppress(OSError):
                    os.removedirs(view.tree + overlay["path"])


def _parts(path: str, image: str, inner_mounts: frozenset[str]) -> Iterator[tuple[str, list[str]]]:
    """The pieces an overlay can be made of, top first: a directory with mounts in it cannot be one as a whole."""
    layers = [layer for layer in (image + path if image else "", path) if layer and os.path.lexists(layer)]
    if layers[-1] == path and not _is_usable(path):
        layers.pop()
    if not layers:
        return
    has_mounts = any(point.startswith(path + "/") for point in inner_mounts)
    if not has_mounts or not _is_dir(layers[-1]) or layers[-1] != path:
        yield path, layers
        return
    if path.count("/") > _SPLIT_DEPTH:  # too deep to take apart: the host's alone, unless the image has files there
        yield path, layers if _has_files(layers[0]) else [path]
        return
    for name in sorted({*_names(path), *_names(layers[0])}):
        yield from _parts(f"{path}/{name}", image, inner_mounts)


def _has_files(directory: str) -> bool:
    return any(files for _, _, files in os.walk(directory))


def _mount_points() -> frozenset[str]:
    rows = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return frozenset(re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), row.split()[4]) for row in rows)


def _escaped(path: str) -> str:
    return re.sub(r"([\\:,])", r"\\\1", path)


# ---------------------------------------------------------------------------------------------- proot


class Proot:
    """Paths rewritten by proot: slower, no process namespace, and the container's files are one directory."""

    name = "proot"
    whole_tree = True

    def __init__(self, program: str) -> None:
        self._program = program
        self.home = _TMP if _is_usable(_HOME) else _HOME  # the host's own is not for writing

    def prepare(self, view: View) -> None:
        """Copy the image once, and link or make room for what the host has at the top."""
        marker = os.path.join(view.folder, "copied")
        if view.image and not os.path.exists(marker):
            clone_tree(view.image, view.tree, share=False)
            Path(marker).touch()
        own_tmp(view.tree)
        os.makedirs(f"{view.tree}/dev", exist_ok=True)
        Path(view.tree + _INIT_INSIDE).touch()
        for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
            if not os.path.lexists(f"{view.tree}/dev/{name}"):
                os.symlink(f"/proc/self/fd{target}", f"{view.tree}/dev/{name}")
        shadows: list[str] = []
        for name in sorted(set(os.listdir("/")) - _OWN_DIRECTORIES):
            path, own = f"/{name}", f"{view.tree}/{name}"
            if os.path.islink(path):
                if not os.path.lexists(own):
                    os.symlink(os.readlink(path), own)
            elif _is_dir(path) and _is_usable(path) and not os.path.lexists(own):
                os.mkdir(own)
            shadows += _shadows(path, view.tree) if _is_bound(path, view) else ()
        directories = [f"/{name}" for name in os.listdir("/") if _is_bound(f"/{name}", view)]
        view.covered = (*directories, *filter(os.path.exists, _SHARED))
        view.shadows = tuple(shadows)

    def start(self, view: View, token: str, *, cwd: str, command: Sequence[str]) -> list[str]:
        """See `Isolation`."""
        inner = _program("start", token, cwd, command=command, file=_INIT_INSIDE)
        return self._arguments(view, inner)

    def join(self, view: View, pid: int, *, cwd: str, command: Sequence[str]) -> list[str]:  # noqa: ARG002
        """See `Isolation`: there is nothing to join, the same paths are rewritten again."""
        return self.start(view, "", cwd=cwd, command=command)

    def root(self, view: View, pid: int) -> str:  # noqa: ARG002
        """See `Isolation`."""
        return view.tree

    def tidy(self, view: View) -> None:
        """See `Isolation`: links and empty directories at the top do no harm."""

    def _arguments(self, view: View, inner: Sequence[str]) -> list[str]:
        pairs = [
            f"{_INIT}:{_INIT_INSIDE}",
            *view.covered,
            *(f"{view.tree}{path}:{path}" for path in view.shadows),
        ]
        pairs += [f"{mount.source}:{mount.path}" for mount in view.mounts]
        # proot itself needs the host's /tmp, which its children cannot name.
        writable = [
            view.folder,
            _TMP,
            *filter(os.path.exists, ("/proc", *_DEVICES)),
            *(mount.source for mount in view.mounts if mount.writable),
        ]
        words = [
            self._program,
            "-v",
            "-1",
            "-r",
            view.tree,
            *(word for pair in pairs for word in ("-b", pair)),
            "-w",
            "/",
        ]
        return _program("confine", json.dumps(writable), command=[*words, *inner])


def _is_bound(path: str, view: View) -> bool:
    """Whether proot shows the host's directory there; a link or file of the image at the top hides it."""
    return path[1:] not in _OWN_DIRECTORIES and _is_dir(path) and _is_usable(path) and _is_dir(view.tree + path)


def _shadows(path: str, tree: str) -> Iterator[str]:
    """The highest paths of the tree below `path` that are not directories of the host as well."""
    if not _is_usable(path):
        return
    for name in _names(tree + path):
        below = f"{path}/{name}"
        if _is_dir(below) and _is_dir(tree + below):
            yield from _shadows(below, tree)
        else:
            yield below


# ---------------------------------------------------------------------------------------------- choosing


_tried: dict[tuple[str, int], str] = {}
"""What trying a way in folders of a file system came to."""


def choose(folder: str, wanted: str = "") -> Isolation | str:
    """The first way that works with trees in `folder`, or why none does; `wanted` asks for one by name."""
    if not sys.platform.startswith("linux"):
        return "the sandbox needs Linux"
    proot = shutil.which("proot")
    candidates: list[Isolation] = [Namespaces(), *([Proot(proot)] if proot else [])]
    reasons = []
    for isolation in candidates:
        if wanted in {"", isolation.name}:
            known = (isolation.name, os.stat(folder).st_dev)
            problem = _tried[known] = _tried[known] if known in _tried else _problem_of(isolation, folder)
            if not problem:
                return isolation
            reasons.append(f"{isolation.name}: {problem}")
    if not proot and wanted != Namespaces.name:
        reasons.append("proot: not installed")
    return "; ".join(reasons)


def _problem_of(isolation: Isolation, folder: str) -> str:
    """What goes wrong when a command is run in a view of its own that changes a file below /usr; "" if nothing does."""
    place = tempfile.mkdtemp(prefix="probe-", dir=folder)
    lines: list[str] = []
    try:
        os.makedirs(os.path.join(place, "tree/usr"))
        if isinstance(isolation, Proot):
            Path(place, "tree/usr/.ipytilt-probe").touch()
        view = View(place)
        process, _ = launch(isolation, view, _PROBE, cwd="/", env=environment(), on_line=lines.append)
        exit_code = process.wait(10)
        process.kill()
        process.wait()
        return "" if exit_code == 0 and lines == ["works"] else " ".join(lines) or f"exit code {exit_code}"
    except (StartFailed, processes.StartFailed, OSError) as error:
        return str(error)
    finally:
        remove_tree(place)


# ---------------------------------------------------------------------------------------------- small change


def own_tmp(tree: str) -> None:
    """Every view has a /tmp of its own, which stays with its tree, and a home that its user may write to."""
    os.makedirs(tree + _TMP, exist_ok=True)
    os.chmod(tree + _TMP, 0o1777)  # noqa: S103 - as everywhere
    if not _is_usable(_HOME):
        os.makedirs(tree + _HOME, exist_ok=True)


def _is_dir(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _is_usable(path: str) -> bool:
    return os.path.islink(path) or os.access(path, os.R_OK | (os.X_OK if os.path.isdir(path) else 0))


def _names(directory: str) -> list[str]:
    return os.listdir(directory) if directory and _is_dir(directory) else []
