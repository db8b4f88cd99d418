"""The pump: what reaches a sink, how a bad sink is contained, and that it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from ipytilt.errors import TiltError
from ipytilt.runtime.logs import ALL, Logs
from ipytilt.runtime.store import Store
from ipytilt.views import pump as pump_module
from ipytilt.views import wire
from ipytilt.views.pump import Pump
from ipytilt.views.wire import RowView, SessionView
from tests.support import eventually


@dataclass
class MemorySink:
    """Keeps what it is sent; `fail` makes the next deliveries raise, `gate` holds them up."""

    messages: list[tuple[dict[str, Any], tuple[bytes, ...]]] = field(default_factory=list)
    settled_with: list[wire.Document] = field(default_factory=list)
    fail: str = ""
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def send(self, message: dict[str, Any], buffers: tuple[bytes, ...] = ()) -> None:
        self.entered.set()
        self.gate.wait(10)
        if self.fail:
            raise OSError(self.fail)
        self.messages.append((message, buffers))

    def settled(self, document: wire.Document) -> None:
        self.settled_with.append(document)

    def of(self, kind: str) -> list[tuple[dict[str, Any], tuple[bytes, ...]]]:
        return [each for each in self.messages if each[0]["kind"] == kind]


@dataclass
class Rig:
    """A pump with all it reads and writes."""

    store: Store[SessionView] = field(default_factory=lambda: Store(SessionView()))
    logs: Logs = field(default_factory=lambda: Logs(clock=lambda: 1.5))
    sink: MemorySink = field(default_factory=MemorySink)

    def __post_init__(self) -> None:
        self.pump = Pump(
            "test",
            store=self.store,
            view=lambda snapshot: snapshot,
            logs=self.logs,
            sink=self.sink,
            explain=self.explain,
        )

    def explain(self, path: str) -> str:
        if path == "bug":
            raise ZeroDivisionError
        if path == "unknown":
            raise TiltError("not watched", hint="another path")
        return f"nothing happens to {path}"

    def show(self, *names: str) -> SessionView:
        view = SessionView(rows=tuple(RowView(name, "local") for name in names))
        self.store.publish(view)
        return view

    def follow(self, *streams: str, reader: str = "r") -> None:
        self.pump.ask(wire.Subscribe("1", "test", reader, streams))


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    rig.pump.start()
    yield rig
    rig.sink.gate.set()
    assert rig.pump.stop(5)


def test_patches_rebuild_the_newest_document(rig: Rig) -> None:
    start = rig.pump.newest()
    for count in range(1, 30):
        view = rig.show(*(f"r{number}" for number in range(count % 7)))

    def rebuilt() -> wire.Document:
        document: wire.Document = start["document"]
        for number, (message, _) in enumerate(rig.sink.of("patch"), start["seq"] + 1):
            assert message["seq"] == number
            document = wire.apply_patch(document, message["patch"])
        return document

    eventually(lambda: rebuilt() == wire.document(view))
    assert rig.pump.newest()["document"] == wire.document(view)
    assert len(rig.sink.of("patch")) < 15, "snapshots in between are skipped"


def test_a_snapshot_that_shows_nothing_new_sends_nothing(rig: Rig) -> None:
    rig.store.publish(SessionView())
    rig.show("api")
    eventually(lambda: len(rig.sink.messages) == 1)
    assert rig.sink.messages[0][0]["seq"] == 1


def test_the_document_is_there_before_the_pump_runs() -> None:
    rig = Rig(store=Store(SessionView(rows=(RowView("api", "local"),))))
    assert rig.pump.newest()["document"]["order"] == ["api"]
    assert rig.pump.stop()


def test_settled_follows_a_change(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_module, "_SETTLE_SECONDS", 0.0)
    view = rig.show("api")
    eventually(lambda: rig.sink.settled_with)
    assert rig.sink.settled_with == [wire.document(view)]


def test_lines_travel_only_while_somebody_reads_them(rig: Rig) -> None:
    rig.logs.append("api", "before")
    rig.follow("api")
    eventually(lambda: rig.sink.of("logs"))
    rig.logs.append("web", "not read by anybody")
    rig.logs.append("api", "after", level="error")
    eventually(lambda: len(rig.sink.of("logs")) == 2)
    first, second = rig.sink.of("logs")
    assert first[0]["heads"] == {"api": (0, 1)}
    assert first[0]["tails"] == [("api", 0)]
    assert first[1] == (b"i1.500\tapi\tbefore",)
    assert second[0]["tails"] == [("api", 1)]
    assert second[1] == (b"e1.500\tapi\tafter",)


def test_a_second_reader_starts_anew_and_unsubscribing_ends_the_lines(rig: Rig) -> None:
    rig.logs.append("api", "one")
    rig.follow("api")
    eventually(lambda: len(rig.sink.of("logs")) == 1)
    rig.follow("api", reader="another page")
    eventually(lambda: len(rig.sink.of("logs")) == 2)
    assert rig.sink.of("logs")[1][1] == (b"i1.500\tapi\tone",)
    rig.follow()
    rig.follow(reader="another page")
    rig.logs.append("api", "two")
    rig.show("api")
    eventually(lambda: rig.sink.of("patch"))
    assert len(rig.sink.of("logs")) == 2


def test_a_renewal_tells_what_there_is_so_that_a_lost_message_shows(rig: Rig) -> None:
    rig.logs.append("api", "one")
    rig.follow("api")
    rig.show("api")
    eventually(lambda: rig.sink.of("logs") and rig.sink.of("patch"))
    rig.follow("api")
    message, buffers = eventually(lambda: rig.sink.of("logs")[1:])[0]
    assert message["heads"] == {"api": (0, 1)}
    assert message["seq"] == 1
    assert buffers == (b"",)


def test_a_flood_sends_the_newest_lines_within_the_budget_and_pages_fill_the_gap(rig: Rig) -> None:
    rig.follow(ALL)
    eventually(lambda: rig.sink.of("logs"))
    rig.logs.append("api", "\n".join(f"{number} " + "x" * 1_000 for number in range(1_200)))
    message, (buffer,) = eventually(lambda: rig.sink.of("logs")[1:])[0]
    assert message["heads"] == {ALL: (0, 1_200)}
    [(stream, first)] = message["tails"]
    lines = buffer.split(b"\n")
    assert stream == ALL
    assert len(buffer) < pump_module.TAIL_BYTES + 2_000
    assert first == 1_200 - len(lines) > 0
    assert lines[0].startswith(f"i1.500\tapi\t{first} ".encode())
    rig.pump.ask(wire.GetPage("2", "test", ALL, 1))
    page, (body,) = eventually(lambda: rig.sink.of("page"))[0]
    assert (page["page"], page["first"]) == (1, 500)
    assert body.startswith(b"i1.500\tapi\t500 ")
    assert len(body.split(b"\n")) == 500


def test_a_secret_learnt_late_makes_readers_forget_what_they_hold(rig: Rig) -> None:
    rig.logs.append("api", "password")
    rig.follow("api")
    eventually(lambda: rig.sink.of("logs"))
    rig.logs.redact({"password": "[s]"})
    message, _ = eventually(lambda: rig.sink.of("logs")[1:])[0]
    assert message["revision"] == rig.logs.revision > rig.sink.of("logs")[0][0]["revision"]


@pytest.mark.parametrize(
    "path, answer",
    [
        ("a.py", "nothing happens to a.py"),
        ("unknown", "not watched\nTry: another path"),
        ("bug", "A bug in ipytilt: ZeroDivisionError()"),
    ],
)
def test_an_explanation_reaches_whoever_asked(rig: Rig, path: str, answer: str) -> None:
    rig.pump.ask(wire.Explain("q7", "test", path))
    [(message, _)] = eventually(lambda: rig.sink.of("answer"))
    assert message == {"kind": "answer", "to": "q7", "text": answer}


def test_a_late_view_gets_the_whole_document(rig: Rig) -> None:
    view = rig.show("api")
    eventually(lambda: rig.sink.of("patch"))
    rig.pump.ask(wire.GetDocument("1", "test"))
    [(message, _)] = eventually(lambda: rig.sink.of("document"))
    assert (message["seq"], message["document"]) == (1, wire.document(view))


def test_a_failing_sink_is_named_in_the_log_and_tried_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_module, "_RETRY_SECONDS", 0.01)
    rig.sink.fail = "browser gone"
    rig.show("api")
    eventually(lambda: rig.logs.tail(ALL, 1))
    assert rig.logs.tail(ALL, 1)[0].text == "View test cannot be updated: OSError('browser gone')"
    rig.sink.fail = ""
    view = rig.show("web")
    message, _ = eventually(lambda: rig.sink.of("patch"))[0]
    assert message["seq"] == 2, "the gap tells the view to ask for the whole"
    assert rig.pump.newest()["document"] == wire.document(view)


def test_a_slow_sink_holds_up_nobody_else(rig: Rig) -> None:
    other = Rig(store=rig.store, logs=rig.logs)
    other.pump.start()
    rig.sink.gate.clear()
    rig.show("api")
    assert rig.sink.entered.wait(10)
    for number in range(100):
        rig.show(f"r{number}")
        rig.logs.append("api", "x")
    eventually(lambda: other.pump.newest()["document"]["order"] == ["r99"])
    assert rig.sink.messages == []
    assert other.pump.stop(5)


def test_stopping_does_not_wait_for_a_sink_that_hangs(rig: Rig) -> None:
    rig.sink.gate.clear()
    rig.show("api")
    assert rig.sink.entered.wait(10)
    assert rig.pump.stop(0.05) is False


def test_a_reader_that_vanished_is_forgotten() -> None:
    logs = Logs()
    tails = pump_module._Tails(logs)
    tails.follow("closed tab", ("api",), 0.0)
    assert tails.collect(1.0)[0]["heads"] == {"api": (0, 0)}
    logs.append("api", "x")
    assert tails.collect(1_000.0) == ({}, ())


def test_a_name_with_a_tab_cannot_shift_the_text() -> None:
    logs = Logs(clock=lambda: 1.0)
    logs.append("a\tb", "text")
    assert pump_module.encode(logs.tail(ALL, 1)) == b"i1.000\t'a\\tb'\ttext"
