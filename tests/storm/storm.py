"""A storm over a real session: writers at work on the project, containers and watcher under fire; then all must agree.

Runs on the caller's thread with one thread per writer. At rest the container's tree has to equal the local one: every
path that is not ignored, contents, mode bits of files, targets of links.
"""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

from ipytilt.core.steps import Container
from ipytilt.engines.base import ContainerEngine, Work
from ipytilt.engines.sandbox import SandboxEngine
from ipytilt.errors import TiltError
from ipytilt.runtime.inotify import OVERFLOW, Event, InotifyTree
from tests.storm import weather
from tests.storm.weather import Op, Script
from tests.support import disks
from tests.support.project import COMPOSE, PATIENCE, Project
from tests.support.waiting import eventually
from tools.rig.daemon import Daemon

KEPT = Path(__file__).parent / "kept"
TILTFILE = """
docker_compose('docker-compose.yml')
docker_build('app-image', 'app', ignore=['**/left', '**/*.tmp'], live_update=[
    fall_back_on('app/stop'),
    sync('app', '/app'),
])
"""
_PAUSE_FOR_A_CONTAINER = 20.0
_FEWER_TRIES = 14
_FULL_SECONDS = 0.5

Tree: TypeAlias = dict[str, tuple[str, int, str]]
"""Path -> kind, mode bits (of files), and a digest of the content or the target of the link."""


class Lost(AssertionError):
    """Something did not arrive, or stayed that should be gone."""


@dataclass(slots=True)
class Tally:
    """What happened: how often, and to what end."""

    operations: dict[str, int] = field(default_factory=dict)
    rounds: int = 0
    updates: dict[str, int] = field(default_factory=dict)
    compared: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, op: Op) -> None:
        """One more."""
        with self.lock:
            self.operations[op.kind] = self.operations.get(op.kind, 0) + 1

    def count_updates(self, project: Project, after: int) -> int:
        """Add the updates that began after that run, as far as they are remembered; returns the newest."""
        history = project.session.state.tracks["app"].history
        for record in history:
            if record.run > after:
                word = f"{record.lane} {record.result}"
                self.updates[word] = self.updates.get(word, 0) + 1
        return max((record.run for record in history), default=after)

    def __str__(self) -> str:
        def listed(counts: dict[str, int]) -> str:
            return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))

        return (
            f"{sum(self.operations.values())} operations in {self.rounds} rounds ({listed(self.operations)}); "
            f"updates: {listed(self.updates)}; {self.compared} paths compared"
        )


