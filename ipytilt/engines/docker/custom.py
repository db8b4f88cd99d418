"""Images by the user's own command (`custom_build`), and the name that every built image gets.

Runs on the worker thread of the build; the command is a child of `processes`.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace

from ipytilt import processes
from ipytilt.core.images import Reference, image_id, in_registry, parse
from ipytilt.core.spec import CustomBuild, Image, Registry
from ipytilt.core.steps import BuildImage, Built
from ipytilt.engines.base import Work
from ipytilt.engines.docker.client import ENGINE, Daemon
from ipytilt.errors import Rejected


def tag_by_content(
    daemon: Daemon, image: Image, built: str, *, registry: Registry | None, extra_tags: tuple[str, ...] = ()
) -> Built:
    """Tag the image `built` by its digest, and with further references; Rejected if there is no such image.

    What is to go through a registry gets the name it has there.
    """
    with daemon.api(f"tagging {built}") as api:
        digest = str(api.inspect_image(built)["Id"])
        reference = _tagged(image, registry, f"tilt-{digest.removeprefix('sha256:')[:16]}")
        api.tag(digest, reference.familiar_name, reference.tag)
        for extra in map(parse, extra_tags):
            api.tag(digest, extra.familiar_name, extra.tag or "latest")
    return Built(image.ref, reference.familiar, digest)


def _tagged(image: Image, registry: Registry | None, tag: str) -> Reference:
    """What an image is called on this machine, with a tag."""
    name = in_registry(image.ref, registry)
    return replace(name, tag=f"{name.tag}-{tag}" if name.tag else tag)


class CustomBuilding:
    """One run of a user's own build command."""

    def __init__(self, daemon: Daemon, step: BuildImage, build: CustomBuild, work: Work) -> None:
        self._daemon = daemon
        self._step = step
        self._build = build
        self._work = work
        self._command = processes.describe(build.command.argv)
        if build.output_tag:  # chosen by the user, who knows nothing of registries
            self._expected = replace(in_registry(step.image.ref, None), tag=build.output_tag)
        else:
            self._expected = _tagged(step.image, step.registry, f"tilt-build-{int(time.time())}")

    def run(self) -> Built:
        """Run the command and find out what it made."""
        build = self._build
        outputs = build.outputs_image_ref_to
        if outputs:
            with suppress(FileNotFoundError):
                os.unlink(outputs)
        self._run()
        if outputs:
            return self._found(self._written(outputs))
        if build.skips_local_docker:
            return Built(self._step.image.ref, self._expected.familiar)
        try:
            step, expected = self._step, self._expected.familiar
            return tag_by_content(self._daemon, step.image, expected, registry=step.registry)
        except Rejected as problem:
            hint = (
                "the command must tag its image as $EXPECTED_REF; "
                "if the image is not meant to be in the local store, say skips_local_docker=True"
            )
            raise self._failed(f"there is no image {self._expected.familiar}", hint=hint) from problem

    def _run(self) -> None:
        command = self._build.command
        injected = self._injected()
        self._work.log(f"Custom Build:\n  Command: {self._command}\n  Injected variables:")
        self._work.log("\n".join(f"    {name}={value}" for name, value in injected.items()))
        own = dict(pair.split("=", 1) for pair in command.env)
        try:
            done = processes.run(
                command.argv,
                cwd=command.dir,
                env=processes.command_env(self._daemon.environ, {**own, **injected}),
                on_line=lambda _, line: self._work.log(line),
                cancel=self._work,
            )
        except processes.StartFailed as problem:
            raise self._failed(problem.message, hint=problem.hint) from problem
        if done.exit_code:
            raise self._failed(f"exit status {done.exit_code}")

    def _injected(self) -> dict[str, str]:
        expected = self._expected
        image = {"EXPECTED_REF": expected.familiar, "EXPECTED_IMAGE": expected.path, "EXPECTED_TAG": expected.tag}
        found = {} if self._build.outputs_image_ref_to else image
        if self._step.registry is not None:
            found |= dict.fromkeys(("EXPECTED_REGISTRY", "REGISTRY_HOST"), self._step.registry.host)
        bases = dict(self._step.bases)
        for index, reference in enumerate(self._build.image_deps):
            found[f"TILT_IMAGE_{index}"] = bases.get(reference, reference)
            found[f"TILT_IMAGE_MAP_{index}"] = image_id(reference)
        return found

    def _written(self, path: str) -> Reference:
        try:
            with open(path, encoding="utf-8") as file:
                reference = parse(file.read().strip())
        except OSError as problem:
            raise self._failed(f"it wrote no image reference to {path}: {problem.strerror}") from problem
        except ValueError as problem:
            raise self._failed(f"{path}: {problem}") from problem
        if not reference.tag:
            raise self._failed(f"{path}: {reference.familiar} has no tag")
        return reference

    def _found(self, reference: Reference) -> Built:
        """What the command said it made; the digest is known if it is in the local store."""
        with suppress(Rejected), self._daemon.api() as api:
            digest = str(api.inspect_image(reference.familiar)["Id"])
            return Built(self._step.image.ref, reference.familiar, digest)
        return Built(self._step.image.ref, reference.familiar)

    def _failed(self, reason: str, *, hint: str = "") -> Rejected:
        message = f'Custom build "{self._command}" failed: {reason}'
        where = str(self._build.command.origin)
        return Rejected(message, engine=ENGINE, doing=f"building image {self._step.image.ref}", hint=hint, where=where)
