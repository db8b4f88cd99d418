"""Every numbered case of the language: what it yields, or the error it ends in."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ipytilt.core.spec import Kubernetes, Local, Resource, Spec
from ipytilt.tiltfile.load import LoadError
from tests.tiltfile.cases import CASES, Case
from tests.tiltfile.cases_k8s import CASES as KUBERNETES_CASES
from tests.tiltfile.evaluated import ROOT, evaluate


@pytest.mark.parametrize("case", [*CASES, *KUBERNETES_CASES], ids=str)
def test_case(case: Case) -> None:
    if case.error:
        with pytest.raises(LoadError) as caught:
            evaluate(case.text, case.files, case.args)
        assert case.error in caught.value.message
        return
    loaded = evaluate(case.text, case.files, case.args)
    warnings = "\n".join(loaded.spec.warnings)
    assert case.warning in warnings
    if case.no_warning:
        assert not warnings
    if case.prints:
        assert case.prints in "\n".join(loaded.log)
    if case.config_file:
        assert f"{ROOT}/{case.config_file}" in loaded.reads
    if case.enabled is not None:
        assert loaded.spec.enabled == set(case.enabled)
    check_resources(case, loaded.spec)


def check_resources(case: Case, spec: Spec) -> None:
    if case.resources:
        assert {resource.name: kind(resource) for resource in spec.resources} == case.resources
        assert [resource.name for resource in spec.resources] == list(case.resources)
    for name, builds in case.builds.items():
        assert tuple(shown_images(named(spec, name), spec)) == builds
    for name, mode in case.modes.items():
        assert shown_mode(named(spec, name)) == mode
    for name, deps in case.deps.items():
        assert named(spec, name).resource_deps == deps
    for name, directory in case.dirs.items():
        assert local(spec, name).cmd is not None
        assert local(spec, name).cmd.dir == directory  # type: ignore[union-attr]
    for name, (base, pattern) in case.ignores.items():
        assert [(ignore.base, ignore.patterns) for ignore in local(spec, name).ignores] == [(base, (pattern,))]
    for name, readiness in case.readiness.items():
        assert kubernetes(spec, name).pod_readiness == readiness
    if case.forwards:
        assert tuple(shown_forwards(spec)) == case.forwards
    if case.syncs or case.execs:
        rules = next(image.live_update for image in spec.images.values())
        assert rules is not None
        assert [(sync.local, sync.container) for sync in rules.syncs] == [(f"{ROOT}/{a}", b) for a, b in case.syncs]
        assert tuple((run.argv, run.triggers_as_written) for run in rules.runs) == case.execs


def named(spec: Spec, name: str) -> Resource:
    resource = spec.resource(name)
    assert resource is not None
    return resource


def local(spec: Spec, name: str) -> Local:
    target = named(spec, name).target
    assert isinstance(target, Local)
    return target


def kubernetes(spec: Spec, name: str) -> Kubernetes:
    target = named(spec, name).target
    assert isinstance(target, Kubernetes)
    return target


def kind(resource: Resource) -> str:
    """The kind; for Kubernetes followed by the kinds of its objects, in deploy order."""
    if not isinstance(resource.target, Kubernetes):
        return resource.kind
    return f"kubernetes {','.join(json.loads(text)['kind'] for text in resource.target.objects)}".strip()


def shown_images(resource: Resource, spec: Spec) -> Iterator[str]:
    for ref in resource.images:
        yield f"{ref} exact" if spec.images[ref].exact else ref


def shown_mode(resource: Resource) -> str:
    mode = resource.trigger_mode.value
    if mode == "manual":
        return "manual+autoinit" if resource.auto_init else "manual"
    return "auto" if resource.auto_init else "auto+manualinit"


def shown_forwards(spec: Spec) -> Iterator[str]:
    for resource in spec.resources:
        for forward in kubernetes(spec, resource.name).port_forwards:
            yield f"{forward.host or 'localhost'}:{forward.local}→{forward.container}"
