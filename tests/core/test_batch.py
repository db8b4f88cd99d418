"""When a batch of file events is reported; numbers are rows of the behaviour cases."""

from __future__ import annotations

import pytest

from ipytilt.core.batch import Batch, Pace

FIXED = Pace(lone=0.2, burst=0.2, storm=0.2, cap=10)
"""One rest for everything, as Tilt has it."""

DONE, OPEN = True, False


def reports(events: list[tuple[float, str, bool]], pace: Pace) -> list[tuple[float, tuple[str, ...]]]:
    """Play events (time, path, complete) and return (time, paths) of each report."""
    batch = Batch(pace)
    reported = []

    def advance(until: float) -> None:
        while batch.wake_at is not None and batch.wake_at <= until:
            now = batch.wake_at
            reported.append((round(now, 6), batch.due(now)))

    for at, path, complete in events:
        advance(at)
        batch.add({path: complete}, at)
    advance(float("inf"))
    return reported


def test_nothing_to_report_means_no_reason_to_wake() -> None:
    batch = Batch()
    batch.add({}, 1.0)
    assert batch.wake_at is None
    assert batch.due(100) == ()


def test_a_batch_is_not_due_before_it_has_rested_and_empty_after_it_was_taken() -> None:
    batch = Batch(FIXED)
    batch.add({"/b": DONE, "/a": DONE}, 1.0)
    assert batch.wake_at == pytest.approx(1.2)
    assert batch.due(1.19) == ()
    assert batch.due(1.21) == ("/a", "/b")
    assert batch.wake_at is None
    assert batch.due(9) == ()


CASES = [
    pytest.param(
        FIXED,
        [(0, "/a.py", DONE), (0.05, "/a.py", DONE), (0.1, "/a.py", DONE)],
        [(0.3, ("/a.py",))],
        id="case 1: three saves within the rest are one batch, a rest after the last",
    ),
    pytest.param(
        FIXED,
        [(step * 0.05, "/out", DONE) for step in range(240)],
        [(10.0, ("/out",)), (12.15, ("/out",))],
        id="case 2: writing for 12 s is cut at the cap, the remainder follows",
    ),
    pytest.param(
        FIXED,
        [(step * 0.0025, f"/{step:03}", DONE) for step in range(400)],
        [(1.1975, tuple(f"/{step:03}" for step in range(400)))],
        id="case 3: a branch switch of 400 files in 1 s is one batch",
    ),
    pytest.param(Pace(), [(5, "/a", DONE)], [(5.003, ("/a",))], id="a lone complete save goes at once"),
    pytest.param(
        Pace(),
        [(0, "/a.tmp", OPEN), (0.001, "/a.tmp", DONE), (0.001, "/a", DONE)],
        [(0.004, ("/a", "/a.tmp"))],
        id="an atomic save is lone: what was open is complete, the rename follows",
    ),
    pytest.param(Pace(), [(0, "/a", OPEN)], [(0.02, ("/a",))], id="a file that is still open waits for more"),
    pytest.param(
        Pace(),
        [(0, "/a", OPEN), (0.01, "/a", DONE)],
        [(0.013, ("/a",))],
        id="a file that was open goes as soon as it is complete",
    ),
    pytest.param(
        Pace(),
        [(0, path, DONE) for path in ("/a", "/b", "/c", "/d")],
        [(0.02, ("/a", "/b", "/c", "/d"))],
        id="several files wait for company",
    ),
    pytest.param(
        Pace(),
        [(0, f"/{n:03}", DONE) for n in range(100)],
        [(0.02, tuple(f"/{n:03}" for n in range(100)))],
        id="a storm without a pause is over soon",
    ),
    pytest.param(
        Pace(),
        [(0, "/a", OPEN), (0.015, "/b", OPEN), (0.04, "/c", OPEN), (0.085, "/d", OPEN)],
        [(0.175, ("/a", "/b", "/c", "/d"))],
        id="the longer the pauses, the longer the rest",
    ),
    pytest.param(
        Pace(),
        [(step * 0.01, "/log", OPEN) for step in range(121)],
        [(1.26, ("/log",))],
        id="the longer it takes, the longer the rest",
    ),
    pytest.param(
        Pace(cap=60),
        [(step * 0.01, "/log", OPEN) for step in range(2001)],
        [(20.2, ("/log",))],
        id="a storm rests no longer than it must",
    ),
    pytest.param(
        Pace(),
        [(step * 0.0001, f"/d/{step:03}", DONE) for step in range(500)] + [(0.05, "/d", DONE)],
        [(0.053, ("/d", *(f"/d/{step:03}" for step in range(500))))],
        id="a removed directory is one change, with all that was in it",
    ),
    pytest.param(
        Pace(),
        [(0, "/d", DONE), (0, "/d/a", DONE), (0, "/d/b", DONE), (0, "/d/c", DONE)],
        [(0.003, ("/d", "/d/a", "/d/b", "/d/c"))],
        id="a removed directory that is reported before what was in it",
    ),
    pytest.param(
        Pace(),
        [(0, "/d", DONE), (0, "/d/a", DONE), (0, "/d/b", DONE), (0, "/d2", DONE)],
        [(0.02, ("/d", "/d/a", "/d/b", "/d2"))],
        id="a removed directory and something else wait for company",
    ),
    pytest.param(
        Pace(),
        [(0, "/d/a", DONE), (0, "/d", DONE), (0.001, "/d", OPEN), (0.002, "/d/a", DONE), (0.002, "/d/b", DONE)],
        [(0.022, ("/d", "/d/a", "/d/b"))],
        id="a directory that was removed and made again waits for company",
    ),
    pytest.param(
        Pace(),
        [(step * 0.0025, f"/{step:03}", DONE) for step in range(400)],
        [(1.047375, tuple(f"/{step:03}" for step in range(400)))],
        id="case 3 at the default pace",
    ),
    pytest.param(
        Pace(),
        [(0, "/a", DONE), *((0.004 + step * 0.006, f"/{step:02}", DONE) for step in range(20))],
        [(0.003, ("/a",)), (0.138, tuple(f"/{step:02}" for step in range(20)))],
        id="what follows a report closely is no lone save",
    ),
    pytest.param(
        Pace(cap=1),
        [(step * 0.01, "/log", OPEN) for step in range(150)],
        [(1.0, ("/log",)), (1.5145, ("/log",))],
        id="a file written without pause is cut at the cap",
    ),
]


@pytest.mark.parametrize("pace, events, expected", CASES)
def test_reports(
    pace: Pace, events: list[tuple[float, str, bool]], expected: list[tuple[float, tuple[str, ...]]]
) -> None:
    assert reports(events, pace) == expected
