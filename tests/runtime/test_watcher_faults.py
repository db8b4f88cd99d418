"""Watching without the kernel's help, and storms in which nothing may be lost."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from watchdog.observers.polling import PollingObserver

from ipytilt.core.paths import is_below
from ipytilt.core.spec import Ignore
from ipytilt.core.steps import Watch
from ipytilt.runtime import scope, tree, watcher
from ipytilt.runtime.inotify import OVERFLOW, Event, Inotify, InotifyTree
from ipytilt.runtime.watcher import Watcher
from tests.support import eventually
from tests.support.watching import WITHIN, Eye, write

# ------------------------------------------------------------------------------ without the kernel's help


@pytest.fixture
def _fast_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_POLL_SECONDS", 0.02)


def changes_are_seen(eye: Eye, root: Path) -> None:
    """A save, a new tree, a deleted one."""
    new = write(root / "new/d/f")
    eye.sees(root / "new", root / "new/d", new)
    eye.posts.clear()
    new.write_text("changed")
    eye.sees(new)
    eye.posts.clear()
    shutil.rmtree(root / "new")
    eye.sees(root / "new", root / "new/d", new)


@pytest.mark.usefixtures("_fast_polls")
def test_too_many_directories_are_polled_and_the_problem_is_named(
    eye: Eye, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Inotify.add

    def refusing(self: Inotify, directory: str) -> int:
        if "/big/" in directory:
            raise OSError(errno.ENOSPC, "No space left on device", directory)
        return add(self, directory)

    monkeypatch.setattr(Inotify, "add", refusing)
    small, big = root / "small", root / "big"
    write(small / "d/f")
    write(big / "f")
    eye.watch(Watch("small", (str(small),)), Watch("w", (str(big),)))
    assert eye.kernel_watches == 3
    assert eye.problems == {}
    # The limit is met later, by a directory that appears.
    changes_are_seen(eye, big)
    assert eye.kernel_watches == 2
    assert "max_user_watches" in eye.problems["w"]
    assert str(big) in eye.problems["w"]
    assert "small" not in eye.problems
    write(small / "d/f", "new")
    eye.sees(small / "d/f", watch="small")
    # And at once, when the watches are set.
    eye.watch()
    write(big / "d/f")
    eye.on(big)
    eye.posts.clear()
    changes_are_seen(eye, big)
    eye.watch()
    eventually(lambda: eye.problems["w"] == "", WITHIN)


@pytest.mark.usefixtures("_fast_polls")
def test_without_inotify_everything_is_polled(eye: Eye, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(self: Inotify) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Inotify, "__init__", refusing)
    eye.on(root)
    changes_are_seen(eye, root)
    assert "max_user_instances" in eye.problems["w"]


@pytest.mark.usefixtures("_fast_polls")
def test_network_file_systems_are_polled(eye: Eye, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = write(
        tmp_path / "mountinfo",
        "1 0 8:1 / / rw shared:1 - ext4 /dev/sda rw\n"
        f"2 1 0:5 / {root}/my\\040share rw - nfs4 server:/x rw\n"
        f"3 2 0:6 / {root}/my\\040share/local rw - tmpfs none rw\n",
    )
    monkeypatch.setattr(scope, "_MOUNTS", str(mounts))
    share = root / "my share"
    local = share / "local"
    local.mkdir(parents=True)
    eye.watch(Watch("w", (str(share),)), Watch("local", (str(local),)))
    assert eye.kernel_watches == 1
    changes_are_seen(eye, share)
    assert not any(eye.problems.values())


@pytest.mark.usefixtures("_fast_polls")
def test_a_polled_root_that_is_missing(eye: Eye, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "_is_remote", lambda path, mounts: True)
    eye.on(root / "a/b")
    write(root / "a/x")
    write(root / "a/b/c")
    eye.sees(root / "a/b/c")
    assert str(root / "a/x") not in eye.seen()


@pytest.mark.usefixtures("_fast_polls")
def test_a_bug_is_told_and_the_files_are_polled(eye: Eye, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    eye.on(root)

    def broken(self: InotifyTree) -> tree.Changes:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(InotifyTree, "changes", broken)
    write(root / "a")
    eye.sees(root / "a")
    assert "a bug" in eventually(lambda: eye.problems.get("w", ""), WITHIN)
    changes_are_seen(eye, root)


def test_a_directory_that_cannot_be_read_is_named_until_it_can(
    eye: Eye, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Inotify.add

    def refusing(self: Inotify, directory: str) -> int:
        if not Path(directory).stat().st_mode & 0o400:
            raise PermissionError(errno.EACCES, "Permission denied", directory)
        return add(self, directory)

    monkeypatch.setattr(Inotify, "add", refusing)
    secret = root / "secret"
    write(secret / "f")
    secret.chmod(0)
    eye.on(root)
    assert eventually(lambda: eye.problems.get("w"), WITHIN) == f"cannot look into {secret}: Permission denied"
    secret.chmod(0o700)
    eventually(lambda: eye.problems["w"] == "", WITHIN)
    eye.sees(secret / "f")
    write(secret / "f", "new")
    eye.sees_only(secret / "f", marker=root)


def test_elsewhere_watchdogs_own_observer_is_used(eye: Eye, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "_LINUX", False)
    # The one observer of watchdog that is the same on every platform.
    monkeypatch.setattr(watcher, "Observer", lambda: PollingObserver(timeout=0.02))
    write(root / "out/x")
    missing = root.parent / "missing"
    eye.watch(Watch("w", (str(root), str(missing)), (Ignore(str(root), ("out",)),)))
    write(root / "out/x", "new")
    changes_are_seen(eye, root)
    assert str(root / "out/x") not in eye.seen()
    write(missing / "a/b")
    eye.sees(missing)
    main = eye.watcher._main
    assert isinstance(main, watcher._Foreign)
    eventually(lambda: str(missing) in {emitter.watch.path for emitter in main.observer.emitters}, WITHIN)
    write(missing / "a/b", "new")
    eye.sees(missing / "a/b")
    assert not [path for path in root.iterdir() if path.name != "out"]


# ---------------------------------------------------------------------------------------------- nothing is lost


class Mirror:
    """A copy of a tree, kept by looking at nothing but the paths that were posted."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._state: dict[str, object] = {}

    def update(self, name: str, paths: tuple[str, ...], at: float) -> None:
        with self._lock:
            for path in paths:
                # A posted directory may be another one than before: what was below may be gone with it.
                for lost in [known for known in self._state if is_below(known, path) and look(Path(known)) is None]:
                    del self._state[lost]
                state = look(Path(path))
                if state is not None:
                    self._state[path] = state

    def differences(self) -> dict[str, tuple[object, object]]:
        """What is on the disk and here, where that is not the same."""
        with self._lock:
            disk = {str(path): look(path) for path in (self._root, *self._root.rglob("*"))}
            mine = {str(self._root): look(self._root)} | self._state
            paths = sorted(disk.keys() | mine.keys())
            return {path: (disk.get(path), mine.get(path)) for path in paths if disk.get(path) != mine.get(path)}


