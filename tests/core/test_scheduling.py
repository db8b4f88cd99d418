"""Which update starts when, what waits for what, and what a reload means; numbers are those of the behaviour cases."""

from __future__ import annotations

from ipytilt.core import events as ev
from ipytilt.core.state import FILES, INITIAL
from ipytilt.core.steps import Apply, BuildImage
from tests.core.test_plan import FX_A, live_world
from tests.support.core import MANUAL, World, applied, failed, image, local, service, spec


def test_92_93_a_serial_local_runs_alone() -> None:
    world = World(spec(local("b"), service("a")))
    assert world.lanes() == [("b", "full")]
    assert world.state.holds["a"].reason == "waiting-for-local"
    world.finish("b")
    assert world.lanes() == [("a", "full")]
    world.trigger("b")
    assert world.state.holds["b"].reason == "is-unparallelizable-local"


def test_94_parallel_locals_share_the_machine() -> None:
    world = World(spec(local("a", parallel=True), local("c", parallel=True), service("b")))
    assert {name for name, _ in world.lanes()} == {"a", "b", "c"}


def test_98_99_the_first_update_waits_for_its_deps_and_says_so() -> None:
    world = World(spec(local("a"), service("b", resource_deps=("a",))))
    hold = world.state.holds["b"]
    assert (hold.reason, hold.on) == ("waiting-for-local", ("a",))
    world.finish("a", failed())
    assert world.state.holds["b"].reason == "waiting-for-dep"
    assert world.state.holds["b"].on == ("a",)
    world.trigger("a")
    world.finish("a")
    assert world.lanes() == [("b", "full")]


def test_100_later_updates_ignore_deps() -> None:
    world = World(spec(local("a"), local("b", deps=("src",), resource_deps=("a",))))
    world.settle()
    world.trigger("a")
    world.finish("a", failed())
    world.save("src/x")
    assert world.lanes() == [("b", "full")]


def test_102_the_limit_of_parallel_updates_holds() -> None:
    world = World(spec(*(service(n) for n in "abcde")))
    assert len(world.started) == 3
    assert world.state.holds["d"].reason == "no-free-slot"
    world.finish("a")
    assert ("d", "full") in world.lanes()


def test_104_105_triggers_first_then_the_oldest_change() -> None:
    world = World(spec(*(local(n, deps=(n,)) for n in ("w", "c", "a", "b"))))
    world.settle()
    world.trigger("w")
    world.save("c/x")
    world.trigger("b")
    world.trigger("a")
    order = []
    while world.started:
        order.append(world.finish(next(iter(world.started.values())).resource).resource)
    assert order == ["w", "b", "a", "c"]


def test_106_107_a_shared_image_is_built_once() -> None:
    world = World(spec(service("a", "img"), service("b", "img"), images=[image("img")]))
    assert world.state.holds["b"].reason == "building-component"
    world.finish("a")
    (update,) = world.started.values()
    assert [type(s) for s in update.branches[0]] == [Apply]
    assert [b.ref for b in applied(update).images] == ["img"]


def test_108_a_change_of_a_shared_image_builds_it_once_and_deploys_both() -> None:
    world = World(spec(service("a", "img"), service("b", "img"), images=[image("img")]))
    world.settle()
    world.history.clear()
    world.save("x")
    world.settle()
    built = [s.image.ref for u in world.history for s in u.branches[0] if isinstance(s, BuildImage)]
    assert built == ["img"]
    assert sorted(u.resource for u in world.history) == ["a", "b"]


def test_110_an_engine_that_is_away_holds_and_releases() -> None:
    world = live_world()
    world.post(ev.EngineChanged("compose", "Docker does not answer", world.now))
    world.save("src/a.py")
    assert world.lanes() == []
    assert world.state.holds["web"].text == "Docker does not answer"
    world.post(ev.EngineChanged("compose", "", world.now))
    assert world.lanes() == [("web", "live")]


def test_113_a_failed_build_is_not_retried_without_a_change() -> None:
    world = World(spec(service("web", "web"), images=[image("web")]))
    world.finish("web", failed("exit code: 1"))
    assert world.lanes() == []
    world.save("x")
    assert world.lanes() == [("web", "full")]


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
    world.now = later
    world.turn()
    world.settle()
    assert world.last("web").result == "ok"


def test_114_115_changes_during_a_build_make_one_more() -> None:
    world = World(spec(service("web", "web"), images=[image("web")]))
    for name in "abcde":
        world.save(name)
    assert len(world.history) == 1
    world.finish("web")
    (update,) = world.started.values()
    assert len(update.cause.files) == 5
    world.finish("web")
    assert world.lanes() == []


def test_116_auto_init_false_starts_with_a_change() -> None:
    world = World(spec(local("gen", deps=("proto",), auto_init=False)))
    assert world.lanes() == []
    world.save("proto/x")
    (update,) = world.started.values()
    assert update.cause.flags == (FILES,)


