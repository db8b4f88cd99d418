"""Rests and caps that are set, through the doors they can be set by, in sessions that run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ipytilt import Session
from ipytilt.errors import UsageError
from tests.support import eventually
from tests.support.leaks import no_leaks

PATIENCE = 60.0
LONG = 3_600.0
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """Two local resources that depend on a folder each; what `patient` depends on rests for an hour."""
    with no_leaks():
        made = Session(tmp_path, engine="sandbox", rest={"patient": LONG})
        (tmp_path / "patient").mkdir()
        (tmp_path / "quick").mkdir()
        made.tiltfile("for name in ['patient', 'quick']:\n  local_resource(name, 'true', deps=name)")
        made.wait(timeout=PATIENCE)
        yield made
        assert made.stop() == ()


def files(session: Session, name: str) -> list[tuple[str, ...]]:
    """What caused each update of a resource, after the first one."""
    return [tuple(Path(path).name for path in update.files) for update in session[name].updates[1:]]


def test_two_saves_within_a_long_rest_are_one_update(session: Session, tmp_path: Path) -> None:
    (tmp_path / "patient/a").write_text("1")
    (tmp_path / "quick/a").write_text("1")
    eventually(lambda: files(session, "quick") == [("a",)], PATIENCE)
    (tmp_path / "patient/b").write_text("1")
    (tmp_path / "quick/b").write_text("1")
    eventually(lambda: files(session, "quick") == [("a",), ("b",)], PATIENCE)
    assert files(session, "patient") == []
    session.wait(timeout=PATIENCE)  # everything saved until now counts, rested or not
    assert files(session, "patient") == [("a", "b")]


def test_a_setting_that_is_taken_back_counts_at_once(session: Session, tmp_path: Path) -> None:
    (tmp_path / "patient/a").write_text("1")
    (tmp_path / "quick/a").write_text("1")
    eventually(lambda: files(session, "quick") == [("a",)], PATIENCE)
    assert (session["patient"].rest, session["quick"].rest) == (LONG, None)
    session["patient"].rest = None
    eventually(lambda: files(session, "patient") == [("a",)], PATIENCE)
    assert (session["patient"].rest, session["patient"].cap) == (None, 10.0)


def test_a_cap_ends_a_rest(session: Session, tmp_path: Path) -> None:
    session["quick"].cap = 2 * LONG
    session["quick"].rest = LONG
    (tmp_path / "quick/a").write_text("1")
    with pytest.raises(UsageError, match=r"The cap of quick \(1 s\) is shorter than the rest \(3600 s\)"):
        session["quick"].cap = 1
    session["quick"].rest = 0.01
    session["quick"].cap = 0.02
    eventually(lambda: files(session, "quick") == [("a",)], PATIENCE)


def test_what_is_set_is_told_and_what_is_no_resource_is_named(session: Session, tmp_path: Path) -> None:
    (effect,) = session.explain("patient/a").effects
    assert effect.rest == "changes rest 3600 s, at most 180000 s in all"
    session._session.set_paces(session._session.state.paces.__class__(rest={"patiend": 1.0}))
    assert "rest or cap is set for what is no resource: patiend" in str(session.logs())


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cap of api: -1 is no time to wait"):
        Session(tmp_path, cap={"api": -1})
