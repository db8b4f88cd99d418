"""Deploys by commands of the user's own, to a real cluster. Runs on pytest's thread."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipytilt.core.spec import Command, CustomDeploy, Origin
from ipytilt.core.steps import Applied, Apply, Built, Delete
from ipytilt.errors import Cancelled, Rejected
from tests.engines.clusters import Desk, config_map, desk
from tests.engines.contract import fails
from tests.support.cluster import KubernetesCluster
from tests.support.waiting import eventually

pytestmark = pytest.mark.kubernetes

_APPLY = "kubectl apply --filename=object.json --output=yaml"
_DELETE = "echo deleting; kubectl delete --ignore-not-found --wait=false --filename=object.json"


@pytest.fixture
def at(cluster: KubernetesCluster) -> Iterator[Desk]:
    """Give a desk on the cluster."""
    with desk(cluster) as found:
        yield found


class Commands:
    """A custom deploy whose commands run in a folder with `object.json`."""

    def __init__(self, at: Desk, folder: Path) -> None:
        self.at = at
        self.folder = folder
        self.write(config_map("c", {"namespace": at.namespace}, a="1"))

    def write(self, document: dict[str, Any]) -> None:
        (self.folder / "object.json").write_text(json.dumps(document))

    def deploy(self, apply: str = _APPLY, delete: str = _DELETE, image_deps: tuple[str, ...] = ()) -> CustomDeploy:
        def command(script: str, line: int) -> Command:
            return Command(("sh", "-c", script), str(self.folder), ("OWN=1",), Origin("Tiltfile", line))

        return CustomDeploy(command(apply, 1), command(delete, 2), image_deps=image_deps)

    def apply(self, custom: CustomDeploy, *images: Built, force: bool = False) -> Applied:
        step = Apply(self.at.resource(custom=custom), images=images, force=force)
        return self.at.engine.apply(step, self.at.work())

    def refused(self, script: str) -> Rejected:
        """The error of an apply command that does not do its job."""
        return fails(Rejected, lambda: self.apply(self.deploy(script)))


@pytest.fixture
def commands(at: Desk, tmp_path: Path) -> Commands:
    """Give a folder for commands."""
    return Commands(at, tmp_path)


def test_what_the_command_prints_is_what_is_deployed(at: Desk, commands: Commands) -> None:
    applied = commands.apply(commands.deploy())
    (ref,) = applied.objects
    assert (ref.kind, ref.name, ref.namespace) == ("ConfigMap", "c", at.namespace)
    assert ref.uid == at.get("cm", "c")["metadata"]["uid"]
    assert at.lines() == [f"Running cmd: {_APPLY}", "Objects applied to cluster:", "  → c:configmap"]


def test_an_object_that_is_printed_without_its_uid_is_looked_up(at: Desk, commands: Commands) -> None:
    applied = commands.apply(commands.deploy("kubectl apply --filename=object.json >&2; cat object.json"))
    assert applied.objects[0].uid == at.get("cm", "c")["metadata"]["uid"]
    assert "configmap/c created" in at.lines()


def test_commands_see_their_images_and_the_cluster_of_the_tiltfile(
    at: Desk, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    script = f"echo $TILT_IMAGE_0 $TILT_IMAGE_MAP_0 $TILT_IMAGE_1 $OWN $(kubectl config current-context) >&2; {_APPLY}"
    custom = commands.deploy(script, image_deps=("example.org/web", "api"))
    commands.apply(custom, Built("example.org/web", "web:1", cluster_ref="in-cluster/web:1"))
    assert f"in-cluster/web:1 example.org_web api 1 {at.cluster.context}" in at.lines()


def test_the_delete_command_takes_it_down_and_precedes_a_forced_deploy(at: Desk, commands: Commands) -> None:
    custom = commands.deploy()
    first = commands.apply(custom)
    second = commands.apply(custom, force=True)
    assert second.objects[0].uid != first.objects[0].uid
    at.engine.delete(Delete(at.resource(custom=custom)), at.work())
    assert at.lines().count("deleting") == 2
    eventually(lambda: not at.has("cm", "c"))


def test_a_command_that_fails_is_told_with_what_it_said(commands: Commands) -> None:
    problem = commands.refused("echo said; exit 3")
    assert problem.message == "apply command exited with status 3\nsaid"
    assert problem.where == "Tiltfile:1"


@pytest.mark.parametrize("printed", ["{", "just words", "kind: ''", "- a"])
def test_what_is_no_yaml_of_objects_is_quoted(commands: Commands, printed: str) -> None:
    problem = commands.refused(f'echo "{printed}"')
    assert problem.message.startswith("apply command returned malformed YAML: ")
    assert problem.message.rstrip().endswith(printed)


def test_long_output_is_cut(commands: Commands) -> None:
    problem = commands.refused("yes wrong | head -n 1000")
    assert len(problem.message.partition("\n")[2]) <= 501


def test_a_command_that_takes_too_long_is_ended(at: Desk, commands: Commands) -> None:
    resource = at.resource(custom=commands.deploy("sleep 1000"))
    problem = fails(Rejected, lambda: at.apply(resource=resource, k8s_upsert_timeout_secs=1))
    assert problem.message == "apply command timed out after 1s"
    assert "update_settings(k8s_upsert_timeout_secs=2)" in problem.hint


def test_a_command_can_be_cancelled(at: Desk, commands: Commands) -> None:
    work = at.work()
    resource = at.resource(custom=commands.deploy("echo running >&2; sleep 1000"))
    log = work.log

    def cancelled_by_its_output(text: str, level: str = "info") -> None:
        log(text, level)
        if text == "running":
            work.cancel()

    work.log = cancelled_by_its_output  # type: ignore[method-assign]
    fails(Cancelled, lambda: at.apply(resource=resource, work=work))


def test_nothing_to_deploy_is_fine(commands: Commands) -> None:
    assert commands.apply(commands.deploy("true")).objects == ()
