"""The part of `reduce` that deals with claims: what another session holds, has taken over, or has given up.

Runs on the controller thread only. What is lost is left alone from then on: its runs are cancelled, nothing of it is
taken down. What comes back was in somebody else's hands, so it starts over.
"""

from __future__ import annotations

from dataclasses import replace

from ipytilt.core import events as ev
from ipytilt.core.claims import Held, scope_of
from ipytilt.core.reduce_switch import start_over
from ipytilt.core.state import State


def claim_changed(state: State, event: ev.ClaimChanged) -> State:
    """A scope is ours now (`by` is ""), or somebody else's."""
    known = state.claims.get(event.scope)
    taken = known is not None and (known.taken or not known.by)
    held = Held(event.by, bool(event.by) and taken, known.insist if known else 0)
    if held == known:
        return state
    names = frozenset(r.name for r in state.spec.resources if scope_of(r) == event.scope)
    claims = {**state.claims, event.scope: held}
    state = replace(state, claims=claims, revision=state.revision + 1, wanting=state.wanting | names)
    if held.by:
        return _let_go(state, event.scope, names)
    if known is None or not known.taken:
        return state
    tracks = {name: start_over(state, track) if name in names else track for name, track in state.tracks.items()}
    return replace(state, tracks=tracks)


def take_over_requested(state: State) -> State:
    """Whatever somebody else holds is to be ours: a new order for each, which insists."""
    claims = {s: replace(held, insist=held.insist + 1) if held.by else held for s, held in state.claims.items()}
    return replace(state, claims=claims, revision=state.revision + 1)


def _let_go(state: State, scope: str, names: frozenset[str]) -> State:
    runs = {i: replace(run, cancelling=True) if run.resource in names else run for i, run in state.runs.items()}
    leaving = {name: resource for name, resource in state.leaving.items() if scope_of(resource) != scope}
    off = {name for name in names if state.tracks[name].off_at}  # what was to be taken down is not ours any longer
    tracks = {name: start_over(state, track) if name in off else track for name, track in state.tracks.items()}
    return replace(state, runs=runs, leaving=leaving, tracks=tracks)
