"""Deploys Compose services: `docker compose` brings them up, the daemon says what came of it and takes them down.

Runs on worker threads. `up` has one lock per project, because Compose does not expect another of its kind at work in
the same project; builds run side by side.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ipytilt import processes
from ipytilt.core.images import parse
from ipytilt.core.spec import Compose, ComposeProject, Resource
from ipytilt.core.steps import Applied, Apply, Container, Delete
from ipytilt.engines.base import Work
from ipytilt.engines.docker.client import PROJECT_LABEL, Daemon
from ipytilt.errors import Broke, Rejected, refusal

ENGINE = "compose"
_LAST_LINES = 10
_PROGRESS = re.compile(r"^\s*(Container|Network|Volume|Image|Service)\s.*(ing|ed)$|^#\d+ ")
_STOP_SECONDS = 600.0  # services choose their own grace period
_LOOK_SECONDS = 0.2


class ComposeDeployer:
    """Implements `base.Deployer` for Compose services."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._command: tuple[str, ...] = ()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def apply(self, step: Apply, work: Work) -> Applied:
        """See `base.Deployer`."""
        target = _target(step.resource)
        built = next((image for image in step.images if image.ref == target.image_built), None)
        if built:
            wanted = parse(target.image)
            with self._daemon.api(f"tagging {built.local_ref} as {target.image}") as api:
                api.tag(built.local_ref, wanted.familiar_name, wanted.tag or "latest")
        elif "build" in json.loads(target.config):
            self._compose(target, ("build", target.service), work, doing=f"building {target.service}")
        up = ["up", "--no-deps", "--remove-orphans", "--no-build", "--detach"]
        up += ["--wait"] * target.project.wait + ["--force-recreate"] * step.recreate
        with self._locked(target.project, work):
            if step.force:
                self._remove(target, work)
            elif not step.revive:
                self._remove(target, work, running=False)
            before = {container.id for container in self._containers(target)}
            self._compose(target, (*up, target.service), work, doing=f"starting {target.service}")
        found = tuple(self._containers(target))
        return Applied(step.resource.name, found, kept=tuple(c.id for c in found if c.id in before))

    def found(self, resource: Resource) -> tuple[Container, ...]:
        """See `base.ContainerEngine`."""
        return tuple(container for container in self._containers(_target(resource)) if container.running)

    def delete(self, step: Delete, work: Work) -> None:
        """See `base.Deployer`. Needs none of the project's files, which may be gone by now.

        With the last container go the project's networks, and its volumes if that is asked for.
        """
        target = _target(step.resource)
        project = target.project.name
        with self._locked(target.project, work):
            self._remove(target, work)
            if not self._daemon.containers(project):
                mine = {"label": f"{PROJECT_LABEL}={project}"}
                with self._daemon.api(f"removing what is left of {project}") as api:
                    for network in api.networks(filters=mine):
                        work.log(f"Removing network {network['Name']}")
                        api.remove_network(network["Id"])
                    for volume in (api.volumes(filters=mine)["Volumes"] or ()) if step.volumes else ():
                        work.log(f"Removing volume {volume['Name']}")
                        api.remove_volume(volume["Name"])

    def _containers(self, target: Compose) -> Iterator[Container]:
        found = self._daemon.containers(target.project.name)
        return (container for container in found if container.service == target.service)

    def _remove(self, target: Compose, work: Work, *, running: bool = True) -> None:
        """Remove the containers of a service; those that run as well, unless told otherwise."""
        for container in self._containers(target):
            work.check()
            if container.running and not running:
                continue
            work.log(f"Removing container {container.name}")
            with suppress(Broke), self._daemon.api(f"removing {container.name}", timeout=_STOP_SECONDS) as api:
                if container.exit_code is None:
                    api.stop(container.id)
                api.remove_container(container.id, force=True)

    @contextmanager
    def _locked(self, project: ComposeProject, work: Work) -> Iterator[None]:
        lock = self._locks[project.name]
        while not lock.acquire(timeout=_LOOK_SECONDS):
            work.check()
        try:
            yield
        finally:
            lock.release()

    def _compose(self, target: Compose, words: Sequence[str], work: Work, *, doing: str) -> None:
        """Run a Compose command to its end; Rejected with what it said last."""
        said: list[str] = []

        def line(_: str, text: str) -> None:
            work.log(text)
            if text.strip() and not _PROGRESS.match(text):
                said.append(text)

        command = [*self._program(), *_project_flags(target.project), *words]
        done = processes.run(command, env=self._daemon.environ, on_line=line, cancel=work)
        if done.exit_code:
            with self._daemon.api(doing) as api:  # it may have failed because the daemon went away
                api.ping()
            message = "\n".join(said[-_LAST_LINES:]) or f"exit status {done.exit_code}"
            raise refusal(message, engine=ENGINE, doing=doing)

    def _program(self) -> tuple[str, ...]:
        """The plug-in, or the program of its own that some systems have; looked for once."""
        if self._command:
            return self._command
        for command in (("docker", "compose"), ("docker-compose",)):
            with suppress(processes.StartFailed, TimeoutError):
                done = processes.run([*command, "version"], env=self._daemon.environ, timeout=30)
                if done.exit_code == 0:
                    self._command = command
                    return command
        raise Rejected(
            "docker compose is not installed",
            engine=ENGINE,
            doing="starting services",
            hint="install the Compose plug-in: https://docs.docker.com/compose/install/",
        )


def _target(resource: Resource) -> Compose:
    if not isinstance(resource.target, Compose):
        raise TypeError(f"{resource.name} is no Compose service")
    return resource.target


def _project_flags(project: ComposeProject) -> list[str]:
    flags = ["--project-name", project.name, "--project-directory", project.directory]
    flags += ["--env-file", project.env_file] if project.env_file else []
    flags += [word for path in project.config_paths for word in ("--file", path)]
    flags += [word for profile in project.profiles for word in ("--profile", profile)]
    return flags
