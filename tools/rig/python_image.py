"""A stand-in for ``python:3-slim`` where no registry can be reached: this machine's own interpreter in an image.

Only ever made in a daemon of the rig's own. The tree is the one of the busybox base with the interpreter, its standard
library and the shared libraries it is linked with, each at the path it has on this machine.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

STAND_IN = "python:3-slim"
_LEFT_OUT = {"__pycache__", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tkinter"}


def tree(base: bytes) -> bytes:
    """``base`` (a tar) with the interpreter added to it."""
    buffer = io.BytesIO(base)
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        interpreter = Path(sys.executable).resolve()
        library = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix})).resolve()
        archive.add(library, library.as_posix().lstrip("/"), filter=_wanted)
        modules = sorted((library / "lib-dynload").glob("*.so"))
        for path in dict.fromkeys((interpreter, *_linked(interpreter, *modules))):
            archive.add(path.resolve(), path.as_posix().lstrip("/"))
        for name in ("python3", "python"):
            link = tarfile.TarInfo(f"usr/bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, interpreter.as_posix()
            archive.addfile(link)
    return buffer.getvalue()


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if _LEFT_OUT & set(entry.name.split("/")) or "config-3" in entry.name else entry


def _linked(*programs: Path) -> Iterator[Path]:
    """The shared libraries of programs and their loader, by the paths they are looked up at."""
    said = subprocess.run(["ldd", *programs], check=True, capture_output=True, text=True).stdout
    for found in re.finditer(r"(/\S+) \(0x", said):
        yield Path(found.group(1))
