"""Keeps one live view current: the newest snapshot, log heads and tails, and answers to what the view asks.

Each `Pump` has one daemon thread, `ipytilt-view-<name>`, which alone talks to its sink. It reads snapshots and logs
and posts nothing. It wakes for a change, sends at once after a quiet spell and at most ten times a second otherwise;
what happened in between is skipped (snapshots) or sent together (lines). A sink that is slow, fails or hangs costs its
own view only.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar, assert_never

from ipytilt.errors import TiltError
from ipytilt.runtime.logs import ALL, PAGE_LINES, Line, Logs
from ipytilt.runtime.store import Store
from ipytilt.views import wire

S = TypeVar("S")

FLUSH_SECONDS = 0.1
TAIL_BYTES = 256_000

_SETTLE_SECONDS = 3.0
_RETRY_SECONDS = 1.0
_LEASE_SECONDS = 120.0  # a browser page renews what it reads; one that vanished is forgotten


class Sink(Protocol):
    """Where a view's messages go. Called on the pump's thread only; may block, may raise."""

    def send(self, message: dict[str, Any], buffers: tuple[bytes, ...] = ()) -> None:
        """Deliver one message; log lines travel in `buffers` (see `encode`)."""
        ...

    def settled(self, document: wire.Document) -> None:
        """A change is three seconds old: time to renew what is expensive to renew."""
        ...


class Pump(Generic[S]):
    """One live view of a session.

    Args:
        name: of the view; it names the thread, and requests carry it.
        store: where snapshots come from; `view` says what is to be shown of one.
        logs: where lines come from.
        sink: where messages go.
        explain: what a change of a path would do, as text; may raise TiltError.
    """

    def __init__(
        self,
        name: str,
        *,
        store: Store[S],
        view: Callable[[S], wire.SessionView],
        logs: Logs,
        sink: Sink,
        explain: Callable[[str], str],
    ) -> None:
        self.name = name
        self.problem = ""
        self._store, self._view, self._logs = store, view, logs
        self._sink, self._explain = sink, explain
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"ipytilt-view-{name}", daemon=True)
        self._newest: tuple[int, wire.Document] = (0, wire.document(view(store.current)))
        self._requests: deque[wire.ViewRequest] = deque()
        self._tails = _Tails(logs)
        self._settle_at: float | None = None

    def start(self) -> None:
        """Begin to send; the sink is expected to have `newest()` already."""
        self._subscription = self._store.subscribe(self._wake)
        self._logs.wake(self._wake)
        self._wake.set()
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> bool:
        """End within `timeout` seconds; False when the sink hangs and its thread is left behind."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is None:
            return True
        self._subscription.close()
        self._logs.unwake(self._wake)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def ask(self, request: wire.ViewRequest) -> None:
        """Answer `request` through the sink, soon; from any thread, never blocks."""
        self._requests.append(request)
        self._wake.set()

    def newest(self) -> dict[str, Any]:
        """The whole document, its number and the time now: what a view starts from; from any thread."""
        seq, document = self._newest
        return {"seq": seq, "at": time.time(), "document": document}

    def _run(self) -> None:
        while not self._stopping.is_set():
            wait = None if self._settle_at is None else max(self._settle_at - time.monotonic(), 0)
            self._wake.wait(wait)
            self._wake.clear()  # before looking: what comes from here on wakes us again
            if self._stopping.is_set():
                return
            try:
                self._flush()
            except Exception as error:  # noqa: BLE001 - whatever a sink raises is its own view's trouble
                self._failed(error)
            self._stopping.wait(FLUSH_SECONDS)

    def _flush(self) -> None:
        snapshot = self._subscription.next(0)
        if snapshot is not None:
            self._send_changes(wire.document(self._view(snapshot)))
        while self._requests:
            self._answer(self._requests.popleft())
        message, buffers = self._tails.collect(time.monotonic())
        if message:
            self._sink.send({**message, "seq": self._newest[0]}, buffers)
        if self._settle_at is not None and time.monotonic() >= self._settle_at:
            self._settle_at = None
            self._sink.settled(self._newest[1])
        self.problem = ""

    def _send_changes(self, document: wire.Document) -> None:
        seq, shown = self._newest
        changes = wire.patch(shown, document)
        if changes:
            self._newest = (seq + 1, document)
            self._settle_at = self._settle_at or time.monotonic() + _SETTLE_SECONDS
            self._sink.send({"kind": "patch", "seq": seq + 1, "at": time.time(), "patch": changes})

    def _answer(self, request: wire.ViewRequest) -> None:
        match request:
            case wire.GetDocument():
                self._sink.send({"kind": "document", **self.newest()})
            case wire.GetPage(stream=stream, page=page):
                first, lines = self._logs.page(stream, page)
                self._sink.send({"kind": "page", "stream": stream, "page": page, "first": first}, (encode(lines),))
            case wire.Subscribe(reader=reader, streams=streams):
                self._tails.follow(reader, streams, time.monotonic())
            case wire.Explain(id=id_, path=path):
                self._sink.send({"kind": "answer", "to": id_, "text": self._explained(path)})
            case _:
                assert_never(request)

    def _explained(self, path: str) -> str:
        try:
            return self._explain(path)
        except TiltError as error:
            return error.render()
        except Exception as error:  # noqa: BLE001 - shown to whoever asked, and in the log
            self._logs.append(ALL, f"A bug in ipytilt: explaining {path}: {error!r}", level="error")
            return f"A bug in ipytilt: {error!r}"

    def _failed(self, error: Exception) -> None:
        """Say so once; the view notices the gap in the numbers and asks for the whole document."""
        problem = f"View {self.name} cannot be updated: {error!r}"
        if problem != self.problem:
            self.problem = problem
            self._logs.append(ALL, problem, level="error")
        self._stopping.wait(_RETRY_SECONDS)


