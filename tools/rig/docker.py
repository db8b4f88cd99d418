"""Which Docker the tests use: one that answers already, one left running by ``up``, or a private one.

Runs the docker client as a child process, in the caller's thread.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tools.rig import apt, daemon, images

PROGRAMS = ("busybox", "dockerd", "ip", "unshare")


class NoDockerError(Exception):
    """No Docker daemon can be had here; the message says why."""


def existing() -> dict[str, str] | None:
    """Return the environment that leads to a daemon which answers already, or None.

    Looks where the docker client looks (DOCKER_HOST, the current context, the default socket), then for one left
    running by ``python -m tools.rig up``.
    """
    if apt.find("docker") is None:
        return None
    if _answers({}):
        return {} if _has_plugins({}) else _with_our_plugins()
    kept = daemon.running()
    return kept if kept is not None and _answers(kept) else None


def install() -> None:
    """Install what ``private`` needs. Raises apt.CannotInstallError."""
    if existing() is None:
        apt.install_missing(PROGRAMS)
    if not _has_plugins({"DOCKER_CONFIG": str(daemon.CONFIG)}):
        apt.fetch_plugins(daemon.PLUGIN_FOLDER)


def private(*, isolated: bool = False, detached: bool = False) -> daemon.Daemon:
    """Start a daemon of our own with the base images in it. Raises NoDockerError."""
    missing = [program for program in PROGRAMS if apt.find(program) is None]
    if missing:
        raise NoDockerError(f"no Docker daemon answers, and to start one {', '.join(missing)} is missing")
    if os.geteuid() != 0:
        raise NoDockerError("no Docker daemon answers, and starting one takes root")
    daemon.sweep()
    try:
        started = daemon.Daemon.start(isolated=isolated, detached=detached)
    except RuntimeError as error:
        raise NoDockerError(str(error)) from error
    try:
        images.make(started.env, stand_in=True)
    except BaseException:
        started.stop()
        raise
    return started


@contextmanager
def in_use() -> Iterator[dict[str, str]]:
    """Give the environment of a daemon with the base images; a private one ends with the block."""
    found = existing()
    if found is not None:
        images.make(found, stand_in=False)
        yield found
        return
    started = private()
    try:
        yield started.env
    finally:
        started.stop()


def plugin_version(name: str, env: Mapping[str, str]) -> str | None:
    """Return what ``docker NAME version`` prints under ``env``, or None when there is no such plug-in."""
    done = _run(["docker", name, "version"], env)
    return done.stdout.strip() if done is not None else None


def _has_plugins(env: Mapping[str, str]) -> bool:
    return all(plugin_version(name, env) is not None for name in ("compose", "buildx"))


def _with_our_plugins() -> dict[str, str]:
    """Return an environment for the daemon of the current context, but with the fetched plug-ins."""
    found = _run(["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"], {})
    host = {"DOCKER_HOST": found.stdout.strip()} if found is not None else {}
    return {**host, "DOCKER_CONFIG": str(daemon.CONFIG)}


def _answers(env: Mapping[str, str]) -> bool:
    return _run(["docker", "version"], env) is not None


def _run(command: list[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            command, env={**os.environ, **env}, check=True, capture_output=True, text=True, timeout=20
        )
    except (subprocess.SubprocessError, FileNotFoundError):
        return None
