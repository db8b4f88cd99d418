"""Containers of which it is not known what they hold are compared, not replaced; nothing outstanding is forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipytilt.core import events as ev
from ipytilt.core.explain import what_if
from ipytilt.core.spec import LiveUpdate
from ipytilt.core.state import CATCH_UP, CONFIG
from ipytilt.core.steps import Applied, BuildImage, CatchUp, Container, ExecIn, Pod, SyncFiles
from tests.core.rows import held, kubernetes, only, running
from tests.support.core import MANUAL, ROOT, World, applied, failed, image, rules, service, spec

LIVE = rules(("src", "/app"), runs=[("hup", ("src/conf",))], stop=["src/stop"])
FOUND = Container("old", "web-1", "web", "running")


def kept(world: World, container: Container = FOUND) -> None:
    """The full update that runs ends well, with a container that was there before."""
    outcome = world.success(only(world))
    world.finish("web", replace(outcome, applied=(Applied("web", (container,), kept=(container.id,)),)))


def found(live: LiveUpdate | None = LIVE, **options: object) -> World:
    """A session whose first deploy has found the container of an earlier one."""
    world = World(spec(service("web", "web", **options), images=[image("web", live=live)]))
    assert not applied(only(world)).recreate
    kept(world)
    return world


def catch_up(world: World) -> CatchUp:
    """What is running is one catch-up and nothing else."""
    ((step,),) = only(world).branches
    assert isinstance(step, CatchUp)
    return step


def broke(world: World) -> None:
    """The live update that runs ends in doubt; the container lives."""
    world.finish("web", failed("the session ended", "broke", next(iter(only(world).marks))))


def test_a_container_of_an_earlier_session_is_compared_and_stays() -> None:
    world = found()
    assert catch_up(world).container == FOUND
    assert catch_up(world).changed == ()
    assert only(world).cause.flags == (CATCH_UP,)
    assert "before this session" in only(world).cause.because[0].text
    world.finish("web")
    assert world.lanes() == []
    world.save("src/a")
    assert isinstance(only(world).branches[0][0], SyncFiles)


def test_a_container_that_was_just_made_is_known() -> None:
    world = World(spec(service("web", "web"), images=[image("web", live=LIVE)]))
    world.finish("web")
    assert world.lanes() == []


@pytest.mark.parametrize("live", [None, rules(runs=[("hup", ())])])
def test_what_is_not_synced_into_is_not_compared(live: LiveUpdate | None) -> None:
    assert found(live).lanes() == []


def test_a_file_saved_during_the_deploy_goes_with_the_comparison() -> None:
    world = World(spec(service("web", "web"), images=[image("web", live=LIVE)]))
    world.save("src/a")
    kept(world)
    assert catch_up(world).changed == (f"{ROOT}/src/a",)
    assert only(world).cause.files == (f"{ROOT}/src/a",)
    world.settle()
    assert len(world.history) == 2


def test_a_container_that_does_not_run_yet_is_waited_for() -> None:
    world = World(spec(service("web", "web"), images=[image("web", live=LIVE)]))
    kept(world, replace(FOUND, state="created"))
    assert held(world, "web") == "waiting-for-deploy"
    world.see("web", FOUND)
    assert catch_up(world).container == FOUND
    world.settle()
    assert world.lanes() == []


def test_one_that_ended_is_left_alone_until_it_runs_or_something_changes() -> None:
    world = World(spec(service("web", "web"), images=[image("web", live=LIVE)]))
    kept(world, replace(FOUND, state="exited", exit_code=1))
    assert (world.lanes(), held(world, "web")) == ([], "")
    world.see("web", replace(FOUND, started_at="later"))
    assert catch_up(world)


def test_a_container_that_was_filled_before_is_not_filled_again() -> None:
    world = found(replace(LIVE, initial_sync=True))
    assert catch_up(world)
    world.settle()
    assert world.lanes() == []


def test_a_broken_live_update_is_mended_by_comparing() -> None:
    world = running(LIVE)
    up = world.container("web")
    world.save("src/a", "src/conf")
    broke(world)
    assert catch_up(world).changed == (f"{ROOT}/src/a", f"{ROOT}/src/conf")
    assert only(world).cause.because[0].text.endswith("the session ended")
    world.settle()
    assert world.track("web").containers[up.id].unsure == ""
    assert [update.lane for update in world.history] == ["full", "live", "live"]


def test_what_is_saved_meanwhile_is_not_lost() -> None:
    world = running(LIVE)
    world.save("src/a")
    world.save("src/b")
    broke(world)
    assert catch_up(world).changed == (f"{ROOT}/src/a", f"{ROOT}/src/b")


def test_a_file_that_needs_an_image_still_needs_one() -> None:
    world = running(LIVE)
    world.save("src/a")
    world.save("src/stop")
    broke(world)
    assert world.lanes() == [("web", "full")]


def test_steps_that_failed_before_survive_and_run_with_it() -> None:
    world = running(LIVE)
    up = world.container("web")
    world.save("src/conf")
    missed = (("sh", "-c", "hup"),)
    world.finish("web", ev.Ok(user_error="hup failed", unmet=((up.id, missed),)))
    world.save("src/a")
    broke(world)
    assert catch_up(world).unmet == missed
    world.finish("web", ev.Ok(user_error="hup failed", unmet=((up.id, missed),)))
    world.trigger("web")
    assert [type(step) for step in only(world).branches[0]] == [ExecIn]


@pytest.mark.parametrize("kind", ["broke", "rejected"])
def test_what_cannot_be_compared_is_replaced(kind: str) -> None:
    world = found()
    world.finish("web", failed("the image has no shell", kind, FOUND.id))
    assert world.lanes() == [("web", "full")]
    assert applied(only(world)).recreate
    assert "has no shell" in only(world).cause.because[0].text
    world.settle()
    assert world.lanes() == []


def test_what_cannot_be_read_here_waits_for_a_change() -> None:
    world = found()
    world.finish("web", failed("cannot read src"))
    assert world.lanes() == []
    world.save("src/a")
    assert catch_up(world)


def test_a_comparison_that_was_cancelled_waits_for_a_change() -> None:
    world = found()
    world.finish("web", ev.Stopped())
    assert world.lanes() == []
    world.save("src/a")
    assert catch_up(world)


def test_a_daemon_that_is_away_is_waited_for() -> None:
    world = found()
    world.finish("web", failed("no answer", "unavailable"))
    assert held(world, "web") == "retrying"
    assert world.plan.wake_at is not None
    world.now = world.plan.wake_at
    world.turn()
    assert catch_up(world)


def test_a_container_kept_by_an_update_with_changes_for_it_is_compared() -> None:
    """Its image came out the same; yet a live update may have left what was taken back since."""
    world = running(LIVE)
    up = world.container("web")
    world.save("src/made")
    world.settle()
    world.save("src/made", "src/stop")
    assert world.lanes() == [("web", "full")]
    kept(world, up)
    assert catch_up(world).changed == (f"{ROOT}/src/made",)
    world.settle()
    assert world.lanes() == []
    assert not world.state.changes


def test_a_container_kept_by_an_update_without_changes_for_it_is_known() -> None:
    world = World(
        spec(service("web", "other", "web"), images=[image("other", "other"), image("web", "src", live=LIVE)])
    )
    world.settle()
    world.save("other/x")
    kept(world, world.container("web"))
    assert world.lanes() == []


@pytest.mark.parametrize("state", ["exited", "restarting"])
def test_a_container_that_does_not_run_is_not_started_again_with_what_a_live_update_left(state: str) -> None:
    world = running(LIVE)
    world.save("src/a")
    world.settle()
    world.see("web", replace(world.container("web"), state=state, exit_code=1))
    world.save("src/a")
    assert applied(only(world)).recreate
    assert not applied(only(world)).revive


def test_other_rules_for_a_container_that_was_updated_live_replace_it() -> None:
    world = running(LIVE)
    world.save("src/a")
    world.settle()
    world.load(spec(service("web", "web"), images=[image("web", live=rules(("src", "/elsewhere")))]))
    assert only(world).cause.flags == (CONFIG,)
    assert applied(only(world)).recreate


def test_in_manual_mode_a_found_container_is_compared_and_changes_wait() -> None:
    world = found(trigger_mode=MANUAL)
    assert catch_up(world)
    world.settle()
    world.save("src/a")
    world.trigger("web")
    world.save("src/b")
    broke(world)
    assert held(world, "web") == "Trigger"
    world.trigger("web")
    assert catch_up(world).changed == (f"{ROOT}/src/a", f"{ROOT}/src/b")


@pytest.mark.parametrize("runs, compared", [("sha256:built", False), ("", False), ("sha256:another", True)])
def test_a_container_that_somebody_else_made_is_known_by_its_image(runs: str, *, compared: bool) -> None:
    world = World(spec(service("web", "web"), images=[image("web", live=LIVE)]))
    outcome = world.success(only(world))
    world.finish("web", replace(outcome, built=tuple(replace(one, digest="sha256:built") for one in outcome.built)))
    world.see("web", Container("new", "web-1", "web", "running", image=runs))
    assert bool(world.lanes()) == compared


@pytest.mark.parametrize("started, compared", [("2023-11-14T22:13:19Z", True), ("2023-11-14T22:13:21Z", False)])
def test_the_pod_of_an_earlier_session_is_compared(started: str, *, compared: bool) -> None:
    world = World(spec(kubernetes("web", "web"), images=[image("web", live=LIVE)]))
    outcome = world.success(only(world))
    world.finish("web", replace(outcome, applied=(Applied("web", at=1_700_000_000.5),)))
    inside = Container("c", "web", "web", "running", image=outcome.built[0].local_ref, started_at=started)
    world.see_pods("web", Pod("web-1", "default", "1", "Running", containers=(inside,)))
    assert bool(world.lanes()) == compared
    if compared:
        assert catch_up(world).container == inside


def builds(world: World) -> dict[str, str]:
    """The images the running update builds, each with the resource an earlier session may have left it in."""
    steps = [step for step in only(world).branches[0] if isinstance(step, BuildImage)]
    return {step.image.ref: step.found_in.name if step.found_in else "" for step in steps}


def test_only_the_first_deploy_takes_what_an_earlier_session_built() -> None:
    world = World(spec(service("web", "web"), images=[image("web", live=LIVE)]))
    assert builds(world) == {"web": "web"}
    world.finish("web")
    world.save("src/stop")
    assert builds(world) == {"web": ""}


def test_only_what_is_updated_live_and_stands_alone_is_taken_from_an_earlier_session() -> None:
    images = [image("base", "base", live=LIVE), image("web", "web", live=LIVE, bases=("base",))]
    assert builds(World(spec(service("web", "base", "web"), images=images))) == {"base": "", "web": ""}
    assert builds(World(spec(service("web", "web"), images=[image("web")]))) == {"web": ""}
    assert builds(World(spec(kubernetes("web", "web"), images=[image("web", live=LIVE)]))) == {"web": ""}


def test_every_container_of_an_image_of_an_earlier_session_is_compared() -> None:
    world = World(spec(service("web", "web"), images=[image("web", live=LIVE)]))
    outcome = world.success(only(world))
    stale = tuple(replace(one, digest="sha256:1", stale=True) for one in outcome.built)
    world.finish("web", replace(outcome, built=stale))
    assert "an earlier session" in only(world).cause.because[0].text
    world.settle()
    world.see("web", Container("new", "web-1", "web", "running", image="sha256:1"))
    assert catch_up(world).container.id == "new"
    world.settle()
    world.save("src/stop")
    world.settle()
    assert world.lanes() == []
    assert world.history[-1].lane == "full"


def test_a_question_about_a_path_is_answered_for_a_known_container() -> None:
    (effect,) = what_if(found().state, f"{ROOT}/src/a").effects
    assert effect.action == "live update"
    assert effect.steps[0].startswith(f"copy {ROOT}/src/a")
