"""The inotify tree by itself: its records, overflow, and what it costs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipytilt.core.spec import Ignore
from ipytilt.core.steps import Watch
from ipytilt.runtime.inotify import CLOSE_WRITE, CREATE, IS_DIRECTORY, OVERFLOW, Event, Inotify, InotifyTree
from ipytilt.runtime.tree import Changes, Request
from tests.support import eventually

WITHIN = 20.0


@pytest.fixture
def kernel() -> Iterator[Inotify]:
    kernel = Inotify()
    yield kernel
    kernel.close()


@pytest.fixture
def tree() -> Iterator[InotifyTree]:
    """A tree that nobody serves but the test: `changes` blocks until there is something."""
    tree = InotifyTree(lambda watch, text: pytest.fail(f"{watch}: {text}"), lambda request: pytest.fail("polled"))
    yield tree
    tree.close()


def look_at(
    tree: InotifyTree, *roots: Path, ignores: tuple[Ignore, ...] = (), since_ns: int | None = 1 << 62
) -> Changes:
    """Watch the roots; nothing that is there counts as changed unless `since_ns` says so."""
    tree.want(Request((Watch("w", tuple(map(str, roots)), ignores),), since_ns))
    changed = tree.changes()
    assert tree.ready.is_set()
    return changed


def changes_until(tree: InotifyTree, *paths: Path) -> Changes:
    changed: Changes = {}
    wanted = set(map(str, paths))
    while not wanted <= changed.keys():
        changed |= tree.changes()
    return changed


def losing(tree: InotifyTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything that is queued now dropped, as the kernel does it: a note in its place."""
    read = tree._kernel.read

    def overflowed() -> list[Event]:
        monkeypatch.setattr(tree._kernel, "read", read)
        return [(-1, OVERFLOW, "")] if read() else []

    monkeypatch.setattr(tree._kernel, "read", overflowed)


# ---------------------------------------------------------------------------------------------- the system call


def test_records(kernel: Inotify, tmp_path: Path) -> None:
    number = kernel.add(str(tmp_path))
    (tmp_path / "d").mkdir()
    (tmp_path / "é").write_text("x")
    events = kernel.read()
    assert events[0] == (number, CREATE | IS_DIRECTORY, "d")
    assert events[1] == (number, CREATE, "é")
    assert events[-1] == (number, CLOSE_WRITE, "é")
    assert kernel.read() == []


