"""The words views show, row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipytilt.core import events as ev
from ipytilt.core import status
from ipytilt.core.spec import Probe, TCPSocketAction
from ipytilt.core.steps import Container
from tests.support.core import MANUAL, World, failed, image, local, service, spec


def words(world: World, name: str) -> tuple[str, str]:
    """(update, runtime)."""
    resource = world.state.spec.resource(name)
    assert resource is not None
    return status.update_status(world.state, resource).word, status.runtime_status(world.state, resource).word


def test_a_service_from_start_to_ready() -> None:
    world = World(spec(service("web", "web"), images=[image("web")]))
    assert words(world, "web") == ("in_progress", "pending")
    world.finish("web")
    assert words(world, "web") == ("ok", "ok")
    world.save("x")
    assert words(world, "web") == ("in_progress", "ok")
    world.finish("web", failed("exit code: 1"))
    assert words(world, "web") == ("error", "ok")


@pytest.mark.parametrize(
    "container, word",
    [
        (Container("c", "web-1", "web", "exited", exit_code=1), "error"),
        (Container("c", "web-1", "web", "exited", exit_code=0), "ok"),
        (Container("c", "web-1", "web", "created"), "pending"),
        (Container("c", "web-1", "web", "paused"), "pending"),
        (Container("c", "web-1", "web", "restarting", exit_code=3), "error"),
        (Container("c", "web-1", "web", "running", health="unhealthy"), "error"),
        (Container("c", "web-1", "web", "running", health="healthy"), "ok"),
    ],
)
def test_runtime_of_a_container(container: Container, word: str) -> None:
    world = World(spec(service("web")))
    world.settle()
    world.see("web", container)
    assert words(world, "web")[1] == word


def test_a_local_command_has_no_runtime() -> None:
    world = World(spec(local("gen")))
    world.finish("gen", failed())
    assert words(world, "gen") == ("error", "not_applicable")


def test_a_server_runs_waits_for_its_probe_and_dies() -> None:
    world = World(spec(local("srv", serve=True)))
    world.finish("srv")
    run = world.track("srv").served
    assert words(world, "srv") == ("not_applicable", "pending")
    world.post(ev.ServerChanged("srv", run, 42, None, "", world.now))
    assert words(world, "srv")[1] == "ok"
    world.post(ev.Probed("srv", run, ready=False, at=world.now))
    assert words(world, "srv")[1] == "pending"
    world.post(ev.ServerChanged("srv", run, 42, 0, "", world.now))
    assert words(world, "srv")[1] == "error"


def test_a_new_update_s_server_is_awaited_and_a_probe_must_have_spoken() -> None:
    server = local("srv", deps=("src",), serve=True)
    probe = Probe(TCPSocketAction(1))
    world = World(spec(replace(server, target=replace(server.target, probe=probe))))  # type: ignore[arg-type]
    world.finish("srv")
    run = world.track("srv").served
    world.post(ev.ServerChanged("srv", run, 42, None, "", world.now))
    assert words(world, "srv")[1] == "pending"
    world.post(ev.Probed("srv", run, ready=True, at=world.now))
    assert words(world, "srv")[1] == "ok"
    world.save("src/a")
    world.finish("srv")
    assert words(world, "srv")[1] == "pending"


def test_untouched_and_disabled() -> None:
    world = World(spec(local("helper", auto_init=False, trigger_mode=MANUAL), service("web"), enabled=["helper"]))
    assert words(world, "helper") == ("none", "not_applicable")
    assert words(world, "web") == ("disabled", "disabled")


def test_manual_changes_do_not_make_it_pending() -> None:
    world = World(spec(local("gen", deps=("src",), trigger_mode=MANUAL)))
    world.settle()
    world.save("src/a")
    assert words(world, "gen")[0] == "ok"
    resource = world.state.spec.resource("gen")
    assert resource is not None
    assert status.has_pending_changes(world.state, resource)


def test_185_ready_whatever_the_update_says_up_to_date_not() -> None:
    world = World(spec(service("web", "web"), images=[image("web")]))
    world.settle()
    world.save("x")
    world.finish("web", failed())
    resource = world.state.spec.resource("web")
    assert resource is not None
    assert status.is_ready(world.state, resource)
    assert not status.is_up_to_date(world.state, resource)


@pytest.mark.parametrize(
    "seconds, text", [(0.006, "6 ms"), (0.25, "250 ms"), (1.24, "1.2 s"), (42.0, "42 s"), (600.0, "10 m")]
)
def test_durations(seconds: float, text: str) -> None:
    assert status.duration_text(seconds) == text
