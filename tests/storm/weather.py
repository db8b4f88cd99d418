"""What a storm does to a folder: operations as data, drawn from a seed, and how each is carried out.

An operation does not depend on what the disk looks like when it is drawn; one that makes no sense when its turn comes
(a move of nothing) does nothing. So any part of a script is a script, which is what makes a failing one smaller.
Operations run on the writers' threads.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

WRITERS = 3
IGNORED = ("left", "x.tmp")
"""Names the image ignores (`**/left`, `**/*.tmp`)."""

_NAMES = ("a", "b", "c", "d")
_MODES = (0o644, 0o600, 0o755, 0o640, 0o444)
_SIZES = (0, 1, 20, 700, 5_000, 150_000)
_WEIGHTS = {
    "write": 16, "append": 8, "truncate": 4, "save": 12, "move": 8, "in": 5, "out": 3, "delete": 7,
    "mkdir": 5, "chmod": 6, "link": 6, "many": 2, "become": 6, "same": 4, "pause": 25,
}  # fmt: skip
FAULTS = {"overflow": 6, "branch": 4, "restart": 2, "kill": 1, "replace": 1, "stop": 1, "daemon": 1}
"""What is not done to files by hand: lost events, a git checkout, and what happens to containers and Docker."""

DISK_FAULTS = {"full": 6, "overflow": 3, "branch": 2}
"""For a disk that fills and is freed, under containers that live on."""
DISK_KB = 48_000

BRANCHES = ("main", "other", "third")


@dataclass(frozen=True, slots=True)
class Op:
    """One thing that happens: to `path`, with `other` (a second path) and a number that seeds the rest."""

    kind: str
    path: str = ""
    other: str = ""
    number: int = 0

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.path, self.other, str(self.number))))


Script: TypeAlias = tuple[tuple[Op, ...], ...]
"""What each writer does, in order."""


def script(seed: int, operations: int, *, faults: bool, kinds: Mapping[str, int] = FAULTS) -> Script:
    """Draw a script with about so many operations, and `kinds` of faults by weight."""
    return tuple(
        tuple(_drawn(random.Random(f"{seed}/{writer}"), operations // WRITERS, kinds=kinds if faults else {}))  # noqa: S311 - to repeat
        for writer in range(WRITERS)
    )


def _drawn(dice: random.Random, count: int, *, kinds: Mapping[str, int]) -> Iterator[Op]:
    faults, chances = list(kinds), list(kinds.values())
    operations, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    for _ in range(count):
        if faults and dice.random() < 0.02:
            yield Op(dice.choices(faults, chances)[0], number=dice.randrange(10**6))
        kind = dice.choices(operations, weights)[0]
        yield Op(kind, _path(dice), _path(dice), dice.randrange(10**6))


def _path(dice: random.Random) -> str:
    parts = [dice.choice(_NAMES) for _ in range(dice.choice((1, 2, 2, 3)))]
    if dice.random() < 0.06:
        parts[-1] = dice.choice(IGNORED)
    return "/".join(parts)


def do(op: Op, tree: Path, outside: Path) -> None:
    """Carry one operation out in `tree`; what lies `outside` is where things are moved from and to."""
    path, other, dice = tree / op.path, tree / op.other, random.Random(op.number)  # noqa: S311 - to repeat
    with suppress(OSError):
        match op.kind:
            case "write" | "append" | "save" | "become" | "same":
                _write(op.kind, path, dice)
            case "truncate":
                os.truncate(path, dice.randrange(30))
            case "move":
                other.parent.mkdir(parents=True, exist_ok=True)
                path.rename(other)
            case "in":
                made = outside / f"in-{time.monotonic_ns()}"
                _make_tree(made, dice)
                path.parent.mkdir(parents=True, exist_ok=True)
                _clear(path)
                made.rename(path)
            case "out":
                path.rename(outside / f"out-{time.monotonic_ns()}")
            case "delete":
                _clear(path)
            case "mkdir":
                path.mkdir(parents=True, exist_ok=True)
            case "chmod":
                if not path.is_dir():
                    path.chmod(dice.choice(_MODES))
            case "link":
                path.parent.mkdir(parents=True, exist_ok=True)
                _clear(path)
                path.symlink_to("missing" if dice.random() < 0.2 else os.path.relpath(other, path.parent))
            case "many":
                for number in range(dice.randrange(20, 120)):
                    _write("write", path / f"n{number}", dice)
            case "pause":
                time.sleep(dice.choice((0.01, 0.05, 0.2)))


def _write(kind: str, path: Path, dice: random.Random) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = dice.randbytes(dice.choice(_SIZES))
    match kind:
        case "append":
            with path.open("ab") as file:
                file.write(content)
        case "save":
            temporary = path.with_name(f"{path.name}~")
            temporary.write_bytes(content)
            temporary.replace(path)
        case "become":
            _clear(path)
            path.write_bytes(content)
        case "same":
            path.write_bytes(b"the same each time")
        case _:
            path.write_bytes(content)


def _make_tree(top: Path, dice: random.Random) -> None:
    for _ in range(dice.randrange(1, 8)):
        _write("write", top / _path(dice), dice)
    if dice.random() < 0.5:
        (top / "e" / "empty").mkdir(parents=True, exist_ok=True)


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
