"""Commands in, whatever way the front end finds: control request, command comm, or a widget's own message.

Registered when the extension loads, gone when it unloads. Handlers run on the kernel's Control, subshell or main
thread: they parse, hand on and return. The control request also works while a cell is busy and after a page reload;
the comm `ipytilt.cmd` is never written to, because a comm the kernel has published on is routed to whichever shell
published last, and then waits for the running cell.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from ipytilt.errors import TiltError, UsageError
from ipytilt.runtime.logs import ALL, Logs
from ipytilt.views import wire

REQUEST = "ipytilt_request"
REPLY = "ipytilt_reply"
COMMAND_TARGET = "ipytilt.cmd"

_REMEMBERED_COMMANDS = 500


class View(Protocol):
    """What requests are handed to; a `Pump` is one."""

    name: str

    def ask(self, request: wire.ViewRequest) -> None:
        """Answer, later, on a thread of one's own."""
        ...


class Transport:
    """The one door for commands.

    Args:
        submit: takes a command for the session; it only posts, and may raise TiltError.
        logs: where a command that cannot be answered complains.
    """

    def __init__(self, submit: Callable[[wire.SessionCommand], None], logs: Logs) -> None:
        self._submit = submit
        self._logs = logs
        self._views: dict[str, View] = {}
        self._lock = threading.Lock()
        self._known: deque[str] = deque(maxlen=_REMEMBERED_COMMANDS)
        self._comms: dict[str, Any] = {}
        self._kernel: Any = None

    def add(self, view: View) -> None:
        """Requests that name `view` go to it from now on."""
        self._views[view.name] = view

    def remove(self, view: View) -> None:
        """Take back `add`."""
        self._views.pop(view.name, None)

    def handle(self, raw: object) -> dict[str, Any]:
        """Parse and hand on one message; the reply is `{"ok": True}` or `{"ok": False, "problem": text}`.

        A front end that got no answer in time sends a command again on another way: its id is taken once.
        """
        try:
            command = wire.parse_command(raw)
            match command:
                case (
                    wire.Trigger() | wire.StopUpdate() | wire.Enable() | wire.Disable() | wire.Press() | wire.TakeOver()
                ):
                    if self._is_new(command.id):
                        self._submit(command)
                case _:
                    self._view(command).ask(command)
        except TiltError as error:
            return {"ok": False, "problem": error.render()}
        return {"ok": True}

    def handle_unanswered(self, raw: object) -> None:
        """`handle` for ways that carry no reply: a problem goes to the log."""
        reply = self.handle(raw)
        if not reply["ok"]:
            self._logs.append(ALL, reply["problem"], level="warning")

    def open(self, kernel: Any) -> None:
        """Listen on `kernel` (an ipykernel); None, as in plain IPython, is fine and does nothing."""
        if kernel is None:
            return
        from comm import get_comm_manager

        self._kernel = kernel
        kernel.control_handlers[REQUEST] = self._on_request
        get_comm_manager().register_target(COMMAND_TARGET, self._on_comm)

    def close(self) -> None:
        """Stop listening and leave no comm open."""
        if self._kernel is None:
            return
        from comm import get_comm_manager

        self._kernel.control_handlers.pop(REQUEST, None)
        self._kernel = None
        get_comm_manager().targets.pop(COMMAND_TARGET, None)
        for comm in list(self._comms.values()):
            comm.close()
        self._comms.clear()

    async def _on_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        kernel = self._kernel
        if kernel is not None:
            kernel.session.send(stream, REPLY, self.handle(parent.get("content")), parent, ident)

    def _on_comm(self, comm: Any, _message: dict[str, Any]) -> None:
        self._comms[comm.comm_id] = comm
        comm.on_msg(lambda message: self.handle_unanswered(message["content"]["data"]))
        comm.on_close(lambda _message: self._comms.pop(comm.comm_id, None))

    def _is_new(self, id_: str) -> bool:
        with self._lock:
            if id_ in self._known:
                return False
            self._known.append(id_)
            return True

    def _view(self, request: wire.ViewRequest) -> View:
        view = self._views.get(request.view)
        if view is None:
            raise UsageError("This view belongs to a session that is over", hint="run the cell that shows it again")
        return view
