"""Where things are kept between sessions: a folder in the user's cache directory. Any thread may ask."""

from __future__ import annotations

import os


def cache_folder(name: str) -> str:
    """`ipytilt/NAME` in the user's cache directory; it need not exist."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = cache if cache.startswith("/") else os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "ipytilt", name)
