"""A look at the process table through /proc; where there is none, nothing is seen."""

from __future__ import annotations

import contextlib
from pathlib import Path


def parents() -> dict[int, int]:
    """Return the parent of every process, by process id; ended ones that nobody has waited for included."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def command_line(pid: int) -> list[str]:
    """Return the words a process was started with; none when it has ended."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        return [word.decode(errors="surrogateescape") for word in words if words != [b""]]
    return []
