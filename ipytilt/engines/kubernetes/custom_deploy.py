"""Deploys by commands of the user's own (`k8s_custom_deploy`).

Runs on the worker thread of the update; the commands are children of `processes`. They see the cluster that the
Tiltfile was evaluated for, whatever the current context of the kube config has become since.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from tempfile import NamedTemporaryFile
from typing import Any

from ipytilt import processes
from ipytilt.core.images import image_id
from ipytilt.core.spec import Command, CustomDeploy, KubeContext
from ipytilt.core.steps import Built
from ipytilt.engines.base import Work
from ipytilt.engines.kubernetes.client import ENGINE
from ipytilt.engines.kubernetes.fields import documents
from ipytilt.errors import Rejected
from ipytilt.lines import Lines

_SHOWN = 500
_DELETE_SECONDS = 30
_KILL_SECONDS = 2.0


def apply(
    custom: CustomDeploy, context: KubeContext, images: Sequence[Built], work: Work, *, seconds: float
) -> list[dict[str, Any]]:
    """Run the apply command; the objects it prints. Raises Rejected if it fails, or prints no YAML; Cancelled."""
    output = _run("apply", custom.apply, context, work, injected=_images(custom, images), seconds=seconds)
    try:
        found = [one for document in documents(output) for one in _objects(document)]
    except ValueError as problem:
        shown = output if len(output) <= _SHOWN else f"{output[:_SHOWN]}…"
        raise Rejected(
            f"apply command returned malformed YAML: {problem}\n{shown}",
            engine=ENGINE,
            doing=_doing(custom.apply),
            hint="it must print what it has applied, and nothing else, to its standard output",
            where=str(custom.apply.origin),
        ) from None
    return found


def delete(custom: CustomDeploy, context: KubeContext, work: Work, *, seconds: float = _DELETE_SECONDS) -> None:
    """Run the delete command. Raises Rejected if it fails, Cancelled."""
    for line in _run("delete", custom.delete, context, work, injected={}, seconds=seconds).splitlines():
        work.log(line)


def _objects(document: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict) or not document.get("kind"):
        raise ValueError("it is no Kubernetes object")
    if document["kind"] == "List" and document.get("apiVersion") == "v1":
        for item in document.get("items") or []:
            yield from _objects(item)
    else:
        yield document


def _images(custom: CustomDeploy, images: Sequence[Built]) -> dict[str, str]:
    known = {built.ref: built.cluster_ref or built.local_ref for built in images}
    found = {}
    for index, ref in enumerate(custom.image_deps):
        found[f"TILT_IMAGE_{index}"] = known.get(ref, ref)
        found[f"TILT_IMAGE_MAP_{index}"] = image_id(ref)
    return found


def _run(
    word: str, command: Command, context: KubeContext, work: Work, *, injected: Mapping[str, str], seconds: float
) -> str:
    """Run a command to its end; its standard output. What else it writes goes to the log."""
    text = processes.describe(command.argv)
    work.log(f"Running cmd: {text}")
    out = bytearray()
    errors = Lines(work.log)
    own = dict(pair.split("=", 1) for pair in command.env)

    def keep(stream: str, data: bytes) -> None:
        if stream == "stdout":
            out.extend(data)
        else:
            errors.feed(data)

    try:
        with _kube_config(context) as config:
            env = processes.command_env(os.environ, {**config, **own, **injected})
            process = processes.spawn(command.argv, cwd=command.dir, env=env, on_data=keep, merge=False)
            code = _ended(process, work, seconds)
    except processes.StartFailed as problem:
        raise _failed(command, f"{word} command: {problem.message}", problem.hint) from problem
    errors.close()
    if code is None:
        hint = f"update_settings(k8s_upsert_timeout_secs={2 * seconds:.0f}) gives it more time"
        raise _failed(command, f"{word} command timed out after {seconds:.0f}s", hint)
    if code:
        shown = out.decode(errors="replace").strip()
        said = f"\n{shown}" if shown else ""
        raise _failed(command, f"{word} command exited with status {code}{said}")
    return out.decode(errors="replace")


def _ended(process: processes.Process, work: Work, seconds: float) -> int | None:
    """Wait for the end; the exit code, None if the time was over."""
    try:
        with work.on_cancel(process.terminate):
            if process.wait_or_stopping(seconds):
                process.stop()
            code = process.wait(0)
    finally:
        process.kill()
        process.settle(time.monotonic() + _KILL_SECONDS)
    work.check()
    return code


@contextmanager
def _kube_config(context: KubeContext) -> Iterator[dict[str, str]]:
    """The variable that leads to the cluster: of several files the first decides which context is the current one."""
    if not context.name or not context.config:
        yield {}
        return
    with NamedTemporaryFile("w", prefix="ipytilt-", suffix=".kubeconfig") as file:
        file.write(f'apiVersion: v1\nkind: Config\ncurrent-context: "{context.name}"\n')
        file.flush()
        yield {"KUBECONFIG": f"{file.name}:{context.config}"}


def _doing(command: Command) -> str:
    return f"running {processes.describe(command.argv)}"


def _failed(command: Command, message: str, hint: str = "") -> Rejected:
    return Rejected(message, engine=ENGINE, doing=_doing(command), hint=hint, where=str(command.origin))
