"""Where the browser for the tests is.

A browser of the distribution is enough for Playwright; none is downloaded.
"""

from __future__ import annotations

import ctypes.util
from pathlib import Path

from tools.rig import apt

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FONTS = Path("/usr/share/fonts")
# Running as root needs the first; the second keeps to /tmp, as /dev/shm is tiny in containers.
FLAGS = ("--no-sandbox", "--disable-dev-shm-usage")


def find() -> str | None:
    """Return the path of an installed Chromium or Chrome, or None."""
    return next((path for name in _NAMES if (path := apt.find(name))), None)


def install() -> None:
    """Install Chromium when there is no browser, fonts, and what Playwright's driver needs.

    Raises apt.CannotInstallError.
    """
    needed = (("fonts-dejavu-core", _FONTS.is_dir()), ("libatomic1", ctypes.util.find_library("atomic") is not None))
    apt.install_missing([] if find() else ["chromium"], [package for package, there in needed if not there])
