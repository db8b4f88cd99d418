"""Saves that change nothing: what is remembered of files, what is learned before a first report, what is dropped."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipytilt.core.batch import Pace
from ipytilt.core.spec import Ignore
from ipytilt.core.steps import Watch
from ipytilt.runtime import contents
from ipytilt.runtime.contents import Contents
from ipytilt.runtime.manifest import clock_ns
from tests.support.waiting import eventually
from tests.support.watching import Eye, write


def known(root: Path, *, since_ns: int = 0, ignores: tuple[Ignore, ...] = ()) -> Contents:
    """Contents that have learned what they can."""
    found = Contents()
    found.keep({"w": Watch("w", (str(root),), ignores)}, since_ns or time.time_ns() + 10**9)
    while found.is_learning:
        found.learn()
    return found


def ask(found: Contents, *paths: Path) -> set[str]:
    return {Path(path).name for path in found.unchanged("w", map(str, paths))}


def test_what_was_learned_is_unchanged_until_it_changes(tmp_path: Path) -> None:
    file, link = write(tmp_path / "file", "one"), tmp_path / "link"
    link.symlink_to("file")
    found = known(tmp_path)
    os.utime(file)
    assert ask(found, file, link, tmp_path) == {"file", "link"}
    write(file, "two")
    link.unlink()
    link.symlink_to("other")
    assert ask(found, file, link) == set()
    assert ask(found, file, link) == {"file", "link"}
    file.chmod(0o600)
    assert ask(found, file) == set()


def test_a_file_that_was_gone_is_another_one(tmp_path: Path) -> None:
    file = write(tmp_path / "file", "one")
    found = known(tmp_path)
    file.unlink()
    assert ask(found, file) == set()
    write(file, "one")
    assert ask(found, file) == set()
    assert ask(found, file) == {"file"}


def test_nothing_is_learned_from_what_may_have_changed_already(tmp_path: Path) -> None:
    """Its change may be on its way: were it known, it would be missed."""
    since_ns = clock_ns()
    file = write(tmp_path / "file", "one")
    found = known(tmp_path, since_ns=since_ns)
    assert ask(found, file) == set()
    assert ask(found, file) == {"file"}


def test_a_watch_that_changes_learns_nothing_from_the_last_seconds(tmp_path: Path) -> None:
    file = write(tmp_path / "file", "one")
    found = known(tmp_path)
    found.keep({"w": Watch("w", (str(tmp_path),), (Ignore("/nowhere"),))}, time.time_ns())
    while found.is_learning:
        found.learn()
    assert ask(found, file) == set()


def test_ignored_and_big_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_LARGEST", 10)
    big, ignored = write(tmp_path / "big", "x" * 11), write(tmp_path / "ignored", "x")
    found = known(tmp_path, ignores=(Ignore(str(ignored)),))
    assert ask(found, big, ignored) == set()
    assert ask(found, big, ignored) == {"ignored"}


def test_what_takes_too_long_counts_as_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "file")
    found = known(tmp_path)
    with monkeypatch.context() as hurried:
        hurried.setattr(contents, "_SECONDS_WHILE_SAME", -1.0)
        assert ask(found, file) == set()
    assert ask(found, file) == set()
    assert ask(found, file) == {"file"}


def test_after_a_change_only_a_moment_is_spent_and_the_rest_is_learned_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not of what has changed since: its change is on its way."""
    monkeypatch.setattr(contents, "_SECONDS", -1.0)
    same, changed, left, late = (write(tmp_path / name, "one") for name in ("same", "changed", "left", "late"))
    found = known(tmp_path)
    write(changed, "two")
    begin = clock_ns()
    eventually(lambda: clock_ns() > begin)
    assert ask(found, same, changed, left, late, tmp_path / "gone") == {"same"}
    assert ask(found, left) == set()
    write(changed, "three")
    assert ask(found, same, changed, left, late) == {"same"}
    write(late, "two")
    while found.is_learning:
        found.learn()
    assert ask(found, left) == {"left"}
    assert ask(found, late) == set()


@pytest.fixture
def dropping() -> Iterator[Eye]:
    """A watcher whose owner says that nobody can have seen anything in between."""
    eye = Eye(Pace(lone=0.02, burst=0.02, storm=0.02), may_drop=lambda _: True)
    yield eye
    eye.watcher.stop()


def test_a_touch_and_a_save_of_the_same_are_not_posted(dropping: Eye, root: Path) -> None:
    file, other = write(root / "file", "one"), write(root / "other", "one")
    dropping.on(root)
    write(file, "two")
    dropping.sees(file)
    dropping.posts.clear()
    os.utime(file)
    write(file, "two")
    write(other, "new")
    dropping.sees_only(other, marker=root)


def test_the_very_first_touch_is_not_posted(dropping: Eye, root: Path) -> None:
    file = write(root / "file", "one")
    begin = clock_ns()
    eventually(lambda: clock_ns() > begin)
    dropping.on(root)
    eventually(lambda: not dropping.watcher._dispatcher._contents.is_learning)
    os.utime(file)
    dropping.sees_only(marker=root)
    write(file, "two")
    dropping.sees(file)
