"""Live-update decisions, row by row; numbers are those of the behaviour cases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipytilt.core import events as ev
from ipytilt.core.spec import LiveUpdate
from ipytilt.core.state import CONFIG, INITIAL
from ipytilt.core.steps import Apply, BuildImage, Container, ExecIn, RestartContainer, SyncAll, SyncFiles
from tests.support.core import MANUAL, World, applied, failed, image, rules, service, spec

FX_A = rules(
    ("src", "/app/src"),
    runs=[("pip check", ("src/setup.py",)), ("touch /app/reload", ())],
    stop=["requirements.txt"],
)


def live_world(live: LiveUpdate = FX_A, **options: object) -> World:
    world = World(spec(service("web", "web", **options), images=[image("web", live=live)]))
    world.settle()
    return world


def commands(world: World) -> list[str]:
    update = next(iter(world.started.values()))
    return [s.argv[-1] for branch in update.branches for s in branch if isinstance(s, ExecIn)]


def copies(world: World) -> list[tuple[str, str]]:
    update = next(iter(world.started.values()))
    return [
        (c.local.removeprefix("/p/"), c.container)
        for branch in update.branches
        for s in branch
        if isinstance(s, SyncFiles)
        for c in s.copies
    ]


def test_the_first_update_builds_and_deploys() -> None:
    world = World(spec(service("web", "web"), images=[image("web")]))
    (update,) = world.started.values()
    assert update.cause.flags == (INITIAL,)
    assert [type(s) for s in update.branches[0]] == [BuildImage, Apply]


@pytest.mark.parametrize(
    "saved, lane, expected_copies, expected_commands",
    [
        pytest.param(("src/a.py",), "live", ["/app/src/a.py"], ["touch /app/reload"], id="45"),
        pytest.param(("src/setup.py",), "live", ["/app/src/setup.py"], ["pip check", "touch /app/reload"], id="46"),
        pytest.param(("src/x/y/z",), "live", ["/app/src/x/y/z"], ["touch /app/reload"], id="33"),
        pytest.param(("requirements.txt",), "full", [], [], id="48"),
        pytest.param(("src/a.py", "README.md"), "full", [], [], id="50"),
    ],
)
def test_live_update_or_full(
    saved: tuple[str, ...], lane: str, expected_copies: list[str], expected_commands: list[str]
) -> None:
    world = live_world()
    world.save(*saved)
    assert world.lanes() == [("web", lane)]
    assert [target for _, target in copies(world)] == expected_copies
    assert commands(world) == expected_commands


def test_49_a_stop_file_inside_a_sync_means_a_full_update_that_names_the_rule() -> None:
    world = live_world(rules((".", "/app"), stop=["requirements.txt"]))
    world.save("requirements.txt")
    (update,) = world.started.values()
    assert update.lane == "full"
    assert any("fall_back_on('requirements.txt')" in b.text and b.origin.line == 10 for b in update.cause.because)


@pytest.mark.parametrize(
    "syncs, saved, expected",
    [
        pytest.param([("s1/f", "/d1/")], "s1/f", "/d1/f", id="34"),
        pytest.param([("s1/f", "/d1/g")], "s1/f", "/d1/g", id="35"),
        pytest.param([(".", "/app"), ("web", "/srv")], "web/x", "/app/web/x", id="37"),
        pytest.param([("web", "/srv"), (".", "/app")], "web/x", "/srv/x", id="37-specific-first"),
        pytest.param([("src/", "/app/")], "src/a/b.py", "/app/a/b.py", id="PM4"),
    ],
)
def test_path_mapping(syncs: list[tuple[str, str]], saved: str, expected: str) -> None:
    world = live_world(rules(*syncs))
    world.save(saved)
    assert [target for _, target in copies(world)] == [expected]


def test_39_a_trigger_is_a_path_not_a_name() -> None:
    world = live_world(rules((".", "/app"), runs=[("x", ("bar",))]))
    world.save("nested/bar")
    assert commands(world) == []


def test_40_only_triggered_runs_execute() -> None:
    world = live_world(rules((".", "/app"), runs=[("one", ("foo",)), ("two", ("bar",))]))
    world.save("baz", "bar")
    assert commands(world) == ["two"]


def test_52_a_rebuilt_image_makes_live_updates_work_again() -> None:
    world = live_world()
    world.save("requirements.txt")
    world.settle()
    world.save("src/a.py")
    assert world.lanes() == [("web", "live")]
    assert [local for local, _ in copies(world)] == ["src/a.py"]


def test_54_a_container_that_is_coming_up_is_waited_for() -> None:
    world = live_world()
    up = world.container("web")
    world.see("web", Container(up.id, up.name, "web", "created"))
    world.save("src/a.py")
    assert world.lanes() == []
    assert world.state.holds["web"].reason == "waiting-for-deploy"
    world.see("web", up)
    assert world.lanes() == [("web", "live")]


def test_56_a_stopped_container_means_a_full_update() -> None:
    world = live_world()
    up = world.container("web")
    world.see("web", Container(up.id, up.name, "web", "exited", exit_code=1))
    world.save("src/a.py")
    assert world.lanes() == [("web", "full")]


def test_60_several_containers_are_updated_side_by_side() -> None:
    world = live_world()
    one = world.container("web")
    world.see("web", one, Container("c9", "web-2", "web", "running"))
    world.save("src/a.py")
    (update,) = world.started.values()
    assert len(update.branches) == 2
    assert set(update.marks) == {one.id, "c9"}


def test_64_65_a_failed_run_step_counts_as_synced_and_is_not_repeated() -> None:
    world = live_world()
    world.save("src/a.py")
    world.finish("web", ev.Ok(user_error="command 'make' failed with exit code: 1"))
    assert world.lanes() == []
    assert world.last("web").result == "error"
    world.save("src/b.py")
    assert [local for local, _ in copies(world)] == ["src/b.py"]


def test_what_a_failed_run_step_left_undone_runs_with_the_next_update_and_on_a_trigger() -> None:
    """[gap] Tilt forgets it; its trigger builds anew."""
    world = live_world()
    world.save("src/a.py")
    (update,) = world.started.values()
    argvs = tuple(step.argv for step in update.branches[0] if isinstance(step, ExecIn))
    assert argvs
    unmet = ((world.container("web").id, argvs),)
    world.finish("web", ev.Ok(user_error="command failed", unmet=unmet))
    assert world.lanes() == []
    world.trigger("web")
    (update,) = world.started.values()
    assert (update.lane, [type(step) for step in update.branches[0]]) == ("live", [ExecIn] * len(argvs))
    assert not any("Files" in flag for flag in update.cause.flags)
    world.finish("web", ev.Ok(user_error="command failed", unmet=unmet))
    world.save("src/b.py")
    (update,) = world.started.values()
    assert tuple(step.argv for step in update.branches[0] if isinstance(step, ExecIn)) == argvs
    world.settle()
    world.trigger("web")
    assert world.lanes() == [("web", "full")]


def test_66_a_live_update_that_broke_is_followed_by_a_full_one_at_once() -> None:
    """[gap] Tilt waits for the next change."""
    world = live_world()
    world.save("src/a.py")
    world.finish("web", failed("killed", "broke", world.container("web").id))
    assert world.lanes() == [("web", "full")]
    world.settle()
    assert world.track("web").broken == ""
    world.save("src/b.py")
    assert world.lanes() == [("web", "live")]


def test_a_full_update_that_fails_after_a_broken_live_one_is_not_repeated_for_ever() -> None:
    world = live_world()
    world.save("src/a.py")
    world.finish("web", failed("killed", "broke", world.container("web").id))
    world.finish("web", failed("does not build"))
    assert world.lanes() == []


def test_an_unreadable_local_file_is_tried_again_with_the_next_change_and_nothing_is_lost() -> None:
    world = live_world()
    world.save("src/a.py")
    world.finish("web", failed("cannot read src/a.py", "rejected"))
    assert world.lanes() == []
    world.save("src/b.py")
    assert [local for local, _ in copies(world)] == ["src/a.py", "src/b.py"]


def test_70_a_replaced_container_gets_everything_since_the_image() -> None:
    world = live_world()
    for name in ("a", "b", "c"):
        world.save(f"src/{name}.py")
        world.settle()
    world.see("web", Container("new", "web-1", "web", "running"))
    assert [local for local, _ in copies(world)] == ["src/a.py", "src/b.py", "src/c.py"]


def test_71_restart_container_comes_last() -> None:
    world = live_world(rules((".", "/app"), runs=[("make", ())], restart=True))
    world.save("x.c")
    (update,) = world.started.values()
    assert [type(s) for s in update.branches[0]] == [SyncFiles, ExecIn, RestartContainer]


def test_75_76_manual_mode_waits_for_the_trigger_then_only_syncs() -> None:
    world = live_world(trigger_mode=MANUAL)
    world.save("src/a.py")
    assert world.lanes() == []
    assert world.state.holds["web"].reason == "Trigger"
    world.trigger("web")
    assert world.lanes() == [("web", "live")]
    world.settle()
    assert world.track("web").asked is None


@pytest.mark.parametrize(
    "options, saved", [({"trigger_mode": MANUAL}, ()), ({}, ()), ({}, ("src/a.py",))], ids=["77", "78", "MT4"]
)
def test_a_trigger_forces_a_full_update(options: dict[str, object], saved: tuple[str, ...]) -> None:
    world = live_world(FX_A, **options)
    if saved:
        world.save(*saved)
        world.settle()
    world.trigger("web")
    (update,) = world.started.values()
    assert update.lane == "full"
    assert applied(update).force


FX_D = [image("base", "base"), image("web", "web", live=rules(("web", "/web"), ("base", "/base")), bases=("base",))]


def test_79_80_81_base_images() -> None:
    world = World(spec(service("web", "base", "web"), images=FX_D))
    world.settle()
    world.save("web/x")
    assert copies(world) == [("web/x", "/web/x")]
    world.settle()
    world.save("base/x")
    assert copies(world) == [("base/x", "/base/x")]
    world.settle()
    without = [FX_D[0], image("web", "web", live=rules(("web", "/web")), bases=("base",))]
    world = World(spec(service("web", "base", "web"), images=without))
    world.settle()
    world.save("base/x")
    (update,) = world.started.values()
    assert [s.image.ref for s in update.branches[0] if isinstance(s, BuildImage)] == ["base", "web"]


def test_82_a_change_during_an_image_build_waits_for_the_container_that_will_live() -> None:
    """[gap] Tilt also sends it to the container that is about to go."""
    world = live_world()
    world.trigger("web")
    world.save("src/a.py")
    assert world.lanes() == [("web", "full")]
    world.finish("web")
    assert world.lanes() == [("web", "live")]
    assert copies(world) == [("src/a.py", "/app/src/a.py")]


def test_83_changed_live_update_rules_mean_a_full_update() -> None:
    world = live_world()
    world.load(spec(service("web", "web"), images=[image("web", live=rules(("src", "/elsewhere")))]))
    (update,) = world.started.values()
    assert (update.lane, update.cause.flags) == ("full", (CONFIG,))


INITIAL_SYNC = replace(rules(("src", "/app/src")), initial_sync=True)


def test_86_87_88_a_new_container_is_filled_once() -> None:
    world = live_world(INITIAL_SYNC)
    (filling,) = [u for u in world.history if u.lane == "live"]
    assert filling.cause.flags == ("Initial Sync",)
    assert isinstance(filling.branches[0][0], SyncAll)
    world.save("src/a.py")
    world.settle()
    assert [type(u.branches[0][0]) for u in world.history if u.lane == "live"] == [SyncAll, SyncFiles]
    world.see("web", Container("new", "web-1", "web", "running"))
    world.settle()
    assert [type(u.branches[0][0]) for u in world.history if u.lane == "live"][2:] == [SyncAll]


def test_an_initial_sync_that_fails_here_waits_for_a_change() -> None:
    world = World(spec(service("web", "web"), images=[image("web", live=INITIAL_SYNC)]))
    world.finish("web")
    world.finish("web", failed("cannot read src/a.py"))
    assert world.lanes() == []
    world.save("src/a.py")
    assert world.lanes() == [("web", "live")]
