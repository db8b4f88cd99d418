"""What a kubelet leaves on its machine outside any folder of ours, and how that is put back.

The kernel settings it changes, the folders of pods' logs, and a control group that all of its own are below. What was
there before is noted in the cluster's folder, so that anyone can put it back. Runs on the caller's thread.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.rig.service import until

LOG_FOLDERS = (Path("/var/log/containers"), Path("/var/log/pods"))
_CGROUPS = Path("/sys/fs/cgroup")
_SETTINGS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
_KEY_SETTINGS = ("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes")
_NOTE = "machine.json"
_GONE_SECONDS = 10


def prepare(folder: Path) -> None:
    """Note in ``folder`` what is there, and make a control group with the folder's name."""
    settings = {path: _setting(path).read_text() for path in (*_SETTINGS, *_KEY_SETTINGS) if _setting(path).exists()}
    logs = {str(where): [entry.name for entry in _entries(where)] for where in LOG_FOLDERS if where.exists()}
    (folder / _NOTE).write_text(json.dumps({"settings": settings, "logs": logs}))
    for tree in trees():
        (tree / folder.name).mkdir(exist_ok=True)
        _hand_down(tree)


def restore(folder: Path) -> None:
    """Put back what ``prepare`` noted; nothing of the cluster may run any more."""
    for tree in trees():
        until(lambda tree=tree: _removed(tree / folder.name), _GONE_SECONDS)  # type: ignore[misc]
    if not (folder / _NOTE).exists():
        return
    note = noted(folder)
    for path, value in note["settings"].items():
        if _setting(path).read_text() != value:
            _setting(path).write_text(value)
    for where in LOG_FOLDERS:
        _remove_new(where, note["logs"].get(str(where)))


def noted(folder: Path) -> dict[str, Any]:
    """Return what ``prepare`` noted: "settings", their values by path; "logs", the names in each log folder."""
    note: dict[str, Any] = json.loads((folder / _NOTE).read_text())
    return note


def cgroup(folder: Path) -> str:
    """Return the control group that ``prepare`` made for ``folder``, as the kubelet takes it."""
    return f"/{folder.name}"


def _remove_new(where: Path, before: list[str] | None) -> None:
    for entry in _entries(where):
        if entry.name not in (before or ()):
            entry.unlink() if entry.is_symlink() else shutil.rmtree(entry, ignore_errors=True)
    if before is None:
        with contextlib.suppress(OSError):  # it may not be there at all
            where.rmdir()


def _entries(where: Path) -> list[Path]:
    return list(where.iterdir()) if where.exists() else []


def trees() -> Iterator[Path]:
    """Yield the root of each control group tree: one for each controller, or a single one on newer machines."""
    for root in (_CGROUPS, *sorted(_CGROUPS.glob("*/"))):
        if (root / "cgroup.procs").exists():
            yield root
            if root == _CGROUPS:
                return


def _hand_down(tree: Path) -> None:
    # On newer machines a group has only the controllers that the one above it hands down.
    controllers = tree / "cgroup.controllers"
    if controllers.exists():
        for name in controllers.read_text().split():
            with contextlib.suppress(OSError):
                (tree / "cgroup.subtree_control").write_text(f"+{name}")


def _removed(group: Path) -> bool:
    if not group.exists():
        return True
    with contextlib.suppress(OSError):  # the last process in it is still ending
        below = sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True)
        for each in (*below, group):
            each.rmdir()
    return not group.exists()


def _setting(path: str) -> Path:
    return Path("/proc/sys") / path