def test_117_118_a_changed_trigger_mode_applies_at_once() -> None:
    manual = local("gen", deps=("proto",), trigger_mode=MANUAL, auto_init=False)
    world = World(spec(manual))
    world.save("proto/x")
    assert world.lanes() == []
    world.load(spec(local("gen", deps=("proto",), auto_init=False)))
    assert world.lanes() == [("gen", "full")]
    world = World(spec(manual))
    world.load(spec(local("gen", deps=("proto",), trigger_mode=MANUAL)))
    assert [u.cause.flags for u in world.started.values()] == [(INITIAL,)]


def test_119_120_stop_cancels_the_running_update_only() -> None:
    world = World(spec(local("gen")))
    early = world.now - 10
    world.post(ev.CancelRequested("gen", early))
    assert not world.plan.cancel
    world.post(ev.CancelRequested("gen", world.now))
    assert world.plan.cancel == set(world.started)
    world.finish("gen", ev.Stopped())
    assert world.last("gen").error == "build canceled"
    assert world.lanes() == []


def test_121_122_disabling_cancels_takes_down_and_forgets_the_trigger() -> None:
    world = live_world()
    world.trigger("web")
    world.trigger("web")
    world.post(ev.Enabled(("web",), on=False, at=world.now))
    assert world.plan.cancel
    world.finish("web", ev.Stopped())
    assert world.lanes() == [("web", "down")]
    world.settle()
    assert world.lanes() == []
    world.post(ev.Enabled(("web",), on=True, at=world.now))
    assert [u.cause.flags for u in world.started.values()] == [(INITIAL,)]


# ---------------------------------------------------------------------------------------------- reload


def test_125_132_the_same_or_merely_displayed_differently_means_no_update() -> None:
    world = live_world()
    world.load(spec(service("web", "web"), images=[image("web", live=FX_A)]))
    assert world.lanes() == []
    world.load(spec(service("web", "web", labels=("x",)), images=[image("web", live=FX_A)]))
    assert world.lanes() == []


def test_127_128_a_broken_tiltfile_leaves_everything_running() -> None:
    world = live_world()
    world.load(None, "syntax error")
    assert _message(world) == "syntax error"
    world.save("src/a.py")
    assert world.lanes() == [("web", "live")]
    world.settle()
    world.load(spec(service("web", "web"), images=[image("web", live=FX_A)]))
    assert _message(world) == ""
    assert world.lanes() == []


def test_a_broken_cell_does_not_stand_in_the_way_of_the_next_one() -> None:
    world = live_world()
    bad = ev.Source("cell:2", "Cell 2", "/p", "bad")
    world.post(ev.SourcePut(bad, 50, world.now))
    world.post(ev.LoadFinished(world.loading(), None, ev.ErrorInfo("no"), (), world.now))
    world.post(ev.SourcePut(ev.Source("cell:3", "Cell 3", "/p", "good"), 51, world.now))
    assert [s.key for s in world.state.load.running_sources] == ["cell:1", "cell:3"]


def test_a_file_that_a_broken_tiltfile_read_retries_it() -> None:
    world = live_world()
    bad = ev.Source("cell:2", "Cell 2", "/p", "bad")
    world.post(ev.SourcePut(bad, 50, world.now))
    reads = ("/p/Dockerfile.missing",)
    world.post(ev.LoadFinished(world.loading(), None, ev.ErrorInfo("no"), reads, world.now))
    world.post(ev.FilesChanged("configs:(Tiltfile)", reads, world.now))
    assert [s.key for s in world.state.load.running_sources] == ["cell:1", "cell:2"]


def test_129_130_added_and_removed() -> None:
    world = live_world()
    world.load(spec(service("web", "web"), service("db"), images=[image("web", live=FX_A)]))
    assert world.lanes() == [("db", "full")]
    world.settle()
    world.load(spec(service("web", "web"), images=[image("web", live=FX_A)]))
    assert world.lanes() == [("db", "down")]


def test_133_134_local_deps_and_commands() -> None:
    world = World(spec(local("gen", deps=("a",))))
    world.settle()
    world.load(spec(local("gen", deps=("b",))))
    assert world.lanes() == []
    other = local("gen", deps=("b",))
    world.load(spec(local("other"), other))
    assert world.lanes() == [("other", "full")]


def test_down_takes_everything_down_and_stays_down() -> None:
    world = live_world()
    world.post(ev.DownRequested(world.now))
    assert world.lanes() == [("web", "down")]
    world.settle()
    world.save("src/a.py")
    assert world.lanes() == []
    world.load(spec(service("web", "web"), images=[image("web", live=FX_A)]))
    assert [u.cause.flags[0] for u in world.started.values()] == [INITIAL]


def _message(world: World) -> str:
    error = world.state.load.error
    return error.message if error else ""
