"""Rows 33 to 44: where a file goes, what is sent, and which commands follow."""

from __future__ import annotations

from ipytilt.core.steps import SyncFiles
from tests.core.rows import commands, only, row, running, sent, targets
from tests.support.core import ROOT, rules

CONTEXT = "tests/engines/test_context.py::"


def target(*syncs: tuple[str, str], saved: str) -> list[str]:
    """Where a saved file goes."""
    world = running(rules(*syncs))
    world.save(saved)
    return targets(world)


@row(33, also=(f"{CONTEXT}test_what_is_missing_is_removed_and_the_rest_copied",))
def _() -> None:
    world = running(rules(("s1", "/d1"), ("s2", "/n/d2")))
    world.save("s1/child/f", "s2/gone")
    assert sent(world) == [("s1/child/f", "/d1/child/f"), ("s2/gone", "/n/d2/gone")]


@row(34)
def _() -> None:
    assert target(("s1/f", "/d1/"), saved="s1/f") == ["/d1/f"]


@row(35)
def _() -> None:
    assert target(("s1/f", "/d1/g"), saved="s1/f") == ["/d1/g"]


@row(36)
def _() -> None:
    world = running(rules(("s1", "/d1")))
    world.save("other/f")
    assert world.lanes() == [("web", "full")]
    assert "not matching any sync (files: other/f)" in only(world).cause.because[-1].text


@row(37)
def _() -> None:
    assert target((".", "/app"), ("web", "/srv"), saved="web/x") == ["/app/web/x"]
    assert target(("web", "/srv"), (".", "/app"), saved="web/x") == ["/srv/x"]


def ran(*runs: tuple[str, tuple[str, ...]], saved: tuple[str, ...]) -> list[str]:
    """Which of these commands run when files are saved."""
    world = running(rules((".", "/app"), runs=runs))
    world.save(*saved)
    return commands(world)


@row(38)
def _() -> None:
    world = running(rules((".", "/app"), runs=[("always", ())]))
    for name in ("a", "b"):
        world.save(name)
        assert commands(world) == ["always"]
        world.settle()


@row(39)
def _() -> None:
    assert ran(("x", ("bar",)), saved=("nested/bar",)) == []


@row(40)
def _() -> None:
    assert ran(("one", ("foo",)), ("two", ("bar",)), saved=("baz", "bar")) == ["two"]


@row(41)
def _() -> None:
    world = running(rules(("src", "/app"), runs=[("x", ("src/f",))]))
    live = world.state.spec.images["web"].live_update
    assert live is not None
    assert live.runs[0].triggers == (f"{ROOT}/src/f",)
    world.save("src/f")
    assert commands(world) == ["x"]


@row(44, also=(f"{CONTEXT}test_of_two_copies_to_one_path_the_last_counts",))
def _() -> None:
    world = running(rules(("a/f", "/x"), ("b/f", "/x")))
    world.save("a/f", "b/f")
    assert sent(world) == [("b/f", "/x")]
    assert isinstance(only(world).branches[0][0], SyncFiles)
