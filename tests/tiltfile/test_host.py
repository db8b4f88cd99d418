"""The real machine as a Tiltfile sees it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ipytilt.core.events import Source
from ipytilt.errors import Cancelled
from ipytilt.processes import StartFailed
from ipytilt.tiltfile.host import DiskHost
from ipytilt.tiltfile.load import LoadError, load


@pytest.fixture
def tree(tmp_path: Path) -> str:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "f").write_text("deep")
    (tmp_path / "a" / "f").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    return str(tmp_path)


def test_reading_records_what_is_no_directory(tree: str) -> None:
    host = DiskHost()
    assert host.read(f"{tree}/a/f") == b"text"
    for path in (f"{tree}/none", f"{tree}/a"):
        with pytest.raises(OSError, match=path):
            host.read(path)
    host.read(f"{tree}/a/b/f", record=False)
    assert host.reads == (f"{tree}/a/f", f"{tree}/none")


def test_impossible_paths(tree: str) -> None:
    host = DiskHost()
    for ask in (host.read, host.real, lambda path: list(host.files(path, recursive=True))):
        with pytest.raises(OSError, match=r"(?i)invalid argument"):
            ask(f"{tree}/\0")
    assert not host.exists("\0")


def test_bytes_that_are_no_text(tree: str) -> None:
    Path(tree, "bytes").write_bytes(b"\xff\n")
    Path(tree, "Tiltfile").write_text("local('true', stdin=read_file('bytes'))\nload('bytes', 'x')")
    with pytest.raises(LoadError) as caught:
        load([Source("k", "Tiltfile", tree, path=f"{tree}/Tiltfile")], (), DiskHost())
    assert (caught.value.file, caught.value.line) == (f"{tree}/bytes", 1)
    assert "invalid UTF-8" in caught.value.message


def test_looking_around(tree: str) -> None:
    host = DiskHost()
    assert [host.exists(f"{tree}/{name}") for name in ("a", "a/f", "none")] == [True, True, False]
    assert [host.is_dir(f"{tree}/{name}") for name in ("a", "a/f", "link")] == [True, False, True]
    assert list(host.files(tree, recursive=False)) == [f"{tree}/link"]
    assert list(host.files(tree, recursive=True)) == [f"{tree}/a/b/f", f"{tree}/a/f", f"{tree}/link"]
    assert list(host.files(f"{tree}/none", recursive=True)) == []
    assert host.real(f"{tree}/link/f") == os.path.realpath(f"{tree}/a/f")
    with pytest.raises(FileNotFoundError):
        host.real(f"{tree}/none")


def test_running_commands(tree: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TILT_PORT", raising=False)
    lines: list[str] = []
    ran = DiskHost().run(
        ["sh", "-c", "cat; echo $EXTRA$TILT_PORT; pwd; echo e >&2; exit 3"],
        cwd=tree,
        env={"EXTRA": "x"},
        stdin="in\n",
        on_line=lines.append,
    )
    assert (ran.code, ran.stdout, ran.stderr) == (3, f"in\nx10350\n{os.path.realpath(tree)}\n", "e\n")
    assert sorted(lines) == sorted(["in", "x10350", os.path.realpath(tree), "e"])


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(StartFailed):
        DiskHost().run(["no-such-program-anywhere"], cwd="/")


def test_cancelling_ends_the_command(tmp_path: Path) -> None:
    started = tmp_path / "started"
    with pytest.raises(Cancelled):
        DiskHost().run(["sh", "-c", f"touch {started}; exec sleep 60"], cwd="/", cancelled=started.exists)


def test_texts_are_kept_under_one_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    host = DiskHost()
    path = host.keep_text("services: {}\n", ".yml")
    assert Path(path).read_text() == "services: {}\n"
    assert host.keep_text("services: {}\n", ".yml") == path
    assert Path(path).is_relative_to(tmp_path)


def test_a_tiltfile_on_disk_logs_as_it_goes(tree: str) -> None:
    Path(tree, "Tiltfile").write_text(
        "print(str(local('echo out; echo err >&2', dir='a')).strip())\nwarn('w')\nlocal('true')\n"
    )
    seen: list[tuple[str, str]] = []
    loaded = load(
        [Source("k", "Tiltfile", tree, path=f"{tree}/Tiltfile")], (), DiskHost(lambda *line: seen.append(line))
    )
    assert sorted(loaded.log[:3]) == [" → err", " → out", "local: echo out; echo err >&2"]
    assert loaded.log[3:] == ("out", "local: true", " → [no output]", "WARNING: w")
    assert [text for text, _ in seen] == list(loaded.log)
    assert seen[-1][1] == "warning"
