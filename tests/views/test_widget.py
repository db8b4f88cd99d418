"""The panel without a browser: what it publishes, what its model holds, and that it goes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pytest
from comm import get_comm_manager

from ipytilt.views import pump as pump_module
from ipytilt.views import wire
from ipytilt.views.wire import RowView, SessionView, UpdateView
from tests.browser.fake import FakeSession
from tests.support import eventually

WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass
class Publisher:
    """Keeps what is displayed."""

    published: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    def publish(self, data: dict[str, Any], **options: Any) -> None:
        self.published.append((data, options))


@dataclass
class PlainShell:
    """A shell of which only the publisher is used."""

    display_pub: Publisher = field(default_factory=Publisher)


@pytest.fixture
def shell() -> PlainShell:
    return PlainShell()


@pytest.fixture
def session(shell: PlainShell) -> Iterator[FakeSession]:
    view = SessionView(rows=(RowView("api", "local", update=UpdateView("error", "Update error"), error="<b>no</b>"),))
    session = FakeSession(shell, view)
    yield session
    session.close()
    assert get_comm_manager().comms == {}


def test_a_display_is_a_live_widget_and_a_static_table(shell: PlainShell, session: FakeSession) -> None:
    session.logs.append("api", "make: *** [all] Error 2")
    session.panel._ipython_display_()
    (live, _), (static, options) = shell.display_pub.published
    assert list(live) == [WIDGET]
    assert set(static) == {"text/plain", "text/html"}
    assert "&lt;b&gt;no&lt;/b&gt;" in static["text/html"]
    assert "make: *** [all] Error 2" in static["text/html"]
    assert "Update error" in static["text/plain"]
    assert options["transient"] == {"display_id": f"ipytilt-{live[WIDGET]['model_id']}"}


def test_displaying_again_shows_the_same_model(shell: PlainShell, session: FakeSession) -> None:
    session.panel._ipython_display_()
    session.panel._ipython_display_()
    published = shell.display_pub.published
    assert published[0][0] == published[2][0]
    assert published[1][1] == published[3][1]


def test_the_static_table_follows_the_session(
    shell: PlainShell, session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump_module, "_SETTLE_SECONDS", 0.0)
    session.panel._ipython_display_()
    session.change("api", update=UpdateView("ok", "Updated now"), error="")
    static, options = eventually(lambda: shell.display_pub.published[2:])[0]
    assert options["update"] is True
    assert "Updated now" in static["text/html"]
    assert "<pre" not in static["text/html"]


def test_a_panel_nobody_displays_publishes_nothing(
    shell: PlainShell, session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump_module, "_SETTLE_SECONDS", 0.0)
    session.change("api", error="")
    eventually(lambda: session.panel._pump.newest()["seq"] == 1)
    assert session.panel._pump.stop(5)
    assert shell.display_pub.published == []


def test_the_model_serialises_the_newest_document(session: FakeSession) -> None:
    session.change("api", error="another")
    eventually(lambda: session.panel._pump.newest()["seq"] == 1)
    state = session.panel._model.get_state()["state"]
    assert state["seq"] == 1
    assert state["document"] == wire.document(session.store.current)


def test_messages_of_the_widget_are_commands(session: FakeSession) -> None:
    message = {"method": "custom", "content": {"do": "trigger", "id": "1", "resource": "api"}}
    session.panel._model._handle_msg({"content": {"data": message}, "buffers": []})
    assert session.commands == [wire.Trigger("1", "api")]


def test_after_closing_the_last_state_stays(shell: PlainShell, session: FakeSession) -> None:
    session.panel._ipython_display_()
    session.change("api", error="the end")
    session.panel.close()
    static, options = shell.display_pub.published[-1]
    assert options["update"] is True
    assert "the end" in static["text/html"]
    assert repr(session.panel) == "<Panel closed>"
    session.panel.close()


def test_the_module_stays_small_and_makes_no_markup_of_text() -> None:
    static = files("ipytilt").joinpath("static")
    module, style = (static.joinpath(f"widget.{kind}").read_text("utf-8") for kind in ("js", "css"))
    assert len(module) + len(style) < 60_000
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in module
    assert not re.search(r"^\s*import\b|\bimport\(", module, re.MULTILINE), "one module, nothing to fetch"
