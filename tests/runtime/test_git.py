"""Git at work: what it changes is posted at once, when it is done; what it left behind holds nothing up."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from ipytilt.runtime import watcher
from ipytilt.runtime.git import git_folders, is_at_work
from tests.support.waiting import eventually
from tests.support.watching import Eye, write


def git(directory: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main", *words]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(root: Path) -> Path:
    """Two branches whose 40 files differ."""
    git(root, "init")
    for branch in ("main", "other"):
        git(root, "checkout", "-q", "-B", branch)
        for number in range(40):
            write(root / "src" / f"{number}", branch)
        git(root, "add", ".")
        git(root, "commit", "-q", "-m", branch)
    return root


def test_a_working_tree_knows_its_folder(repository: Path, tmp_path: Path) -> None:
    own = str(repository / ".git")
    assert git_folders([str(repository / "src"), str(repository)]) == (own,)
    git(repository, "worktree", "add", "-q", str(tmp_path / "second"), "main")
    (found,) = git_folders([str(tmp_path / "second" / "src")])
    assert found == str(repository / ".git" / "worktrees" / "second")
    assert git_folders([str(tmp_path / "nowhere")]) == ()


def test_a_lock_counts_while_it_is_fresh(repository: Path) -> None:
    folders = git_folders([str(repository)])
    assert not is_at_work(folders, quiet=0)
    lock = write(repository / ".git" / "index.lock")
    assert is_at_work(folders, quiet=60)
    os.utime(lock, (time.time() - 3600,) * 2)
    assert not is_at_work(folders, quiet=60)


@pytest.mark.parametrize("name", ["rebase-merge/done", "rebase-apply/next", "MERGE_HEAD", "CHERRY_PICK_HEAD"])
def test_between_steps_there_is_quiet_to_be_waited_for(repository: Path, name: str) -> None:
    folders = git_folders([str(repository)])
    write(repository / ".git" / name)
    assert is_at_work(folders, quiet=0)
    assert not is_at_work(folders, quiet=10)


def test_what_changes_under_a_lock_is_posted_at_once(eye: Eye, repository: Path) -> None:
    files = [repository / "src" / f"{number}" for number in range(5)]
    eye.on(repository / "src")
    lock = write(repository / ".git" / "index.lock")
    for file in files:
        write(file, "changed")
        time.sleep(0.05)  # longer than a batch rests
    assert eye.posts == []
    lock.unlink()
    eye.sees(*files)
    assert len(eye.posts) == 1


def test_a_long_wait_for_git_is_said_until_it_is_over(
    eye: Eye, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "_LONG_SECONDS", 0.05)
    eye.on(repository / "src")
    lock = write(repository / ".git" / "index.lock")
    file = write(repository / "src" / "1", "changed")
    eventually(lambda: "git is changing files" in eye.problems.get("w", ""))
    lock.unlink()
    eye.sees(file)
    eventually(lambda: eye.problems["w"] == "")


def test_a_checkout_is_one_change(eye: Eye, repository: Path) -> None:
    eye.on(repository / "src")
    git(repository, "checkout", "-q", "main")
    eye.sees(*(repository / "src" / f"{number}" for number in range(40)))
    assert len(eye.posts) == 1
