"""Bytes to lines of text."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ipytilt import lines
from ipytilt.lines import Lines

SNOWMAN = "☃".encode()


@pytest.mark.parametrize(
    "chunks, expected",
    [
        ([b"a\nb\n"], ["a", "b"]),
        ([b"a", b"b\nc"], ["ab", "c"]),
        ([b"\n\n"], ["", ""]),
        ([b""], []),
        ([b"dos\r\nunix\n"], ["dos", "unix"]),
        ([b"dos\r", b"\nunix\n"], ["dos", "unix"]),
        ([b"1%\r", b"2%\r3%\r", b"done\n"], ["done"]),
        ([b"1%\r2%\r\n"], ["2%"]),
        ([b"1%\r2%"], ["2%"]),
        ([SNOWMAN[:1], SNOWMAN[1:] + b"\n"], ["☃"]),
        ([b"\xff\xfe\x00\n"], ["\ufffd\ufffd\x00"]),
        ([b"123456789"], ["12345678", "9"]),
        ([b"123456789\nx\n"], ["12345678", "9", "x"]),
        ([b"1234567" + SNOWMAN + b"\n"], ["1234567", "☃"]),
        ([b"\x80" * 9], ["\ufffd" * 8, "\ufffd"]),
    ],
)
def test_cuts(chunks: list[bytes], expected: list[str]) -> None:
    found: list[str] = []
    cutter = Lines(found.append, limit=8)
    for chunk in chunks:
        cutter.feed(chunk)
    cutter.close()
    assert found == expected


def test_progress_is_shown_while_the_line_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0
    monkeypatch.setattr(lines, "time", SimpleNamespace(monotonic=lambda: now))
    found: list[str] = []
    cutter = Lines(found.append)
    for percent in range(7):
        now += 1
        cutter.feed(b"%d%%\r" % percent)
    cutter.feed(b"ready\n")
    assert found == ["0%", "2%", "4%", "ready"]