def look(path: Path) -> object:
    """What a copy of `path` would have to hold; nothing where a link leads elsewhere on the way."""
    try:
        if os.path.realpath(path.parent) != str(path.parent):
            return None
        if path.is_symlink():
            return "link", str(path.readlink())
        return ("directory",) if path.is_dir() else (path.stat().st_mode & 0o777, path.read_bytes())
    except OSError:
        return None


def wreak_havoc(root: Path, seed: int) -> None:
    """A few hundred random operations below `root`, which others may be changing as well."""
    dice = random.Random(seed)  # noqa: S311 - it is to be the same again
    names = "abc"

    def anywhere() -> Path:
        return root.joinpath(*(dice.choice(names) for _ in range(dice.randint(1, 3))))

    operations: list[Callable[[], object]] = [
        lambda: write(anywhere(), str(dice.random())),
        lambda: write(anywhere(), str(dice.random())),
        lambda: anywhere().mkdir(parents=True),
        lambda: write(root / "new", str(dice.random())).replace(anywhere()),
        lambda: anywhere().rename(anywhere()),
        lambda: anywhere().rename(root.parent / f"out-{dice.random()}"),
        lambda: dice.choice([*root.parent.glob("out-*")]).rename(anywhere()),
        lambda: anywhere().unlink(),
        lambda: shutil.rmtree(anywhere()),
        lambda: anywhere().chmod(dice.choice([0o600, 0o644, 0o755])),
        lambda: anywhere().symlink_to(dice.choice(names)),
    ]
    for _ in range(300):
        # Most places do not suit most operations; IndexError: nothing to choose from.
        with contextlib.suppress(OSError, IndexError):
            dice.choice(operations)()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("overflows", ["", "overflows"])
def test_nothing_is_lost_in_a_storm(root: Path, monkeypatch: pytest.MonkeyPatch, seed: int, overflows: str) -> None:
    read = Inotify.read
    dice = random.Random(seed)  # noqa: S311 - it is to be the same again

    def losing(self: Inotify) -> list[Event]:
        events = read(self)
        return [(-1, OVERFLOW, "")] if overflows and events and dice.random() < 0.2 else events

    monkeypatch.setattr(Inotify, "read", losing)
    mirror = Mirror(root)
    eye = Watcher(mirror.update, lambda watch, text: None)
    eye.set_watches({"w": Watch("w", (str(root),))}, time.time_ns())
    assert eye.ready(WITHIN)
    writers = [threading.Thread(target=wreak_havoc, args=(root, seed * 10 + n), daemon=True) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(WITHIN)
    try:
        eventually(lambda: not mirror.differences(), WITHIN)
    except AssertionError:
        pytest.fail(f"seed {seed}: {mirror.differences()}")
    finally:
        eye.stop()
