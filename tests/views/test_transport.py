"""Transport: every way in leads to one parser, nothing is done twice, nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from comm import get_comm_manager

from ipytilt.errors import TiltError
from ipytilt.runtime.logs import ALL, Logs
from ipytilt.views import wire
from ipytilt.views.transport import COMMAND_TARGET, REQUEST, Transport


class NotingView:
    """A view that notes what it is asked."""

    name = "panel"

    def __init__(self) -> None:
        self.asked: list[wire.ViewRequest] = []

    def ask(self, request: wire.ViewRequest) -> None:
        self.asked.append(request)


class Rig:
    """A transport and what comes out of it."""

    def __init__(self) -> None:
        self.commands: list[wire.SessionCommand] = []
        self.logs = Logs()
        self.transport = Transport(self.submit, self.logs)
        self.view = NotingView()
        self.transport.add(self.view)

    def submit(self, command: wire.SessionCommand) -> None:
        if isinstance(command, wire.Trigger) and command.resource == "gone":
            raise TiltError("the session has stopped", hint="start it again")
        self.commands.append(command)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.transport.close()
    assert get_comm_manager().targets == {}
    assert get_comm_manager().comms == {}


TRIGGER = {"do": "trigger", "id": "c1", "resource": "api"}


def test_a_press_goes_to_the_session(rig: Rig) -> None:
    raw = {"do": "press", "id": "c2", "button": "seed", "values": {"ROWS": "3"}, "confirmed": True}
    assert rig.transport.handle(raw) == {"ok": True}
    assert rig.commands == [wire.Press("c2", "seed", {"ROWS": "3"}, confirmed=True)]


def test_commands_go_to_the_session_and_requests_to_their_view(rig: Rig) -> None:
    assert rig.transport.handle(TRIGGER) == {"ok": True}
    assert rig.transport.handle({"do": "document", "id": "1", "view": "panel"}) == {"ok": True}
    assert rig.commands == [wire.Trigger("c1", "api")]
    assert rig.view.asked == [wire.GetDocument("1", "panel")]


def test_a_command_sent_twice_is_done_once(rig: Rig) -> None:
    assert rig.transport.handle(TRIGGER) == rig.transport.handle(TRIGGER) == {"ok": True}
    assert rig.commands == [wire.Trigger("c1", "api")]


@pytest.mark.parametrize(
    "raw, problem",
    [
        ({"do": "dance"}, "Unknown command 'dance'"),
        ({**TRIGGER, "resource": "gone"}, "the session has stopped\nTry: start it again"),
        ({"do": "document", "id": "1", "view": "old"}, "This view belongs to a session that is over"),
    ],
)
def test_problems_are_answered_or_else_logged(rig: Rig, raw: object, problem: str) -> None:
    reply = rig.transport.handle(raw)
    assert reply["ok"] is False
    assert problem in reply["problem"]
    rig.transport.handle_unanswered({"do": "dance"})
    assert rig.logs.tail(ALL, 1)[0].level == "warning"


def test_a_removed_view_is_asked_no_more(rig: Rig) -> None:
    rig.transport.remove(rig.view)
    assert rig.transport.handle({"do": "document", "id": "1", "view": "panel"})["ok"] is False


def test_a_control_request_is_replied_to(rig: Rig) -> None:
    sent: list[tuple[Any, ...]] = []
    kernel = SimpleNamespace(control_handlers={}, session=SimpleNamespace(send=lambda *message: sent.append(message)))
    rig.transport.open(kernel)
    parent = {"content": TRIGGER}
    asyncio.run(kernel.control_handlers[REQUEST]("stream", b"ident", parent))
    assert sent == [("stream", "ipytilt_reply", {"ok": True}, parent, b"ident")]
    rig.transport.close()
    assert kernel.control_handlers == {}


def test_a_command_comm_is_listened_to_and_closed_in_the_end(rig: Rig) -> None:
    rig.transport.open(SimpleNamespace(control_handlers={}))
    manager = get_comm_manager()
    opening: Any = {"content": {"comm_id": "abc", "target_name": COMMAND_TARGET, "data": {}}}
    manager.comm_open(None, "", opening)  # type: ignore[arg-type]
    manager.comm_msg(None, "", {"content": {"comm_id": "abc", "data": TRIGGER}})  # type: ignore[arg-type]
    assert rig.commands == [wire.Trigger("c1", "api")]
    rig.transport.close()
    assert manager.comms == {}


def test_a_comm_the_front_end_closed_is_forgotten(rig: Rig) -> None:
    rig.transport.open(SimpleNamespace(control_handlers={}))
    manager = get_comm_manager()
    message: Any = {"content": {"comm_id": "abc", "target_name": COMMAND_TARGET, "data": {}}}
    manager.comm_open(None, "", message)  # type: ignore[arg-type]
    manager.comm_close(None, "", message)  # type: ignore[arg-type]
    assert rig.transport._comms == {}


def test_plain_ipython_has_no_kernel_and_needs_none(rig: Rig) -> None:
    rig.transport.open(None)
    rig.transport.close()
    assert COMMAND_TARGET not in get_comm_manager().targets
