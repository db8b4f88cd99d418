"""Addresses, bridges and a network namespace for what the rig runs.

Runs ``ip`` as a child process, in the caller's thread.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

from tools.rig.apt import find

_CLONE_NEWNET = 0x40000000
_CABLE = "node0"


def free_network(first: str) -> str:
    """Return a /24 below the /16 ``first`` ("10.213.") that no route leads to yet, as its first three numbers."""
    taken = ip("-4", "route")
    start = os.getpid() % 250
    return next(net for n in range(250) if (net := f"{first}{(start + n) % 250}.") not in taken)


def make_bridge(name: str, network: str) -> None:
    """Make a bridge that is the first address of a network from ``free_network``."""
    ip("link", "add", "name", name, "type", "bridge")
    ip("link", "set", name, "up")
    ip("address", "add", f"{network}1/24", "dev", name)


def leave_for_own_namespace(link: str, *, network: str, behind: str) -> None:
    """Move this process into a new network namespace that one cable joins to the old one.

    The cable's end in the old one is called ``link`` and is the first address of ``network``; ours is the second.
    The old namespace finds the network ``behind`` through us. It all ends with the last process inside.
    """
    old = Path("/proc/self/ns/net").open()  # noqa: SIM115 - the children below are handed it by number
    with old:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "a network namespace of our own")
        outside = f"/proc/self/fd/{old.fileno()}"
        enter = ("nsenter", f"--net={outside}")
        ip("link", "set", "lo", "up")
        ip("link", "add", _CABLE, "type", "veth", "peer", "name", link, "netns", outside, keep=old.fileno())
        ip("address", "add", f"{network}2/24", "dev", _CABLE)
        ip("link", "set", _CABLE, "up")
        ip("address", "add", f"{network}1/24", "dev", link, through=enter, keep=old.fileno())
        ip("link", "set", link, "up", through=enter, keep=old.fileno())
        ip("route", "add", f"{behind}0/24", "via", f"{network}2", through=enter, keep=old.fileno())
        ip("route", "add", "default", "via", f"{network}1")


def cut_cable() -> None:
    """Remove the cable at once, that would go a moment after the last process inside."""
    ip("link", "delete", _CABLE)


def ip(*words: str, through: tuple[str, ...] = (), keep: int | None = None) -> str:
    """Return what ``ip`` prints; ``keep`` is a descriptor it may use. Raises OSError with its words when it fails."""
    command = [*through, find("ip") or "ip", *words]
    pass_fds = () if keep is None else (keep,)
    done = subprocess.run(command, check=False, capture_output=True, text=True, pass_fds=pass_fds)
    if done.returncode:
        raise OSError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout
