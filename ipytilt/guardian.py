"""The guardian: a small process that ends what a killed kernel leaves behind.

`processes` starts this file as a script (`python -I -S`, about 10 ms, 9 MB) in a session of its own and holds the only
write end of its standard input. It is told which children run; when the pipe closes, however the kernel ended, it ends
those that are left and exits. It imports nothing but `os`, `sys` and `time`, because every further module makes it
slower to start. `processes` uses the functions too: for detached children of a server, and to sweep up after a session
whose guardian was killed together with its kernel.

A child is known by a *record*, one string: `<owner pid>-<owner start>-<group>-<start>-<mark>`. Owner is the kernel,
group the child's process group (0 until it is known), both with their start times in clock ticks since boot, because
process ids are used again. Mark is a random token the child and everything it starts carry in their environment: on
Linux it finds those that left the group. Elsewhere start times are 0 and marks find nothing.
"""

from __future__ import annotations

import os
import sys
import time

VARIABLE = "IPYTILT_PROCESS"
GRACE_SECONDS = 1.0
_SIGTERM, _SIGKILL = 15, 9  # the signal module would cost a third of the start
_POLL_SECONDS = 0.02
_KILL_POLL_SECONDS = 0.002
_PASSES = 50


def record(group: int, start: int, mark: str) -> str:
    """The record of a child of this process."""
    return f"{os.getpid()}-{start_time(os.getpid())}-{group}-{start}-{mark}"


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 if there is none or the system does not tell."""
    return _stat(pid)[1]


def marked(marks: set[str]) -> list[int]:
    """The processes that carry one of the marks in their environment, as far as we may look."""
    found = []
    for entry in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if entry.isdigit():
            _, _, rest = (b"\0" + _read(f"/proc/{entry}/environ")).partition(f"\0{VARIABLE}=".encode())
            if rest.partition(b"\0")[0].decode(errors="replace") in marks:
                found.append(int(entry))
    return found


def strike(pids: list[int], signal: int) -> None:
    """Send a signal to processes, some of which may be gone or somebody else's by now."""
    for pid in pids:
        try:
            os.kill(pid, signal)
        except (ProcessLookupError, PermissionError):
            continue


def kill_marked(marks: set[str]) -> None:
    """SIGKILL whatever carries a mark until nothing is left: it may be forking, and takes a moment to go."""
    for _ in range(_PASSES):
        found = marked(marks)
        if not found:
            return
        strike(found, _SIGKILL)
        time.sleep(_KILL_POLL_SECONDS)


def end(records: list[str], grace: float = GRACE_SECONDS) -> None:
    """End what the records name: SIGTERM, up to `grace` seconds, SIGKILL."""
    # A group whose leader is the one we knew is ours until it is empty, even when the leader has gone: its id is taken.
    known = [(int(group), int(start)) for _, _, group, start, _ in map(_parts, records)]
    groups = [group for group, start in known if group > 1 and start_time(group) == start]
    marks = {_parts(name)[4] for name in records}
    deadline = time.monotonic() + grace
    _signal_groups(groups, _SIGTERM)
    strike(marked(marks), _SIGTERM)
    while (_signal_groups(groups, 0) or marked(marks)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    _signal_groups(groups, _SIGKILL)
    kill_marked(marks)


def sweep(directory: str) -> None:
    """End what dead sessions left running, by the records in the directory, and remove those records."""
    left = [name for name in os.listdir(directory) if _is_record(name) and not _owner_lives(name)]
    if left:
        end(left)
        remove(directory, left)


def remove(directory: str, records: list[str]) -> None:
    """Remove records; somebody may have been faster."""
    for name in records:
        try:
            os.unlink(os.path.join(directory, name))
        except FileNotFoundError:
            continue


def remove_directory(directory: str) -> None:
    """Remove the directory of records unless another session has some there."""
    try:
        os.rmdir(directory)
    except OSError:
        return


def _signal_groups(groups: list[int], signal: int) -> bool:
    """Send to each group and forget those that are empty, whose ids may be given to others; whether any was there."""
    reached = False
    for group in groups[:]:
        try:
            os.killpg(group, signal)
            reached = True
        except ProcessLookupError:
            groups.remove(group)
        except PermissionError:
            continue
    return reached


def _parts(name: str) -> list[str]:
    return name.split("-")


def _is_record(name: str) -> bool:
    parts = _parts(name)
    return len(parts) == 5 and all(part.isdigit() for part in parts[:4])


def _owner_lives(name: str) -> bool:
    pid, start = map(int, _parts(name)[:2])
    state, started = _stat(pid)
    return started == start and state not in {"Z", "X"}


def _stat(pid: int) -> tuple[str, int]:
    """State letter and start time; the program's name before them may contain anything, even brackets."""
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return (fields[0].decode(), int(fields[19])) if len(fields) > 19 else ("", 0)


def _read(path: str) -> bytes:
    """A file of /proc; b"" when the process is gone or not ours."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def _watch(directory: str) -> None:
    """Follow `+record` and `-record` lines until the pipe closes, then end what is left."""
    table: dict[str, str] = {}
    rest = b""
    while chunk := os.read(0, 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            name = line[1:].decode()
            if line.startswith(b"+"):
                table[_parts(name)[4]] = name
            else:
                table.pop(_parts(name)[4], None)
    if table:
        end(list(table.values()))
    if directory:
        remove(directory, list(table.values()))
        remove_directory(directory)


if __name__ == "__main__":
    _watch(sys.argv[1])
