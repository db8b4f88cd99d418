"""Objects in a real cluster: applied, changed, replaced, collected, taken down. Runs on pytest's thread."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ipytilt.core.inject import MANAGED_BY, TEMPLATE_LABEL
from ipytilt.errors import Cancelled, Rejected, Unavailable
from tests.engines.clusters import Desk, config_map, deployment, desk, document, pod_spec
from tests.engines.contract import fails
from tests.support.cluster import KubernetesCluster
from tests.support.waiting import eventually

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def at(cluster: KubernetesCluster) -> Iterator[Desk]:
    """Give a desk on the cluster."""
    with desk(cluster) as found:
        yield found


# ---------------------------------------------------------------------------------------------- applying


def test_what_was_applied_is_in_the_cluster_and_is_told(at: Desk) -> None:
    applied = at.apply(config_map("c", a="1"), deployment())
    found = at.get("deployment", "web")
    label = found["spec"]["template"]["metadata"]["labels"][TEMPLATE_LABEL]
    assert applied.templates == (label,)
    assert [(ref.kind, ref.name, ref.namespace) for ref in applied.objects] == [
        ("ConfigMap", "c", at.namespace),
        ("Deployment", "web", at.namespace),
    ]
    assert applied.objects[1].uid == found["metadata"]["uid"]
    assert found["metadata"]["labels"] == {MANAGED_BY[0]: MANAGED_BY[1]}
    assert at.lines() == [
        "Applying YAML to cluster",
        "Objects applied to cluster:",
        "  → c:configmap",
        "  → web:deployment",
    ]
    assert not applied.complete


@pytest.mark.parametrize("server_side", ["auto", "true"])
def test_the_same_again_changes_nothing(at: Desk, server_side: str) -> None:
    documents = (config_map("c", a="1"), deployment(env=[{"name": "A", "value": "1"}]))
    at.apply(*documents, k8s_server_side_apply=server_side)
    before = at.get("cm", "c")["metadata"]["resourceVersion"]
    generation = at.get("deployment", "web")["metadata"]["generation"]
    at.apply(*documents, k8s_server_side_apply=server_side)
    assert at.get("cm", "c")["metadata"]["resourceVersion"] == before
    assert at.get("deployment", "web")["metadata"]["generation"] == generation


@pytest.mark.parametrize("server_side", ["auto", "true"])
def test_what_is_gone_from_a_document_goes_and_what_others_set_stays(at: Desk, server_side: str) -> None:
    env = [{"name": name, "value": name} for name in ("A", "B", "C")]
    first = deployment(env=env, args=["a"])
    first["metadata"]["annotations"] = {"mine": "1", "gone": "1"}
    at.apply(first, config_map("c", a="1", b="2"), k8s_server_side_apply=server_side)
    at.kubectl("annotate", "deployment", "web", "theirs=1")
    at.kubectl("scale", "deployment", "web", "--replicas=0")
    second = deployment(env=[env[0], env[2]])
    second["metadata"]["annotations"] = {"mine": "2"}
    at.apply(second, config_map("c", a="1"), k8s_server_side_apply=server_side)
    found = at.get("deployment", "web")
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert [one["name"] for one in container["env"]] == ["A", "C"]
    assert "args" not in container
    notes = found["metadata"]["annotations"]
    assert (notes["mine"], notes["theirs"], notes.get("gone")) == ("2", "1", None)
    assert found["spec"]["replicas"] == 0
    assert at.get("cm", "c")["data"] == {"a": "1"}


def test_a_volume_can_become_one_of_another_kind(at: Desk) -> None:
    kinds: tuple[dict[str, Any], ...] = ({"emptyDir": {}}, {"configMap": {"name": "c"}})
    for volume in kinds:
        written = deployment(volumeMounts=[{"name": "v", "mountPath": "/v"}])
        written["spec"]["template"]["spec"]["volumes"] = [{"name": "v", **volume}]
        at.apply(written)
        found = at.get("deployment", "web")["spec"]["template"]["spec"]["volumes"]
        assert found[0].keys() == {"name", *volume}
    assert "Attempting to delete and re-create" not in at.lines()


def test_the_order_of_a_list_is_that_of_the_document(at: Desk) -> None:
    env = [{"name": name, "value": name} for name in ("A", "B", "C")]
    at.apply(deployment(env=env))
    at.apply(deployment(env=[env[2], env[0]]))
    found = at.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [one["name"] for one in found] == ["C", "A"]


def test_an_emptied_list_is_empty(at: Desk) -> None:
    at.apply(deployment(env=[{"name": "A", "value": "1"}]))
    at.apply(deployment(env=[]))
    assert "env" not in at.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]


def test_a_port_for_two_protocols_keeps_both(at: Desk) -> None:
    ports = [{"containerPort": 53, "protocol": one} for one in ("UDP", "TCP")]
    at.apply(deployment(ports=ports[:1]))
    at.apply(deployment(ports=ports))
    found = at.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert [one["protocol"] for one in found] == ["UDP", "TCP"]


def test_the_way_of_a_rollout_can_be_changed(at: Desk) -> None:
    at.apply(deployment())
    changed = deployment()
    changed["spec"]["strategy"] = {"type": "Recreate"}
    at.apply(changed)
    assert at.get("deployment", "web")["spec"]["strategy"] == {"type": "Recreate"}
    assert "Attempting to delete and re-create" not in at.lines()


def test_what_kubectl_has_applied_is_ours_to_change_and_the_other_way_round(at: Desk) -> None:
    at.kubectl("apply", "--filename=-", data=json.dumps(config_map("c", a="1", b="2")))
    at.apply(config_map("c", a="1", c="3"))
    assert at.get("cm", "c")["data"] == {"a": "1", "c": "3"}
    at.kubectl("apply", "--filename=-", data=json.dumps(config_map("c", d="4")))
    assert at.get("cm", "c")["data"] == {"d": "4"}


def test_a_namespace_comes_before_what_is_in_it_and_is_waited_for(at: Desk) -> None:
    name = f"{at.namespace}-new"
    inside = document("Pod", "p", about={"namespace": name}, spec=pod_spec())
    try:
        at.apply(document("Namespace", name), config_map("c", {"namespace": name}, a="1"), inside)
        assert at.cluster.kubectl("get", f"--namespace={name}", "cm", "c", "--output=name").strip() == "configmap/c"
    finally:
        at.delete(document("Namespace", name), namespaces=True)


def definition(group: str) -> dict[str, Any]:
    """A kind that a cluster does not know."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "apps", "singular": "app", "kind": "App"}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}
    return document("CustomResourceDefinition", f"apps.{group}", "apiextensions.k8s.io/v1", spec=spec)


