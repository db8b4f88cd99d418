"""Where to look: the watches of a session laid out on the disk as it is.

`survey` resolves the roots of all watches together, so that a directory several of them cover is looked at once. A
`Scope` does not change: the thread of a tree replaces it when the watches, or the paths they hinge on, do; other
threads may read it. Everything inside is in real paths; a watch is told its own words, paths below the root it gave.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

from ipytilt.core.paths import Matcher, is_below
from ipytilt.core.steps import Watch

_MOUNTS = "/proc/self/mountinfo"
_REMOTE_TYPES = frozenset(
    {"9p", "afs", "ceph", "cifs", "drvfs", "fuse", "nfs", "nfs4", "prl_fs", "smb3", "smbfs", "vboxsf"}
)
"""File systems whose changes may be made by another machine, which the kernel of this one does not report."""

_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.bindfs"})

Identity: TypeAlias = tuple[str, bool]
"""What a path leads to: its real path, and whether that is a directory."""


class Interest(NamedTuple):
    """One root of one watch: the real path looked at, and the path the watch knows it by."""

    root: str
    given: str
    watch: str
    matcher: Matcher

    def known_as(self, path: str) -> str:
        """The watch's own word for a real path at or below the root."""
        return path if self.root == self.given else self.given.rstrip("/") + path[len(self.root.rstrip("/")) :]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is looked at, and who wants to know.

    Attributes:
        starts: existing directories from which everything else is reached.
        passages: directories looked at for one entry only: a file that is a root, the way to a root that is missing.
        hinges: paths that change the scope itself when they lead elsewhere than they did.
    """

    interests: Mapping[str, tuple[Interest, ...]] = field(default_factory=dict)
    starts: frozenset[str] = frozenset()
    passages: frozenset[str] = frozenset()
    hinges: Mapping[str, Identity] = field(default_factory=dict)

    def descends(self, directory: str) -> bool:
        """Whether any watch has use for a look into `directory`."""
        return directory in self.passages or any(
            not interest.matcher.can_prune(interest.known_as(directory)) for interest in self._covering(directory)
        )

    def routed(self, path: str) -> Iterator[tuple[str, str]]:
        """The watches that want to know of `path`, each with the path in its own words."""
        for interest in self._covering(path):
            known_as = interest.known_as(path)
            if not interest.matcher.ignores(known_as):
                yield interest.watch, known_as

    def interests_at(self, directory: str) -> list[Interest]:
        """The interests for whose sake `directory` is looked at: theirs, or on the way to them."""
        return [
            interest
            for root, interests in self.interests.items()
            if is_below(directory, root) or (directory in self.passages and is_below(root, directory))
            for interest in interests
        ]

    def directories(self) -> Iterator[Interest]:
        """The interests whose root is a directory now."""
        for root, interests in self.interests.items():
            if self.hinges[root] == (root, True):
                yield from interests

    def has_moved(self, hinge: str) -> bool:
        """Whether `hinge` leads elsewhere than when the scope was made."""
        return self.hinges[hinge] != _identity(hinge)

    def _covering(self, path: str) -> Iterator[Interest]:
        while True:
            yield from self.interests.get(path, ())
            if path == "/":
                return
            path = path[: path.rfind("/")] or "/"


def survey(watches: Iterable[Watch]) -> Scope:
    """Lay the roots of `watches` out on the disk: links resolved, missing roots awaited at their nearest ancestor."""
    plan = _Survey()
    for watch in watches:
        matcher = Matcher(watch.ignores)
        for given in watch.roots:
            plan.add(given, watch.name, matcher)
    interests = {root: tuple(found) for root, found in plan.interests.items()}
    return Scope(interests, frozenset(plan.starts), frozenset(plan.passages), plan.hinges)


class _Survey:
    def __init__(self) -> None:
        self.interests: dict[str, list[Interest]] = {}
        self.starts: set[str] = set()
        self.passages: set[str] = set()
        self.hinges: dict[str, Identity] = {}

    def add(self, given: str, watch: str, matcher: Matcher) -> None:
        real = os.path.realpath(given)
        self._want(real, Interest(real, given, watch, matcher))
        if os.path.isdir(real):
            self.starts.add(real)
        else:
            self._await(real)
        if os.path.islink(given):
            # The link is a path of its own: pointing it elsewhere is a change, and moves the root.
            directory, name = os.path.split(given)
            link = os.path.join(os.path.realpath(directory), name)
            self._want(link, Interest(link, given, watch, matcher))
            self._await(link)

    def _want(self, root: str, interest: Interest) -> None:
        self.interests.setdefault(root, []).append(interest)
        self.hinges[root] = _identity(root)

    def _await(self, path: str) -> None:
        """Look at the directory of `path`, or on the way there as far as it exists."""
        directory = os.path.dirname(path)
        while not os.path.isdir(directory):
            self.passages.add(directory)
            self.hinges[directory] = _identity(directory)
            directory = os.path.dirname(directory)
        self.passages.add(directory)
        self.starts.add(directory)


def _identity(path: str) -> Identity:
    return os.path.realpath(path), os.path.isdir(path)


# ---------------------------------------------------------------------------------------------- file systems


def split_roots(watches: Iterable[Watch], silent: frozenset[str]) -> tuple[list[Watch], list[Watch]]:
    """The watches with the roots whose kernel reports changes, and those with the roots that have to be polled.

    `silent` are roots, as given, that are polled whatever they are on.
    """
    mounts = _remote_mounts()
    told: list[Watch] = []
    polled: list[Watch] = []
    for watch in watches:
        deaf = {root for root in watch.roots if root in silent or _is_remote(os.path.realpath(root), mounts)}
        for group, roots in (
            (told, tuple(root for root in watch.roots if root not in deaf)),
            (polled, tuple(root for root in watch.roots if root in deaf)),
        ):
            if roots:
                group.append(replace(watch, roots=roots))
    return told, polled


def _remote_mounts() -> dict[str, bool]:
    """Mount points, and whether their file system is remote; empty where the kernel does not tell."""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return {}
    mounts = {}
    for line in lines:
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), before.split(" ")[4])
        kind = after.split(" ")[0]
        mounts[point] = kind in _REMOTE_TYPES or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE)
    return mounts


def _is_remote(path: str, mounts: Mapping[str, bool]) -> bool:
    while path not in mounts and path != "/":
        path = os.path.dirname(path)
    return mounts.get(path, False)
