"""A process that runs one private Docker daemon and takes everything away when its owner is gone.

Started by ``tools.rig.daemon`` in a session of its own. Standard input is the leash: its end, like SIGTERM, ends
the daemon, its containers, networks, mounts and files; so a killed owner leaves nothing. Commands come in on it,
one word a line ("halt", "resume"), and are answered with one line each. ``--detached`` runs without a leash,
``--isolated`` in a network namespace of its own, so that halting it disturbs no other daemon.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.processes import command_line, parents
from tools.rig import network
from tools.rig.service import Service, until

PREFIX = "ipytilt-rig-"
_REMOVE_SECONDS = 20
# How the names of programs begin that are known by the folder in their command line.
_DAEMONS = ("containerd", "dockerd", "etcd", "kube")
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def folder_of(pid: int) -> Path:
    """Return the folder of the daemon that supervisor ``pid`` runs; short, as socket paths must be."""
    return Path(tempfile.gettempdir()) / f"{PREFIX}{pid}"


def host_of(folder: Path) -> str:
    """Return the address of the daemon in ``folder``, as DOCKER_HOST takes it."""
    return f"unix://{folder / 'docker.sock'}"


def dockerd(folder: Path, *flags: str, enter: Sequence[str] = ()) -> Service:
    """One daemon with its data and its socket under ``folder``; ``enter`` is a program that runs it."""
    own = {"--data-root": folder / "data", "--exec-root": folder / "exec", "--pidfile": folder / "pid"}
    words = [word for flag, path in own.items() for word in (flag, str(path))]
    command = [*enter, "dockerd", *words, "--host", host_of(folder), "--shutdown-timeout", "5", *flags]
    return Service(
        command, log=folder / "dockerd.log", answers=lambda: docker(folder, "version", timeout=5) is not None
    )


def _isolated(folder: Path) -> Service:
    return dockerd(folder, enter=["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"])


def _on_a_bridge(folder: Path) -> Service:
    network.make_bridge(_bridge_of(folder), network.free_network("10.213."))
    # No packet filter: another daemon's rules stay as they are, and publishing on loopback needs none.
    return dockerd(folder, "--iptables=false", "--bridge", _bridge_of(folder))


def tear_down(folder: Path) -> None:
    """End whatever still runs from ``folder`` and remove its mounts, bridge and files."""
    end_all(folder)
    subprocess.run(["ip", "link", "delete", _bridge_of(folder)], check=False, capture_output=True)
    remove(folder)


def end_all(folder: Path) -> None:
    """End the daemons and shims that name ``folder`` in their command line, and all that descends from them."""
    for pid in _processes_of(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def remove(folder: Path) -> None:
    """Remove a folder that nothing runs from any more, and what is mounted below it."""
    for mount in _mounts_below(folder):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    until(lambda: _removed(folder), _REMOVE_SECONDS)


def is_running(program: str) -> bool:
    """Whether any process of this machine is called so."""
    return any(words and Path(words[0]).name == program for words in map(command_line, parents()))


def main(arguments: list[str]) -> None:
    """Run one daemon until the leash is let go or SIGTERM comes."""
    end_when_told()
    folder = folder_of(os.getpid())
    tear_down(folder)
    folder.mkdir(mode=0o700)
    daemon: Service | None = None
    try:
        daemon = _isolated(folder) if "--isolated" in arguments else _on_a_bridge(folder)
        daemon.start()
        say("ready")
        if "--detached" in arguments:
            signal.pause()
        for line in sys.stdin:
            {"halt": daemon.stop, "resume": daemon.start}[line.strip()]()
            say(line.strip())
    except (RuntimeError, OSError) as error:
        say(f"failed: {error}")
        raise SystemExit(1) from error
    finally:
        ignore_signals()
        remove_contents(folder)
        if daemon is not None:
            daemon.stop()
        tear_down(folder)


def end_when_told() -> None:
    """Make each of the signals that mean so end this process through its ``finally``."""
    for number in _ENDING:
        signal.signal(number, _leave)


def ignore_signals() -> None:
    """Let nothing interrupt the clearing up."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


def remove_contents(folder: Path) -> None:
    """Remove containers and networks while the daemon still can; their bridges are in nobody's folder."""
    containers = docker(folder, "ps", "--all", "--quiet", timeout=10)
    if containers:
        docker(folder, "rm", "--force", *containers.split(), timeout=60)
    docker(folder, "network", "prune", "--force", timeout=30)


def docker(folder: Path, *words: str, timeout: float) -> str | None:
    """Return what the docker client prints, or None when it fails."""
    with contextlib.suppress(subprocess.SubprocessError):
        command = ["docker", "--host", host_of(folder), *words]
        return subprocess.run(command, timeout=timeout, check=True, capture_output=True, text=True).stdout
    return None


def _bridge_of(folder: Path) -> str:
    return f"itr{folder.name.removeprefix(PREFIX)}"


def _processes_of(folder: Path) -> Iterator[int]:
    parent_of = parents()
    roots = {pid for pid in parent_of if _is_runtime(command_line(pid), folder)}
    for pid in parent_of:
        above: int | None = pid
        while above and above not in roots:
            above = parent_of.get(above)
        if above:
            yield pid


def _is_runtime(words: list[str], folder: Path) -> bool:
    return bool(words) and Path(words[0]).name.startswith(_DAEMONS) and any(f"{folder}/" in word for word in words)


def _mounts_below(folder: Path) -> list[str]:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True)


def _removed(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _leave(*_: object) -> None:
    raise SystemExit(0)


def say(line: str) -> None:
    """Answer the owner, who may be gone."""
    with contextlib.suppress(OSError):
        sys.stdout.write(line.replace("\n", "\\n") + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