def test_a_kind_is_defined_before_its_objects_are_made(at: Desk) -> None:
    group = f"{at.namespace}.example.org"
    kind = definition(group)
    own = document("App", "a", f"{group}/v1", spec={"list": [1, 2], "x": {"y": 1, "z": 2}})
    try:
        applied = at.apply(kind, own)
        assert applied.objects[1].uid
        changed = document("App", "a", f"{group}/v1", spec={"list": [2], "x": {"z": 2}})
        at.apply(kind, changed)
        assert at.get(f"apps.{group}", "a")["spec"] == {"list": [2], "x": {"z": 2}}
        at.apply(kind, previous=applied.objects)
        eventually(lambda: not at.has(f"apps.{group}", "a"))
    finally:
        at.delete(kind)


def test_an_object_that_is_named_by_the_cluster_is_made_anew_each_time(at: Desk) -> None:
    one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}, "data": {"a": "1"}}
    first = at.apply(one)
    second = at.apply(one, previous=first.objects)
    assert first.objects[0].name != second.objects[0].name
    assert not at.has("cm", first.objects[0].name)


# ---------------------------------------------------------------------------------------------- in the way


@contextmanager
def silent_webhook(at: Desk) -> Iterator[Callable[[], object]]:
    """Have the API server ask somebody who never answers about each ConfigMap; the value waits until it asks."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    with socket.create_server((at.cluster.machine, 0)) as listening:
        listening.settimeout(60)
        address, port = listening.getsockname()
        hook = {
            "name": "silent.example.org",
            "rules": [rule],
            "clientConfig": {"url": f"https://{address}:{port}/"},
            "namespaceSelector": {"matchLabels": {"silent": at.namespace}},
            "timeoutSeconds": 30,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        version = "admissionregistration.k8s.io/v1"
        hooks = document("ValidatingWebhookConfiguration", at.namespace, version, webhooks=[hook])
        at.cluster.kubectl("label", "namespace", at.namespace, f"silent={at.namespace}")
        at.cluster.kubectl("create", "--filename=-", data=json.dumps(hooks))
        try:
            eventually(lambda: _is_kept_waiting(at), timeout=60)
            listening.accept()[0].close()

            def asked() -> None:
                listening.accept()[0].close()

            yield asked
        finally:
            at.cluster.kubectl("delete", "validatingwebhookconfiguration", at.namespace)


def _is_kept_waiting(at: Desk) -> bool:
    try:
        at.kubectl("create", "cm", "probe", "--dry-run=server", "--request-timeout=2s")
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("server_side", ["auto", "true"])
def test_158_what_cannot_be_changed_is_deleted_and_made_anew(at: Desk, server_side: str) -> None:
    at.apply(deployment(), k8s_server_side_apply=server_side)
    uid = at.get("deployment", "web")["metadata"]["uid"]
    applied = at.apply(deployment(selector="other"), k8s_server_side_apply=server_side)
    assert applied.objects[0].uid == at.get("deployment", "web")["metadata"]["uid"] != uid
    assert [line for line in at.lines() if line.startswith('Updating "web" failed: ') and "immutable" in line]
    assert "Attempting to delete and re-create" in at.lines()
    assert 'Updating "web" succeeded!' in at.lines()


def test_159_what_is_too_large_for_the_annotation_is_replaced(at: Desk) -> None:
    for size in (300_000, 300_001):
        at.apply(config_map("c", a="x" * size))
        assert len(at.get("cm", "c")["data"]["a"]) == size
    assert at.lines().count("Attempting to create or replace") == 2
    assert at.lines().count('Updating "c" succeeded!') == 2


def test_160_what_takes_too_long_is_an_error_that_says_how_to_give_it_more_time(at: Desk) -> None:
    with silent_webhook(at):
        problem = fails(Rejected, lambda: at.apply(config_map("c", a="1"), k8s_upsert_timeout_secs=1))
    assert "it took longer than 1 s" in problem.message
    assert "update_settings(k8s_upsert_timeout_secs=2)" in problem.hint
    assert problem.where == "deploy.yaml:1"


def test_an_apply_can_be_cancelled_while_the_cluster_keeps_it_waiting(at: Desk) -> None:
    work = at.work()
    with silent_webhook(at) as asked:

        def cancel() -> None:
            asked()
            work.cancel()

        cancelling = threading.Thread(target=cancel, daemon=True)
        cancelling.start()
        fails(Cancelled, lambda: at.apply(config_map("c", a="1"), k8s_upsert_timeout_secs=8, work=work))
        cancelling.join()
        eventually(lambda: not [one for one in threading.enumerate() if one.name.startswith("ipytilt-apply")], 30)


def test_a_job_is_made_anew_when_it_changes_and_left_alone_when_not(at: Desk) -> None:
    def job(word: str) -> dict[str, Any]:
        spec = {**pod_spec(command=["echo", word]), "restartPolicy": "Never"}
        return document("Job", "j", "batch/v1", spec={"template": {"spec": spec}})

    at.apply(job("a"))
    uid = at.get("job", "j")["metadata"]["uid"]
    eventually(lambda: at.get("job", "j")["status"].get("succeeded") == 1, timeout=60)
    applied = at.apply(job("a"))
    assert (applied.objects[0].uid, applied.complete) == (uid, True)
    applied = at.apply(job("b"))
    assert applied.objects[0].uid != uid
    assert not applied.complete


def test_what_is_being_deleted_is_waited_for(at: Desk) -> None:
    held = config_map("c", {"finalizers": ["example.org/held"]}, a="1")
    at.apply(held)
    at.kubectl("delete", "cm", "c", "--wait=false")
    uid = at.get("cm", "c")["metadata"]["uid"]

    def release() -> None:
        eventually(lambda: 'Waiting for "c" to be gone: it is being deleted' in at.lines(), timeout=30)
        at.kubectl("patch", "cm", "c", "--type=merge", "--patch", '{"metadata": {"finalizers": null}}')

    releasing = threading.Thread(target=release, daemon=True)
    releasing.start()
    applied = at.apply(config_map("c", a="1"))
    releasing.join()
    assert applied.objects[0].uid not in ("", uid)


# ---------------------------------------------------------------------------------------------- collecting


def test_161_what_left_the_documents_is_deleted_afterwards(at: Desk) -> None:
    first = at.apply(config_map("a"), config_map("b"))
    at.apply(config_map("a"), previous=first.objects)
    assert not at.has("cm", "b")
    assert at.lines()[-3:] == [
        "garbage collecting removed Kubernetes objects",
        "Deleting kubernetes objects:",
        "→ ConfigMap/b",
    ]


def test_162_what_another_resource_deploys_now_is_not_deleted(at: Desk) -> None:
    first = at.apply(config_map("a"), config_map("b"))
    at.apply(config_map("a"), previous=first.objects, keep=(at.resource(config_map("b"), name="other"),))
    assert at.has("cm", "b")


def test_163_nothing_is_deleted_after_an_apply_that_failed(at: Desk) -> None:
    first = at.apply(config_map("a"), config_map("b"))
    fails(Rejected, lambda: at.apply(config_map("NO"), previous=first.objects))
    assert at.has("cm", "b")
    assert "Tried to apply objects to cluster:" in at.lines()
    at.apply(config_map("c"), previous=first.objects)
    assert not at.has("cm", "b")


def test_164_a_forced_deploy_begins_with_nothing_but_namespaces(at: Desk) -> None:
    documents = (
        document("Namespace", at.namespace),
        config_map("a", {"annotations": {"tilt.dev/down-policy": "keep"}}),
    )
    first = at.apply(*documents)
    again = at.apply(*documents, previous=first.objects, force=True)
    assert again.objects[0].uid == first.objects[0].uid
    assert again.objects[1].uid != first.objects[1].uid


def test_a_namespace_that_left_the_documents_stays_while_it_is_used(at: Desk) -> None:
    first = at.apply(document("Namespace", at.namespace), config_map("a"))
    at.apply(config_map("a"), previous=first.objects)
    assert at.cluster.get("namespace", at.namespace)["status"]["phase"] == "Active"
    assert f"Not deleting namespaces that are in use: {at.namespace}" in at.lines()


def test_pods_are_replaced_unless_the_rollout_does_it(at: Desk) -> None:
    first = at.apply(deployment())
    pods = eventually(lambda: at.kubectl("get", "pods", "--output=name").split(), timeout=60)
    name = pods[0].removeprefix("pod/")
    at.apply(deployment(), previous=first.objects, pods=(f"{at.namespace}/{name}", f"{at.namespace}/gone"))
    assert f"Replacing pod {name}" in at.lines()
    eventually(lambda: not at.has("pod", name))


def test_a_pod_of_its_own_is_made_anew(at: Desk) -> None:
    pod = document("Pod", "p", spec=pod_spec())
    first = at.apply(pod)
    again = at.apply(pod, pods=(f"{at.namespace}/p",))
    assert again.objects[0].uid not in ("", first.objects[0].uid)


# ---------------------------------------------------------------------------------------------- taking down


def test_what_was_deployed_is_taken_down_in_reverse(at: Desk) -> None:
    documents = (config_map("c"), deployment())
    at.apply(*documents)
    at.log.clear()
    at.delete(*documents)
    assert at.lines() == ["Deleting kubernetes objects:", "→ Deployment/web", "→ ConfigMap/c"]
    eventually(lambda: not at.has("cm", "c") and not at.has("deployment", "web"))
    at.delete(*documents, document("App", "a", "nobody.example.org/v1"))


def test_181_what_is_to_be_kept_stays(at: Desk) -> None:
    kept = config_map("a", {"annotations": {"tilt.dev/down-policy": "keep"}})
    at.apply(kept, config_map("b"))
    at.delete(kept, config_map("b"))
    assert at.has("cm", "a")
    assert not at.has("cm", "b")


def test_182_namespaces_stay_unless_they_are_asked_for(at: Desk) -> None:
    namespace = document("Namespace", at.namespace)
    at.delete(namespace)
    assert f"Not deleting namespaces: {at.namespace} (--delete-namespaces deletes them)" in at.lines()
    at.delete(namespace, namespaces=True)
    assert at.cluster.get("namespace", at.namespace)["status"]["phase"] == "Terminating"


def test_everything_is_tried_before_the_problem_is_told(at: Desk) -> None:
    at.apply(config_map("a"))
    problem = fails(Rejected, lambda: at.delete(document("Namespace", "kube-public"), config_map("a"), namespaces=True))
    assert "Namespace kube-public: " in problem.message
    assert not at.has("cm", "a")


# ---------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    "bad, message, hint",
    [
        (config_map("UPPER"), 'ConfigMap UPPER (object 2 of 2): ConfigMap "UPPER" is invalid', ""),
        (
            config_map("c", {"namespace": "nowhere"}),
            'namespaces "nowhere" not found',
            "kubectl create namespace nowhere",
        ),
        (document("App", "a", "no.example.org/v1"), 'no matches for kind "App"', "kubectl api-resources"),
        (document("Deployment", "d", "apps/v1", spec={"replicas": "many"}), "replicas", ""),
    ],
    ids=["invalid", "namespace", "kind", "type"],
)
def test_a_document_that_the_cluster_refuses_is_pointed_at(
    at: Desk, bad: dict[str, Any], message: str, hint: str
) -> None:
    problem = fails(Rejected, lambda: at.apply(config_map("a"), bad))
    assert message in problem.message
    assert hint in problem.hint
    assert problem.where == "deploy.yaml:2"
    assert problem.doing == "deploying web"


def test_a_quota_that_is_used_up_is_told(at: Desk) -> None:
    at.kubectl("create", "quota", "few", "--hard=count/configmaps=1")
    eventually(lambda: at.get("quota", "few").get("status", {}).get("hard"))
    problem = fails(Rejected, lambda: [at.apply(config_map(name)) for name in "abc"])
    assert "exceeded quota: few" in problem.message
    assert "kubectl describe quota" in problem.hint


def test_a_cluster_that_is_away_is_waited_for_and_not_blamed_on_the_document(at: Desk) -> None:
    at.apply(config_map("a", x="1"))
    at.cluster.stop_apiserver()
    problem = fails(Unavailable, lambda: at.apply(config_map("a", x="2")))
    assert "the cluster does not answer" in problem.message
    at.cluster.start_apiserver()
    at.apply(config_map("a", x="2"))
    assert at.get("cm", "a")["data"] == {"x": "2"}


def test_credentials_that_are_refused_are_read_again(cluster: KubernetesCluster, tmp_path: Path) -> None:
    config = tmp_path / "config"
    good = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--output=json"))
    config.write_text(json.dumps({**good, "users": [{**good["users"][0], "user": {"token": "expired"}}]}))
    with desk(cluster, config) as at:
        problem = fails(Unavailable, lambda: at.apply(config_map("a")))
        assert "does not accept the credentials" in problem.message
        config.write_text(json.dumps(good))
        at.apply(config_map("a"))
        assert at.has("cm", "a")
