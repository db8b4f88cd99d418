"""The wire document: plain, patchable, and closed to junk."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipytilt.errors import UsageError
from ipytilt.views import wire
from ipytilt.views.wire import (
    ButtonView,
    EndpointView,
    EngineView,
    InputView,
    LastUpdateView,
    RowView,
    RuntimeView,
    SessionView,
    TiltfileView,
    UpdateView,
    WaitingView,
)

names = st.sampled_from(["api", "web", "db", "größe", "<b>"])
texts = st.text(max_size=5)
rows = st.builds(
    RowView,
    name=names,
    kind=st.sampled_from(["local", "compose"]),
    update=st.builds(UpdateView, status=st.sampled_from(["ok", "error"]), text=texts),
    waiting=st.none() | st.builds(WaitingView, reason=texts, text=texts, on=st.lists(names, max_size=2).map(tuple)),
    last=st.none() | st.builds(LastUpdateView, cause=texts, files=st.lists(texts, max_size=2).map(tuple)),
)
views = st.builds(
    SessionView,
    buttons=st.lists(st.builds(ButtonView, name=names, text=texts, running=st.booleans()), max_size=2).map(tuple),
    engine=st.builds(EngineView, text=texts),
    tiltfile=st.builds(TiltfileView, error=texts),
    rows=st.lists(rows, max_size=4, unique_by=lambda row: row.name).map(tuple),
    handled=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
)


@given(old=views, new=views)
def test_a_patch_leads_from_old_to_new_through_json(old: SessionView, new: SessionView) -> None:
    before, after = wire.document(old), wire.document(new)
    untouched = json.dumps(before)
    changes = json.loads(json.dumps(wire.patch(before, after)))
    assert wire.apply_patch(before, changes) == after
    assert json.dumps(before) == untouched


@given(view=views)
def test_equal_documents_have_an_empty_patch(view: SessionView) -> None:
    assert wire.patch(wire.document(view), wire.document(view)) == {}


def test_only_the_changed_row_travels() -> None:
    view = SessionView(rows=(RowView("api", "local"), RowView("web", "local")))
    changed = replace(view, rows=(view.rows[0], replace(view.rows[1], disabled=True)))
    changes = wire.patch(wire.document(view), wire.document(changed))
    assert list(changes) == ["rows"]
    assert list(changes["rows"]) == ["web"]


def test_the_document_says_everything_in_plain_values() -> None:
    view = SessionView(
        engine=EngineView("docker 20.10", ok=False, problem="cannot connect"),
        tiltfile=TiltfileView("error", "Tiltfile error", "line 3"),
        rows=(
            RowView(
                "api",
                "compose",
                labels=("back",),
                update=UpdateView("ok", "Updated in 6 ms", 100.0, 0.006),
                runtime=RuntimeView("ok", "Running", 50.0),
                waiting=WaitingView("waiting-for-dep", "waiting on db", ("db",), 99.0),
                last=LastUpdateView("1 File Changed", ("a.py",), "live update", 0.006, rule="Tiltfile:3", at=100.0),
                pending=("b.py",),
                endpoints=(EndpointView("http://localhost:8000", "web"),),
            ),
        ),
        handled=(("c1", ""),),
    )
    plain = wire.document(view)
    assert json.loads(json.dumps(plain)) == plain
    assert plain["order"] == ["api"]
    assert plain["handled"] == {"c1": ""}
    assert plain["rows"]["api"] == {
        "name": "api",
        "kind": "compose",
        "labels": ["back"],
        "update": {"status": "ok", "text": "Updated in 6 ms", "since": 100.0, "took": 0.006},
        "runtime": {"status": "ok", "text": "Running", "since": 50.0},
        "waiting": {"reason": "waiting-for-dep", "text": "waiting on db", "on": ["db"], "since": 99.0},
        "last": {
            "cause": "1 File Changed",
            "files": ["a.py"],
            "how": "live update",
            "took": 0.006,
            "error": "",
            "rule": "Tiltfile:3",
            "at": 100.0,
        },
        "pending": ["b.py"],
        "endpoints": [{"url": "http://localhost:8000", "name": "web", "problem": ""}],
        "pod": None,
        "trigger_mode": "auto",
        "disabled": False,
        "can_trigger": True,
        "trigger_tip": "Trigger update",
        "can_stop": False,
        "stop_tip": "Nothing to stop",
        "error": "",
        "buttons": [],
    }


def test_buttons_are_plain_beside_their_row_and_in_the_head() -> None:
    seed = ButtonView("seed", "Seed", inputs=(InputView("SIZE", "choice", "Size", "s", ("s", "l")),))
    prune = ButtonView("prune", "Prune", disabled=True, confirm=True, running=True, problem="exit status 2")
    plain = wire.document(SessionView(rows=(RowView("api", "local", buttons=(seed,)),), buttons=(prune,)))
    size = {"name": "SIZE", "kind": "choice", "label": "Size", "default": "s", "choices": ["s", "l"], "placeholder": ""}
    quiet = {"disabled": False, "confirm": False, "inputs": [size], "running": False, "problem": ""}
    busy = {"disabled": True, "confirm": True, "inputs": [], "running": True, "problem": "exit status 2"}
    assert plain["rows"]["api"]["buttons"] == [{"name": "seed", "text": "Seed", **quiet}]
    assert plain["buttons"] == [{"name": "prune", "text": "Prune", **busy}]
    assert json.loads(json.dumps(plain)) == plain


def test_a_file_name_that_is_no_text_can_still_be_sent() -> None:
    row = RowView("api", "local", pending=(b"caf\xe9".decode("utf-8", "surrogateescape"),))
    assert json.dumps(wire.document(SessionView(rows=(row,))), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "raw, command",
    [
        ({"do": "trigger", "id": "1", "resource": "api"}, wire.Trigger("1", "api")),
        ({"do": "stop", "id": "1", "resource": "api"}, wire.StopUpdate("1", "api")),
        ({"do": "enable", "id": "1", "resource": "api"}, wire.Enable("1", "api")),
        ({"do": "disable", "id": "1", "resource": "api"}, wire.Disable("1", "api")),
        (
            {"do": "press", "id": "1", "button": "b", "values": {"A": "1"}, "confirmed": True},
            wire.Press("1", "b", {"A": "1"}, confirmed=True),
        ),
        ({"do": "explain", "id": "1", "view": "v", "path": "a.py"}, wire.Explain("1", "v", "a.py")),
        ({"do": "page", "id": "1", "view": "v", "stream": "", "page": 3}, wire.GetPage("1", "v", "", 3)),
        (
            {"do": "subscribe", "id": "1", "view": "v", "reader": "r", "streams": ["api"]},
            wire.Subscribe("1", "v", "r", ("api",)),
        ),
        ({"do": "subscribe", "id": "1", "view": "v", "reader": "r"}, wire.Subscribe("1", "v", "r")),
        ({"do": "document", "id": "1", "view": "v"}, wire.GetDocument("1", "v")),
    ],
)
def test_every_command_is_understood(raw: object, command: wire.Command) -> None:
    assert wire.parse_command(raw) == command


PRESS = {"do": "press", "id": "1", "button": "b", "values": {}, "confirmed": False}


@pytest.mark.parametrize(
    "raw, problem",
    [
        (None, "A command is an object, not NoneType"),
        ([], "A command is an object, not list"),
        ({}, "Unknown command 'None'"),
        ({"do": ["trigger"]}, "Unknown command \"['trigger']\""),
        ({"do": "rm"}, "Unknown command 'rm'"),
        ({"do": "trigger", "resource": "api"}, "trigger: 'id' is missing"),
        ({"do": "trigger", "id": "1"}, "trigger: 'resource' is missing"),
        ({"do": "trigger", "id": 1, "resource": "api"}, "trigger: id must be a text of at most 4096 characters"),
        ({"do": "trigger", "id": "1", "resource": "a" * 4097}, "trigger: resource must be a text of at most"),
        ({"do": "trigger", "id": "1", "resource": "a", "force": True}, "trigger: unknown field 'force'"),
        ({**PRESS, "confirmed": "yes"}, "press: confirmed must be true or false"),
        ({**PRESS, "values": ["A=1"]}, "press: values must be an object of at most 64 texts"),
        ({**PRESS, "values": {"A": 1}}, "press: values must be a text"),
        ({**PRESS, "values": {str(n): "" for n in range(65)}}, "press: values must be an object of at most 64"),
        ({"do": "page", "id": "1", "view": "v", "stream": "", "page": -1}, "page: page must be a number from 0"),
        ({"do": "page", "id": "1", "view": "v", "stream": "", "page": True}, "page: page must be a number from 0"),
        ({"do": "subscribe", "id": "1", "view": "v", "reader": "r", "streams": "api"}, "must be a list of at most 64"),
        ({"do": "subscribe", "id": "1", "view": "v", "reader": "r", "streams": [1]}, "must be a text"),
    ],
)
def test_junk_is_refused_by_name(raw: object, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        wire.parse_command(raw)
    assert problem in caught.value.message


@given(
    raw=st.recursive(st.none() | st.integers() | texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner))
)
def test_no_junk_gets_through_any_other_way(raw: object) -> None:
    with pytest.raises(UsageError):
        wire.parse_command(raw)
