"""Where things are kept between sessions: a folder in the user's cache directory. Any thread may ask."""

from __future__ import annotations

import os
from contextlib import suppress


def cache_folder(name: str) -> str:
    """`ipytilt/NAME` in the user's cache directory; it need not exist."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = cache if cache.startswith("/") else os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "ipytilt", name)


def make_room(folder: str, kept: int) -> None:
    """Make the folder, for its owner only, and see that one more file makes no more than `kept`: the oldest go.

    Raises OSError.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with os.scandir(folder) as entries:
        newest_first = sorted(entries, key=lambda entry: entry.stat().st_mtime, reverse=True)
    for entry in newest_first[kept - 1 :]:
        with suppress(FileNotFoundError):  # another session does the same
            os.unlink(entry.path)
