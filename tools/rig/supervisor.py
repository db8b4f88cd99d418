"""A process that runs one private Docker daemon and takes everything away when its owner is gone.

Started by ``tools.rig.daemon`` in a session of its own. Standard input is the leash: its end, like SIGTERM, ends
the daemon, its containers, networks, mounts and files; so a killed owner leaves nothing. Commands come in on it,
one word a line ("halt", "resume"), and are answered with one line each. ``--detached`` runs without a leash,
``--isolated`` in a network namespace of its own, so that halting it disturbs no other daemon.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.processes import command_line, parents
from tools.rig.apt import find

PREFIX = "ipytilt-rig-"
_PR_SET_PDEATHSIG = 1
_READY_SECONDS = 60
_STOP_SECONDS = 20


def folder_of(pid: int) -> Path:
    """Return the folder of the daemon that supervisor ``pid`` runs; short, as socket paths must be."""
    return Path(tempfile.gettempdir()) / f"{PREFIX}{pid}"


def host_of(folder: Path) -> str:
    """Return the address of the daemon in ``folder``, as DOCKER_HOST takes it."""
    return f"unix://{folder / 'docker.sock'}"


class Dockerd:
    """One daemon with its data, socket and bridge under ``folder``."""

    def __init__(self, folder: Path, *, isolated: bool) -> None:
        self.folder = folder
        self._isolated = isolated
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start dockerd and return when it answers. Raises RuntimeError with the end of its log."""
        command = self._command()
        log = self.folder / "dockerd.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no threads here, and nothing else ends it with us
            )
        process = self._process
        if (
            not _until(lambda: process.poll() is not None or self._answers(), _READY_SECONDS)
            or process.poll() is not None
        ):
            raise RuntimeError(f"dockerd did not come up; its log ends:\n{log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """End dockerd; data and socket folder stay."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _command(self) -> list[str]:
        folder = self.folder
        flags = ["--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid"]
        words = ["dockerd", *map(str, flags), "--host", host_of(folder), "--shutdown-timeout", "5"]
        if self._isolated:
            return ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *words]
        # No packet filter: another daemon's rules stay as they are, and publishing on loopback needs none.
        return [*words, "--iptables=false", "--bridge", _bridge_of(folder)]

    def _answers(self) -> bool:
        return _docker(self.folder, "version", timeout=5) is not None


def tear_down(folder: Path) -> None:
    """End whatever still runs from ``folder`` and remove its mounts, bridge and files."""
    for pid in _processes_of(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for mount in _mounts_below(folder):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    subprocess.run(["ip", "link", "delete", _bridge_of(folder)], check=False, capture_output=True)
    _until(lambda: _removed(folder), _STOP_SECONDS)


def main(arguments: list[str]) -> None:
    """Run one daemon until the leash is let go or SIGTERM comes."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _leave)
    folder = folder_of(os.getpid())
    tear_down(folder)
    folder.mkdir(mode=0o700)
    daemon = Dockerd(folder, isolated="--isolated" in arguments)
    try:
        if "--isolated" not in arguments:
            _make_bridge(_bridge_of(folder))
        daemon.start()
        _say("ready")
        if "--detached" in arguments:
            signal.pause()
        for line in sys.stdin:
            {"halt": daemon.stop, "resume": daemon.start}[line.strip()]()
            _say(line.strip())
    except (RuntimeError, OSError) as error:
        _say(f"failed: {error}")
        raise SystemExit(1) from error
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _remove_contents(folder)
        daemon.stop()
        tear_down(folder)


def _remove_contents(folder: Path) -> None:
    """Remove containers and networks while the daemon still can; their bridges are in nobody's folder."""
    containers = _docker(folder, "ps", "--all", "--quiet", timeout=10)
    if containers:
        _docker(folder, "rm", "--force", *containers.split(), timeout=60)
    _docker(folder, "network", "prune", "--force", timeout=30)


def _docker(folder: Path, *words: str, timeout: float) -> str | None:
    """Return what the docker client prints, or None when it fails."""
    with contextlib.suppress(subprocess.SubprocessError):
        command = ["docker", "--host", host_of(folder), *words]
        return subprocess.run(command, timeout=timeout, check=True, capture_output=True, text=True).stdout
    return None


def _bridge_of(folder: Path) -> str:
    return f"itr{folder.name.removeprefix(PREFIX)}"


def _make_bridge(name: str) -> None:
    ip = find("ip") or "ip"
    taken = subprocess.run([ip, "-4", "route"], check=True, capture_output=True, text=True).stdout
    first = os.getpid() % 250
    network = next(net for net in (f"10.213.{(first + n) % 250}." for n in range(250)) if net not in taken)
    for words in (["add", "name", name, "type", "bridge"], ["set", name, "up"]):
        subprocess.run([ip, "link", *words], check=True, capture_output=True)
    subprocess.run([ip, "address", "add", f"{network}1/24", "dev", name], check=True, capture_output=True)


def _processes_of(folder: Path) -> Iterator[int]:
    """Yield the daemons and shims that name ``folder`` in their command line, and all that descends from them."""
    parent_of = parents()
    roots = {pid for pid in parent_of if _is_runtime(command_line(pid), folder)}
    for pid in parent_of:
        above: int | None = pid
        while above and above not in roots:
            above = parent_of.get(above)
        if above:
            yield pid


def _is_runtime(words: list[str], folder: Path) -> bool:
    return (
        bool(words)
        and Path(words[0]).name.startswith(("dockerd", "containerd"))
        and any(f"{folder}/" in word for word in words)
    )


def _mounts_below(folder: Path) -> list[str]:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True)


def _removed(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _until(condition: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _die_with_parent() -> None:
    # SIGTERM lets dockerd end its containers itself.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _leave(*_: object) -> None:
    raise SystemExit(0)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(line.replace("\n", "\\n") + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
