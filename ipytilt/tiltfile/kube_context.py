"""Which cluster `kubectl` would talk to, and whether that is one for development.

Reads the user's kube config through the host, without recording it: a change of it does not reload the Tiltfile. Runs
on the evaluating thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from ipytilt.tiltfile.builtins.yaml_text import YamlError, documents
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.host import Host
from ipytilt.tiltfile.pathnames import basename, dirname, join

_PREFIXES = (
    *("minikube", "docker-for-desktop-cluster", "docker-desktop", "kind-", "microk8s", "api-crc-testing"),
    *("krucible-", "k3d-", "rancher-desktop", "colima"),
)
_NAMES = ("kind", "orbstack")

_Entry = tuple[dict[str, Any], str]  # what a config says of a name, and the file it says it in


@dataclass(frozen=True, slots=True)
class Context:
    """The current context: its name, namespace, and whether its cluster is recognised as one for development.

    `config` are the files it was found in and beside, with colons.
    """

    name: str
    namespace: str
    is_development: bool
    config: str = ""


def current(host: Host) -> Context | None:
    """The current context, None if no kube config names one; `Wrong` if a config cannot be read."""
    name = ""
    contexts: dict[str, _Entry] = {}
    clusters: dict[str, _Entry] = {}
    paths = tuple(_paths(host))
    for path in paths:
        config = _config(path, host)
        name = name or str(config.get("current-context") or "")
        contexts = {**_named(config.get("contexts"), "context", path), **contexts}
        clusters = {**_named(config.get("clusters"), "cluster", path), **clusters}
    if not name:
        return None
    context, _ = contexts.get(name, ({}, ""))
    cluster = str(context.get("cluster") or "")
    known, path = clusters.get(cluster, ({}, ""))
    return Context(
        name, str(context.get("namespace") or "default"), _is_development(cluster, known, path), ":".join(paths)
    )


def check_allowed(context: Context | None, allowed: Collection[str], problem: str) -> None:
    """`Wrong` unless the cluster is one for development or the user allowed it; `problem` has a place for its name."""
    if context and not context.is_development and context.name not in allowed:
        raise Wrong(
            problem.format(context.name),
            hint=f'if you are sure, add allow_k8s_contexts("{context.name}"); otherwise switch to another context',
        )


def _paths(host: Host) -> Iterator[str]:
    home = host.environ.get("HOME", "")
    listed = host.environ.get("KUBECONFIG", "")
    for path in listed.split(":") if listed else ([join(home, ".kube/config")] if home else []):
        if path and host.exists(path):
            yield path


def _config(path: str, host: Host) -> dict[str, Any]:
    try:
        found = next(documents(host.read(path, record=False).decode(errors="replace")), None)
    except (OSError, YamlError) as error:
        raise Wrong(f"reading the kube config {path}: {error}") from None
    return found if isinstance(found, dict) else {}


def _named(entries: Any, field: str, path: str) -> dict[str, _Entry]:
    """The entries of a list by name, each with the file it stands in; of the same name the first counts."""
    found: dict[str, _Entry] = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            found.setdefault(str(entry.get("name")), (entry.get(field) or {}, path))
    return found


def _is_development(name: str, cluster: dict[str, Any], path: str) -> bool:
    if name in _NAMES or name.startswith(_PREFIXES) or basename(path).startswith("kind-config-"):
        return True
    authority = str(cluster.get("certificate-authority") or "")
    in_minikube = basename(authority) == "ca.crt" and basename(dirname(authority)) == ".minikube"
    return in_minikube or "/k3d/" in path or "/.k3d/" in path
