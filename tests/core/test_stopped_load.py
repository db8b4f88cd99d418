"""An evaluation that is stopped: what was good stays, nobody waits in vain, and nothing saved is lost."""

from __future__ import annotations

import pytest

from ipytilt.core import events as ev
from ipytilt.core.state import CONFIG_WATCH, TILTFILE
from tests.support.core import World, local, spec


@pytest.fixture
def world() -> World:
    world = World(spec(local("one")))
    world.settle()
    return world


def put(world: World, ticket: int, key: str = "cell:2") -> None:
    world.post(ev.SourcePut(ev.Source(key, key, "/p", "text"), ticket, world.now))


def stop(world: World) -> None:
    world.post(ev.CancelRequested(TILTFILE, world.now))


def end(world: World, error: ev.ErrorInfo | None = None) -> None:
    run = world.state.load.running
    assert run is not None
    world.post(ev.LoadFinished(run, None if error else spec(local("two")), error, (), world.now))


@pytest.mark.parametrize("error", [ev.ErrorInfo("cancelled"), None], ids=["cancelled", "over already"])
def test_what_was_good_stays_in_force(world: World, error: ev.ErrorInfo | None) -> None:
    before = world.state
    put(world, 50)
    stop(world)
    assert world.plan.cancel == {world.state.load.running}
    end(world, error)
    load = world.state.load
    assert (world.state.spec, load.good, load.wanted, load.reads) == (
        before.spec,
        before.load.good,
        before.load.good,
        before.load.reads,
    )
    assert (load.running, load.stale, load.finished) == (None, False, 50)
    assert load.error is not None
    assert "stopped" in load.error.message
    put(world, 51)
    end(world)
    assert [r.name for r in world.state.spec.resources] == ["two"]
    assert world.state.load.error is None


def test_what_waited_behind_it_is_answered_and_never_begins(world: World) -> None:
    put(world, 50)
    put(world, 51, "cell:3")
    stop(world)
    end(world)
    assert (world.state.load.finished, world.state.load.running) == (51, None)


def test_what_is_put_after_it_runs_without_what_was_stopped(world: World) -> None:
    put(world, 50)
    stop(world)
    put(world, 51, "cell:3")
    end(world)
    assert [s.key for s in world.state.load.running_sources] == ["cell:1", "cell:3"]
    assert world.plan.cancel == frozenset()


def test_a_file_saved_meanwhile_is_read_again(world: World) -> None:
    put(world, 50)
    world.post(ev.FilesChanged(CONFIG_WATCH, ("/p/lib",), world.now))
    stop(world)
    end(world)
    assert [s.key for s in world.state.load.running_sources] == ["cell:1"]


def test_with_nothing_to_stop_nothing_happens(world: World) -> None:
    before = world.state.load
    stop(world)
    assert world.state.load == before
