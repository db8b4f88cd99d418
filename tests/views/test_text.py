"""Text and static HTML: aligned, bounded, escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ipytilt.core.status import duration_text
from ipytilt.views import text, wire
from ipytilt.views.wire import (
    EngineView,
    LastUpdateView,
    RowView,
    RuntimeView,
    SessionView,
    TiltfileView,
    UpdateView,
    WaitingView,
)

EVIL = "<img src=x onerror=alert(1)>\"'&"

VIEW = SessionView(
    engine=EngineView("docker 20.10"),
    tiltfile=TiltfileView("ok", "ok, 2 resources"),
    rows=(
        RowView(
            "api",
            "compose",
            update=UpdateView("ok", "Updated", 88.0, 0.006),
            runtime=RuntimeView("ok", "Running", 40.0),
            last=LastUpdateView("2 files changed", ("a.py", "b.py"), "live update", 0.006),
        ),
        RowView("web", "local", update=UpdateView("error", "Update error", 99.0), error="exit status 2\nmake: ***"),
        RowView("db", "local", waiting=WaitingView("waiting-for-dep", "waiting on api", ("api",))),
    ),
)


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0, "0 ms"),
        (0.006, "6 ms"),
        (0.9994, "999 ms"),
        (1, "1.0 s"),
        (9.94, "9.9 s"),
        (9.96, "9 s"),
        (59, "59 s"),
        (60, "1 m"),
        (3_599, "59 m"),
        (7_300, "2 h"),
        (200_000, "2 d"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration_text(seconds) == words


def test_ages_are_whole_seconds() -> None:
    assert [text.age(seconds) for seconds in (-1, 0.9, 1.2, 9.99, 61)] == ["now", "now", "1 s", "9 s", "1 m"]


def test_the_table_fits_one_screen() -> None:
    assert text.table(wire.document(VIEW), now=100.0).splitlines() == [
        "Engine: docker 20.10",
        "Tiltfile: ok, 2 resources",
        "",
        "   RESOURCE  UPDATE              RUNTIME        LAST UPDATE",
        "●  api       Updated (12 s)      Running (1 m)  live update 6 ms · 2 files changed · a.py, b.py",
        "✗  web       Update error (1 s)",
        "     exit status 2",
        "     make: ***",
        "○  db        waiting on api",
    ]


def test_no_line_of_the_table_is_too_long() -> None:
    last = LastUpdateView("cause", tuple(f"very/long/path/number/{number}" for number in range(50)), "full update", 1.0)
    view = SessionView(rows=(replace(VIEW.rows[0], last=last),))
    lines = text.table(wire.document(view), now=100.0, width=80).splitlines()
    assert max(map(len, lines)) == 80
    assert lines[-1].endswith("…")


def test_colour_only_when_asked() -> None:
    assert "\x1b" not in text.table(wire.document(VIEW), now=100.0)
    assert "\x1b[31m✗  web" in text.table(wire.document(VIEW), now=100.0, colour=True)


def test_an_empty_session_says_so_in_two_lines() -> None:
    assert text.table(wire.document(SessionView()), now=0.0) == "Engine: none\nTiltfile: none"


def test_what_is_wrong_with_the_whole_is_in_the_table() -> None:
    view = SessionView(
        engine=EngineView("docker", ok=False, problem="no answer"), tiltfile=TiltfileView("error", "broken", "x\n^")
    )
    assert text.table(wire.document(view), now=0.0).splitlines() == [
        "Engine: docker (no answer)",
        "Tiltfile: broken",
        "     x",
        "     ^",
    ]


@pytest.mark.parametrize(
    "update, runtime, status",
    [
        ("ok", "ok", "ok"),
        ("ok", "error", "error"),
        ("in_progress", "error", "in_progress"),
        ("error", "ok", "error"),
        ("not_applicable", "ok", "ok"),
        ("ok", "not_applicable", "ok"),
        ("none", "none", "none"),
    ],
)
def test_one_status_for_two_columns(update: wire.Status, runtime: wire.Status, status: str) -> None:
    row = RowView("api", "local", update=UpdateView(update), runtime=RuntimeView(runtime))
    assert text.overall(wire.document(SessionView(rows=(row,)))["rows"]["api"]) == status


class Tags(HTMLParser):
    """Collects tags and attributes, and the text outside them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_shows_the_failing_rows_last_lines_and_escapes_everything() -> None:
    view = SessionView(
        engine=EngineView(EVIL, ok=False, problem=EVIL),
        tiltfile=TiltfileView("error", EVIL, EVIL),
        problem=EVIL,
        rows=(
            RowView(
                EVIL,
                EVIL,
                update=UpdateView("error", EVIL, 1.0),
                runtime=RuntimeView("ok", EVIL),
                waiting=WaitingView(EVIL, EVIL),
                last=LastUpdateView(EVIL, (EVIL,)),
                error=EVIL,
            ),
        ),
    )
    tags = Tags()
    tags.feed(text.html(wire.document(view), {EVIL: [EVIL, "the last line"]}, at=1_700_000_000.0))
    assert tags.seen == {"div", "pre", "table", "thead", "tbody", "tr", "th", "td", "span"}
    assert tags.attributes == {"class", "style", "colspan"}
    assert tags.text.count(EVIL) == 11
    assert "the last line" in tags.text
    assert re.search(r"as of 2023-11-1\d \d\d:\d\d:\d\d", tags.text)
