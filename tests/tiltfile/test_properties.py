"""Whatever the text, evaluation ends in a spec or in a Tiltfile error."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipytilt.starlark import to_repr
from ipytilt.tiltfile.builtin import registered
from ipytilt.tiltfile.builtins.yaml_text import YamlError, documents, dump
from ipytilt.tiltfile.load import LoadError
from ipytilt.tiltfile.pathnames import clean, join, relative
from ipytilt.tiltfile.result import document, failure
from tests.tiltfile.cases import CASES, COMPOSE
from tests.tiltfile.evaluated import evaluate

CHUNKS = [
    text for path in (Path(__file__).parent / "chunks").glob("*.tilt") for text in path.read_text().split("---\n")
]
TEXTS = [case.text for case in CASES] + CHUNKS
TOKENS = sorted({token for text in TEXTS for token in re.findall(r"\w+|'[^'\n]*'|\s+|[^\w\s]", text)})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
WORLD = {**COMPOSE, "x": "a = 1", "lib/Tiltfile": "def f(): pass"}
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def ends_well(text: str) -> None:
    """Evaluate; anything but a spec or a `LoadError` fails the test, and both have a JSON document."""
    try:
        found = document(evaluate(text, WORLD, ("a", "--x=1")))
    except LoadError as error:
        found = failure(error)
    json.dumps(found)


@RELAXED
@given(st.sampled_from(TEXTS), st.data())
def test_mutated_tiltfiles(text: str, data: st.DataObject) -> None:
    pieces = re.findall(r"\w+|'[^'\n]*'|\s+|[^\w\s]", text)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(pieces)))
        pieces[at : at + data.draw(st.integers(0, 2))] = data.draw(st.lists(st.sampled_from(TOKENS), max_size=2))
    ends_well("".join(pieces))


@RELAXED
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text(text: str) -> None:
    ends_well(text)


@RELAXED
@given(st.sampled_from(sorted(registered())), st.lists(VALUES, max_size=4), st.data())
def test_any_arguments(name: str, args: list[object], data: st.DataObject) -> None:
    known = [parameter.name for parameter in registered()[name].parameters] or ["x"]
    named = data.draw(st.dictionaries(st.sampled_from([*known, "nope"]), VALUES, max_size=3))
    words = [literal(value) for value in args] + [f"{key}={literal(value)}" for key, value in named.items()]
    ends_well(f"print({name}({', '.join(words)}))")


def literal(value: object) -> str:
    """The value as Starlark source."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, float):
        return f"float('{value}')"
    return to_repr(value)


@RELAXED
@given(st.text(max_size=80))
def test_any_yaml(text: str) -> None:
    with suppress(YamlError):
        json.dumps(list(documents(text)))


@RELAXED
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_written_yaml_is_read_as_the_same(value: object) -> None:
    read = list(documents(dump(value)))
    assert read == [_as_numbers(value)]


def _as_numbers(value: object) -> object:
    """Integers beyond 64 bits are read as floats."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return float(value)
    if isinstance(value, list):
        return [_as_numbers(item) for item in value]
    return {key: _as_numbers(item) for key, item in value.items()} if isinstance(value, dict) else value


PATHS = st.lists(st.sampled_from(["a", "b", "..", ".", "", "/"]), max_size=6).map("/".join)


@given(PATHS, PATHS)
def test_relative_paths_lead_back(base: str, target: str) -> None:
    base, target = clean("/" + base), clean("/" + target)
    assert join(base, relative(base, target)) == target
