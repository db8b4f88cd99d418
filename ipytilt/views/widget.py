"""The panel in the notebook: an anywidget fed by a pump, and beside it a static table for whoever reads it later.

Imported only when a panel is wanted, because the widget libraries are heavy. One panel per kernel, displayed as often
as wanted; its pump's thread alone sends, whoever displays or closes it does so on the main thread.

A display is two outputs. The first is the live widget alone. The second is plain HTML, renewed while the session
goes on, so that a saved notebook tells what was. Style rules in both show exactly one of them in JupyterLab: the
static one hides a widget that is not (yet, or any more) alive, a live one hides the static one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import anywidget
import traitlets

from ipytilt.runtime.logs import Logs
from ipytilt.runtime.store import Store
from ipytilt.views import text, wire
from ipytilt.views.pump import Pump
from ipytilt.views.transport import Transport

S = TypeVar("S")

_TAIL_LINES = 8
_WIDGET_TYPE = "application/vnd.jupyter.widget-view+json"
# What stands before the table is the widget, unless nothing here can show widgets: then it is some other output.
_HIDE_DEAD_WIDGET = (
    "<style>.jp-OutputArea-child:not(:has(.ipytilt, .jp-RenderedText, .jp-RenderedHTML))"
    ":has(+ .jp-OutputArea-child .ipytilt-static){display:none}</style>"
)


class Shell(Protocol):
    """What is used of IPython's shell."""

    display_pub: Any


class _Model(anywidget.AnyWidget):
    """The widget's shared model. `state` is where a view starts; patches and log lines come as custom messages."""

    _esm = files("ipytilt").joinpath("static/widget.js").read_text("utf-8")
    _css = files("ipytilt").joinpath("static/widget.css").read_text("utf-8")
    # Serialised when it is asked for, so that a page that comes later starts from the newest document.
    state = traitlets.Dict().tag(sync=True, to_json=lambda _value, widget: widget.newest())
    view = traitlets.Unicode().tag(sync=True)

    def __init__(self, view: str, newest: Callable[[], dict[str, Any]]) -> None:
        self.newest = newest
        super().__init__(view=view)


class Panel:
    """The live panel of a session.

    Args:
        shell: IPython's shell, which publishes what is displayed.
        store, view, logs, explain: as for `Pump`.
        transport: where the panel's commands go, and which routes requests to its pump.
    """

    def __init__(
        self,
        shell: Shell,
        *,
        store: Store[S],
        view: Callable[[S], wire.SessionView],
        logs: Logs,
        explain: Callable[[str], str],
        transport: Transport,
    ) -> None:
        self._shell = shell
        self._publisher = shell.display_pub  # a cell that captures its output swaps it for a while
        self._logs, self._transport = logs, transport
        self._displayed = self._closed = False
        self._current: Callable[[], wire.Document] = lambda: wire.document(view(store.current))
        self._pump = Pump(f"panel-{uuid4().hex[:8]}", store=store, view=view, logs=logs, sink=self, explain=explain)
        self._model = _Model(self._pump.name, self._pump.newest)
        self._model.on_msg(lambda _widget, content, _buffers: transport.handle_unanswered(content))
        transport.add(self._pump)
        self._pump.start()

    def close(self) -> None:
        """End the view's thread and its comm: the live displays go, and static ones show the last state instead."""
        if self._closed:
            return
        self._closed = True
        self._transport.remove(self._pump)
        self._pump.stop()
        try:
            self.settled(self._current())
        finally:
            self._model.layout.close()  # a widget of its own, which nobody else would close
            self._model.close()

    def send(self, message: dict[str, Any], buffers: tuple[bytes, ...] = ()) -> None:
        """As a sink: one custom message to every view of the model."""
        self._model.send(message, list(buffers))

    def settled(self, document: wire.Document) -> None:
        """As a sink: renew what a saved notebook will hold, the widget's stored state and the static table."""
        self._model.send_state("state")
        if self._displayed:
            self._publisher.publish(self._static(document), transient=self._static_id, update=True)

    def _ipython_display_(self) -> None:
        data = {_WIDGET_TYPE: {"version_major": 2, "version_minor": 0, "model_id": self._model.model_id}}
        self._shell.display_pub.publish(data)
        self._shell.display_pub.publish(self._static(self._current()), transient=self._static_id)
        self._displayed = True

    @property
    def _static_id(self) -> dict[str, str]:
        return {"display_id": f"ipytilt-{self._model.model_id}"}

    def _static(self, document: wire.Document) -> dict[str, str]:
        now = time.time()
        failing = (name for name, row in document["rows"].items() if text.overall(row) == "error")
        tails = {name: [line.text for line in self._logs.tail(name, _TAIL_LINES)] for name in failing}
        return {
            "text/plain": text.table(document, now=now),
            "text/html": _HIDE_DEAD_WIDGET + text.html(document, tails, at=now),
        }

    def __repr__(self) -> str:
        return "<Panel closed>" if self._closed else f"<Panel {self._model.model_id}>"
