"""Which update starts when, what waits for what, and what a reload means, beyond the rows of `test_behaviour`."""

from __future__ import annotations

from dataclasses import replace

from ipytilt.core import events as ev
from ipytilt.core import status
from ipytilt.core.spec import KubeContext, Kubernetes, Resource
from ipytilt.core.state import INITIAL
from ipytilt.core.steps import BuildImage, Cluster, Delete, PublishImage
from tests.core.rows import FX_A, built, reused, running
from tests.support.core import World, failed, image, service, spec

IMAGES = (image("web", "web"), image("api", "api"))


def test_a_shared_image_is_built_once() -> None:
    world = World(spec(service("a", "img"), service("b", "img"), images=[image("img")]))
    assert world.state.holds["b"].reason == "building-component"
    world.finish("a")
    (update,) = world.started.values()
    assert (built(update), reused(update)) == ([], ["img"])


def test_left_alone_for_a_day_it_does_nothing_and_wakes_for_nothing() -> None:
    world = running()
    begun, rested = len(world.history), world.state
    for _ in range(24):
        world.tick(3600)
        world.turn()
        assert world.plan.wake_at is None
    assert len(world.history) == begun
    assert replace(world.state, now=rested.now) == rested
    world.save("src/a.py")
    assert world.lanes() == [("web", "live")]


def test_an_engine_that_is_away_holds_live_updates_too() -> None:
    world = running()
    world.post(ev.EngineChanged("compose", "Docker does not answer", world.now))
    world.save("src/a.py")
    assert world.lanes() == []
    assert world.state.holds["web"].text == "Docker does not answer"
    world.post(ev.EngineChanged("compose", "", world.now))
    assert world.lanes() == [("web", "live")]


def test_an_update_that_found_the_world_away_is_retried_with_back_off() -> None:
    world = World(spec(service("web", "web"), images=[image("web")]))
    world.finish("web", failed("no daemon", "unavailable"))
    assert world.state.holds["web"].reason == "retrying"
    wake_at = world.plan.wake_at
    assert wake_at is not None
    world.now = wake_at
    world.turn()
    assert world.lanes() == [("web", "full")]
    world.finish("web", failed("no daemon", "unavailable"))
    later = world.plan.wake_at
    assert later is not None
    assert later > wake_at + 1
    (web,) = world.state.spec.resources
    assert status.update_status(world.state, web).word == "error"
    away = replace(world.state, engines={"compose": "no daemon"})  # then that is what is wrong, not the update
    assert status.update_status(away, web).word == "pending"
    world.now = later
    world.turn()
    world.settle()
    assert world.last("web").result == "ok"


# ---------------------------------------------------------------------------------------------- reload


def test_a_broken_cell_does_not_stand_in_the_way_of_the_next_one() -> None:
    world = running()
    bad = ev.Source("cell:2", "Cell 2", "/p", "bad")
    world.post(ev.SourcePut(bad, 50, world.now))
    world.post(ev.LoadFinished(world.loading(), None, ev.ErrorInfo("no"), (), world.now))
    world.post(ev.SourcePut(ev.Source("cell:3", "Cell 3", "/p", "good"), 51, world.now))
    assert [s.key for s in world.state.load.running_sources] == ["cell:1", "cell:3"]


def test_a_file_that_a_broken_tiltfile_read_retries_it() -> None:
    world = running()
    bad = ev.Source("cell:2", "Cell 2", "/p", "bad")
    world.post(ev.SourcePut(bad, 50, world.now))
    reads = ("/p/Dockerfile.missing",)
    world.post(ev.LoadFinished(world.loading(), None, ev.ErrorInfo("no"), reads, world.now))
    world.post(ev.FilesChanged("configs:(Tiltfile)", reads, world.now))
    assert [s.key for s in world.state.load.running_sources] == ["cell:1", "cell:2"]


def test_down_takes_everything_down_and_stays_down() -> None:
    world = running()
    world.post(ev.DownRequested(world.now))
    assert world.lanes() == [("web", "down")]
    world.settle()
    world.save("src/a.py")
    assert world.lanes() == []
    world.load(spec(service("web", "web"), images=[image("web", live=FX_A)]))
    assert [u.cause.flags[0] for u in world.started.values()] == [INITIAL]


def test_183_what_depends_on_others_is_taken_down_before_them() -> None:
    wanted = spec(service("a"), service("b", resource_deps=("a",)), service("c", resource_deps=("b",)), service("d"))
    assert [one.name for one in wanted.dependants_first()] == ["d", "c", "b", "a"]
    circle = spec(service("a", resource_deps=("b",)), service("b", resource_deps=("a",)), service("c"))
    assert [one.name for one in circle.dependants_first()] == ["c", "b", "a"]


def test_what_goes_besides_is_asked_for() -> None:
    world = World(spec(service("a")))
    world.settle()
    world.post(ev.DownRequested(world.now, frozenset({"volumes"})))
    step = world.history[-1].branches[0][0]
    assert isinstance(step, Delete)
    assert (step.namespaces, step.volumes) == (False, True)


def test_a_base_that_objects_name_too_is_handed_to_the_cluster() -> None:
    images = [image("base"), image("web", bases=("base",))]
    for direct, published in ((("web",), ["web"]), (("web", "base"), ["base", "web"])):
        target = Kubernetes(direct=direct)
        world = World(spec(Resource("web", target, images=("base", "web")), images=images))
        steps = world.history[-1].branches[0]
        assert [step.image.ref for step in steps if isinstance(step, PublishImage)] == published


def test_an_image_for_a_cluster_is_built_for_its_machines() -> None:
    world = World(spec(Resource("web", Kubernetes(), images=("web",)), service("api", "api"), images=IMAGES))
    world.post(ev.ClusterChanged(Cluster(KubeContext(), arch="arm64"), world.now))
    world.settle()
    world.save("web/a", "api/a")
    world.settle()
    archs = {s.image.ref: s.arch for u in world.history for b in u.branches for s in b if isinstance(s, BuildImage)}
    assert archs == {"web": "arm64", "api": ""}
