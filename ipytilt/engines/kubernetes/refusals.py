"""What the API server says when it refuses a document, told to people: which document, where it stands, what to try.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ipytilt.core import manifests
from ipytilt.core.spec import Origin
from ipytilt.engines.kubernetes.client import ENGINE
from ipytilt.errors import Rejected

_Hint = Callable[[re.Match[str], manifests.Identity], str]

_HINTS: tuple[tuple[re.Pattern[str], _Hint], ...] = (
    (
        re.compile(r'namespaces "([^"]+)" not found'),
        lambda found, _: f"make it with kubectl create namespace {found[1]}, or add it to the YAML",
    ),
    (
        re.compile(r"exceeded quota|must specify (limits|requests|cpu|memory)"),
        lambda _, one: f"see what is used: kubectl describe quota{_in(one)}; then use less, or raise the quota",
    ),
    (
        re.compile(r'no matches for kind "[^"]*"'),
        lambda _, one: (
            f"kubectl api-resources lists what the cluster knows; if {one.kind} is a kind of its own, "
            "its definition has to be there first (resource_deps)"
        ),
    ),
    (
        re.compile(r"cannot \w+ resource"),
        lambda _, one: f"ask for the permission, or see what you may: kubectl auth can-i --list{_in(one)}",
    ),
    (re.compile(r"admission webhook"), lambda *_: "the cluster's own rules refuse it; its administrator knows them"),
)


def explained(
    problem: Rejected, document: dict[str, Any], *, doing: str, place: str, origin: Origin | None
) -> Rejected:
    """The error for one document; `place` says which it is of how many."""
    identity = manifests.identity(document)
    hints = ((pattern.search(problem.message), hint) for pattern, hint in _HINTS)
    hint = problem.hint or next((say(found, identity) for found, say in hints if found), "")
    message = f"{identity.kind} {identity.name or '(without a name)'} ({place}): {problem.message}"
    return Rejected(message, engine=ENGINE, doing=doing, hint=hint, where=str(origin or ""))


def _in(identity: manifests.Identity) -> str:
    return f" -n {identity.namespace}" if identity.namespace else ""
