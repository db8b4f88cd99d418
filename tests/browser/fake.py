"""A session without an engine, for views: eight resources in all kinds of states, and commands that are only noted.

Imported by notebook cells in a kernel, so that a view can be tried before and apart from everything behind it.
"""

from __future__ import annotations

import time
from dataclasses import replace

from ipytilt.errors import TiltError
from ipytilt.runtime.logs import Logs
from ipytilt.runtime.store import Store
from ipytilt.views import wire
from ipytilt.views.transport import Transport
from ipytilt.views.widget import Panel, Shell
from ipytilt.views.wire import (
    ButtonView,
    EndpointView,
    EngineView,
    InputView,
    LastUpdateView,
    RowView,
    RuntimeView,
    SessionView,
    TiltfileView,
    UpdateView,
    WaitingView,
)

CARET_BLOCK = """In[3]:4:1: docker_biuld is not defined; did you mean docker_build?
    docker_biuld('web', './web')
    ^~~~~~~~~~~~"""

BUILD_ERROR = """building image worker: RUN pip install -r requirements.txt: exit status 1
ERROR: Could not find a version that satisfies the requirement celery==99
Try: correct requirements.txt; the build starts again when it is saved"""


class FakeSession:
    """Stands in for a session: shows `view`, notes commands in `commands` and lists them as handled."""

    def __init__(self, shell: Shell, view: SessionView, kernel: object = None) -> None:
        self.commands: list[wire.SessionCommand] = []
        self.store = Store(view)
        self.logs = Logs()
        self.transport = Transport(self.submit, self.logs)
        self.transport.open(kernel)
        self.panel = Panel(
            shell,
            store=self.store,
            view=lambda shown: shown,
            logs=self.logs,
            explain=explain,
            transport=self.transport,
        )

    def submit(self, command: wire.SessionCommand) -> None:
        """Note and handle a command; one for `db` is refused."""
        self.commands.append(command)
        about = getattr(command, "resource", "") or getattr(command, "button", "")
        problem = "db is switched off" if about == "db" else ""
        view = self.store.current
        self.store.publish(replace(view, handled=(*view.handled, (command.id, problem))))

    def change(self, name: str, **fields: object) -> None:
        """Replace fields of one row."""
        view = self.store.current
        rows = tuple(replace(row, **fields) if row.name == name else row for row in view.rows)  # type: ignore[arg-type]
        self.store.publish(replace(view, rows=rows))

    def close(self) -> None:
        """Take the view down."""
        self.panel.close()
        self.transport.close()
        self.store.close()


def explain(path: str) -> str:
    """Answer as the core would."""
    if path == "missing":
        raise TiltError("missing is not watched by anything", hint="name a file below a build context")
    return f"{path}\n  is copied to /app/{path} in api (sync at Tiltfile:12)\n  live update, no rebuild"


