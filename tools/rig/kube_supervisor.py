"""A process that runs the test cluster and takes everything away when its owner is gone.

Started by ``tools.rig.cluster`` in a session of its own. It moves into a network namespace of its own, so that ports,
links and packet filter rules of the cluster are nobody else's and end with it; one cable joins it to the machine. In
it run a Docker daemon, which is the node's runtime, the control plane and the node. Standard input is the leash, as
in ``tools.rig.supervisor``; ``--detached`` runs without one. Commands come in on ``control.sock`` in the cluster's
folder: "stop NAME" and "start NAME" of one part, "start" of whatever does not run, answered with "ok". One cluster of
the rig runs at a time.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tools.rig import images, kube_build, kube_machine, kube_parts, network, supervisor
from tools.rig.daemon import environment
from tools.rig.kube_keys import Keys
from tools.rig.service import Service, until

PREFIX = "ipytilt-cluster-"
_BRIDGE = "pods0"
# A name of a socket that is no file: it is taken as long as its holder lives.
_LOCK = "\0ipytilt-cluster"
_LOCK_SECONDS = 60
_COMMAND_SECONDS = 5
_COMMAND_BYTES = 100
# dockerd's runtime where no process may be spared from the kernel's memory killer: it asks for a neutral score.
_RUNC = """#!/bin/sh
was=
for word; do
  case $was in
    --bundle | -b) sed -i 's/"oomScoreAdj":-[0-9]*/"oomScoreAdj":0/' "$word/config.json" ;;
    --process | -p) sed -i 's/"oomScoreAdj":-[0-9]*/"oomScoreAdj":0/' "$word" ;;
  esac
  was=$word
done
exec runc "$@"
"""


def folder_of(pid: int) -> Path:
    """Return the folder of the cluster that supervisor ``pid`` runs; short, as socket paths must be."""
    return Path(tempfile.gettempdir()) / f"{PREFIX}{pid}"


def socket_of(folder: Path) -> Path:
    """Return the socket that the supervisor of the cluster in ``folder`` takes commands on."""
    return folder / "control.sock"


class Cluster:
    """The parts by name, in the order they are started in."""

    def __init__(self, folder: Path, programs: Path) -> None:
        """Make keys and network; this process is in the cluster's network namespace from now on."""
        near, pods = network.free_network("10.214."), network.free_network("10.215.")
        network.leave_for_own_namespace(f"itk{os.getpid()}", network=near, behind=pods)
        network.make_bridge(_BRIDGE, pods)
        server = f"https://{near}2:{kube_parts.API_PORT}"
        keys = Keys(folder / "keys", server=server, addresses=["127.0.0.1", f"{near}2", kube_parts.SERVICE_ADDRESS])
        place = kube_parts.Place(folder, programs, keys, network=near, cgroup=kube_machine.cgroup(folder))
        self._folder = folder
        self._parts = {
            "dockerd": _dockerd(folder, near),
            "etcd": kube_parts.etcd(place),
            "kube-apiserver": kube_parts.apiserver(place),
            "kube-controller-manager": kube_parts.controller_manager(place),
            "kube-scheduler": kube_parts.scheduler(place),
            "kubelet": kube_parts.kubelet(place),
            "kube-proxy": kube_parts.proxy(place),
        }
        shutil.copy2(keys.admin, folder / "kubeconfig")

    def start(self) -> None:
        """Start everything and return when the node is ready. Raises RuntimeError with the end of a log."""
        parts = self._parts
        parts["etcd"].launch()
        parts["dockerd"].launch()
        parts["etcd"].wait()
        parts["kube-apiserver"].launch()
        parts["dockerd"].wait()
        images.make(environment(self._folder), stand_in=True)
        images.make_pause(environment(self._folder), kube_parts.PAUSE)
        parts["kube-apiserver"].wait()
        rest = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
        for name in rest:
            parts[name].launch()
        for name in rest:
            parts[name].wait()

    def stop(self) -> None:
        """End everything, the containers first that nobody is left to start again."""
        for name in ("kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy"):
            self._parts[name].stop()
        supervisor.remove_contents(self._folder)
        for name in ("kube-apiserver", "etcd", "dockerd"):
            self._parts[name].stop()
        network.cut_cable()

    def obey(self, command: str) -> str:
        """Carry out "start NAME", "stop NAME", or "start" for all parts; return "ok" or what went wrong."""
        verb, _, name = command.partition(" ")
        act = {"start": Service.start, "stop": Service.stop}.get(verb)
        chosen = [*self._parts.values()] if command == "start" else [self._parts[name]] if name in self._parts else []
        if act is None or not chosen:
            return f"no such command: {command}"
        try:
            for part in chosen:
                act(part)
        except RuntimeError as error:
            return str(error).replace("\n", "\\n")
        return "ok"


