"""Images and marks in documents before they are applied."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ipytilt.core.inject import MANAGED_BY, TEMPLATE_LABEL, Injected, NotInjectedError, inject
from ipytilt.core.spec import Image, ImageLocator, Kubernetes
from ipytilt.core.steps import Built
from tests.core.test_manifests import document
from tests.support.core import image

BUILT = "reg:5000/web:tilt-1"
WEB = image("web")
NAME, VALUE = MANAGED_BY


def pods(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A Deployment with these containers in its template."""
    inside = {"containers": list(containers), **spec}
    return document("Deployment", version="apps/v1", spec={"template": {"spec": inside}})


def put(
    *documents: dict[str, Any], rules: tuple[Image, ...] = (WEB,), locators: tuple[ImageLocator, ...] = ()
) -> Injected:
    """Inject what was built for each rule."""
    target = Kubernetes(objects=tuple(map(json.dumps, documents)), image_locators=locators)
    built = [Built(one.ref, f"local/{one.ref}", cluster_ref=BUILT if one.ref == WEB.ref else "") for one in rules]
    return inject(target, built, rules)


def inside(found: dict[str, Any]) -> dict[str, Any]:
    """The pod spec of a Deployment."""
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


def test_every_place_that_names_the_image_gets_what_was_built() -> None:
    env = [{"name": "OTHER", "value": "web:2"}, {"name": "NOT", "value": "not an image!"}, {"name": "FROM"}]
    written = pods(
        {"name": "a", "image": "web", "env": env},
        {"name": "b", "image": "other:1"},
        initContainers=[{"name": "i", "image": "docker.io/library/web:old"}],
        volumes=[{"name": "v", "image": {"reference": "web:latest"}}, {"name": "e", "emptyDir": {}}],
    )
    found = inside(put(written, rules=(replace(WEB, match_in_env_vars=True),)).documents[0])
    assert [one["image"] for one in found["containers"]] == [BUILT, "other:1"]
    assert found["initContainers"][0]["image"] == BUILT
    assert found["volumes"][0]["image"]["reference"] == BUILT
    assert found["containers"][0]["env"][0]["value"] == BUILT
    assert found["containers"][0]["env"][1:] == env[1:]
    assert inside(put(written).documents[0])["containers"][0]["env"] == env, "only where the image asks for it"


def test_an_image_with_a_tag_is_put_where_exactly_that_stands() -> None:
    exact = replace(WEB, ref="web:dev", exact=True)
    found = inside(put(pods({"image": "web"}, {"image": "web:dev"}), rules=(exact,)).documents[0])
    assert [one["image"] for one in found["containers"]] == ["web", "local/web:dev"]


def test_an_image_that_no_registry_knows_goes_by_its_local_name() -> None:
    assert (
        inside(put(pods({"image": "api"}), rules=(image("api"),)).documents[0])["containers"][0]["image"] == "local/api"
    )


def test_locators_lead_into_documents_of_any_kind() -> None:
    custom = {
        "kind": "App",
        "apiVersion": "example.org/v1",
        "metadata": {"name": "a"},
        "spec": {"images": ["web:1", "other"], "main": {"repo": "web", "version": "1"}, "not": "web"},
    }
    locators = (
        ImageLocator(0, "{.spec.images[*]}"),
        ImageLocator(0, "{.spec.main}", repo_field="repo", tag_field="version"),
        ImageLocator(0, "{.spec.absent}"),
        ImageLocator(1, "{.spec.not}"),
    )
    found = put(custom, locators=locators).documents[0]["spec"]
    assert found == {
        "images": [BUILT, "other"],
        "main": {"repo": "reg:5000/web", "version": "tilt-1"},
        "not": "web",
    }


def test_157_an_image_that_is_nowhere_is_an_error() -> None:
    with pytest.raises(NotInjectedError, match=r"^Docker image missing from yaml: web$"):
        put(pods({"image": "other"}))


def test_a_base_image_need_not_be_in_the_documents() -> None:
    base, web = image("base"), replace(WEB, depends_on=("base",))
    assert inside(put(pods({"image": "web"}), rules=(base, web)).documents[0])["containers"][0]["image"] == BUILT


