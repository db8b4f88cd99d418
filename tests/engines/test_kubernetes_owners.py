"""Which pods belong to a resource: chains of owners, labels, what was applied last. A cluster of documents answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ipytilt.core.spec import KubeContext, Kubernetes
from ipytilt.core.steps import Applied, ObjectRef
from ipytilt.engines.kubernetes.client import Client, Refused
from ipytilt.engines.kubernetes.owners import Owners, belonging

Json = Mapping[str, Any]
CORE = {"resources": [{"kind": "Pod", "name": "pods", "namespaced": True}]}
APPS = {
    "resources": [
        {"kind": "ReplicaSet", "name": "replicasets", "namespaced": True},
        {"kind": "ReplicaSet", "name": "replicasets/status", "namespaced": True},
    ]
}
OWN = {"resources": [{"kind": "Fleet", "name": "fleets", "namespaced": False}]}


class Documents(Client):
    """A cluster that has these documents, by path; `asked` are the paths that were asked for."""

    def __init__(self, documents: Mapping[str, Json]) -> None:
        super().__init__(KubeContext("test"))
        self.documents = {"/api/v1": CORE, "/apis/apps/v1": APPS, "/apis/own.dev/v1": OWN, **documents}
        self.asked: list[str] = []

    def call(self, method: str, path: str, **_: object) -> Any:
        self.asked.append(path)
        if path not in self.documents:
            raise Refused("not found", status=404)
        return self.documents[path]


def item(uid: str, *owners: tuple[str, str], at: int = 0, labels: Json | None = None) -> Json:
    """An object; an owner is `version kind` and a uid, which is its name as well."""
    references = [dict(zip(("apiVersion", "kind"), what.split(), strict=True), name=of, uid=of) for what, of in owners]
    metadata = {"name": uid, "namespace": "shop", "uid": uid, "creationTimestamp": f"2026-01-01T00:00:{at:02}Z"}
    return {"metadata": {**metadata, "ownerReferences": references, "labels": labels or {}}}


DEPLOYMENT = ("apps/v1 Deployment", "deployment")
OLD, NEW = ("apps/v1 ReplicaSet", "old"), ("apps/v1 ReplicaSet", "new")
CLUSTER = {
    "/apis/apps/v1/namespaces/shop/replicasets/old": item("old", DEPLOYMENT, at=1),
    "/apis/apps/v1/namespaces/shop/replicasets/new": item("new", DEPLOYMENT, at=2),
    "/apis/own.dev/v1/fleets/fleet": item("fleet", ("own.dev/v1 Fleet", "applied")),
    "/apis/own.dev/v1/fleets/other": item("not the one of that name"),
}


def mine(
    *pods: Json, applied: tuple[str, ...] = ("deployment",), templates: tuple[str, ...] = (), **target: Any
) -> list[str]:
    objects = tuple(ObjectRef("apps/v1", "Deployment", uid, "shop", uid) for uid in applied)
    what = Applied("web", objects=objects, templates=templates)
    found = belonging(pods, Kubernetes(**target), what, owners=Owners(Documents(CLUSTER)))
    return [one.pod["metadata"]["uid"] for one in found]


def hashed(template: str) -> Json:
    return {"tilt.dev/pod-template-hash": template}


@pytest.mark.parametrize(
    "pods, options, expected",
    [
        pytest.param([item("a", NEW)], {}, ["a"], id="through a replica set"),
        pytest.param([item("a", ("apps/v1 StatefulSet", "set"))], {"applied": ("set",)}, ["a"], id="at once"),
        pytest.param([item("a")], {"applied": ("a",)}, ["a"], id="itself"),
        pytest.param([item("a", ("own.dev/v1 Fleet", "fleet"))], {"applied": ("applied",)}, ["a"], id="custom owner"),
        pytest.param([item("a", ("own.dev/v1 Fleet", "other"))], {"applied": ("applied",)}, [], id="another's name"),
        pytest.param([item("a", NEW)], {"applied": ("another",)}, [], id="not applied"),
        pytest.param([item("a", ("no.such/v1 Kind", "x"))], {}, [], id="unknown kind"),
        pytest.param([item("a")], {}, [], id="nobody's"),
        pytest.param([item("a", OLD), item("b", NEW), item("c", NEW)], {}, ["b", "c"], id="newest replica set"),
        pytest.param([item("a", OLD)], {}, ["a"], id="the only replica set"),
        pytest.param(
            [item("a", NEW, labels=hashed("2")), item("b", OLD, labels=hashed("1"))],
            {"templates": ("1",)},
            ["b"],
            id="an older replica set that is applied again",
        ),
        pytest.param([item("a", NEW)], {"templates": ("1",)}, ["a"], id="without a template"),
        pytest.param([item("a", NEW, labels=hashed("2"))], {}, ["a"], id="templates unknown"),
        pytest.param(
            [item("a", labels={"app": "web", "x": "y"}), item("b", labels={"app": "db"})],
            {"extra_pod_selectors": ((("app", "web"),),)},
            ["a"],
            id="by label",
        ),
        pytest.param([item("a")], {"extra_pod_selectors": ((),)}, [], id="no label matches nothing"),
        pytest.param(
            [item("a", NEW), item("b", labels={"app": "web"})],
            {"extra_pod_selectors": ((("app", "web"),),), "discovery_strategy": "selectors-only"},
            ["b"],
            id="labels only",
        ),
        pytest.param(
            [item("a", NEW), item("b", labels={"app": "web"})],
            {"extra_pod_selectors": ((("app", "web"),),)},
            ["a", "b"],
            id="169 matched by a selector, without a template, beside a replica set",
        ),
    ],
)
def test_pods_that_belong(pods: list[Json], options: dict[str, Any], expected: list[str]) -> None:
    assert mine(*pods, **options) == expected


def test_168_pods_of_the_old_replica_set_do_not_count() -> None:
    assert mine(item("a", OLD), item("b", NEW)) == ["b"]


def test_an_owner_is_asked_for_once() -> None:
    cluster = Documents(CLUSTER)
    owners = Owners(cluster)
    for _ in range(2):
        for uid in ("a", "b"):
            assert [one.uid for one in owners.chain(item(uid, NEW), ("deployment",))] == [uid, "new", "deployment"]
            assert owners.chain(item(uid, ("apps/v1 ReplicaSet", "gone")), ("deployment",))[-1].uid == "gone"
    assert cluster.asked.count("/apis/apps/v1/namespaces/shop/replicasets/new") == 1
    assert cluster.asked.count("/apis/apps/v1/namespaces/shop/replicasets/gone") == 1


def test_owners_that_own_each_other_come_to_an_end() -> None:
    loop = {"/apis/apps/v1/namespaces/shop/replicasets/new": item("new", NEW)}
    assert len(Owners(Documents(loop)).chain(item("a", NEW), ("deployment",))) <= 10


def test_an_event_is_about_what_was_applied_or_what_that_owns() -> None:
    owners = Owners(Documents(CLUSTER))
    of_set = {"kind": "ReplicaSet", "apiVersion": "apps/v1", "name": "new", "namespace": "shop", "uid": "new"}
    itself = {"kind": "Deployment", "apiVersion": "apps/v1", "name": "web", "uid": "deployment"}
    foreign = {"kind": "Pod", "name": "x", "namespace": "shop", "uid": "x"}
    found = [owners.chain_of(about, ("deployment",))[-1].uid for about in (of_set, itself, foreign)]
    assert found == ["deployment", "deployment", "x"]