class Storm:
    """A project under fire."""

    def __init__(
        self, folder: Path, engine: str, daemon: Daemon | None = None, *, disk: Path | None = None, rules: str = ""
    ) -> None:
        """`daemon`: a Docker daemon that may be halted and resumed. `disk`: where the tree stands in the container.

        What is on that disk outlives the container, so it is for scripts that leave containers alone. `rules` stand
        before the others of the live update.
        """
        self.project = Project(folder, engine)
        if disk is not None:
            self.project.write("docker-compose.yml", f"{COMPOSE}    volumes: ['{disk}:/app/src']\n")
        self._disk = disk
        self._tiltfile = TILTFILE.replace("live_update=[", f"live_update=[{rules}")
        self.tree = folder / "app" / "src"
        self.outside = folder / "outside"
        self.tally = Tally()
        self._daemon = daemon
        self._one_at_a_time = threading.Lock()
        self._overflow = threading.Event()
        self._newest = 0
        self._rested = 0
        self.tree.mkdir()
        self.outside.mkdir()
        git(folder, "init", "--quiet")

    def up(self) -> None:
        """Bring it up, and let the watcher lose what it is told to lose."""
        self.project.up(self._tiltfile)
        watcher = self.project.session._watcher
        assert watcher is not None
        tree = watcher._main
        assert isinstance(tree, InotifyTree)
        read = tree._kernel.read

        def losing() -> list[Event]:
            events = read()
            if events and self._overflow.is_set():
                self._overflow.clear()
                return [(-1, OVERFLOW, "")]
            return events

        tree._kernel.read = losing  # type: ignore[method-assign]

    def round(self, script: Script) -> None:
        """Let the writers loose, then come to rest and compare. Raises Lost."""
        writers = [
            threading.Thread(target=self._write, args=(operations,), name=f"writer-{n}", daemon=True)
            for n, operations in enumerate(script)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        self.tally.rounds += 1
        self._rest()
        self._newest = self.tally.count_updates(self.project, self._newest)

    def close(self) -> None:
        """Take it down."""
        self.project.close()

    # ------------------------------------------------------------------------------------------ the writers' threads

    def _write(self, operations: Iterable[Op]) -> None:
        for op in operations:
            self.tally.count(op)
            if op.kind in {*weather.FAULTS, *weather.DISK_FAULTS}:
                with suppress(TiltError, AssertionError):  # the container may be on its way out, or in
                    self._fault(op)
            else:
                weather.do(op, self.tree, self.outside)

    def _fault(self, op: Op) -> None:
        match op.kind:
            case "overflow":
                self._overflow.set()
            case "restart":
                self._engine().restart(self._container(), Work(lambda *_: None))
            case "kill":
                self._kill(self._container())
            case "replace":
                self.project.session.trigger("app")
            case "stop":
                self.project.write("app/stop", str(op.number))
            case "full" if self._disk is not None:
                with self._one_at_a_time:
                    taken = disks.fill(self._disk)
                    time.sleep(_FULL_SECONDS)
                    taken.unlink()
            case "branch":
                self._switch_branch(weather.BRANCHES[op.number % len(weather.BRANCHES)])
            case "daemon" if self._daemon is not None:
                with self._one_at_a_time:
                    self._daemon.halt()
                    self._daemon.resume()

    def _switch_branch(self, branch: str) -> None:
        """Commit what there is and go elsewhere; git may fail over what the other writers do to it."""
        folder = self.project.folder
        with self._one_at_a_time:
            git(folder, "add", "--all", "app/src")
            git(folder, "commit", "--quiet", "--message", "so far")
            if git(folder, "checkout", "--quiet", "--force", branch):
                git(folder, "checkout", "--quiet", "--force", "-b", branch)

    def _kill(self, container: Container) -> None:
        engine = self._engine()
        if isinstance(engine, SandboxEngine):
            engine._container(container).kill()
        else:
            subprocess.run(["docker", "kill", container.id], check=False, capture_output=True)

    # ------------------------------------------------------------------------------------------ at rest

    def _rest(self) -> None:
        """Wait until nothing is left to do; a container that was killed comes back with the change made here."""
        self._overflow.clear()
        self._rested += 1
        self.project.write("app/rested", str(self._rested))
        seen: list[str] = []
        try:
            eventually(lambda: self._agrees(seen), timeout=PATIENCE)
        except (AssertionError, TiltError) as error:
            raise Lost(f"{seen[-1] if seen else ''}\n{error}\n{self.project.log()[-4000:]}") from error

    def _agrees(self, seen: list[str]) -> bool:
        with suppress(TiltError):  # an error is a state to leave by the next update, not an end
            self.project.session.wait(("app",), timeout=_PAUSE_FOR_A_CONTAINER, up_to_date=True)
        if self.project.content("/app/rested") != str(self._rested):
            seen.append("the last change did not arrive")
            return False
        here, there = local_tree(self.tree), self._container_tree()
        self.tally.compared += len(here)
        seen.append(differences(here, there))
        return here == there

    def _container_tree(self) -> Tree:
        code, text = self.project.in_container("sh", "-c", "mkdir -p /app/src; cd /app/src && tar cf - . | base64")
        assert code == 0, text
        found: Tree = {}
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(text))) as archive:
            for entry in archive:
                name = entry.name.removeprefix("./")
                if entry.name == "." or _is_temporary(name) or name == disks.FILL:
                    continue
                if entry.isdir():
                    found[name] = ("directory", 0, "")
                elif entry.issym():
                    found[name] = ("link", 0, entry.linkname)
                else:
                    content = archive.extractfile(entry)  # of a hard link: what it leads to
                    found[name] = ("file", entry.mode, sha256(content.read() if content else b"").hexdigest())
        return found

    def _engine(self) -> ContainerEngine:
        return self.project.session.engines().containers

    def _container(self) -> Container:
        found = [t.container for t in self.project.session.state.tracks["app"].containers.values()]
        running = next((container for container in found if container.running), None)
        assert running is not None
        return running


