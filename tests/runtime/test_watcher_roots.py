"""Roots that are missing, links or exchanged, and watches set anew; numbers are rows of the behaviour cases."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from ipytilt.core.spec import Ignore
from ipytilt.core.steps import Watch
from tests.support import eventually
from tests.support.watching import WITHIN, Eye, write

# ---------------------------------------------------------------------------------------------- roots


def test_case_20_a_root_made_together_with_its_parents(eye: Eye, root: Path) -> None:
    dep = root / "a/b/dep.txt"
    eye.on(dep, root / "c/d")
    assert eye.kernel_watches == 1
    write(dep)
    eye.sees(dep)
    write(root / "c/d/e/f")
    eye.sees(root / "c/d/e/f")
    eye.posts.clear()
    write(dep, "new")
    write(root / "c/d/e/f", "new")
    eye.sees(dep, root / "c/d/e/f")


def test_case_21_beside_a_missing_root(eye: Eye, root: Path) -> None:
    watched = root / "watched"
    watched.mkdir()
    eye.on(root / "proto", watched)
    write(root / "other/x")
    write(root / "proto-x")
    eye.sees_only(marker=watched)
    assert eye.kernel_watches == 2


def test_a_root_that_is_a_link_is_watched_under_its_own_name(eye: Eye, root: Path, tmp_path: Path) -> None:
    real = write(tmp_path / "releases/1/app/a").parent.parent
    link = root / "current"
    link.symlink_to(real)
    eye.on(link)
    write(real / "app/a", "new")
    eye.sees_only(link / "app/a", marker=link)


def test_a_root_that_is_pointed_elsewhere_has_changed_whole(eye: Eye, root: Path, tmp_path: Path) -> None:
    first, second = write(tmp_path / "1/d/a").parent.parent, write(tmp_path / "2/b").parent
    link = root / "current"
    link.symlink_to(first)
    eye.on(link)
    (root / "next").symlink_to(second)
    (root / "next").rename(link)
    eye.sees(link, link / "d", link / "d/a", link / "b")
    eye.posts.clear()
    write(first / "d/a", "out of sight")
    write(second / "b", "new")
    eye.sees_only(link / "b", marker=link)


def test_a_missing_root_appears_as_a_link(eye: Eye, root: Path, tmp_path: Path) -> None:
    real = write(tmp_path / "real/a").parent
    eye.on(root / "link")
    (root / "link").symlink_to(real)
    eye.sees(root / "link")
    eventually(lambda: eye.kernel_watches == 2, WITHIN)
    write(real / "a", "new")
    eye.sees(root / "link/a")


def test_a_file_root_that_is_a_link_and_what_it_leads_to(eye: Eye, root: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "shared/config")
    (root / "config").symlink_to(target)
    other = root / "other"
    other.mkdir()
    eye.on(root / "config", other)
    target.write_text("new")
    eye.sees_only(root / "config", marker=other)


def test_a_root_that_goes_and_comes_back(eye: Eye, root: Path) -> None:
    src = root / "a/src"
    file = write(src / "d/f")
    eye.on(src)
    for _ in range(3):
        shutil.rmtree(root / "a")
        eye.sees(src, src / "d", file)
        eye.posts.clear()
        write(file)
        eye.sees(file)
        eye.posts.clear()
        write(file, "new")
        eye.sees_only(file, marker=src)


def test_a_root_that_is_exchanged(eye: Eye, root: Path) -> None:
    src, new = write(root / "src/old").parent, write(root / "new/new").parent
    eye.on(src)
    src.rename(root / "away")
    new.rename(src)
    eye.sees(src / "old", src / "new")
    eye.posts.clear()
    write(root / "away/old", "out of sight")
    write(src / "new", "new")
    eye.sees_only(src / "new", marker=src)


# ---------------------------------------------------------------------------------------------- setting watches


def test_setting_watches_reports_nothing_that_was_there(eye: Eye, root: Path) -> None:
    for name in ("a", "b/c", "d/e"):
        write(root / name)
    eye.on(root / "b")
    eye.watch(Watch("w", (str(root),)), Watch("v", (str(root / "d"),)))
    eye.sees_only(marker=root)
    assert eye.kernel_watches == 3


def test_the_same_watches_again_are_no_work(eye: Eye, root: Path) -> None:
    eye.on(root)
    eye.watcher.set_watches({"w": Watch("w", (str(root),))}, time.time_ns())
    assert eye.watcher.ready(0)


def test_case_9_a_new_filter_takes_the_place_of_the_old_one(eye: Eye, root: Path) -> None:
    write(root / "docs/x")
    eye.on(root)
    eye.on(root, ignores=(Ignore(str(root), ("docs",)),))
    assert eye.kernel_watches == 1
    write(root / "docs/x", "new")
    eye.sees_only(marker=root)
    eye.on(root)
    write(root / "docs/x", "newer")
    eye.sees_only(root / "docs/x", marker=root)


def test_no_watches_no_events(eye: Eye, root: Path) -> None:
    eye.on(root)
    eye.watch()
    assert eye.kernel_watches == 0
    write(root / "a")
    eye.on(root)
    eye.sees_only(marker=root)


def descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_stop_gives_everything_back(root: Path) -> None:
    before = descriptors()
    eye = Eye()
    eye.on(root)
    assert descriptors() > before
    eye.watcher.stop()
    eye.watcher.stop()
    assert descriptors() == before
    eye.watcher.set_watches({}, time.time_ns())
    write(root / "a")
    assert eye.posts == []


def test_stop_without_start() -> None:
    Eye().watcher.stop()