def demo(now: float) -> SessionView:
    """Eight resources, one of each kind of trouble."""
    rows = (
        RowView(
            "api",
            "compose",
            update=UpdateView("ok", "Updated", now - 12, 0.0062),
            runtime=RuntimeView("ok", "Running", now - 410),
            last=LastUpdateView(
                "1 file changed", ("api/app.py",), "live update", 0.0062, rule="Tiltfile:12", at=now - 12
            ),
            endpoints=(EndpointView("http://localhost:8000/"),),
            labels=("backend",),
        ),
        RowView(
            "web",
            "compose",
            update=UpdateView("in_progress", "Updating: build image 3/7", now - 4),
            runtime=RuntimeView("ok", "Running", now - 400),
            last=LastUpdateView(
                "2 files changed", ("web/package.json", "web/src/index.tsx"), "full update", 14.2, rule="Tiltfile:20"
            ),
            endpoints=(EndpointView("http://localhost:3000"), EndpointView("javascript:alert(1)", "evil")),
            can_trigger=False,
            trigger_tip="Resource already updating!",
            can_stop=True,
            stop_tip="Stop update",
        ),
        RowView(
            "worker",
            "compose",
            update=UpdateView("error", "Update error", now - 65),
            runtime=RuntimeView("ok", "Running the version of before", now - 3_900),
            last=LastUpdateView(
                "1 file changed",
                ("worker/requirements.txt",),
                "full update",
                3.4,
                error=BUILD_ERROR,
                rule="Tiltfile:31",
            ),
            error=BUILD_ERROR,
        ),
        RowView(
            "migrate",
            "local",
            update=UpdateView("pending", "Update Pending", now - 7),
            runtime=RuntimeView("not_applicable", ""),
            waiting=WaitingView("waiting-for-dep", "waiting on resource: db", ("db",), now - 7),
            can_trigger=False,
            trigger_tip="Resource already queued!",
        ),
        RowView(
            "db",
            "compose",
            update=UpdateView("ok", "Updated", now - 7_300, 1.2),
            runtime=RuntimeView("error", "Container exited with 137", now - 7),
            last=LastUpdateView("Initial build", (), "full update", 1.2, at=now - 7_300),
            error="Container 3f2a9c exited with 137 (out of memory)",
            endpoints=(EndpointView("http://localhost:5432", "postgres"),),
        ),
        RowView(
            "codegen",
            "local",
            update=UpdateView("ok", "Updated", now - 300, 0.8),
            runtime=RuntimeView("not_applicable", ""),
            trigger_mode="manual",
            pending=("proto/api.proto", "proto/user.proto"),
            trigger_tip="Trigger update to sync changes",
            last=LastUpdateView("CLI trigger", (), "command", 0.812, rule="Tiltfile:40", at=now - 300),
        ),
        RowView(
            "docs",
            "local",
            update=UpdateView("not_applicable", ""),
            runtime=RuntimeView("warning", "Serving, with warnings", now - 100),
            last=LastUpdateView("Initial build", (), "command", 0.0, at=now - 100),
            endpoints=(EndpointView("http://127.0.0.1:8080", "docs"),),
        ),
        RowView(
            "loadtest",
            "local",
            update=UpdateView("none", "Disabled"),
            runtime=RuntimeView("none", ""),
            disabled=True,
            can_trigger=False,
            trigger_tip="Disabled: enable it first",
        ),
    )
    return SessionView(engine=EngineView("docker 20.10.24"), tiltfile=TiltfileView("ok", "Tiltfile ok"), rows=rows)


def with_buttons(view: SessionView) -> SessionView:
    """The same with buttons of the Tiltfile, in all their states, in the head and beside `api`."""
    nav = (
        ButtonView("prune", "Prune volumes", confirm=True),
        ButtonView("tunnel", "Open the tunnel", running=True),
        ButtonView("later", "Not yet", disabled=True),
    )
    inputs = (
        InputView("ROWS", "text", "Rows", placeholder="all of them"),
        InputView("WHICH", "choice", "Data set", "small", ("small", "big")),
        InputView("FORCE", "bool", "Drop what is there", "false"),
    )
    failed = 'Command "make check" failed: exit status 2'
    beside = (
        ButtonView("seed", "Seed the database", inputs=inputs),
        ButtonView("reset", "Reset", confirm=True, inputs=inputs[:1]),
        ButtonView("check", "Check", problem=failed),
    )
    rows = tuple(replace(row, buttons=beside) if row.name == "api" else row for row in view.rows)
    return replace(view, rows=rows, buttons=nav)


def chatter(logs: Logs) -> None:
    """A few lines for every kind of reader."""
    logs.append("api", "Uvicorn running on http://0.0.0.0:8000")
    logs.append("api", "live update: 1 file copied to 1 container in 6 ms", span="build:12")
    logs.append("web", "#7 [3/7] RUN npm ci\n#7 0.912 added 312 packages in 3s", span="build:13")
    logs.append("web", "npm warn deprecated har-validator@5.1.5", level="warning", span="build:13")
    logs.append("worker", BUILD_ERROR, level="error", span="build:11")
    logs.append("db", "LOG:  database system is ready to accept connections")
    logs.append("db", "Container exited with 137", level="error")
    logs.append("docs", "GET /index.html 200", level="debug")


def shown(shell: Shell, kernel: object = None, view: SessionView | None = None) -> FakeSession:
    """A session that shows the demo, with some log lines."""
    session = FakeSession(shell, view or demo(time.time()), kernel)
    chatter(session.logs)
    return session
