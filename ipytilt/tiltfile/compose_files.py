"""The effective configuration of a Compose project: from the Compose CLI where it is usable, else read by ourselves.

Runs on the evaluating thread; the world is reached through the host. Both ways give the shape of `docker compose config
--format json`; `compose_reader` is the second one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ipytilt.core.spec import ComposeProject
from ipytilt.tiltfile.builtins.yaml_text import COMPOSE, YamlError, documents
from ipytilt.tiltfile.compose_reader import Config, read_config
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.host import Host
from ipytilt.tiltfile.pathnames import absolute


def effective(project: ComposeProject, host: Host, *, cancelled: Callable[[], bool]) -> Config:
    """The project's configuration with everything resolved; `Wrong` with Compose's own words where it has some."""
    cli = host.compose_cli()
    if cli is None:
        return read_config(project, host)
    for path in project.config_paths:
        _record(path, project.directory, host)
    return _ask(cli, project, host, cancelled)


def _record(path: str, base: str, host: Host) -> None:
    """Record a file and the env files it names: the CLI's answer no longer shows them."""
    try:
        parsed = list(documents(host.read(path).decode(errors="replace"), COMPOSE))
    except (OSError, YamlError):
        return  # the CLI says it better
    services = parsed[0].get("services") if parsed and isinstance(parsed[0], dict) else None
    for service in services.values() if isinstance(services, dict) else ():
        entries = service.get("env_file") if isinstance(service, dict) else None
        for entry in entries if isinstance(entries, list) else [entries] if entries else ():
            name = entry.get("path", "") if isinstance(entry, dict) else str(entry)
            host.record(absolute(base, name))


def project_name(text: str) -> str:
    """A directory's name as a project name: lower case, nothing but letters, digits, `-` and `_`, no sign in front."""
    return re.sub(r"[^a-z0-9_-]", "", text.lower()).lstrip("_-")


def cli_words(project: ComposeProject) -> tuple[str, ...]:
    """What follows `docker compose` to address this project."""
    words = ["--project-name", project.name, "--project-directory", project.directory]
    for path in project.config_paths:
        words += ["-f", path]
    words += ["--env-file", project.env_file] if project.env_file else []
    for profile in project.profiles:
        words += ["--profile", profile]
    return tuple(words)


def _ask(cli: tuple[str, ...], project: ComposeProject, host: Host, cancelled: Callable[[], bool]) -> Config:
    argv = (*cli, *cli_words(project), "config", "--format", "json")
    ran = host.run(argv, cwd=project.directory, cancelled=cancelled)
    if ran.code:
        raise Wrong(f"command '{' '.join(argv)}' failed.\nerror: exit status {ran.code}\n{ran.stderr.strip()}")
    config: Config = _unescaped(json.loads(ran.stdout))
    return config


def _unescaped(value: Any) -> Any:
    """The CLI's answer is meant to be read as a Compose file again: a dollar sign stands doubled in it."""
    if isinstance(value, str):
        return value.replace("$$", "$")
    if isinstance(value, list):
        return [_unescaped(item) for item in value]
    return {key: _unescaped(item) for key, item in value.items()} if isinstance(value, dict) else value


# ---------------------------------------------------------------------------------------------- what others ask


@dataclass(frozen=True, slots=True)
class BuildSection:
    """Where Compose would build a service: a directory and the Dockerfile in it ("" if it is given inline)."""

    directory: str
    dockerfile: str


def build_section(service: Mapping[str, Any]) -> BuildSection | None:
    """The `build` of an effective service definition, if it has a context on this machine."""
    build = service.get("build")
    if not isinstance(build, dict) or not str(build.get("context", "")).startswith("/"):
        return None
    context = build["context"]
    inline = build.get("dockerfile_inline")
    return BuildSection(context, "" if inline else absolute(context, build.get("dockerfile") or "Dockerfile"))


def published_ports(service: Mapping[str, Any]) -> tuple[int, ...]:
    """The host ports an effective service definition fixes."""
    published = (str(port.get("published", "")) for port in service.get("ports") or [] if isinstance(port, dict))
    return tuple(dict.fromkeys(int(port) for port in published if port.isdigit() and int(port)))


def bind_sources(service: Mapping[str, Any]) -> tuple[str, ...]:
    """The host sides of an effective service definition's bind mounts."""
    volumes = [volume for volume in service.get("volumes") or [] if isinstance(volume, dict)]
    return tuple(dict.fromkeys(v["source"] for v in volumes if v.get("type") == "bind" and v.get("source")))


def in_dependency_order(services: Mapping[str, Any]) -> list[str]:
    """Names of the services, each behind what it depends on; otherwise in their own order."""
    ordered: dict[str, None] = {}

    def visit(name: str, waiting: tuple[str, ...]) -> None:
        if name in ordered or name not in services:
            return
        if name in waiting:
            raise Wrong(f"dependency cycle detected: {' -> '.join([*waiting, name])}")
        for needed in sorted(services[name].get("depends_on") or {}):
            visit(needed, (*waiting, name))
        ordered[name] = None

    for name in services:
        visit(name, ())
    return list(ordered)
