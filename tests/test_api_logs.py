"""Logs asked for in Python: by level and age, and followed, on a thread and in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ipytilt import Session, TiltError
from ipytilt.errors import UsageError
from tests.support.leaks import no_leaks

PATIENCE = 60.0
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A session on the sandbox, in a folder of its own; it leaves nothing behind."""
    with no_leaks():
        made = Session(tmp_path, engine="sandbox")
        yield made
        assert made.stop() == ()


NOISY = """
local_resource('other', 'echo something else', allow_parallel=True)
local_resource('loud', 'for i in 1 2 3; do echo line $i; done; echo trouble >&2', allow_parallel=True,
    serve_cmd='i=0; while [ ! -e quiet ]; do i=$((i+1)); echo tick $i; sleep 0.1; done; echo over; sleep 6300')
"""


def test_logs_are_followed_from_the_newest_lines_on(session: Session, tmp_path: Path) -> None:
    session.tiltfile(NOISY)
    session["loud"].wait(timeout=PATIENCE)
    lines = iter(session["loud"].logs(follow=True, timeout=PATIENCE))
    assert [next(line.text for line in lines if line.text.startswith("line")) for _ in range(3)] == [
        "line 1",
        "line 2",
        "line 3",
    ]
    (tmp_path / "quiet").touch()
    seen = [next(lines)]
    while seen[-1].text != "over":
        seen.append(next(lines))
    assert {line.resource for line in seen} == {"loud"}
    numbers = [int(line.text.split()[1]) for line in seen if line.text.startswith("tick")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [line.text for line in session["loud"].logs(follow=True, tail=1, timeout=0.1)] == ["over"]
    assert list(session.logs(follow=True, tail=0, timeout=0.1)) == []


def test_logs_are_followed_in_a_loop_and_end_with_the_session(tmp_path: Path) -> None:
    async def texts(session: Session) -> list[str]:
        found = []
        async for line in session.logs(follow=True, levels="info"):
            found.append(line.text)
            if line.text == "over":
                await asyncio.to_thread(session.stop)
        return found

    with no_leaks(), Session(tmp_path, engine="sandbox") as session:
        session.tiltfile(NOISY)
        (tmp_path / "quiet").touch()
        assert {"over", "line 1", "something else"} <= set(asyncio.run(texts(session)))


def test_logs_by_level_and_age(session: Session) -> None:
    session.tiltfile("local_resource('bad', 'echo fine; exit 3')")
    with pytest.raises(TiltError):
        session["bad"].wait(timeout=PATIENCE)
    lines = session["bad"].logs()
    assert "fine" in str(lines)
    for level in ("debug", "info", "warning", "error"):
        assert session["bad"].logs(levels=level) == [line for line in lines if line.level == level]
    assert (
        session["bad"].logs(levels=["info", "error"], tail=1) == [line for line in lines if line.level != "debug"][-1:]
    )
    assert session["bad"].logs(since=PATIENCE * 10) == session["bad"].logs(since=timedelta(minutes=10)) == lines
    assert session["bad"].logs(since=datetime.fromtimestamp(lines[-1].at + 1, UTC)) == []
    assert session["bad"].logs(tail=0) == []
    with pytest.raises(UsageError, match="no level 'loud'"):
        session.logs(levels="loud")
    with pytest.raises(UsageError, match="-1 is no number of lines"):
        session.logs(tail=-1)