def test_a_command_takes_the_place_of_the_container_s_and_leaves_its_arguments() -> None:
    written = pods({"image": "web", "command": ["a"], "args": ["b"]}, {"image": "other", "command": ["c"]})
    ran = inside(put(written, rules=(replace(WEB, entrypoint=("x", "y")),)).documents[0])["containers"]
    assert (ran[0]["command"], ran[0]["args"], ran[1]["command"]) == (["x", "y"], ["b"], ["c"])
    ran = inside(put(written, rules=(replace(WEB, container_args=()),)).documents[0])["containers"]
    assert (ran[0]["command"], ran[0]["args"]) == (["a"], [])


def test_a_command_needs_a_container() -> None:
    custom = {"kind": "App", "apiVersion": "example.org/v1", "metadata": {"name": "a"}, "image": "web"}
    with pytest.raises(NotInjectedError, match="No container found matching ref: web") as caught:
        put(
            document("ConfigMap"),
            custom,
            rules=(replace(WEB, entrypoint=("x",)),),
            locators=(ImageLocator(1, "{.image}"),),
        )
    assert caught.value.index == 1


def test_nobody_pulls_what_is_built_here_nor_what_runs_beside_it() -> None:
    found = inside(put(pods({"image": "web", "imagePullPolicy": "Always"}, {"image": "other"})).documents[0])
    assert [one["imagePullPolicy"] for one in found["containers"]] == ["IfNotPresent"] * 2
    plain = inside(put(pods({"image": "web", "imagePullPolicy": "Always"}), rules=()).documents[0])
    assert plain["containers"][0]["imagePullPolicy"] == "Always"


def test_pods_of_a_stateful_set_do_not_wait_for_one_another() -> None:
    written = document("StatefulSet", version="apps/v1", spec=pods({"image": "web"})["spec"])
    assert put(written).documents[0]["spec"]["podManagementPolicy"] == "Parallel"
    assert "podManagementPolicy" not in put(written, rules=()).documents[0]["spec"]


def test_objects_and_pods_are_labelled_but_not_claims() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {}}
    spec = {**pods({"image": "web"})["spec"], "volumeClaimTemplates": [claim]}
    found = put(document("StatefulSet", version="apps/v1", spec=spec), document("ConfigMap")).documents
    assert [one["metadata"]["labels"] for one in found] == [{NAME: VALUE}] * 2
    assert found[0]["spec"]["template"]["metadata"]["labels"][NAME] == VALUE
    assert found[0]["spec"]["volumeClaimTemplates"] == [claim]


def test_a_label_that_a_selector_looks_for_stays() -> None:
    written = pods({"image": "web"})
    written["spec"]["selector"] = {"matchLabels": {NAME: "Helm"}}
    written["spec"]["template"]["metadata"] = {"labels": {NAME: "Helm"}}
    assert put(written).documents[0]["spec"]["template"]["metadata"]["labels"][NAME] == "Helm"


def test_the_hash_of_a_template_changes_with_it_and_with_nothing_else() -> None:
    first = put(pods({"image": "web"}))
    label = first.documents[0]["spec"]["template"]["metadata"]["labels"][TEMPLATE_LABEL]
    assert first.templates == (label,)
    assert len(label) == 20
    other = pods({"image": "web"})
    other["metadata"]["annotations"] = {"note": "of the object"}
    assert put(other).templates == first.templates
    assert put(pods({"image": "web", "env": [{"name": "A", "value": "b"}]})).templates != first.templates


def test_a_pod_has_no_template_and_gets_no_hash() -> None:
    found = put(document("Pod", spec={"containers": [{"image": "web"}]}))
    assert found.templates == ()
    assert found.documents[0]["metadata"]["labels"] == {NAME: VALUE}


def test_the_documents_of_the_spec_stay_as_they_are() -> None:
    target = Kubernetes(objects=(json.dumps(pods({"image": "web"})),))
    before = target.objects
    inject(target, [Built("web", "web:1")], [WEB])
    assert target.objects == before
