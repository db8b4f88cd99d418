"""One kernel's session with its views: what the magics drive.

Made on first use on the main thread. `close` ends all of it: session, transport, panel. Commands from front ends come
through `_submit`, which only posts, on whatever thread they arrive.
"""

from __future__ import annotations

import atexit
from typing import Any

from ipytilt.core.events import CommandHandled
from ipytilt.core.state import State
from ipytilt.errors import TiltError
from ipytilt.runtime.session import Config, Session
from ipytilt.views import answers, wire
from ipytilt.views.rows import session_view
from ipytilt.views.transport import Transport
from ipytilt.views.widget import Panel


class Cockpit:
    """Owns the session of a kernel. `shell` is IPython's; its kernel is None in a terminal."""

    def __init__(self, shell: Any, config: Config) -> None:
        self.session = Session(config)
        self._shell = shell
        self._transport = Transport(self._submit, self.session.logs)
        self._transport.open(getattr(shell, "kernel", None))
        self._panel: Panel | None = None
        atexit.register(self.session.stop)

    def panel(self) -> Panel:
        """The one live panel, made when it is first shown."""
        if self._panel is None:
            self.session.start()
            self._panel = Panel(
                self._shell,
                store=self.session.store,
                view=self._view,
                logs=self.session.logs,
                explain=self._explain,
                transport=self._transport,
            )
        return self._panel

    def close(self) -> tuple[str, ...]:
        """End everything; returns the names of what did not."""
        atexit.unregister(self.session.stop)
        left = self.session.stop()
        if self._panel is not None:
            self._panel.close()
        self._transport.close()
        return left

    def _view(self, state: State) -> wire.SessionView:
        return session_view(state, self.session.engine_line, scrub=self.session.logs.scrub)

    def _explain(self, path: str) -> str:
        text = answers.explain_text(self.session.explain(path), base=self.session.config.directory)
        return self.session.logs.scrub(text)

    def _submit(self, command: wire.SessionCommand) -> None:
        session, problem = self.session, ""
        try:
            match command:
                case wire.Trigger(resource=name):
                    session.trigger(name, "Web Trigger")
                case wire.StopUpdate(resource=name):
                    session.stop_update(name)
                case wire.Enable(resource=name):
                    session.enable((name,), on=True)
                case wire.Disable(resource=name):
                    session.enable((name,), on=False)
                case wire.TakeOver():
                    session.take_over()
                case wire.Press(button=name, values=values, confirmed=confirmed):
                    session.press(name, values, confirmed=confirmed)
        except TiltError as error:
            problem = session.logs.scrub(error.render())  # it may name the choices of an input
        session.post(CommandHandled(command.id, problem, session.clock()))