def main(arguments: list[str]) -> None:
    """Run one cluster until the leash is let go or SIGTERM comes."""
    supervisor.end_when_told()
    folder = folder_of(os.getpid())
    leash = None if "--detached" in arguments else sys.stdin
    cluster: Cluster | None = None
    try:
        with _alone():
            try:
                tear_down(folder)
                folder.mkdir(mode=0o700)
                kube_machine.prepare(folder)
                cluster = Cluster(folder, _programs())
                cluster.start()
                supervisor.say("ready")
                _serve(cluster, socket_of(folder), leash)
            finally:
                supervisor.ignore_signals()
                socket_of(folder).unlink(missing_ok=True)
                try:
                    if cluster is not None:
                        cluster.stop()
                finally:
                    tear_down(folder)
    except (RuntimeError, OSError) as error:
        supervisor.say(f"failed: {error}")
        raise SystemExit(1) from error


def tear_down(folder: Path) -> None:
    """End whatever still runs from ``folder``, and remove its mounts, files and all it changed on the machine."""
    supervisor.end_all(folder)
    kube_machine.restore(folder)
    supervisor.remove(folder)


def _serve(cluster: Cluster, path: Path, leash: IO[str] | None) -> None:
    """Obey commands until the leash ends."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        while True:
            ends: list[socket.socket | IO[str]] = [door] if leash is None else [door, leash]
            readable, _, _ = select.select(ends, [], [])
            if leash in readable:
                return
            owner, _ = door.accept()
            # Who asks may be gone before the answer, or never say what for.
            with owner, contextlib.suppress(OSError):
                owner.settimeout(_COMMAND_SECONDS)
                command = owner.recv(_COMMAND_BYTES).decode().strip()
                owner.sendall(f"{cluster.obey(command)}\n".encode())


@contextmanager
def _alone() -> Iterator[None]:
    """Wait for a cluster that is just ending. Raises RuntimeError when another one stays, ours or not."""
    with socket.socket(socket.AF_UNIX) as lock:
        until(lambda: _locked(lock) or _one_serves(), _LOCK_SECONDS)
        if not lock.getsockname():
            raise RuntimeError("another cluster of the rig runs on this machine: python -m tools.rig cluster status")
        if supervisor.is_running("kubelet"):
            raise RuntimeError("another cluster's kubelet runs on this machine; two would end each other's pods")
        yield


def _locked(lock: socket.socket) -> bool:
    try:
        lock.bind(_LOCK)
    except OSError:
        return False
    return True


def _one_serves() -> bool:
    """Whether a cluster of the rig is up, rather than just coming or going."""
    return any(socket_of(folder).exists() for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))


def _programs() -> Path:
    programs = kube_build.find()
    if programs is None:
        raise RuntimeError("the cluster's programs are not built: python -m tools.rig cluster install")
    return programs


def _dockerd(folder: Path, near: str) -> Service:
    flags = ["--bridge", _BRIDGE, "--iptables=false", "--exec-opt", "native.cgroupdriver=cgroupfs"]
    flags += ["--insecure-registry", f"{near}0/24"]
    if not _may_spare():
        runtime = folder / "runc"
        runtime.write_text(_RUNC)
        runtime.chmod(0o755)
        flags += ["--add-runtime", f"neutral={runtime}", "--default-runtime", "neutral"]
    return supervisor.dockerd(folder, *flags)


def _may_spare() -> bool:
    """Whether a process here may have a score below its own, as the sandbox of each pod asks for."""
    words = ["sh", "-c", "echo -1 > /proc/self/oom_score_adj"]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


if __name__ == "__main__":
    main(sys.argv[1:])
