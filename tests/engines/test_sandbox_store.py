"""What the sandbox keeps on disk, and how trees are copied and read. Runs on pytest's thread."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ipytilt.engines import sandbox_run, sandbox_store
from ipytilt.engines.sandbox_files import Root, clone_tree, fingerprint, remove_tree, resolve
from ipytilt.engines.sandbox_run import View
from ipytilt.engines.sandbox_store import Store
from tests.engines.sandboxes import write


def keep(store: Store, key: str, text: str = "") -> str:
    """Keep a tree with one file."""
    folder = Path(store.folder("build"))
    write(folder / "tree", {"file": text})
    return store.keep(key, str(folder))


def test_a_tree_is_kept_found_and_left_to_the_first_who_made_it(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert store.find("a") is None
    tree = keep(store, "a", "first")
    assert keep(store, "a", "second") == tree
    assert (Path(tree) / "file").read_text() == "first"
    assert list(Path(store.session).iterdir()) == []
    store.close()
    again = Store(str(tmp_path))
    assert again.find("a") == tree
    again.close()
    assert list((tmp_path / "sessions").iterdir()) == []


def test_trees_in_use_are_never_removed_others_when_they_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_store, "KEPT_TREES", 1)
    first = Store(str(tmp_path))
    for number, key in enumerate(("old", "new", "used")):
        keep(first, key)
        os.utime(tmp_path / f"images/{key}.lock", (number, number))
    first.prune()
    assert all(first.find(key) for key in ("old", "new", "used"))
    first.close()
    second, third = Store(str(tmp_path)), Store(str(tmp_path))
    assert third.find("used")
    for number, key in enumerate(("old", "new", "used")):
        os.utime(tmp_path / f"images/{key}.lock", (number, number))
    keep(second, "mine")
    second.prune()
    assert sorted(path.name for path in (tmp_path / "images").iterdir() if path.is_dir()) == ["mine", "used"]
    third.close()
    second.close()


def test_the_cache_of_the_user_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert sandbox_store.default_folder() == "/somewhere/ipytilt/sandbox-1"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert sandbox_store.default_folder() == "/home/me/.cache/ipytilt/sandbox-1"


@pytest.mark.parametrize("share", [True, False])
def test_trees_are_copied_with_all_that_is_in_them(tmp_path: Path, *, share: bool) -> None:
    source = write(tmp_path / "source", {"dir/file": "text", "script": ""})
    (source / "script").chmod(0o750)
    (source / "dir/link").symlink_to("file")
    (source / "broken").symlink_to("/no/such/place")
    os.mknod(source / "whiteout", 0o020000)
    target = tmp_path / "target"
    clone_tree(str(source), str(target), share=share)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == [
        "broken",
        "dir",
        "dir/file",
        "dir/link",
        "script",
        "whiteout",
    ]
    assert (target / "script").stat().st_mode & 0o777 == 0o750
    assert (target / "whiteout").is_char_device()
    assert (target / "broken").readlink() == Path("/no/such/place")
    assert ((target / "dir/file").stat().st_ino == (source / "dir/file").stat().st_ino) is share
    assert (target / "dir/file").read_text() == "text"


def test_trees_shut_to_their_owner_are_removed(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", {"shut/inner/file": ""})
    (tree / "shut/inner").chmod(0)
    (tree / "shut").chmod(0)
    remove_tree(str(tree))
    assert not tree.exists()
    remove_tree(str(tree))


def test_a_fingerprint_tells_content_modes_and_names_but_no_times(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", {"a": "1", "b/c": "2"})
    seen = [fingerprint(str(tree))]
    os.utime(tree / "a", (0, 0))
    assert fingerprint(str(tree)) == seen[0]
    (tree / "a").chmod(0o700)
    seen.append(fingerprint(str(tree)))
    write(tree, {"b/c": "3"})
    seen.append(fingerprint(str(tree)))
    (tree / "a").rename(tree / "aa")
    seen.append(fingerprint(str(tree)))
    (tree / "link").symlink_to("x")
    seen.append(fingerprint(str(tree)))
    assert len(set(seen)) == 5


def test_paths_are_resolved_inside_the_trees(tmp_path: Path) -> None:
    upper, lower = write(tmp_path / "upper", {"app/x": ""}), write(tmp_path / "lower", {"usr/bin/y": ""})
    (lower / "bin").symlink_to("usr/bin")
    (lower / "app").symlink_to("/hidden")
    (upper / "back").symlink_to("../../../app/./z")
    (upper / "loop").symlink_to("/loop")
    roots = (str(upper), str(lower))
    cases = {"/bin/y": "/usr/bin/y", "/app/x": "/app/x", "/back": "/app/z", "/../no/../new": "/new", "/": "/"}
    assert {path: resolve(path, roots) for path in cases} == cases
    with pytest.raises(OSError, match="Too many levels"):
        resolve("/loop", roots)


def test_a_root_is_not_left(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", {"in/file": ""})
    outside = write(tmp_path / "outside", {"file": "mine"})
    (tree / "out").symlink_to(outside)
    (tree / "up").symlink_to("../outside")
    root = Root(str(tree))
    root.write("/out/new", b"new")
    root.write("/up/new", b"new")
    root.remove("/out/file")
    root.remove("/out")
    root.remove("/never/there")
    root.make_directory("/../x/../y/")
    root.close()
    assert sorted(path.name for path in outside.iterdir()) == ["file"]
    assert (tree / str(outside)[1:] / "new").read_text() == "new"
    assert (tree / "outside/new").read_text() == "new"
    assert (tree / "y").is_dir()


def test_a_directory_with_mounts_in_it_is_taken_apart(tmp_path: Path) -> None:
    image = str(write(tmp_path / "image", {"usr/share/own/file": "", "usr/local/file": ""}))
    whole = list(sandbox_run._parts("/usr", image, frozenset()))
    assert whole == [("/usr", [f"{image}/usr", "/usr"])]
    parts = dict(sandbox_run._parts("/usr", image, frozenset({"/usr/share/doc", "/usrlocal"})))
    assert parts["/usr/bin"] == ["/usr/bin"]
    assert parts["/usr/local"] == [f"{image}/usr/local", "/usr/local"]
    assert parts["/usr/share/own"] == [f"{image}/usr/share/own"]
    assert parts["/usr/share/doc"] == ["/usr/share/doc"]
    assert "/usr" not in parts
    assert "/usr/share" not in parts


def test_a_view_knows_where_its_tree_shows() -> None:
    view = View("/folder", covered=("/usr", "/proc"), shadows=("/usr/local/own",))
    shown = {path: view.shows(path) for path in ("/app/x", "/usr/x", "/usr/local/own/x", "/proc/x", "/usrx", "/")}
    assert shown == {
        "/app/x": True,
        "/usr/x": False,
        "/usr/local/own/x": True,
        "/proc/x": False,
        "/usrx": True,
        "/": True,
    }
