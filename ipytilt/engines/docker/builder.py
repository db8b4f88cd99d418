"""Builds images: Dockerfiles through BuildKit or the daemon's classic builder, and the user's own commands.

Runs on worker threads. What comes out is always tagged by its content, so that an unchanged image keeps its name.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ipytilt import processes
from ipytilt.core.images import parse
from ipytilt.core.spec import ComposeBuild, CustomBuild, DockerBuild, Image
from ipytilt.core.steps import BuildImage, Built
from ipytilt.engines.base import Work
from ipytilt.engines.context import Archive, context_archive
from ipytilt.engines.docker import buildkit
from ipytilt.engines.docker.client import ENGINE, Connection, Daemon, translated
from ipytilt.engines.docker.custom import CustomBuilding, tag_by_content
from ipytilt.engines.dockerfile import DockerfileError, replace_images
from ipytilt.engines.dockerfile import parse as parse_dockerfile
from ipytilt.errors import EngineError, Rejected, TiltError, refusal
from ipytilt.lines import Lines

COLLECT_LABEL = "dev.ipytilt.collect=true"
LABELS = {"dev.ipytilt.built": "true", **dict([COLLECT_LABEL.split("=")])}
"""On every image we build: who did it, and that it may be pruned."""

_DOCKERFILE = ".ipytilt.Dockerfile"
_VARIANTS = {"arm": "arm/v7"}
_RAWJSON_SINCE = (0, 13)
_CHATTER = (" ---> ", "Removing intermediate container")
_STEP = re.compile(r"step (\d+)/\d+ ?: ", re.IGNORECASE)
_NO_IMAGE = re.compile(r"dial tcp|pull access denied|manifest unknown|failed to resolve source metadata")
_SHOWN_LINES = 20


class DockerBuilder:
    """Implements `base.Builder`."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._buildkit: bool | None = None

    def build(self, step: BuildImage, work: Work) -> Built:
        """See `base.Builder`."""
        match step.image.build:
            case DockerBuild() as build:
                return self._docker_build(step, build, work)
            case CustomBuild() as build:
                return CustomBuilding(self._daemon, step, build, work).run()
            case ComposeBuild():
                raise Rejected("Compose builds this image itself", engine=ENGINE, doing=f"building {step.image.ref}")

    def has(self, built: Built) -> bool:
        """See `base.Builder`."""
        with suppress(Rejected), self._daemon.api() as api:
            api.inspect_image(built.local_ref)
            return True
        return False

    def _docker_build(self, step: BuildImage, build: DockerBuild, work: Work) -> Built:
        image = step.image
        try:
            text = replace_images(build.dockerfile, dict(step.bases), self._arguments(build))
        except DockerfileError as problem:
            raise _rejected(image, build, str(problem), line=problem.line) from problem
        build = replace(build, platform=self._platform(step, build))
        platform = f" for platform {build.platform}" if build.platform else ""
        work.log(f"Building Dockerfile{platform}:")
        work.log("\n".join(f"  {line}" for line in text.splitlines()))
        tag = f"{parse(image.ref).familiar_name}:tilt-build-{secrets.token_hex(6)}"
        try:
            if self._has_buildkit():
                self._build_by_buildkit(step, build, text, tag=tag, work=work)
            else:
                self._build_classically(image, build, text, tag=tag, work=work)
            return tag_by_content(self._daemon, image, tag, registry=step.registry, extra_tags=build.extra_tags)
        finally:
            with suppress(TiltError), self._daemon.api() as api:
                api.remove_image(tag)

    def _platform(self, step: BuildImage, build: DockerBuild) -> str:
        """What it is built for; "": what the daemon runs on."""
        said = build.platform or self._daemon.environ.get("DOCKER_DEFAULT_PLATFORM", "")
        if said or step.arch in ("", self._daemon.arch):
            return said
        return f"linux/{_VARIANTS.get(step.arch, step.arch)}"

    def _arguments(self, build: DockerBuild) -> dict[str, str]:
        """Build arguments by name; a bare name takes its value from the environment, if it has one there."""
        found = {}
        for argument in build.args:
            name, equals, value = argument.partition("=")
            if equals or name in self._daemon.environ:
                found[name] = value if equals else self._daemon.environ[name]
        return found

    # ------------------------------------------------------------------------------------ BuildKit

    def _has_buildkit(self) -> bool:
        """Whether buildx is there and the daemon can; asked once."""
        if self._buildkit is None:
            environ = self._daemon.environ
            wanted = environ.get("DOCKER_BUILDKIT") != "0" and not self._daemon.is_podman
            able = tuple(map(int, self._daemon.api_version.split("."))) >= (1, 39)
            self._buildkit = wanted and able and self._buildx_version() >= _RAWJSON_SINCE
        return self._buildkit

    def _buildx_version(self) -> tuple[int, ...]:
        try:
            done = processes.run(["docker", "buildx", "version"], env=self._daemon.environ, capture=True, timeout=20)
        except (processes.StartFailed, TimeoutError):
            return ()
        found = re.search(rb"\bv?(\d+)\.(\d+)\.", done.stdout)
        return tuple(map(int, found.groups())) if found and done.exit_code == 0 else ()

    def _build_by_buildkit(self, step: BuildImage, build: DockerBuild, text: str, *, tag: str, work: Work) -> None:
        progress = buildkit.Progress(work.log)
        # Attestations carry the time of the build: the same content would get another digest each time.
        environ = {**self._daemon.environ, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        with buildkit.build_command(
            build, text, ignores=step.image.context_ignores, tag=tag, labels=LABELS, local_bases=bool(step.bases)
        ) as command:
            patience = buildkit.Patience(work, progress)
            done = processes.run(command, env=environ, on_line=lambda _, line: progress.line(line), cancel=patience)
        if done.exit_code:
            message, line = progress.error()
            with self._daemon.api() as api:  # it may have failed because the daemon went away
                api.ping()
            raise _rejected(step.image, build, message, line=line or _line_of(progress.failed_step, text))

    # ------------------------------------------------------------------------------------ classic builder

    def _build_classically(self, image: Image, build: DockerBuild, text: str, *, tag: str, work: Work) -> None:
        if build.secrets or build.ssh:
            hint = "install docker buildx" if not self._daemon.is_podman else "use Docker with BuildKit"
            option = "secret=" if build.secrets else "ssh="
            raise Rejected(f"{option} needs BuildKit", engine=ENGINE, doing=f"building image {image.ref}", hint=hint)
        # The daemon takes both files out of the context again because the second says so.
        extra = {_DOCKERFILE: text.encode(), ".dockerignore": f"{_DOCKERFILE}\n.dockerignore\n".encode()}
        archive = context_archive(build.context, image.context_ignores, engine=ENGINE, extra=extra)
        work.log(f"Sending Docker build context: {archive.size / 1e6:.3f}MB")
        params: dict[str, Any] = {
            "t": tag,
            "dockerfile": _DOCKERFILE,
            "rm": "1",
            "forcerm": "1",
            "layers": "1",  # Podman's word for using the cache
            "buildargs": json.dumps(self._arguments(build)),
            "labels": json.dumps(LABELS),
            "cachefrom": json.dumps(build.cache_from),
            "extrahosts": list(build.extra_hosts),
            "target": build.target,
            "networkmode": build.network,
            "platform": build.platform,
            "pull": "1" if build.pull else "",
        }
        params = {key: value for key, value in params.items() if value}
        try:
            connection = self._daemon.upload("/build", params=params, data=_watched(archive, work))
        except Rejected as problem:
            raise _rejected(image, build, problem.message, line=buildkit.line_number(problem.message)) from problem
        try:
            with work.on_cancel(connection.abort), translated(f"building image {image.ref}"):
                self._read_build(connection, image, build, text=text, work=work)
        finally:
            connection.close()
            work.check()

    def _read_build(self, connection: Connection, image: Image, build: DockerBuild, *, text: str, work: Work) -> None:
        output = Lines(work.log)
        said: list[str] = []
        step = 0
        for message in _messages(connection):
            if "error" in message:
                lines = "".join(said).splitlines()[-_SHOWN_LINES:]
                last = "\n".join(line for line in lines if not line.startswith(_CHATTER))
                failed = parse_dockerfile(text)[step - 1 : step]  # nothing, if it is one of our labels
                why = "".join(f"{one}: " for one in failed if one.word == "FROM") + message["error"]
                raise _rejected(image, build, f"{why}\n{last}".rstrip(), line=failed[0].line if failed else 0)
            stream = message.get("stream", "")
            if found := _STEP.match(stream):
                step = int(found[1])
                said.clear()
            else:
                said.append(stream)
            if "status" in message and not message.get("progressDetail"):
                stream = f"{message['status']}\n"
            output.feed(stream.encode())
        output.close()


def _rejected(image: Image, build: DockerBuild, message: str, *, line: int) -> EngineError:
    place = build.dockerfile_path or (str(image.origin) and f"{image.origin} (dockerfile_contents)")
    where = f"{place}:{line}" if line and place else place
    hint = "check the name of the image, and that its registry can be reached" if _NO_IMAGE.search(message) else ""
    return refusal(message, engine=ENGINE, doing=f"building image {image.ref}", where=where, hint=hint)


def _line_of(step: str, text: str) -> int:
    """The line of the instruction that BuildKit calls `step`, or 0."""
    wanted = step.split()
    return next((found.line for found in parse_dockerfile(text) if str(found).split() == wanted), 0) if wanted else 0


def _watched(archive: Archive, work: Work) -> Iterator[bytes]:
    for chunk in archive:
        work.check()
        yield chunk


def _messages(connection: Connection) -> Iterator[dict[str, Any]]:
    rest = b""
    for chunk in connection:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)
    if rest.strip():
        yield json.loads(rest)
