"""Lock files between sessions: who has a scope, who asks for it, and what becomes of holders that die or freeze."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ipytilt.core.claims import Claim
from ipytilt.engines.base import ClaimSeen, Fact
from ipytilt.orphans import private_directory
from ipytilt.runtime.claims import Claims
from tests.support.jupyter import ROOT
from tests.support.waiting import eventually

SCOPE = "Compose project p"
HOLDER = """
import os, sys
from ipytilt.core.claims import Claim
from ipytilt.runtime.claims import Claims
def told(fact): print(fact.by or 'mine', flush=True)
claims = Claims('the other', place=str, quiet=lambda _: True)
claims.start(Claim('Compose project p'), told, lambda *_: None)
FORK
sys.stdin.read()
"""
FORK = """
if os.fork() == 0:
    os.close(0)
    os.close(1)
    while True: __import__('time').sleep(60)
"""
WITHIN = 30.0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's run-time folder."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


class Seat:
    """One session's claims, and what it was told."""

    def __init__(self, who: str) -> None:
        self.claims = Claims(who, place=str, quiet=lambda _: self.is_quiet)
        self.told: list[str] = []
        self.logged: list[str] = []
        self.is_quiet = True
        self._stops: list[Callable[[], None]] = []

    def keep(self, insist: int = 0) -> None:
        """Keep the claim, or ask for it; instead of what was kept before."""
        self.stop()
        self._stops.append(
            self.claims.start(Claim(SCOPE, insist), self._tell, lambda text, _: self.logged.append(text))
        )

    def _tell(self, fact: Fact) -> None:
        assert isinstance(fact, ClaimSeen)
        self.told.append(fact.by)

    def stop(self) -> None:
        while self._stops:
            self._stops.pop()()

    def has_it(self) -> bool:
        return self.claims.is_ours(SCOPE)


@pytest.fixture
def seats() -> Iterator[tuple[Seat, Seat]]:
    """Two sessions."""
    both = Seat("the first"), Seat("the second")
    yield both
    for seat in both:
        seat.stop()
        seat.claims.close()


class Other:
    """A session in a process of its own."""

    def __init__(self, text: str = HOLDER.replace("FORK", "")) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        assert self.popen.stdout is not None
        assert self.popen.stdout.readline() == "mine\n"

    def hears(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)  # what it forked, too
        self.popen.communicate()


@pytest.fixture
def other() -> Iterator[Other]:
    """A holder in another process."""
    made = Other()
    yield made
    made.close()


# ---------------------------------------------------------------------------------------------- first come


def test_the_first_has_it_and_the_second_is_told_by_whom_and_since_when(seats: tuple[Seat, Seat]) -> None:
    first, second = seats
    assert first.claims.take(SCOPE) == ""
    assert first.claims.take(SCOPE) == ""
    assert second.claims.take(SCOPE).startswith("the first since 2")
    assert first.has_it()
    assert not second.has_it()
    assert second.claims.take("Compose project q") == ""


def test_what_is_given_up_goes_to_who_waits_and_no_file_is_left(seats: tuple[Seat, Seat], folder: Path) -> None:
    first, second = seats
    first.keep()
    eventually(lambda: first.told == [""], WITHIN)
    second.keep()
    eventually(lambda: second.told, WITHIN)
    assert second.told[0].startswith("the first since ")
    first.stop()
    eventually(lambda: second.told[1:] == [""], WITHIN)
    assert second.has_it()
    second.stop()
    assert list((folder / f"ipytilt-{os.getuid()}-claims").iterdir()) == []


def test_places_are_apart() -> None:
    here, there = (Claims("a test", place=place.format, quiet=bool) for place in ("here", "there"))
    try:
        assert (here.take(SCOPE), there.take(SCOPE)) == ("", "")
    finally:
        here.close()
        there.close()


def test_without_a_folder_everybody_has_everything(
    seats: tuple[Seat, Seat], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = folder / "no-folder"
    blocked.touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(blocked))
    assert private_directory("-claims") == ""
    for seat in seats:
        assert seat.claims.take(SCOPE) == ""
        assert seat.has_it()


def test_a_file_that_was_tidied_away_is_made_again(seats: tuple[Seat, Seat], folder: Path) -> None:
    first, second = seats
    assert first.claims.take(SCOPE) == ""
    for path in (folder / f"ipytilt-{os.getuid()}-claims").iterdir():
        path.unlink()
    assert first.has_it()
    assert second.claims.take(SCOPE).startswith("the first")


# ---------------------------------------------------------------------------------------------- taking over


def test_who_insists_gets_it_once_the_holder_is_done_and_keeps_it(seats: tuple[Seat, Seat]) -> None:
    first, second = seats
    first.is_quiet = False
    first.keep()
    eventually(lambda: first.told == [""], WITHIN)
    second.keep(insist=1)
    eventually(lambda: len(first.told) == 2, WITHIN)
    assert first.told[1].startswith("the second since ")
    first.is_quiet = True
    eventually(second.has_it, WITHIN)
    eventually(lambda: second.told[-1] == "", WITHIN)
    assert not first.has_it()
    assert any("is held by the second" in line for line in first.logged)
    first.keep(insist=1)
    eventually(first.has_it, WITHIN)
    eventually(lambda: second.told[-1].startswith("the first since "), WITHIN)


def test_a_request_counts_as_long_as_somebody_makes_it(seats: tuple[Seat, Seat], other: Other) -> None:
    """Somebody asks and goes; the next to look finds the file, and nobody behind it."""
    first, second = seats
    other.popen.send_signal(signal.SIGSTOP)  # so that the request is not met meanwhile
    first.keep(insist=1)
    asked = Path(private_directory("-claims"))
    eventually(lambda: [path for path in asked.iterdir() if path.suffix == ".asks"], WITHIN)
    first.stop()
    assert not [path for path in asked.iterdir() if path.suffix == ".asks"]
    (path,) = asked.iterdir()
    path.with_suffix(".asks").write_text("{}")
    other.popen.send_signal(signal.SIGCONT)
    second.keep()
    eventually(lambda: second.told, WITHIN)
    assert second.told[0].startswith("the other since ")
    assert not second.has_it()


# ---------------------------------------------------------------------------------------------- dead and frozen


@pytest.mark.parametrize("fork", ["", FORK], ids=["alone", "forked"])
def test_a_killed_holder_frees_it_whatever_it_forked(seats: tuple[Seat, Seat], fork: str) -> None:
    second = seats[1]
    other = Other(HOLDER.replace("FORK", fork))
    try:
        second.keep()
        eventually(lambda: second.told, WITHIN)
        assert second.told[0].startswith("the other since ")
        other.popen.kill()
        eventually(second.has_it, WITHIN)
    finally:
        other.close()


def test_a_frozen_holder_is_passed_over_and_notices_when_it_wakes(seats: tuple[Seat, Seat], other: Other) -> None:
    second = seats[1]
    other.popen.send_signal(signal.SIGSTOP)
    second.keep(insist=1)
    eventually(second.has_it, WITHIN)
    eventually(lambda: second.told[-1] == "", WITHIN)
    other.popen.send_signal(signal.SIGCONT)
    assert other.hears().startswith("the second since ")
    assert second.has_it()
