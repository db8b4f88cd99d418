"""Builders for the sandbox's tests: images and services in a line each, and a log that can be read.

Runs on pytest's thread; what engines log arrives on theirs.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ipytilt.core.spec import Compose, ComposeProject, DockerBuild, Ignore, Image, Resource
from ipytilt.core.steps import Apply, BuildImage, Built, Container, Follow, Observe
from ipytilt.engines.base import ContainersSeen, Fact, Work
from ipytilt.engines.sandbox import SandboxEngine

SLEEPER = 'FROM a\nWORKDIR /app\nCMD ["sleep", "1000"]'


class Listening:
    """A `Work` and the lines it got."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.work = Work(self.log)

    def log(self, text: str, level: str) -> None:
        self.lines += text.splitlines()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files below a folder; returns it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def docker_image(
    context: Path | str,
    dockerfile: str,
    *,
    ref: str = "web",
    args: tuple[str, ...] = (),
    target: str = "",
    ignores: tuple[Ignore, ...] = (),
) -> Image:
    """An image of a `docker_build`."""
    build = DockerBuild(str(context), dockerfile, "/project/Dockerfile", args=args, target=target)
    return Image(ref, build, context_ignores=ignores)


def service(directory: Path | str, config: Mapping[str, Any], *, name: str = "web", image: str = "") -> Resource:
    """A resource of a Compose service; `image` names the image built for it."""
    project = ComposeProject("test", (f"{directory}/docker-compose.yml",), str(directory))
    return Resource(name, Compose(project, name, image_built=image, config=json.dumps(config)))


class Running:
    """What a test does with one engine."""

    def __init__(self, engine: SandboxEngine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.heard = Listening()
        self.at_end: list[Callable[[], None]] = []

    def close(self) -> None:
        """What every test ends with."""
        for stop in self.at_end:
            stop()
        self.engine.close()

    def build(self, dockerfile: str, **options: Any) -> Built:
        bases = options.pop("bases", ())
        image = docker_image(options.pop("context", self.folder), dockerfile, **options)
        return self.engine.build(BuildImage(image, bases), self.heard.work)

    def up(self, config: Mapping[str, Any], built: Built | None = None, **options: Any) -> Container:
        """Apply a service; the container."""
        recreate = options.pop("recreate", False)
        resource = service(self.folder, config, image=built.ref if built else "", **options)
        images = (built,) if built else ()
        (container,) = self.engine.apply(Apply(resource, images, recreate=recreate), self.heard.work).containers
        return container

    def run(self, dockerfile: str, config: Mapping[str, Any] | None = None, **options: Any) -> Container:
        """Build and apply."""
        return self.up(config or {}, self.build(dockerfile, **options))

    def exec(self, container: Container, *argv: str) -> tuple[int, str]:
        """Run a command; exit code and output."""
        listening = Listening()
        return self.engine.exec(container, argv, listening.work), listening.text

    def read(self, container: Container, path: str) -> str:
        """A file as the container sees it."""
        return (self.engine.container_root(container) / path.lstrip("/")).read_text()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def processes_named(word: str) -> list[int]:
    """The processes that have a word among their arguments."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if word.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def observe(sandbox: Running, *names: str) -> list[Fact]:
    """Facts about resources, as they come; observing ends with the test."""
    facts: list[Fact] = []
    resources = tuple(service(sandbox.folder, {}, name=name) for name in names)
    stop = sandbox.engine.start(Observe("sandbox", resources), facts.append, Listening().log)
    sandbox.at_end.append(stop)
    return facts


def last(facts: list[Fact], name: str = "web") -> Container | None:
    """The container of a resource, as last reported."""
    seen = [fact for fact in facts if isinstance(fact, ContainersSeen) and fact.resource == name]
    return seen[-1].containers[0] if seen and seen[-1].containers else None


def follow(sandbox: Running, container: Container) -> list[str]:
    """The container's output, as it comes; following ends with the test."""
    listening = Listening()
    order = Follow("web", container.id, container.started_at)
    sandbox.at_end.append(sandbox.engine.start(order, lambda _: None, listening.log))
    return listening.lines
