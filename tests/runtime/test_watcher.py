"""Which file events are posted, on real directories; numbers are rows of the behaviour cases."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ipytilt.core.batch import Pace
from ipytilt.core.paths import TEMP_FILES
from ipytilt.core.spec import Ignore
from ipytilt.core.steps import Watch
from tests.support import eventually
from tests.support.watching import WITHIN, Eye, write

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


def test_flush_posts_what_has_not_rested(root: Path) -> None:
    eye = Eye(Pace(lone=60, burst=60, storm=60, cap=60))
    eye.on(root)
    a = write(root / "a.py")
    assert eye.watcher.flush(WITHIN)
    assert eye.posts == [("w", (str(a),))]
    assert eye.watcher.flush(WITHIN)
    assert len(eye.posts) == 1
    eye.watcher.stop()


def test_a_watch_may_have_a_pace_of_its_own_which_counts_at_once(root: Path) -> None:
    long = Pace(lone=60, burst=60, storm=60, cap=60)
    patient, quick = root / "patient", root / "quick"
    a, b = write(patient / "a"), write(quick / "b")
    watches = [Watch("patient", (str(patient),), pace=long), Watch("quick", (str(quick),))]
    eye = Eye()
    eye.watch(*watches)
    a.write_text("new")
    b.write_text("new")
    eye.sees(b, watch="quick")
    assert eye.watcher.flush(WITHIN, insist=False)
    assert eye.seen("patient") == set()
    eye.watch(Watch("patient", (str(patient),)), watches[1])
    eye.sees(a, watch="patient")
    eye.watch(*watches)
    a.write_text("newer")
    assert eye.watcher.flush(WITHIN)
    assert eye.posts[-1] == ("patient", (str(a),))
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
