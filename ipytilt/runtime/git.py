"""Is git at work on these files? While it is, what it changes is kept together.

Asked by the watcher's dispatcher (thread `ipytilt-watcher`) when a batch is due: a look at one or two files. Git holds
`index.lock` while it changes the working tree; between the steps of a rebase or merge it lets go of it for a moment. A
lock that is left over from a git that died is not waited for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

_LONGEST_SECONDS = 30.0
_STEP_SECONDS = 0.5
_SEQUENCES = ("rebase-merge", "rebase-apply", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD")


def git_folders(roots: Iterable[str]) -> tuple[str, ...]:
    """The git folders of the working trees that `roots` are in, each once."""
    return tuple(dict.fromkeys(found for root in roots if (found := _git_folder(root))))


def is_at_work(folders: Iterable[str], quiet: float) -> bool:
    """Whether git is changing files now, or is about to go on; `quiet`: seconds since a file last changed."""
    return any(_holds_lock(folder) or (quiet < _STEP_SECONDS and _is_in_sequence(folder)) for folder in folders)


def _holds_lock(folder: str) -> bool:
    try:
        return time.time() - os.stat(os.path.join(folder, "index.lock")).st_mtime < _LONGEST_SECONDS
    except OSError:
        return False


def _is_in_sequence(folder: str) -> bool:
    """In the middle of several steps; one that rests there waits for its user, and nothing waits for that."""
    return any(os.path.exists(os.path.join(folder, name)) for name in _SEQUENCES)


def _git_folder(root: str) -> str:
    directory = os.path.realpath(root)
    while True:
        found = os.path.join(directory, ".git")
        if os.path.isdir(found):
            return found
        if os.path.isfile(found):
            return _pointed_to(found)
        above = os.path.dirname(directory)
        if above == directory:
            return ""
        directory = above


def _pointed_to(file: str) -> str:
    """The folder a `.git` file of a worktree or submodule names."""
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as text:
            word, _, path = text.read().strip().partition(": ")
    except OSError:
        return ""
    return os.path.normpath(os.path.join(os.path.dirname(file), path)) if word == "gitdir" else ""
