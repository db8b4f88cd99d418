"""Rows 140 to 154: commands, servers and buttons on this machine."""

from __future__ import annotations

import pytest

from ipytilt.core import events as ev
from ipytilt.core.buttons import Button, ButtonInput, environment
from ipytilt.core.orders import orders
from ipytilt.core.spec import Command, Local, Probe, Resource, TCPSocketAction
from ipytilt.core.status import runtime_status
from ipytilt.core.steps import Serve
from ipytilt.errors import UsageError
from tests.core.rows import at_rest, only, row, words
from tests.support.core import ROOT, World, failed, local, spec

LOCAL = "tests/engines/test_local.py::test_"


@row(140, better="no pause of 250 ms: what the command wrote is known before its end is")
def _() -> None:
    world = at_rest(local("gen", deps=("proto",)))
    world.save("proto/x")
    assert world.lanes() == [("gen", "full")]
    world.finish("gen")
    assert words(world, "gen") == ("ok", "not_applicable")


@row(142, also=(f"{LOCAL}a_failing_command_is_the_users_to_mend",))
def _() -> None:
    world = World(spec(local("gen", deps=("proto",))))
    world.finish("gen", failed('Command "make gen" failed: exit status 2'))
    assert words(world, "gen") == ("error", "not_applicable")
    assert world.last("gen").error == 'Command "make gen" failed: exit status 2'
    assert world.lanes() == []


def server(serve: str = "run", *, cmd: str = "build", **options: object) -> Resource:
    """A resource that is built and then served."""
    command = Command(("sh", "-c", cmd), ROOT) if cmd else None
    target = Local(cmd=command, serve=Command(("sh", "-c", serve), ROOT), deps=(f"{ROOT}/app",), **options)  # type: ignore[arg-type]
    return Resource("srv", target)


def serving(resource: Resource) -> World:
    """A world in which it was built and its server runs."""
    world = at_rest(resource)
    world.post(ev.ServerChanged("srv", world.track("srv").served, 42, None, "", world.now))
    return world


def served(world: World) -> Serve:
    """The one server that is to run."""
    (order,) = (order for order in orders(world.state) if isinstance(order, Serve))
    return order


@row(
    143,
    also=(
        f"{LOCAL}the_next_server_starts_when_the_one_before_is_gone",
        "tests/runtime/test_session.py::test_a_server_restarts_after_each_update_and_its_end_is_an_error",
    ),
)
def _() -> None:
    world = serving(server())
    before = served(world)
    world.save("app/x")
    assert served(world) == before
    world.finish("srv")
    assert served(world).after_run > before.after_run


@row(144)
def _() -> None:
    world = serving(server())
    before = served(world)
    world.save("app/x")
    world.finish("srv", failed())
    assert served(world) == before
    assert words(world, "srv") == ("error", "ok")


@row(145, also=(f"{LOCAL}a_server_that_exits_by_itself_is_an_error_and_not_restarted",))
def _() -> None:
    world = serving(server())
    before = served(world)
    world.post(ev.ServerChanged("srv", before.after_run, 42, 0, "Server exited with exit code 0", world.now))
    assert words(world, "srv")[1] == "error"
    assert runtime_status(world.state, server()).text == "Server exited with exit code 0"
    assert (world.lanes(), served(world)) == ([], before)


@row(146)
def _() -> None:
    world = serving(server("old"))
    world.load(spec(server("new")))
    assert served(world).command.argv[-1] == "old"
    world.finish("srv")
    assert served(world).command.argv[-1] == "new"


@row(147, also=(f"{LOCAL}a_server_without_a_command_applies_at_once",))
def _() -> None:
    world = serving(server(cmd=""))
    before = served(world)
    world.save("app/x")
    assert only(world).resource == "srv"
    world.finish("srv")
    assert words(world, "srv")[0] == "not_applicable"
    assert served(world).after_run > before.after_run


@row(148, also=(f"{LOCAL}three_failures_make_a_server_unready_and_no_error",))
def _() -> None:
    world = serving(server(probe=Probe(TCPSocketAction(1))))
    world.post(ev.Probed("srv", served(world).after_run, ready=False, at=world.now))
    assert words(world, "srv")[1] == "pending"


@row(151)
def _() -> None:
    world = World(spec(server(), enabled=()))
    assert (world.lanes(), [o for o in orders(world.state) if isinstance(o, Serve)]) == ([], [])


def button(*inputs: ButtonInput) -> Button:
    """A button with these inputs."""
    return Button("seed", "Seed", Command(("sh", "-c", "seed"), ROOT), inputs=inputs)


@row(153)
def _() -> None:
    one = button(ButtonInput("FORCE", "bool", "false", true="Yes"))
    assert environment(one, {"FORCE": "true"}) == {"FORCE": "Yes"}
    assert environment(one, {}) == {"FORCE": "false"}


@row(154, better="a value that is no choice is refused and the choices are named; without one the first counts")
def _() -> None:
    one = button(ButtonInput("SIZE", "choice", "small", ("small", "big")))
    assert environment(one, {}) == {"SIZE": "small"}
    with pytest.raises(UsageError, match="cannot be 'gone'"):
        environment(one, {"SIZE": "gone"})
