"""Live-update decisions beyond the rows of `test_behaviour`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipytilt.core import events as ev
from ipytilt.core.state import INITIAL
from ipytilt.core.steps import Apply, BuildImage, ExecIn, RestartContainer, SyncAll
from tests.core.rows import commands, only, running, sent
from tests.support.core import World, failed, image, rules, service, spec


def test_the_first_update_builds_and_deploys() -> None:
    world = World(spec(service("web", "web"), images=[image("web")]))
    (update,) = world.started.values()
    assert update.cause.flags == (INITIAL,)
    assert [type(s) for s in update.branches[0]] == [BuildImage, Apply]


def test_what_a_failed_run_step_left_undone_runs_with_the_next_update_and_on_a_trigger() -> None:
    """[gap] Tilt forgets it; its trigger builds anew."""
    world = running()
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


@pytest.mark.parametrize(
    "runs, stop, saved, lane, expected",
    [
        ([("hup", ("conf",))], (), "conf/a", "live", ["hup"]),
        ([("hup", ("conf",)), ("always", ())], (), "conf/a", "live", ["hup", "always"]),
        ([("hup", ("conf",)), ("always", ())], (), "other", "live", ["always"]),
        ([("hup", ("conf",))], (), "other", "full", []),
        ([("hup", ("conf",))], ("conf/b",), "conf/b", "full", []),
    ],
)
def test_rules_without_a_sync_only_run_what_is_triggered(
    runs: list[tuple[str, tuple[str, ...]]], stop: tuple[str, ...], saved: str, *, lane: str, expected: list[str]
) -> None:
    """[gap] Tilt builds anew whenever no sync covers the file."""
    world = running(rules(runs=runs, stop=stop))
    world.save(saved)
    assert (world.lanes(), commands(world), sent(world)) == ([("web", lane)], expected, [])
    world.settle()
    assert world.last("web").lane == lane


@pytest.mark.parametrize(
    "saved, lane, ran, copied",
    [
        (["conf/a"], "live", ["hup", "always"], []),
        (["conf/a", "src/a"], "live", ["hup", "always"], [("src/a", "/s/a")]),
        (["src/a"], "live", ["always"], [("src/a", "/s/a")]),
        (["conf/a", "other"], "full", [], []),
        (["conf/stop"], "full", [], []),
    ],
)
def test_a_change_that_only_a_trigger_covers_runs_its_command_and_is_not_copied(
    saved: list[str], lane: str, ran: list[str], *, copied: list[tuple[str, str]]
) -> None:
    """BETTER: Tilt builds anew, as no sync covers the file."""
    world = running(rules(("src", "/s"), runs=[("hup", ("conf",)), ("always", ())], stop=["conf/stop"]))
    world.save(*saved)
    assert (world.lanes(), commands(world), sent(world)) == ([("web", lane)], ran, copied)
    told = any("it is not copied" in one.text for one in only(world).cause.because)
    assert lane == "full" or told == ("conf/a" in saved)
    world.settle()
    assert world.lanes() == []


def test_a_command_without_a_copy_is_followed_by_the_restart() -> None:
    world = running(rules(("src", "/s"), runs=[("hup", ("conf",))], restart=True))
    world.save("conf/a")
    assert [type(step) for step in only(world).branches[0]] == [ExecIn, RestartContainer]


def test_a_full_update_that_fails_after_a_broken_live_one_is_not_repeated_for_ever() -> None:
    world = running()
    world.save("src/a.py")
    world.finish("web", failed("killed", "broke", world.container("web").id))
    world.finish("web", failed("killed", "broke", world.container("web").id))
    assert world.lanes() == [("web", "full")]
    world.finish("web", failed("does not build"))
    assert world.lanes() == []


def test_an_unreadable_local_file_is_tried_again_with_the_next_change_and_nothing_is_lost() -> None:
    world = running()
    world.save("src/a.py")
    world.finish("web", failed("cannot read src/a.py", "rejected"))
    assert world.lanes() == []
    world.save("src/b.py")
    assert [local for local, _ in sent(world)] == ["src/a.py", "src/b.py"]


INITIAL_SYNC = replace(rules(("src", "/app/src")), initial_sync=True)


def test_compose_fills_a_new_container_by_the_rules_that_ask_for_it_and_only_copies() -> None:
    live = rules(("src", "/s"), ("conf", "/c"), runs=[("hup", ("src",))], stop=["src/stop"])
    syncs = (live.syncs[0], replace(live.syncs[1], initial=False))
    live = replace(live, syncs=syncs, initial_sync=True, from_compose=True)
    world = World(spec(service("web", "web"), images=[image("web", live=live)]))
    world.finish("web")
    (step,) = only(world).branches[0]
    assert isinstance(step, SyncAll)
    assert (step.rules.syncs, step.rules.runs, step.rules.stop_paths) == (syncs[:1], (), ())


def test_an_initial_sync_that_fails_here_waits_for_a_change() -> None:
    world = World(spec(service("web", "web"), images=[image("web", live=INITIAL_SYNC)]))
    world.finish("web")
    world.finish("web", failed("cannot read src/a.py"))
    assert world.lanes() == []
    world.save("src/a.py")
    assert world.lanes() == [("web", "live")]
