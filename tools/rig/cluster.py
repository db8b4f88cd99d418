"""The owner's side of the test cluster: start one, find the one that was left running, command it, end it.

Runs on the caller's thread; the cluster itself is run by ``tools.rig.kube_supervisor``, which ends it when this
process is gone.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.processes import command_line
from tools.rig import apt, daemon, docker, kube_build, kube_keys, kube_supervisor

# Of a cluster that stays; of one that does not, the kubeconfig is only in its folder.
KUBECONFIG = daemon.CACHE / "kubeconfig"
_STATE = daemon.CACHE / "cluster.pid"
_PROGRAMS = ("conntrack", "ethtool", "ip", "ipset", "iptables", "nsenter", "openssl", "socat")
_START_SECONDS = 300
_STOP_SECONDS = 120


class NoClusterError(Exception):
    """No test cluster can be had here; the message says why."""


class Cluster:
    """A running cluster: one of our own, or the one that was left running."""

    def __init__(self, pid: int, process: subprocess.Popen[str] | None = None) -> None:
        self._pid = pid
        self._process = process
        self.folder = kube_supervisor.folder_of(pid)
        self.context = kube_keys.NAME
        self.kubeconfig = self.folder / "kubeconfig"

    @property
    def env(self) -> dict[str, str]:
        """The variables that lead kubectl and its likes to the cluster, and Docker's clients to its daemon."""
        env = {**daemon.environment(self.folder), "KUBECONFIG": str(self.kubeconfig)}
        programs = kube_build.find()
        if shutil.which("kubectl") is None and programs is not None:
            env["PATH"] = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{programs}"
        return env

    def stop_part(self, name: str) -> None:
        """Stop one program of the cluster: kube-apiserver, kubelet, dockerd... Raises NoClusterError."""
        self._command(f"stop {name}")

    def start_part(self, name: str) -> None:
        """Start it again and return when it answers. Raises NoClusterError."""
        self._command(f"start {name}")

    def mend(self) -> None:
        """Start whatever of it does not run. Raises NoClusterError."""
        self._command("start")

    def let_go(self) -> None:
        """Drop the leash, as the end of this process does: the cluster ends by itself. Raises NoClusterError."""
        if self._process is None or self._process.stdin is None:
            raise NoClusterError("a cluster that was left running is on no leash of ours")
        self._process.stdin.close()

    def stop(self) -> None:
        """End the cluster and everything in it, if it has not ended already."""
        if self._process is None:
            ending = os.pidfd_open(self._pid)
            signal.pidfd_send_signal(ending, signal.SIGTERM)
            select.select([ending], [], [], _STOP_SECONDS)
            os.close(ending)
            return
        self._process.terminate()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _command(self, words: str) -> None:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_START_SECONDS)
            line.connect(str(kube_supervisor.socket_of(self.folder)))
            line.sendall(f"{words}\n".encode())
            with line.makefile() as answers:
                answer = answers.readline().strip()
        if answer != "ok":
            raise NoClusterError(f"the cluster did not {words}: {answer or 'its supervisor ended'}")


def install() -> None:
    """Fetch and build what ``start`` needs: ten minutes, once. Raises apt.CannotInstallError."""
    docker.install()
    apt.install_missing({*_PROGRAMS, *docker.PROGRAMS})
    kube_build.install()


def start(*, detached: bool = False) -> Cluster:
    """Start a cluster and return when its node is ready. Raises NoClusterError."""
    _check()
    sweep()
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.rig.kube_supervisor", *(["--detached"] if detached else [])],
        cwd=daemon.ROOT,
        stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
        stdout=subprocess.PIPE,
        # One that stays must not hold open what its caller waits for the end of.
        stderr=subprocess.DEVNULL if detached else None,
        text=True,
        start_new_session=True,
    )
    cluster = Cluster(process.pid, process)
    try:
        answer = _first_line(process)
        if answer != "ready":
            raise NoClusterError(f"the test cluster did not come up: {answer or 'its supervisor ended'}")
    except BaseException:
        cluster.stop()
        raise
    if detached:
        _keep(cluster, process)
    return cluster


def running() -> Cluster | None:
    """Return the cluster that was left running, or None."""
    if not _STATE.exists():
        return None
    pid = int(_STATE.read_text())
    if not _is_supervisor(pid):
        return None
    cluster = Cluster(pid)
    cluster.kubeconfig = KUBECONFIG
    return cluster


@contextmanager
def in_use() -> Iterator[Cluster]:
    """Give the cluster that was left running, mended, or one that ends with the block. Raises NoClusterError."""
    kept = running()
    if kept is not None:
        kept.mend()
        yield kept
        return
    started = start()
    try:
        yield started
    finally:
        started.stop()


def end_running() -> bool:
    """End the cluster that was left running; return whether there was one."""
    cluster = running()
    for path in (_STATE, KUBECONFIG):
        path.unlink(missing_ok=True)
    if cluster is not None:
        cluster.stop()
    return cluster is not None


def sweep() -> None:
    """Take away what supervisors left that were killed outright."""
    for folder in Path(tempfile.gettempdir()).glob(f"{kube_supervisor.PREFIX}[0-9]*"):
        if not _is_supervisor(int(folder.name.removeprefix(kube_supervisor.PREFIX))):
            kube_supervisor.tear_down(folder)


def _check() -> None:
    missing = [program for program in (*_PROGRAMS, *docker.PROGRAMS) if apt.find(program) is None]
    if kube_build.find() is None:
        missing.append("Kubernetes")
    if missing:
        raise NoClusterError(f"to start a cluster {', '.join(missing)} is missing: python -m tools.rig cluster install")
    if os.geteuid() != 0:
        raise NoClusterError("starting a cluster takes root")


def _first_line(process: subprocess.Popen[str]) -> str:
    if process.stdout is None:
        raise RuntimeError("the supervisor has no output to read")
    readable, _, _ = select.select([process.stdout], [], [], _START_SECONDS)
    return process.stdout.readline().strip() if readable else f"no answer in {_START_SECONDS} s"


def _keep(cluster: Cluster, process: subprocess.Popen[str]) -> None:
    """Leave a detached cluster running after this process; ``running`` finds it again."""
    daemon.CACHE.mkdir(parents=True, exist_ok=True)
    shutil.copy2(cluster.kubeconfig, KUBECONFIG)
    cluster.kubeconfig = KUBECONFIG
    _STATE.write_text(str(process.pid))
    if process.stdout is not None:
        process.stdout.close()


def _is_supervisor(pid: int) -> bool:
    return "tools.rig.kube_supervisor" in command_line(pid)