def git(folder: Path, *words: str) -> int:
    """Run git; its exit code."""
    settings = (
        "user.name=storm",
        "user.email=storm@example.org",
        "init.defaultBranch=main",
        "core.hooksPath=/dev/null",
    )
    options = [word for setting in settings for word in ("-c", setting)]
    return subprocess.run(["git", *options, *words], cwd=folder, check=False, capture_output=True).returncode


def local_tree(top: Path) -> Tree:
    """What is to be in a container."""
    found: Tree = {}
    for directory, directories, files in os.walk(top):
        directories[:] = [name for name in directories if name not in weather.IGNORED]
        for name in [*directories, *files]:
            path = Path(directory, name)
            short = path.relative_to(top).as_posix()
            if name in weather.IGNORED or name.endswith("~"):
                continue
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                found[short] = ("link", 0, str(path.readlink()))
            elif stat.S_ISDIR(status.st_mode):
                found[short] = ("directory", 0, "")
            else:
                found[short] = ("file", stat.S_IMODE(status.st_mode), sha256(path.read_bytes()).hexdigest())
    return found


def _is_temporary(name: str) -> bool:
    """Editors' temporary files are not watched, but may be caught by a build."""
    return any(part.endswith("~") for part in name.split("/"))


def differences(here: Tree, there: Tree) -> str:
    """What the container lacks, has too much, or has otherwise; "" if nothing."""
    lines = [f"lacks {path}" for path in sorted(here.keys() - there.keys())]
    lines += [f"still has {path}" for path in sorted(there.keys() - here.keys())]
    lines += [
        f"{path} is {there[path]}, not {here[path]}"
        for path in sorted(here.keys() & there.keys())
        if here[path] != there[path]
    ]
    return "\n".join(lines[:30])


# ---------------------------------------------------------------------------------------------- failing scripts


def fails(script: Script, engine: str, daemon: Daemon | None) -> bool:
    """Whether the script, in a fresh project, loses something; `daemon` as for `Storm`."""
    with tempfile.TemporaryDirectory(prefix="ipytilt-storm-") as folder:
        storm = Storm(Path(folder), engine, daemon)
        try:
            storm.up()
            storm.round(script)
        except Lost:
            return True
        finally:
            storm.close()
        return False


def smaller(script: Script, engine: str, daemon: Daemon | None) -> Script:
    """Leave out what is not needed to fail: halves of it first, then quarters; a bounded number of tries."""
    tries = _FEWER_TRIES
    parts = 2
    while tries > 0 and parts <= 8:
        for part in range(parts):
            rest = tuple(_without(operations, part, parts) for operations in script)
            tries -= 1
            if any(rest) and fails(rest, engine, daemon):
                script, parts = rest, 1
                break
            if tries <= 0:
                break
        parts *= 2
    return script


def _without(operations: tuple[Op, ...], part: int, parts: int) -> tuple[Op, ...]:
    size = -(-len(operations) // parts)
    return operations[: part * size] + operations[(part + 1) * size :]


def keep(script: Script, name: str) -> Path:
    """Write a script down, to be run with the tests from now on."""
    KEPT.mkdir(exist_ok=True)
    path = KEPT / f"{name}.json"
    path.write_text(json.dumps([[list(astuple(op)) for op in operations] for operations in script], indent=None) + "\n")
    return path


def kept() -> dict[str, Script]:
    """The scripts that once failed."""
    return {
        path.stem: tuple(tuple(Op(*op) for op in operations) for operations in json.loads(path.read_text()))
        for path in sorted(KEPT.glob("*.json"))
    }
