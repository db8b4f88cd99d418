"""Rests and caps that people set: what is accepted, which counts for a resource, and what its watches are told."""

from __future__ import annotations

from typing import Any

import pytest

from ipytilt.core import events as ev
from ipytilt.core.batch import Batch, Pace
from ipytilt.core.explain import what_if
from ipytilt.core.orders import orders
from ipytilt.core.paces import Paces, asked_for
from ipytilt.core.state import TILTFILE
from ipytilt.core.steps import Watch
from ipytilt.errors import UsageError
from tests.support.core import ROOT, World, image, local, service, spec


@pytest.mark.parametrize(
    "rest, cap, resource, pace",
    [
        ({}, {}, "api", None),
        ({"web": 1}, {"web": 30}, "api", None),
        (0.5, {}, "api", Pace(lone=0.5, burst=0.5, storm=0.5, cap=25)),
        ({"": 0.5}, {}, "api", Pace(lone=0.5, burst=0.5, storm=0.5, cap=25)),
        ({"api": 0.1}, {}, "api", Pace(lone=0.1, burst=0.1, storm=0.1, cap=10)),
        ({"api": 0, "": 7}, {}, "api", Pace(lone=0, burst=0, storm=0, cap=10)),
        ({"api": 2}, 3, "api", Pace(lone=2, burst=2, storm=2, cap=3)),
        ({"api": 2}, {"api": 2, "": 40}, "api", Pace(lone=2, burst=2, storm=2, cap=2)),
        ({}, {"api": 0.05}, "api", Pace(cap=0.05)),
        ({TILTFILE: 3}, 60, TILTFILE, Pace(lone=3, burst=3, storm=3, cap=60)),
    ],
)
def test_which_setting_counts(rest: Any, cap: Any, resource: str, pace: Pace | None) -> None:
    assert asked_for(rest, cap).of(resource) == pace


@pytest.mark.parametrize(
    "rest, cap, message",
    [
        ("1", {}, "rest: '1' is no time to wait"),
        ({"api": "fast"}, {}, "rest of api: 'fast' is no time to wait"),
        ({"api": True}, {}, "rest of api: True is no time to wait"),
        ({}, {"api": -1}, "cap of api: -1 is no time to wait"),
        (float("nan"), {}, "rest: nan is no time to wait"),
        (float("inf"), {}, "rest: inf is no time to wait"),
        (100_000, {}, "rest: 100000 is no time to wait"),
        ({1: 1}, {}, "rest: 1 is no name of a resource"),
        ({"api": 2}, {"api": 1}, r"The cap of api \(1 s\) is shorter than the rest \(2 s\)"),
        (2, 1, r"The cap \(1 s\) is shorter than the rest \(2 s\)"),
        ({"api": 2}, 1, r"The cap of api \(1 s\) is shorter than the rest \(2 s\)"),
        ({}, 0, "A cap of 0 s leaves no time"),
    ],
)
def test_what_makes_no_sense_is_refused(rest: Any, cap: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        asked_for(rest, cap)
    assert refused.value.hint


def test_the_most_patient_of_several_resources_counts() -> None:
    paces = asked_for({"api": 1, "web": 2, "quick": 0}, {"api": 60})
    assert paces.of("api", "web") == Pace(lone=2, burst=2, storm=2, cap=100)
    assert paces.of("quick", "other") == Pace()
    assert paces.of("other") is None


def test_in_words() -> None:
    paces = asked_for({"api": 0.5}, {"web": 30})
    assert paces.text("api") == "changes rest 0.5 s, at most 25 s in all"
    assert paces.text("web") == "changes rest until they have settled, at most 30 s in all"
    assert paces.text("other") == ""
    assert paces
    assert not Paces()


def _paces(world: World) -> dict[str, Pace | None]:
    return {order.name: order.pace for order in orders(world.state) if isinstance(order, Watch)}


def test_a_setting_counts_at_once_and_explain_tells() -> None:
    world = World(spec(service("api", "api"), local("gen", deps=("gen",)), images=[image("api", "api")]))
    assert set(_paces(world).values()) == {None}
    world.post(ev.PacesSet(asked_for({"api": 1, TILTFILE: 2}, {}), world.now))
    one = Pace(lone=1, burst=1, storm=1, cap=50)
    two = Pace(lone=2, burst=2, storm=2, cap=100)
    assert _paces(world) == {"image:api": one, "local:gen": None, "configs:(Tiltfile)": two}
    (effect,) = what_if(world.state, f"{ROOT}/api/main.py").effects
    assert effect.rest == "changes rest 1 s, at most 50 s in all"
    (effect,) = what_if(world.state, f"{ROOT}/gen").effects
    assert effect.rest == ""
    world.post(ev.PacesSet(Paces(), world.now))
    assert set(_paces(world).values()) == {None}


def test_two_saves_within_a_rest_are_one_change_and_a_shorter_rest_counts_at_once() -> None:
    batch = Batch(asked_for({"api": 60}, {}).of("api"))
    batch.add({"/a": True}, 0.0)
    batch.add({"/b": True}, 50.0)
    assert batch.due(109.9) == ()
    assert batch.due(110.0) == ("/a", "/b")
    batch.add({"/a": True}, 200.0)
    batch.pace = asked_for(1, {}).of("api") or Pace()
    assert batch.wake_at == 201.0
