"""File events end to end, on real directories; numbers are rows of the behaviour cases."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipytilt.core.batch import Pace
from ipytilt.core.paths import TEMP_FILES
from ipytilt.core.spec import Ignore
from ipytilt.core.steps import Watch
from ipytilt.runtime import scope, tree, watcher
from ipytilt.runtime.inotify import Inotify, InotifyTree
from ipytilt.runtime.watcher import Watcher
from tests.support import eventually

WITHIN = 20.0


class Eye:
    """A watcher and all it said."""

    def __init__(self, pace: Pace | None = None) -> None:
        self.posts: list[tuple[str, tuple[str, ...]]] = []
        self.problems: dict[str, str] = {}
        self.watcher = Watcher(lambda name, paths, at: self.posts.append((name, paths)), self._problem, pace=pace)
        self._markers = 0

    def _problem(self, watch: str, text: str) -> None:
        self.problems[watch] = text

    def watch(self, *watches: Watch) -> None:
        """Watch exactly these, and wait until they are in sight."""
        self.watcher.set_watches({watch.name: watch for watch in watches})
        assert self.watcher.ready(WITHIN)

    def on(self, *roots: Path, ignores: tuple[Ignore, ...] = ()) -> None:
        """Watch these roots as "w"."""
        self.watch(Watch("w", tuple(map(str, roots)), ignores))

    def seen(self, watch: str = "w") -> set[str]:
        return {path for name, paths in self.posts if name == watch for path in paths}

    def sees(self, *paths: Path, watch: str = "w") -> None:
        """Wait until all these paths were posted."""
        wanted = set(map(str, paths))
        eventually(lambda: wanted <= self.seen(watch), WITHIN)

    def sees_only(self, *paths: Path, marker: Path) -> None:
        """Wait until everything that happened so far was posted, and compare; `marker` is a watched directory."""
        self._markers += 1
        path = marker / f"marker-{self._markers}"
        path.write_text("")
        self.sees(path)
        assert self.seen() - {str(path), str(marker)} == set(map(str, paths))
        # The marker itself must not show up later.
        path.unlink()
        eventually(lambda: sum(str(path) in paths for _, paths in self.posts) > 1, WITHIN)
        self.posts.clear()

    @property
    def kernel_watches(self) -> int:
        assert isinstance(self.watcher._main, InotifyTree)
        return self.watcher._main.kernel_watches


@pytest.fixture
def eye() -> Iterator[Eye]:
    # Marker and event always share a batch: the order of posts is not what these tests are about.
    eye = Eye(Pace(lone=0.02, burst=0.02, storm=0.02))
    yield eye
    eye.watcher.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ipytilt-watcher")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# ---------------------------------------------------------------------------------------------- saving


def test_a_save_is_posted_once_at_the_default_pace(root: Path) -> None:
    eye = Eye()
    a = write(root / "a.py")
    eye.on(root)
    a.write_text("new")
    eye.sees(a)
    eye.watcher.stop()
    assert eye.posts == [("w", (str(a),))]


def test_case_1_and_3_many_saves_are_one_sorted_batch(root: Path) -> None:
    eye = Eye(Pace(lone=0.5, burst=0.5, storm=0.5))
    files = [write(root / f"{n:03}") for n in range(400)]
    eye.on(root)
    for file in reversed(files):
        file.write_text("new")
    files[0].write_text("again")
    eye.sees(*files)
    eye.watcher.stop()
    assert eye.posts == [("w", tuple(map(str, files)))]


def test_case_2_a_file_written_all_the_time_is_reported_at_the_cap(root: Path) -> None:
    eye = Eye(Pace(lone=30, burst=30, storm=30, cap=0.2))
    eye.on(root)
    with (root / "log").open("w") as file:

        def write_on() -> bool:
            file.write("line\n")
            file.flush()
            return len(eye.posts) >= 2

        eventually(write_on, WITHIN)
    eye.watcher.stop()


def test_case_19_a_file_root_survives_a_save_by_rename(eye: Eye, root: Path) -> None:
    dep = write(root / "dep.txt")
    other = root / "other"
    other.mkdir()
    eye.on(dep, other)
    for text in ("1", "2"):
        write(root / "dep.tmp", text).replace(dep)
        eye.sees_only(dep, marker=other)


@pytest.mark.parametrize("touch", [lambda path: subprocess.run(["touch", path], check=True), os.utime])
def test_case_27_a_touched_file_has_changed(eye: Eye, root: Path, touch: Callable[[Path], object]) -> None:
    a = write(root / "a.py")
    eye.on(root)
    touch(a)
    eye.sees_only(a, marker=root)


def test_the_same_content_written_again_is_an_event(eye: Eye, root: Path) -> None:
    a = write(root / "a.py")
    eye.on(root)
    a.write_text("x")
    eye.sees_only(a, marker=root)


def test_a_mode_counts_only_if_it_changes(eye: Eye, root: Path) -> None:
    a, b = write(root / "a"), write(root / "b")
    eye.on(root)
    a.chmod(a.stat().st_mode)
    b.chmod(0o755)
    eye.sees_only(b, marker=root)


def test_case_23_removed_and_made_again(eye: Eye, root: Path) -> None:
    a = write(root / "a")
    eye.on(root)
    a.unlink()
    eye.sees_only(a, marker=root)
    write(a)
    eye.sees_only(a, marker=root)


def test_case_24_a_link_is_a_path_of_its_own(eye: Eye, root: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "target")
    link = root / "link"
    eye.on(root)
    link.symlink_to(tmp_path / "nowhere")
    eye.sees_only(link, marker=root)
    link.unlink()
    link.symlink_to(target)
    eye.sees_only(link, marker=root)
    target.write_text("new")
    eye.sees_only(marker=root)


def test_a_linked_directory_inside_is_not_followed(eye: Eye, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "link").symlink_to(outside)
    eye.on(root)
    write(outside / "a")
    eye.sees_only(marker=root)


def test_case_26_a_directory_that_only_gets_a_new_time_or_mode(eye: Eye, root: Path) -> None:
    (root / "d").mkdir()
    eye.on(root)
    os.utime(root / "d")
    (root / "d").chmod(0o700)
    os.utime(root)
    eye.sees_only(marker=root)


def test_names_that_are_no_text(eye: Eye, root: Path) -> None:
    name = os.fsdecode(b"\xff\xfe-\xc3\xa9")
    eye.on(root)
    a = write(root / name / name)
    eye.sees_only(root / name, a, marker=root)
    a.write_text("new")
    eye.sees_only(a, marker=root)


# ---------------------------------------------------------------------------------------------- directories


def test_case_22_everything_in_new_directories_is_reported_and_watched(eye: Eye, root: Path) -> None:
    eye.on(root)
    for n in range(20):
        new = root / f"n{n}"
        file = write(new / "o/p/file")
        eye.sees_only(new, new / "o", new / "o/p", file, marker=root)
        file.write_text("later")
        eye.sees_only(file, marker=root)


def test_a_whole_tree_copied_in(eye: Eye, root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    files = [write(source / f"d{n}/e{m}/f") for n in range(10) for m in range(10)]
    eye.on(root)
    shutil.copytree(source, root / "copy")
    eye.sees(*(root / "copy" / file.relative_to(source) for file in files))
    assert eye.kernel_watches == 1 + 111


def test_case_192_a_renamed_directory_is_reported_with_all_it_held(eye: Eye, root: Path) -> None:
    write(root / "src/a/x/1")
    write(root / "src/a/2")
    eye.on(root)
    (root / "src/a").rename(root / "src/b")
    inside = ["", "x", "x/1", "2"]
    eye.sees_only(*(root / "src" / name / path for name in "ab" for path in inside), marker=root)
    write(root / "src/b/x/1", "new")
    eye.sees_only(root / "src/b/x/1", marker=root)


def test_a_directory_moved_out_and_in_again(eye: Eye, root: Path, tmp_path: Path) -> None:
    write(root / "d/e/1")
    eye.on(root)
    (root / "d").rename(tmp_path / "out")
    paths = [root / "d", root / "d/e", root / "d/e/1"]
    eye.sees_only(*paths, marker=root)
    assert eye.kernel_watches == 1
    write(tmp_path / "out/e/1", "out of sight")
    eye.sees_only(marker=root)
    (tmp_path / "out").rename(root / "d")
    eye.sees_only(*paths, marker=root)
    assert eye.kernel_watches == 3


def test_an_empty_directory_replaced_by_a_full_one(eye: Eye, root: Path, tmp_path: Path) -> None:
    (root / "d").mkdir()
    eye.on(root)
    full = write(tmp_path / "full/a")
    full.parent.rename(root / "d")
    eye.sees_only(root / "d", root / "d/a", marker=root)
    write(root / "d/a", "new")
    eye.sees_only(root / "d/a", marker=root)


def test_a_deleted_tree_is_reported_whole(eye: Eye, root: Path) -> None:
    files = [write(root / f"d/{n}/{m}") for n in range(5) for m in range(20)]
    eye.on(root)
    shutil.rmtree(root / "d")
    eye.sees_only(root / "d", *{file.parent for file in files}, *files, marker=root)
    assert eye.kernel_watches == 1


def test_a_directory_becomes_a_file_and_a_directory_again(eye: Eye, root: Path) -> None:
    write(root / "d/1")
    eye.on(root)
    shutil.rmtree(root / "d")
    write(root / "d")
    eye.sees_only(root / "d", root / "d/1", marker=root)
    (root / "d").unlink()
    write(root / "d/2")
    eye.sees_only(root / "d", root / "d/2", marker=root)


# ---------------------------------------------------------------------------------------------- ignores


def test_case_25_an_ignored_directory_costs_no_kernel_watch(eye: Eye, root: Path) -> None:
    for n in range(30):
        write(root / f"out/{n}/x")
    write(root / "src/a")
    eye.on(root, ignores=(Ignore(str(root), ("out", "**/node_modules")),))
    assert eye.kernel_watches == 2
    write(root / "out/new/deep/x")
    write(root / "out/1/x", "new")
    write(root / "src/node_modules/lib/x")
    eye.sees_only(marker=root)
    assert eye.kernel_watches == 2


def test_case_11_an_exception_is_found_below_an_ignored_directory(eye: Eye, root: Path) -> None:
    write(root / "docs/deep/x.md")
    eye.on(root, ignores=(Ignore(str(root), ("docs", "!docs/README.md")),))
    write(root / "docs/README.md")
    write(root / "docs/x.md")
    write(root / "docs/deep/x.md", "new")
    eye.sees_only(root / "docs/README.md", marker=root)
    assert eye.kernel_watches == 2


def test_case_4_7_and_32_git_temp_files_and_outputs(eye: Eye, root: Path) -> None:
    (root / ".git").mkdir()
    eye.on(root, ignores=(Ignore(str(root / ".git")), Ignore(str(root / "ref.txt")), TEMP_FILES))
    for name in (".git/index", ".main.py.swp", ".#main.py", "#main.py#", "main.py~", "4913", "ref.txt"):
        write(root / name)
    main = write(root / "main.py")
    eye.sees_only(main, marker=root)


def test_case_30_watches_share_kernel_watches_and_ignore_for_themselves(eye: Eye, root: Path) -> None:
    write(root / "api/out/x")
    write(root / "web/x")
    whole = Watch("whole", (str(root),), (Ignore(str(root), ("api/out",)),))
    part = Watch("part", (str(root / "api"), str(root / "web/x")))
    eye.watch(whole, part)
    assert eye.kernel_watches == 4
    built, source = write(root / "api/out/x", "new"), write(root / "api/a")
    eye.sees(source, watch="whole")
    eye.sees(source, built, watch="part")
    assert str(built) not in eye.seen("whole")
    write(root / "web/x", "new")
    eye.sees(root / "web/x", watch="whole")
    eye.sees(root / "web/x", watch="part")
    eye.watch(whole)
    assert eye.kernel_watches == 3
    eye.posts.clear()
    write(source, "newer")
    eye.sees(source, watch="whole")
    assert not eye.seen("part")


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
    eye.watcher.set_watches({"w": Watch("w", (str(root),))})
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
    eye.watcher.set_watches({})
    write(root / "a")
    assert eye.posts == []


def test_stop_without_start() -> None:
    Eye().watcher.stop()


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
