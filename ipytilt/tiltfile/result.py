"""From a spec to the stable JSON document `ipytilt/tiltfile-result/1`, which the command line prints and tests compare.

Pure. Keys may be added; none is renamed or dropped within a format number.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ipytilt.core.spec import (
    Command,
    Compose,
    ComposeBuild,
    CustomBuild,
    DockerBuild,
    Ignore,
    Image,
    Kubernetes,
    LiveUpdate,
    Local,
    Probe,
    Resource,
    Spec,
)
from ipytilt.errors import TiltfileError
from ipytilt.tiltfile.load import Loaded, LoadError
from ipytilt.tiltfile.pathnames import relative

FORMAT = "ipytilt/tiltfile-result/1"


def document(loaded: Loaded) -> dict[str, Any]:
    """The document of a finished evaluation, as plain JSON data."""
    return _document(loaded.spec, loaded.reads, loaded.log, error=None)


def failure(error: TiltfileError) -> dict[str, Any]:
    """The document of an evaluation that ended in an error: nothing is asked for, the files read are kept."""
    shown = {"message": error.message, "file": error.file, "line": error.line, "traceback": error.traceback}
    reads, log = (error.reads, error.log) if isinstance(error, LoadError) else ((), ())
    return _document(Spec(), reads, log, error=shown)


def _document(spec: Spec, reads: Sequence[str], log: Sequence[str], *, error: dict[str, Any] | None) -> dict[str, Any]:
    settings = spec.settings
    return {
        "format": FORMAT,
        "error": error,
        "resources": [_resource(resource, spec) for resource in spec.resources],
        "enabled": [resource.name for resource in spec.resources if resource.name in spec.enabled],
        "config_files": sorted(reads),
        "watch_ignores": _ignores(spec.watch_ignores),
        "default_registry": asdict(spec.registry) if spec.registry else None,
        "settings": {
            "ci": asdict(settings.ci),
            "docker_prune": asdict(settings.prune),
            "update": _plain(asdict(settings.update)),
            "features": dict(settings.features),
        },
        "log": list(log),
    }


def _resource(resource: Resource, spec: Spec) -> dict[str, Any]:
    target = resource.target
    return {
        "name": resource.name,
        "kind": resource.kind,
        "trigger_mode": resource.trigger_mode.value,
        "auto_init": resource.auto_init,
        "resource_deps": list(resource.resource_deps),
        "labels": list(resource.labels),
        "links": [asdict(link) for link in resource.links],
        "images": [_image(spec.images[ref]) for ref in resource.images],
        "local": _local(target) if isinstance(target, Local) else None,
        "compose": _compose(target) if isinstance(target, Compose) else None,
        "kubernetes": _kubernetes(target) if isinstance(target, Kubernetes) else None,
    }


def _plain(value: Any) -> Any:
    """Tuples as lists, throughout."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _ignores(ignores: Sequence[Ignore]) -> list[dict[str, Any]]:
    """As Tilt has them; it knows nothing of what Compose's own rules leave out."""
    return [{"base": ignore.base, "patterns": list(ignore.patterns)} for ignore in ignores if not ignore.unless]


# ---------------------------------------------------------------------------------------------- images


def _image(image: Image) -> dict[str, Any]:
    return {
        "ref": image.ref,
        "match": "exact" if image.exact else "fuzzy",
        "build": _build(image.build),
        "depends_on": list(image.depends_on),
        "entrypoint": _optional(image.entrypoint),
        "container_args": _optional(image.container_args),
        "match_in_env_vars": image.match_in_env_vars,
        "context_ignores": _ignores(image.context_ignores),
        "watch_ignores": _ignores(image.watch_ignores),
        "live_update": _live_update(image.live_update) if image.live_update else None,
    }


def _optional(words: Sequence[str] | None) -> list[str] | None:
    return None if words is None else list(words)


def _build(build: DockerBuild | CustomBuild | ComposeBuild) -> dict[str, Any]:
    match build:
        case DockerBuild():
            return {"kind": "docker"} | {name: _plain(value) for name, value in asdict(build).items()}
        case CustomBuild():
            return {
                "kind": "custom",
                "command": list(build.command.argv),
                "dir": build.command.dir,
                "deps": list(build.deps),
                "env": list(build.command.env),
                "output_tag": build.output_tag,
                "outputs_image_ref_to": build.outputs_image_ref_to,
                "skips_local_docker": build.skips_local_docker,
                "disable_push": build.disable_push,
            }
        case ComposeBuild():
            return {"kind": "compose"} | asdict(build)


def _live_update(rules: LiveUpdate) -> dict[str, Any]:
    return {
        "base": rules.base,
        "stop_paths": [relative(rules.base, stop.path) for stop in rules.stop_paths],
        "syncs": [{"local": relative(rules.base, sync.local), "container": sync.container} for sync in rules.syncs],
        "execs": [
            {"command": list(run.argv), "triggers": list(run.triggers_as_written), "echo_off": run.echo_off}
            for run in rules.runs
        ],
        "restart": rules.restart,
        "initial_sync": rules.initial_sync,
    }


# ---------------------------------------------------------------------------------------------- targets


def _local(local: Local) -> dict[str, Any]:
    return {
        **_command(local.cmd, ""),
        **_command(local.serve, "serve_"),
        "deps": list(local.deps),
        "ignores": _ignores(local.ignores),
        "allow_parallel": local.allow_parallel,
        "readiness_probe": _probe(local.probe) if local.probe else None,
        "stdin": None,
    }


def _command(command: Command | None, prefix: str) -> dict[str, Any]:
    return {
        f"{prefix}command": list(command.argv) if command else None,
        f"{prefix}dir": command.dir if command else "",
        f"{prefix}env": list(command.env) if command else [],
    }


_ACTIONS = {"ExecAction": "exec", "HTTPGetAction": "http_get", "TCPSocketAction": "tcp_socket"}


def _probe(probe: Probe) -> dict[str, Any]:
    fields = _plain(asdict(probe))
    action = fields.pop("action")
    return {**fields, _ACTIONS[type(probe.action).__name__]: action}


def _compose(compose: Compose) -> dict[str, Any]:
    project = compose.project
    return {
        "project": {
            "name": project.name,
            "config_paths": list(project.config_paths),
            "project_path": project.directory,
            "env_file": project.env_file,
            "profiles": list(project.profiles),
        },
        "service": compose.service,
    }


def _kubernetes(target: Kubernetes) -> dict[str, Any]:
    custom = target.custom_deploy
    return {
        "objects": [json.loads(text) for text in target.objects],
        "port_forwards": [asdict(forward) for forward in target.port_forwards],
        "pod_readiness": target.pod_readiness,
        "discovery_strategy": target.discovery_strategy,
        "extra_pod_selectors": [dict(selector) for selector in target.extra_pod_selectors],
        "image_locators": [asdict(locator) for locator in target.image_locators],
        "custom_deploy": {
            "apply": list(custom.apply.argv),
            "apply_dir": custom.apply.dir,
            "apply_env": list(custom.apply.env),
            "delete": list(custom.delete.argv),
            "delete_dir": custom.delete.dir,
            "delete_env": list(custom.delete.env),
            "deps": list(custom.deps),
            "image_deps": list(custom.image_deps),
            "image_selector": custom.image_selector,
            "container_selector": custom.container_selector,
            "ignores": _ignores(custom.ignores),
        }
        if custom
        else None,
    }
