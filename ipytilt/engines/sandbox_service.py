"""Compose services as the sandbox understands them: from the effective definition and an image to a container's plan.

Pure but for looking at the host's environment; called by `sandbox` on worker threads. The definition has the shape
`docker compose config` prints.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import shlex
from collections.abc import Mapping
from typing import Any

from ipytilt.core.paths import parse_ignore_file
from ipytilt.core.spec import Compose, Ignore
from ipytilt.engines.sandbox_container import Plan
from ipytilt.engines.sandbox_image import TreeImage
from ipytilt.engines.sandbox_run import Mount
from ipytilt.errors import Rejected

_DEFAULT_GRACE = 10.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def plan_service(resource: str, target: Compose, image: TreeImage, *, mounts: tuple[Mount, ...]) -> Plan:
    """What to run for a service.

    Raises:
        Rejected: there is no command, or a port makes no sense.
    """
    config = json.loads(target.config)
    entrypoint, cmd = _words(config.get("entrypoint")), _words(config.get("command"))
    if entrypoint is None:
        entrypoint, cmd = image.config.entrypoint or (), cmd if cmd is not None else image.config.cmd
    command = (*entrypoint, *(cmd or ()))
    if not command:
        raise Rejected(
            f"service {target.service} has no command",
            engine="sandbox",
            hint="add CMD to its Dockerfile, or command: to the service",
        )
    text = json.dumps([config, image.digest, [(each.source, each.path, each.writable) for each in mounts]])
    return Plan(
        resource=resource,
        service=target.service,
        name=f"{target.project.name}-{target.service}-1",
        image=image.digest,
        command=command,
        env=tuple(sorted({**image.config.environment(), **_environment(config.get("environment"))}.items())),
        cwd=posixpath.join("/", image.config.workdir, config.get("working_dir") or ""),
        ports=tuple(_ports(config.get("ports") or ())),
        restart=str(config.get("restart") or "no"),
        grace=_seconds(config.get("stop_grace_period")),
        wanted=hashlib.sha256(text.encode()).hexdigest(),
    )


def notes(target: Compose) -> list[str]:
    """What of the definition is not followed, in words for the log."""
    config = json.loads(target.config)
    known = {"healthcheck": "health is not checked", "user": "it runs as the user of the notebook"}
    return [f"{word} is not followed in the sandbox: {text}" for word, text in known.items() if config.get(word)]


def build_section(target: Compose) -> dict[str, Any]:
    """The service's own `build`, {} without one; `dockerfile` is absolute or "" for an inline one."""
    build = json.loads(target.config).get("build")
    if isinstance(build, str):
        build = {"context": build}
    if not build:
        return {}
    context = os.path.join(target.project.directory, build.get("context") or ".")
    inline = build.get("dockerfile_inline") or ""
    dockerfile = "" if inline else os.path.join(context, build.get("dockerfile") or "Dockerfile")
    args = build.get("args")
    return {**build, "context": os.path.normpath(context), "dockerfile": dockerfile, "args": _environment(args)}


def dockerignore(context: str, dockerfile: str) -> tuple[Ignore, ...]:
    """What the ignore file of a context leaves out; one named after the Dockerfile wins."""
    for path in (f"{dockerfile}.dockerignore", os.path.join(context, ".dockerignore")):
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                patterns = parse_ignore_file(file.read())
            return (Ignore(context, patterns),) if patterns else ()
    return ()


def mounts_of(target: Compose, volumes: str) -> tuple[Mount, ...]:
    """The service's volumes; named ones are directories below `volumes`. What is missing on the host is made."""
    found = []
    for volume in json.loads(target.config).get("volumes") or ():
        entry = volume if isinstance(volume, dict) else _short_volume(volume)
        source, path = entry.get("source") or "", entry.get("target") or ""
        if entry.get("type") == "bind":
            source = os.path.normpath(os.path.join(target.project.directory, os.path.expanduser(source)))
        elif entry.get("type") == "volume" and source:
            source = os.path.join(volumes, f"{target.project.name}_{source}")
        else:
            continue  # a tmpfs or an unnamed volume: the container's own files will do
        if not os.path.lexists(source):
            os.makedirs(source)
        found.append(Mount(source, posixpath.normpath(path), writable=not entry.get("read_only")))
    return tuple(found)


def _short_volume(text: str) -> dict[str, Any]:
    source, _, rest = text.partition(":")
    path, _, options = rest.partition(":")
    kind = "bind" if source.startswith(("/", ".", "~")) else "volume"
    return {"type": kind, "source": source, "target": path, "read_only": "ro" in options.split(",")}


def _words(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(shlex.split(value)) if isinstance(value, str) else tuple(map(str, value))


def _environment(value: Any) -> dict[str, str]:
    """A mapping or a list of `K=V`; a name alone takes its value from this process, or is left out."""
    pairs: Mapping[str, Any] = value if isinstance(value, dict) else dict(_pair(item) for item in value or ())
    filled = {name: os.environ.get(name) if item is None else item for name, item in pairs.items()}
    return {name: _text(item) for name, item in filled.items() if item is not None}


def _pair(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    return name, value if equals else None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _ports(entries: Any) -> list[tuple[int, int]]:
    """Pairs (published, in the container); UDP needs nothing, unless the numbers differ, which cannot be."""
    pairs = []
    for entry in entries:
        words = entry if isinstance(entry, dict) else _short_port(str(entry))
        try:
            inner = int(words["target"])
            outer = int(words.get("published") or inner)
        except ValueError:
            raise Rejected(f"cannot publish port {entry}: ranges are not supported", engine="sandbox") from None
        if words.get("protocol") != "udp":
            pairs.append((outer, inner))
        elif outer != inner:
            raise Rejected(f"cannot publish UDP port {inner} as {outer}: use the same number", engine="sandbox")
    return pairs


def _short_port(text: str) -> dict[str, str]:
    numbers, _, protocol = text.partition("/")
    *before, inner = numbers.split(":")
    return {"target": inner, "published": before[-1] if before else "", "protocol": protocol or "tcp"}


def _seconds(value: Any) -> float:
    if value is None:
        return _DEFAULT_GRACE
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(str(value)))
