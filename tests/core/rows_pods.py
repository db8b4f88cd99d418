"""Rows that need pods: 53 to 63 as far as containers of pods are what they are about, and 176."""

from __future__ import annotations

from dataclasses import replace

from ipytilt.core import events as ev
from ipytilt.core.ci import verdict
from ipytilt.core.state import image_watch
from ipytilt.core.steps import Applied, Container, Pod, SyncFiles
from tests.core.rows import FX_A, asked_for, kubernetes, only, row
from tests.support.core import World, image, spec
from tests.tiltfile.evaluated import ROOT as BELOW


def container(name: str, of: str, state: str = "running", *, pod: str = "web-1") -> Container:
    """A container of a pod; one that never ran has not started."""
    started_at = "" if state == "created" else "t"
    return Container(f"{pod}/{name}", f"{pod}/{name}", name, state, of, started_at, kind="kubernetes", pod=pod)


def pod(*containers: Container, init: tuple[Container, ...] = (), name: str = "web-1", phase: str = "Running") -> Pod:
    """A pod."""
    return Pod(name, "default", name, phase, ready=all(c.running for c in containers), containers=containers, init=init)


def deployed(*pods: Pod) -> World:
    """Image `web` with rules A is deployed, and these are the pods of it."""
    world = World(spec(kubernetes("web", "web"), images=[image("web", live=FX_A)]))
    world.settle()
    world.see_pods("web", *pods)
    return world


def synced_into(world: World) -> list[str]:
    """The names of the containers that the running live update syncs into."""
    steps = [step for branch in only(world).branches for step in branch]
    return [step.container.service for step in steps if isinstance(step, SyncFiles)]


def changed(world: World, path: str) -> None:
    """A file of what a custom deploy depends on was saved."""
    world.tick()
    world.post(ev.FilesChanged(image_watch("k8s_custom_deploy:web"), (f"{BELOW}/{path}",), world.now))


@row(53)
def _() -> None:
    rules = "live_update=[fall_back_on('stop'), sync('src', '/app')], container_selector='main'"
    text = f"k8s_custom_deploy('web', 'deploy', 'delete', deps=['src', 'stop'], {rules})"
    world = World(asked_for(text))
    world.settle()
    world.see_pods("web", pod(container("main", "anything"), container("side", "other")))
    changed(world, "src/a")
    assert synced_into(world) == ["main"]
    world.settle()
    changed(world, "stop")
    assert world.lanes() == [("web", "full")]
    world.settle()
    world.see_pods("web", pod(container("main", "anything", pod="web-2"), name="web-2"))
    changed(world, "src/b")
    assert (world.lanes(), synced_into(world)) == ([("web", "live")], ["main"])


@row(55)
def _() -> None:
    first = container("first", "other")
    world = deployed(pod(container("web", "web:1", "created"), init=(first,), phase="Pending"))
    world.save("src/a.py")
    assert world.lanes() == []
    world.see_pods("web", pod(container("web", "web:1"), init=(replace(first, state="exited", exit_code=0),)))
    assert synced_into(world) == ["web"]


@row(61)
def _() -> None:
    world = deployed(pod(container("one", "web:1"), container("side", "other:1"), container("two", "web:1")))
    world.save("src/a.py")
    assert sorted(synced_into(world)) == ["one", "two"]


@row(62)
def _() -> None:
    world = deployed(pod(container("main", "web:1"), init=(container("first", "web:1"),)))
    world.save("src/a.py")
    assert synced_into(world) == ["main"]


@row(63)
def _() -> None:
    world = deployed(pod(container("main", "web:another-tag")))
    world.save("src/a.py")
    assert synced_into(world) == ["main"]


@row(176, also=("tests/engines/test_kubernetes_observer.py::test_a_job_is_done_and_stays_so_when_its_pod_is_gone",))
def _() -> None:
    world = World(spec(kubernetes("job", pod_readiness="succeeded")))
    world.finish("job", ev.Ok(applied=(Applied("job", complete=True),)))
    assert verdict(world.state, since=100.0, now=world.now).word == "success"
    world.see_pods("job")
    assert verdict(world.state, since=100.0, now=world.now).word == "success"
