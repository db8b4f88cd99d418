"""What every Compose file must keep to, and what follows from what it says: known keys, references, implied order.

Pure functions over parsed files, called by `compose_reader`; `Wrong` has the words people know from Compose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ipytilt.tiltfile.builtins.yaml_text import Tagged
from ipytilt.tiltfile.draft import Wrong

Path = tuple[str, ...]


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


_TOP = _words("version name include services models networks volumes secrets configs")
_SERVICE = _words(
    "annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name",
    "cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset",
    "credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname",
    "entrypoint env_file environment expose extends external_links extra_hosts gpus group_add healthcheck",
    "hostname image init ipc isolation label_file labels links logging mac_address mem_limit mem_reservation",
    "mem_swappiness memswap_limit models network_mode networks oom_kill_disable oom_score_adj pid pids_limit",
    "platform ports post_start pre_stop privileged profiles provider pull_policy pull_refresh_after read_only",
    "restart runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt",
    "sysctls tmpfs tty ulimits use_api_socket user userns_mode uts volumes volumes_from working_dir",
)
_BUILD = _words(
    "additional_contexts args cache_from cache_to context dockerfile dockerfile_inline entitlements extra_hosts "
    "isolation labels network no_cache no_cache_filter platforms privileged provenance pull sbom secrets shm_size ssh "
    "tags target ulimits"
)
_HEALTHCHECK = _words("disable interval retries start_interval start_period test timeout")
_DEPLOY = _words("endpoint_mode labels mode placement replicas resources restart_policy rollback_config update_config")
_DEVELOP = _words("watch")
_WATCH = _words("action exec ignore include initial_sync path target")
_ACTIONS = ("rebuild", "sync", "restart", "sync+restart", "sync+exec")
_SECTIONS = {"build": _BUILD, "healthcheck": _HEALTHCHECK, "deploy": _DEPLOY, "develop": _DEVELOP}
_CONDITIONS = ("service_started", "service_healthy", "service_completed_successfully")
_LISTS = ("ports", "volumes", "expose", "profiles", "cap_add", "cap_drop", "links", "volumes_from", "devices")
_SERVICE_NAME = re.compile(r"[a-zA-Z0-9._-]+")


def untagged(config: Any, path: Path = ()) -> tuple[Any, list[Path]]:
    """A parsed file without `!reset` and `!override`, and the places where it replaces what files before it say."""
    if isinstance(config, Tagged):
        return config.value, [path]
    if not isinstance(config, dict):
        return config, []
    plain: dict[str, Any] = {}
    places: list[Path] = []
    for name, value in config.items():
        reset = isinstance(value, Tagged) and value.tag == "!reset"
        inner, found = untagged(value, (*path, name))
        places += found
        if not reset:
            plain[name] = inner
    return plain, places


def without(config: dict[str, Any], places: Sequence[Path]) -> dict[str, Any]:
    """A configuration without what stands at these places."""
    for first, *rest in places:
        if first in config:
            inner = config[first]
            kept = {first: without(inner, [tuple(rest)])} if rest and isinstance(inner, dict) else {}
            config = {name: value for name, value in config.items() if name != first} | kept
    return config


def check_file(config: Mapping[str, Any], path: str) -> None:
    """`Wrong` if a file as parsed has keys nobody knows, or values of the wrong kind where that is common."""
    problem = next(_problems(config), "")
    if problem:
        raise Wrong(f"validating {path}: {problem}")


def _problems(config: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown("", config, _TOP)
    if not isinstance(config.get("version", ""), str):
        yield "version must be a string"
    for name, service in (config.get("services") or {}).items():
        place = f"services.{name}"
        if not _SERVICE_NAME.fullmatch(name):
            yield f"services additional properties '{name}' not allowed"
        elif not isinstance(service, dict):
            yield f"{place} must be a mapping"
        else:
            yield from _service_problems(place, service)


def _service_problems(place: str, service: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown(place, service, _SERVICE)
    if not isinstance(service.get("image", ""), str):
        yield f"{place}.image must be a string"
    for key in ("command", "entrypoint"):
        if not isinstance(service.get(key) or [], str | list):
            yield f"{place}.{key} must be a string or a list"
    for key in _LISTS:
        if not isinstance(service.get(key) or [], list):
            yield f"{place}.{key} must be a list"
    for key, known in _SECTIONS.items():
        if isinstance(service.get(key), dict):
            yield from _unknown(f"{place}.{key}", service[key], known)
    yield from _watch_problems(place, service)
    needed = service.get("depends_on")
    for name, how in needed.items() if isinstance(needed, dict) else ():
        if isinstance(how, dict) and how.get("condition") not in _CONDITIONS:
            yield f"{place}.depends_on.{name}.condition must be one of {', '.join(_CONDITIONS)}"


def _watch_problems(place: str, service: Mapping[str, Any]) -> Iterator[str]:
    develop = service.get("develop")
    rules = develop.get("watch") if isinstance(develop, dict) else None
    if rules is not None and not isinstance(rules, list):
        yield f"{place}.develop.watch must be a list"
        return
    for index, rule in enumerate(rules or ()):
        one = f"{place}.develop.watch.{index}"
        if not isinstance(rule, dict):
            yield f"{one} must be a mapping"
            continue
        yield from _unknown(one, rule, _WATCH)
        yield from (f"{one} {key} is required" for key in ("action", "path") if key not in rule)
        if rule.get("action") not in _ACTIONS:
            yield f"{one}.action must be one of {', '.join(_ACTIONS)}"
        if not isinstance(rule.get("path"), str):
            yield f"{one}.path must be a string"


def _unknown(place: str, keys: Mapping[str, Any], known: frozenset[str]) -> Iterator[str]:
    found = [key for key in keys if key not in known and not key.startswith("x-")]
    if found:
        yield f"{place or '(root)'} additional properties {', '.join(map(repr, found))} not allowed"


# ---------------------------------------------------------------------------------------------- the merged whole


def implied_dependencies(service: Mapping[str, Any]) -> dict[str, Any]:
    """`depends_on` of a service together with what its links and shared namespaces need, in long form."""
    how = {"condition": "service_started", "required": True}
    needed: dict[str, Any] = {}
    for source in map(str, service.get("volumes_from") or []):
        if not source.startswith("container:"):
            needed[source.partition(":")[0]] = how
    for key in ("network_mode", "ipc", "pid", "uts", "cgroup"):
        kind, colon, name = str(service.get(key) or "").partition(":")
        if colon and kind == "service":
            needed[name] = {**how, "restart": True}
    for link in service.get("links") or []:
        needed[str(link).partition(":")[0]] = {**how, "restart": True}
    return {**needed, **(service.get("depends_on") or {})}


def check_references(config: Mapping[str, Any]) -> None:
    """`Wrong` if an effective configuration names a service, network, volume, secret or config it does not have."""
    services = config["services"]
    for name, service in services.items():
        for needed, how in (service.get("depends_on") or {}).items():
            if needed not in services and how.get("required", True):
                raise Wrong(f'service "{name}" depends on undefined service "{needed}": invalid compose project')
        for kind, used in _used(service):
            if used not in (config.get(f"{kind}s") or {}):
                raise Wrong(f'service "{name}" refers to undefined {kind} {used}: invalid compose project')
        if service.get("network_mode") and service.get("networks"):
            raise Wrong(
                f"service {name} declares mutually exclusive `network_mode` and `networks`: invalid compose project"
            )


def _used(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for network in service.get("networks") or {}:
        yield from [("network", network)] if network != "default" else []
    for volume in service.get("volumes") or []:
        if volume.get("type") == "volume" and volume.get("source"):
            yield "volume", volume["source"]
    for kind in ("secret", "config"):
        for entry in service.get(f"{kind}s") or []:
            yield kind, str(entry.get("source", "")) if isinstance(entry, dict) else str(entry)
