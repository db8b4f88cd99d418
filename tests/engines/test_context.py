"""Archives and walks, read back with the standard library's tar."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from ipytilt.core.paths import Matcher
from ipytilt.core.spec import Ignore
from ipytilt.core.steps import Copy
from ipytilt.engines.context import Archive, context_archive, sync_archive, walk
from ipytilt.errors import Rejected, Unavailable

BIG = 6_000_000  # beyond what is read at once


def opened(archive: Archive) -> tarfile.TarFile:
    data = b"".join(archive)
    assert len(data) == archive.size
    return tarfile.open(fileobj=io.BytesIO(data))


def content(archive: Archive) -> dict[str, bytes]:
    """Files by name; directories end in a slash, links hold an arrow and where they point."""
    found = {}
    with opened(archive) as tar:
        for entry in tar:
            file = tar.extractfile(entry) if entry.isfile() else None
            name = f"{entry.name}/" if entry.isdir() else entry.name
            found[name] = file.read() if file else entry.linkname.encode()
            assert (entry.uid, entry.gid, entry.uname, entry.gname) == (0, 0, "", "")
    return found


def sync(*pairs: tuple[Path, str]) -> tuple[Archive, tuple[str, ...]]:
    archive, placed = sync_archive([Copy(str(local), container) for local, container in pairs], engine="docker")
    return archive, placed.removals


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_walk_goes_depth_first_in_order_and_prunes(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a", "skipped/x", "c/skipped", "kept/in/deep/file"):
        write(tmp_path / name)
    (tmp_path / "c" / "loop").symlink_to(tmp_path)
    ignores = Ignore(str(tmp_path), ("**/skipped", "kept", "!kept/in/deep"))
    names = [found.name for found in walk(str(tmp_path), Matcher([ignores]))]
    assert names == ["a", "b", "c", "b/1", "b/2", "c/loop", "kept/in/deep", "kept/in/deep/file"]


def test_a_context_has_what_is_not_ignored_and_the_extra_files(tmp_path: Path) -> None:
    write(tmp_path / "src/app.py", "app")
    write(tmp_path / "src/app.pyc")
    write(tmp_path / "Dockerfile", "mine")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("src/app.py")
    ignores = [Ignore(str(tmp_path), ("**/*.pyc",))]
    archive = context_archive(str(tmp_path), ignores, engine="docker", extra={"Dockerfile": b"ours"})
    assert content(archive) == {
        "empty/": b"",
        "link": b"src/app.py",
        "src/": b"",
        "src/app.py": b"app",
        "Dockerfile": b"ours",
    }


def test_an_empty_context_has_the_extra_files_alone() -> None:
    assert content(context_archive("", (), engine="docker", extra={"Dockerfile": b"FROM x"})) == {
        "Dockerfile": b"FROM x"
    }


def test_modes_and_times_are_kept(tmp_path: Path) -> None:
    program = write(tmp_path / "program")
    program.chmod(0o4751)
    os.utime(program, (1.5e9, 1.5e9))
    with opened(sync((program, "/p"))[0]) as tar:
        entry = tar.getmember("p")
        assert (entry.mode, entry.mtime) == (0o4751, 1.5e9)


def test_long_and_odd_names_survive(tmp_path: Path) -> None:
    names = ["x" * 200, "ünï", "new\nline", os.fsdecode(b"\xff\xfe")]
    pairs = [
        (write(tmp_path / name, name.encode(errors="replace").decode()), f"/{'deep/' * 30}{name}") for name in names
    ]
    with opened(sync(*pairs)[0]) as tar:
        assert {Path(entry.name).name for entry in tar} == set(names)


def test_what_is_missing_is_removed_and_the_rest_copied(tmp_path: Path) -> None:
    archive, removals = sync(
        (write(tmp_path / "a", "A"), "/app/a"),
        (tmp_path / "gone" / "file", "/app/sub/file"),
        (tmp_path / "gone", "/app/sub/"),
        (tmp_path / "a" / "no directory", "/app/a/x"),
        (tmp_path, "/d"),
    )
    assert content(archive) == {"app/a": b"A"}
    assert removals == ("/app/a/x", "/app/sub")


def test_of_two_copies_to_one_path_the_last_counts(tmp_path: Path) -> None:
    archive, removals = sync((write(tmp_path / "a", "A"), "/x"), (write(tmp_path / "b", "B"), "//./x"))
    assert (content(archive), removals) == ({"x": b"B"}, ())


def test_directories_have_entries_only_if_they_are_empty(tmp_path: Path) -> None:
    write(tmp_path / "full/file")
    (tmp_path / "empty").mkdir()
    assert content(sync((tmp_path / "full", "/app/full"), (tmp_path / "empty", "/e/"))[0]) == {"e/": b""}
    assert content(sync((tmp_path / "empty", "/app"))[0]) == {"app/": b""}
    assert content(sync((tmp_path / "empty", "/"))[0]) == {}


@pytest.mark.parametrize("target", ["/", "//", "/.", "/app/..", "/../.."])
def test_the_root_is_never_removed(tmp_path: Path, target: str) -> None:
    with pytest.raises(Rejected, match="all of the container would be removed"):
        sync((tmp_path / "gone", target))


def test_what_cannot_be_read_now_is_named_and_worth_another_try() -> None:
    with pytest.raises(Unavailable, match=r"cannot read /proc/self/mem: Input/output error"):
        sync((Path("/proc/self/mem"), "/x"))


def test_what_has_to_be_mended_is_named_and_waits_for_that(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match=r"cannot read .*: File name too long"):
        sync((tmp_path / ("x" * 300), "/x"))


def test_a_big_file_is_streamed(tmp_path: Path) -> None:
    big = write(tmp_path / "big")
    big.write_bytes(os.urandom(1000) * (BIG // 1000))
    archive, _ = sync((big, "/big"), (write(tmp_path / "after", "after"), "/after"))
    assert content(archive) == {"big": big.read_bytes(), "after": b"after"}
    assert archive.torn == []


@pytest.mark.parametrize(
    "change, kept, torn",
    [
        (lambda path: path.write_bytes(b"x" * (BIG + 5)), BIG, False),
        (lambda path: path.write_bytes(b"x" * 1000), 1000, True),
        (lambda path: path.unlink(), 0, True),
    ],
    ids=["grown", "shrunk", "vanished"],
)
def test_a_file_that_changes_while_it_is_sent_leaves_the_archive_whole(
    tmp_path: Path,
    change: object,
    kept: int,
    torn: bool,  # noqa: FBT001
) -> None:
    big = write(tmp_path / "big")
    big.write_bytes(b"x" * BIG)
    archive, _ = sync((big, "/big"), (write(tmp_path / "after", "after"), "/after"))
    assert callable(change)
    change(big)
    found = content(archive)
    assert found == {"big": b"x" * kept + bytes(BIG - kept), "after": b"after"}
    assert archive.torn == ([str(big)] if torn else [])


def test_a_small_file_is_kept_as_it_was_when_it_was_added(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "before")
    archive, _ = sync((path, "/a"))
    path.write_text("afterwards")
    assert content(archive) == {"a": b"before"}
