"""A file system of its own that can be filled and freed; mounting one takes what running a Docker daemon takes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FILL = ".fill"
"""The name of the file that takes all room."""


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a file system of that size at `place` for the block."""
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on it; returns the file that takes it."""
    file = disk / FILL
    with file.open("wb", buffering=0) as out:
        left = os.statvfs(disk)
        with suppress(OSError):  # somebody else was faster to use what was left, or there was nothing
            os.posix_fallocate(out.fileno(), 0, left.f_bavail * left.f_frsize)
    return file
