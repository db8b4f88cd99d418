"""The verdict of a run without a user, row by row; numbers are those of Tilt's behaviour cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from ipytilt.core import events as ev
from ipytilt.core.ci import Verdict, targets, verdict
from ipytilt.core.settings import CISettings
from ipytilt.core.spec import Kubernetes, Probe, Resource, Spec, TCPSocketAction
from ipytilt.core.state import State
from ipytilt.core.steps import Container, Pod
from tests.support.core import MANUAL, World, at, failed, image, local, rules, service, spec

START = 100.0
CRASHED = Container("c", "web-1", "web", "exited", exit_code=3)
CREATED = Container("c", "web-1", "web", "created")
UNHEALTHY = Container("c", "web-1", "web", "running", health="unhealthy")
PULLING = Pod("web-1", "default", "1", "Pending", status="ErrImagePull", problem="container web: ErrImagePull")
PENDING = Pod("web-1", "default", "1", "Pending", status="ContainerCreating")


def with_ci(wanted: Spec, **settings: float) -> Spec:
    """The spec with `ci_settings`."""
    return replace(wanted, settings=replace(wanted.settings, ci=replace(CISettings(), **settings)))


def judged(world: World, after: float = 0.0, **options: float) -> Verdict:
    """The verdict so many seconds from now."""
    return verdict(world.state, since=START, now=world.now + after, **options)


def web() -> World:
    """One service with an image."""
    return World(spec(service("web", "web"), images=[image("web")]))


def cluster(readiness: str = "wait", **settings: float) -> World:
    """One deployed Kubernetes workload."""
    target = Kubernetes(pod_readiness=readiness)  # type: ignore[arg-type]
    world = World(with_ci(spec(Resource("web", target, origin=at(2))), **settings))
    world.finish("web")
    return world


def with_pods(world: World, *pods: Pod) -> World:
    """The world in which `web` has these pods."""
    world.see_pods("web", *pods)
    return world


def probed() -> World:
    """A server with a readiness probe, running; its probe has not spoken."""
    server = local("srv", serve=True)
    probe = Probe(TCPSocketAction(1))
    world = World(spec(replace(server, target=replace(server.target, probe=probe))))  # type: ignore[arg-type]
    world.finish("srv")
    world.post(ev.ServerChanged("srv", world.track("srv").served, 42, None, "", world.now))
    return world


def settled(*resources: Resource, **options: object) -> World:
    """Everything that starts ends well."""
    world = World(spec(*resources, images=[image("web")], **options))  # type: ignore[arg-type]
    world.settle()
    return world


def finished(world: World, name: str, outcome: ev.Outcome | None = None) -> World:
    """The world after the end of an update."""
    world.finish(name, outcome)
    return world


def seeing(world: World, *containers: Container) -> World:
    """The world in which `web` has been deployed and has these containers."""
    if world.started:
        world.finish("web")
    world.see("web", *containers)
    return world


@dataclass(frozen=True)
class Row:
    """A world, how long to wait in it, and the verdict then with (part of) its first reason."""

    world: Callable[[], World]
    word: str
    reason: str = ""
    after: float = 0.0


ROWS = {
    "nothing finished yet": Row(web, "open", "web:update: Updating"),
    "everything is up": Row(lambda: settled(service("web", "web"), local("gen")), "success"),
    "173 a build fails": Row(
        lambda: finished(web(), "web", failed("exit code: 1")), "failure", "web:update: exit code: 1"
    ),
    "a command fails": Row(
        lambda: finished(World(spec(local("gen"))), "gen", failed("status 2")), "failure", "gen:update: status 2"
    ),
    "a container exits badly": Row(
        lambda: seeing(web(), CRASHED), "failure", "web:runtime: Container web-1 exited with 3"
    ),
    "a container is not running yet": Row(lambda: seeing(web(), CREATED), "open", "web:runtime: not ready yet"),
    "it never comes": Row(
        lambda: seeing(web(), CREATED), "failure", 'Readiness timeout after 5 m: target "web:runtime" not ready', 301
    ),
    "running is ready, health is not asked": Row(lambda: seeing(web(), UNHEALTHY), "success"),
    "a server whose probe has not spoken": Row(probed, "open", "srv:serve: not ready yet"),
    "178 a server whose probe never succeeds": Row(probed, "failure", 'target "srv:serve" not ready', 301),
    "179 what nobody starts by itself": Row(lambda: settled(local("helper", auto_init=False), local("gen")), "success"),
    "nothing but that": Row(lambda: settled(local("helper", auto_init=False, trigger_mode=MANUAL)), "success"),
    "180 all is disabled": Row(lambda: World(spec(local("gen"), enabled=())), "success"),
    "a Tiltfile that asks for nothing": Row(lambda: World(spec()), "failure", "asks for nothing"),
    "175 a pod that cannot pull, in its grace": Row(
        lambda: with_pods(cluster(k8s_grace_period=60), PULLING),
        "open",
        "web:runtime: Pod web-1 in error state: container web: ErrImagePull",
        50,
    ),
    "175 and after it": Row(
        lambda: with_pods(cluster(k8s_grace_period=60), PULLING),
        "failure",
        "exceeded grace period: Pod web-1 in error state: container web: ErrImagePull",
        70,
    ),
    "without a grace it fails at once": Row(
        lambda: with_pods(cluster(), PULLING),
        "failure",
        "web:runtime: Pod web-1 in error state: container web: ErrImagePull",
    ),
    "177 a workload whose pods do not matter": Row(lambda: cluster("ignore"), "success"),
    "a job may take its time": Row(lambda: with_pods(cluster("succeeded"), PENDING), "open", "web:runtime", 301),
    "another workload may not": Row(lambda: with_pods(cluster(), PENDING), "failure", "Readiness timeout", 301),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_rows(row: Row) -> None:
    found = judged(row.world(), row.after)
    assert (found.word, found.over) == (row.word, row.word != "open")
    assert row.reason in (found.reasons[0] if found.reasons else "")


def test_all_that_failed_is_named_in_order() -> None:
    world = World(spec(local("b", parallel=True), local("a", parallel=True), local("c", parallel=True)))
    world.finish("b", failed("no b"))
    world.finish("a", failed("no a"))
    assert judged(world).reasons == ("a:update: no a", "b:update: no b")


def test_the_whole_has_a_time_limit_and_says_what_is_missing() -> None:
    world = World(spec(local("slow", parallel=True), local("srv", serve=True), local("next", resource_deps=("slow",))))
    world.finish("srv")
    found = judged(world, timeout=60.0, after=60)
    assert found.word == "failure"
    assert found.reasons[0] == ("Timeout after 1 m: 1 waiting (next:update), 2 not ready (slow:update, srv:serve)")


def test_zero_turns_a_time_limit_off() -> None:
    world = World(with_ci(spec(local("slow")), timeout=0, readiness_timeout=0))
    assert judged(world, after=1e6) == Verdict("open", judged(world).reasons)


def test_a_world_that_is_away_is_tried_again_and_then_given_up() -> None:
    world = finished(web(), "web", failed("no daemon", "unavailable"))
    found = judged(world)
    assert (found.word, found.reasons) == ("open", ("web:update: no daemon",))
    world.tick(301)
    assert "Gave up after 5 m: no daemon" in judged(world).reasons[0]


def test_a_cluster_that_is_away_ends_it() -> None:
    world = cluster()
    world.post(ev.EngineChanged("kubernetes", "connection refused", world.now))
    assert judged(world).reasons == ("web:runtime: cluster connection failed: connection refused",)


def test_what_was_mended_counts() -> None:
    world = finished(World(spec(local("gen", deps=("src",)))), "gen", failed())
    assert judged(world).word == "failure"
    world.save("src/a")
    assert judged(world).word == "open"
    world.finish("gen")
    assert judged(world).word == "success"


def test_a_wrong_tiltfile_is_the_reason() -> None:
    assert judged_state(State()).word == "open"
    world = World(spec(local("gen")))
    world.settle()
    world.load(None, "no such builtin")
    assert judged(world).reasons == ("(Tiltfile): no such builtin",)


def judged_state(state: State) -> Verdict:
    """The verdict on a state of no world."""
    return verdict(state, since=START, now=START)


def test_a_server_alone_has_no_update_to_wait_for() -> None:
    world = World(spec(local("srv", serve=True)))
    assert [target.name for target in targets(world.state, world.now)] == ["(Tiltfile)", "srv:serve"]


def test_a_server_that_waits_its_turn_is_waited_for() -> None:
    world = World(spec(local("slow"), local("srv", serve=True, resource_deps=("slow",))))
    assert [str(target) for target in targets(world.state, world.now)][2].startswith("srv:serve: ")
    world.finish("slow")
    assert judged(world).word == "open"
    world.finish("srv")
    world.post(ev.ServerChanged("srv", world.track("srv").served, 42, None, "", world.now))
    assert judged(world).word == "success"


def test_a_cluster_that_is_away_does_not_matter_to_what_is_switched_off() -> None:
    target = Kubernetes(("{}",))
    world = World(spec(Resource("web", target, origin=at(2)), local("gen"), enabled=["gen"]))
    world.post(ev.EngineChanged("kubernetes", "connection refused", world.now))
    world.settle()
    assert judged(world).word == "success"


def test_patience_with_a_world_that_is_away_begins_with_the_first_failure() -> None:
    world = finished(web(), "web", failed("no daemon", "unavailable"))
    world.tick(200)
    world.turn()
    world.finish("web", failed("no daemon", "unavailable"))
    assert judged(world, 50).word == "open"
    assert judged(world, 101).word == "failure"


def test_patience_begins_anew_when_a_server_was_ready() -> None:
    world = probed()
    run = world.track("srv").served
    world.post(ev.Probed("srv", run, ready=True, at=world.now))
    assert judged(world).word == "success"
    world.tick(1000)
    world.post(ev.Probed("srv", run, ready=False, at=world.now))
    assert judged(world, 299).word == "open"
    assert judged(world, 301).word == "failure"


def test_patience_with_what_never_showed_begins_with_its_deploy_not_with_later_copies() -> None:
    live = rules(("src", "/app"))
    world = World(spec(service("web", "web"), images=[image("web", live=live)]))
    world.finish("web")
    world.tick(200)
    world.save("src/a")
    assert world.finish("web").lane == "live"
    world.see("web")
    assert judged(world).word == "open"
    assert judged(world, 150).word == "failure"


def test_a_tiltfile_that_is_evaluated_again_is_waited_for() -> None:
    world = settled(local("gen"))
    assert judged(world).word == "success"
    world.post(ev.SourcePut(ev.Source("cell:1", "Cell 1", "/p", "other"), 99, world.now))
    assert judged(world).reasons == ("(Tiltfile): is being evaluated",)