class _Tails:
    """Which log streams somebody reads, and how far their lines have been sent. Used by the pump's thread only."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._readers: dict[str, tuple[tuple[str, ...], float]] = {}
        self._sent: dict[str, tuple[int, int]] = {}
        self._revision = logs.revision

    def follow(self, reader: str, streams: tuple[str, ...], now: float) -> None:
        """`reader` shows the ends of `streams` from now on: it starts with the last page of each.

        A renewal is answered with the heads alone, from which the reader sees whether it has lost a message.
        """
        before = self._readers.pop(reader, ((), 0.0))[0]
        if streams:
            self._readers[reader] = (streams, now + _LEASE_SECONDS)
        for stream in streams:
            if stream not in before:
                self._sent.pop(stream, None)
            elif stream in self._sent:
                self._sent[stream] = (-1, self._sent[stream][1])

    def collect(self, now: float) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        """The message with the heads that moved and the lines not yet sent, newest first in the budget; or nothing."""
        self._readers = {name: held for name, held in self._readers.items() if held[1] > now}
        wanted = dict.fromkeys(stream for streams, _ in self._readers.values() for stream in streams)
        revision = self._logs.revision
        heads = self._logs.heads(tuple(wanted))
        moved = {name: head for name, head in heads.items() if self._sent.get(name) != head}
        if not moved and revision == self._revision:
            return {}, ()
        tails: list[tuple[str, int]] = []
        buffers: list[bytes] = []
        budget = TAIL_BYTES
        for name, (_, end) in moved.items():
            start = self._sent[name][1] if name in self._sent else end - PAGE_LINES
            first, lines = self._logs.since(name, start, stop=end)
            kept = _newest_within(lines, budget // (len(moved) - len(tails)))
            tails.append((name, first + len(lines) - len(kept)))
            buffers.append(b"\n".join(kept))
            budget -= len(buffers[-1])
        self._sent = {name: heads[name] for name in wanted}
        self._revision = revision
        return {"kind": "logs", "revision": revision, "heads": moved, "tails": tails}, tuple(buffers)


def encode(lines: Iterable[Line]) -> bytes:
    """UTF-8, one line each: the level's first letter, seconds since the epoch, tab, resource, tab, text."""
    return b"\n".join(map(_encode, lines))


def _encode(line: Line) -> bytes:
    name = line.resource if line.resource.isprintable() else repr(line.resource)  # a tab in it would shift the text
    return f"{line.level[0]}{line.at:.3f}\t{name}\t{line.text}".encode("utf-8", "replace")


def _newest_within(lines: list[Line], budget: int) -> list[bytes]:
    kept: deque[bytes] = deque()
    for line in reversed(lines):
        kept.appendleft(_encode(line))
        budget -= len(kept[0]) + 1
        if budget < 0:
            break
    return list(kept)
