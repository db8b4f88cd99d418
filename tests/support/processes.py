"""Looking at processes from outside, on the test's thread."""

from __future__ import annotations

from pathlib import Path

from tools.processes import command_line, parents


def alive(pid: int) -> bool:
    """Whether the process is there, and not only waiting for its parent to notice that it ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def children_of(parent: int, word: str = "") -> list[int]:
    """The living children of a process whose command line contains the word."""
    return [pid for pid, of in parents().items() if of == parent and alive(pid) and word in " ".join(command_line(pid))]