def test_looking_makes_no_records(kernel: Inotify, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("x")
    kernel.add(str(tmp_path))
    file.read_text()
    list(tmp_path.iterdir())
    assert kernel.read() == []


def test_a_directory_is_watched_once(kernel: Inotify, tmp_path: Path) -> None:
    assert kernel.add(str(tmp_path)) == kernel.add(str(tmp_path))


@pytest.mark.parametrize("make, error", [(Path.touch, NotADirectoryError), (lambda path: None, FileNotFoundError)])
def test_what_is_no_directory_is_refused(
    kernel: Inotify, tmp_path: Path, make: Callable[[Path], None], error: type[OSError]
) -> None:
    path = tmp_path / "x"
    make(path)
    with pytest.raises(error, match="x"):
        kernel.add(str(path))


def test_removing_a_watch_that_is_gone_is_no_error(kernel: Inotify, tmp_path: Path) -> None:
    number = kernel.add(str(tmp_path))
    kernel.remove(number)
    kernel.remove(number)


# ---------------------------------------------------------------------------------------------- what is complete


def test_a_file_is_complete_when_it_is_closed(tree: InotifyTree, tmp_path: Path) -> None:
    path = tmp_path / "f"
    look_at(tree, tmp_path)
    with path.open("w") as file:
        file.write("x")
        file.flush()
        assert tree.changes() == {str(path): False}
    assert tree.changes() == {str(path): True}


def test_an_atomic_save_is_complete(tree: InotifyTree, tmp_path: Path) -> None:
    look_at(tree, tmp_path)
    new = tmp_path / "f.tmp"
    new.write_text("x")
    new.rename(tmp_path / "f")
    assert tree.changes() == {str(new): True, str(tmp_path / "f"): True}


def test_files_that_changed_since_the_request_are_reported(tree: InotifyTree, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "d/new"
    old.write_text("x")
    since_ns = old.stat().st_ctime_ns + 1

    def later() -> bool:
        new.parent.mkdir(exist_ok=True)
        new.write_text("x")
        return new.stat().st_ctime_ns > since_ns

    eventually(later)
    assert look_at(tree, tmp_path, since_ns=since_ns) == {str(new): False}


# ---------------------------------------------------------------------------------------------- case 29: overflow


def test_case_29_what_was_lost_is_found_by_comparing(
    tree: InotifyTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        name: tmp_path / name for name in ("same", "changed", "gone", "lost/a", "lost/b/c", "new/d/e", "mode", "file")
    }
    for name, path in files.items():
        if name != "new/d/e":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
    look_at(tree, tmp_path, ignores=(Ignore(str(tmp_path), ("ignored",)),))
    (tmp_path / "ignored").mkdir()
    files["changed"].write_text("y")
    files["gone"].unlink()
    files["lost/a"].unlink()
    files["lost/b/c"].unlink()
    files["lost/b/c"].parent.rmdir()
    files["lost/a"].parent.rmdir()
    files["new/d/e"].parent.mkdir(parents=True)
    files["new/d/e"].write_text("x")
    files["mode"].chmod(0o700)
    files["file"].unlink()
    files["file"].mkdir()
    losing(tree, monkeypatch)
    expected = {
        "changed",
        "gone",
        "lost",
        "lost/a",
        "lost/b",
        "lost/b/c",
        "new",
        "new/d",
        "new/d/e",
        "mode",
        "file",
        "ignored",
    }
    assert tree.changes().keys() == {str(tmp_path / name) for name in expected}
    # The new directories are watched, the ignored one is not.
    assert tree.kernel_watches == 4
    files["new/d/e"].write_text("y")
    assert tree.changes() == {str(files["new/d/e"]): True}


def test_overflow_while_a_root_goes_and_another_comes(
    tree: InotifyTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    (first / "a").write_text("x")
    look_at(tree, first, second)
    (first / "a").unlink()
    first.rmdir()
    second.mkdir()
    (second / "b").write_text("x")
    losing(tree, monkeypatch)
    changes_until(tree, first, first / "a", second / "b")
    first.mkdir()
    (first / "a").write_text("x")
    (second / "b").write_text("y")
    changes_until(tree, first, first / "a", second / "b")


def test_when_it_keeps_overflowing_there_are_pauses(
    tree: InotifyTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at(tree, tmp_path)
    tree._rescanned_enough_until = float("inf")
    (tmp_path / "a").write_text("x")
    losing(tree, monkeypatch)
    assert tree.changes() == {}
    assert tree._rescan_at == float("inf")


def test_a_queue_that_really_overflows(tree: InotifyTree, tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    limit = min(limit, 50_000)  # then it does not overflow, and everything must be seen just the same
    look_at(tree, tmp_path)
    files = [tmp_path / f"{n:05}" for n in range(limit // 3 + 500)]
    for file in files:
        file.write_text("x")
    changed = changes_until(tree, *files)
    assert changed.keys() == set(map(str, files))


# ---------------------------------------------------------------------------------------------- cost


def test_ignored_trees_cost_nothing(tree: InotifyTree, tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / f"node_modules/{n}/lib").mkdir(parents=True)
        (tmp_path / f"src/{n}/__pycache__").mkdir(parents=True)
    ignores = (Ignore(str(tmp_path), ("node_modules", "**/__pycache__")), Ignore(str(tmp_path / "src/7")))
    look_at(tree, tmp_path, ignores=ignores)
    assert tree.kernel_watches == 1 + 1 + 19


def test_what_one_watch_ignores_another_may_want(tree: InotifyTree, tmp_path: Path) -> None:
    wanted = tmp_path / "node_modules/ours"
    wanted.mkdir(parents=True)
    (tmp_path / "node_modules/theirs").mkdir()
    ignores = (Ignore(str(tmp_path), ("node_modules",)),)
    root, ours = Watch("root", (str(tmp_path),), ignores), Watch("ours", (str(wanted),))
    tree.want(Request((root, ours), 1 << 62))
    tree.changes()
    assert tree.kernel_watches == 2
    (wanted / "x").write_text("x")
    changed = changes_until(tree, wanted / "x")
    assert [*tree.scope.routed(next(iter(changed)))] == [("ours", str(wanted / "x"))]


def test_stop_ends_the_wait(tree: InotifyTree) -> None:
    returned = threading.Event()

    def wait() -> None:
        assert tree.changes() == {}
        returned.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    tree.stop()
    assert returned.wait(WITHIN)
    thread.join(WITHIN)
