"""State -> `SessionView`: fills the wire values with the words of `core.status`.

Pure; called on the thread of whichever view is about to send.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from ipytilt.core import claims, live, status
from ipytilt.core.buttons import Button, Press
from ipytilt.core.pods import newest
from ipytilt.core.spec import Resource, TriggerMode
from ipytilt.core.state import Record, State, Track, pending_files
from ipytilt.views import wire

_SHOWN_FILES = 20


def session_view(state: State, engine: str, *, scrub: Callable[[str], str]) -> wire.SessionView:
    """Everything a view shows of this state; `engine` is the engine's own line, `scrub` takes secrets out of a text."""
    places = _places(state, scrub)
    problems = [p for p in state.engines.values() if p]
    return wire.SessionView(
        engine=wire.EngineView(engine, ok=not problems, problem="; ".join(problems)),
        tiltfile=_tiltfile(state),
        rows=tuple(_row(state, resource, buttons=places.get(resource.name, ())) for resource in _in_order(state)),
        buttons=places.get("", ()),
        claims=tuple(
            wire.ClaimView(scope, claims.sentence(scope, held), held.taken)
            for scope, held in state.claims.items()
            if held.by
        ),
        handled=state.handled,
        problem=state.crash,
    )


def _in_order(state: State) -> list[Resource]:
    """Definition order, the disabled ones last."""
    return sorted(state.spec.resources, key=lambda r: not state.enabled(r.name))


def _tiltfile(state: State) -> wire.TiltfileView:
    load = state.load
    if load.running is not None or load.stale:
        return wire.TiltfileView("loading", "Evaluating…")
    if load.error is not None:
        kept = "The last good Tiltfile stays in force" if load.good else ""
        return wire.TiltfileView("error", kept, load.error.text)
    if not load.count:
        return wire.TiltfileView()
    problems = "; ".join(f"{watch}: {text}" for watch, text in state.watch_problems.items())
    return wire.TiltfileView("ok", problems)


def _places(state: State, scrub: Callable[[str], str]) -> dict[str, tuple[wire.ButtonView, ...]]:
    """The buttons by the row they stand beside, "" for none."""
    found: dict[str, tuple[wire.ButtonView, ...]] = {}
    for button in state.spec.buttons:
        place = button.beside if state.spec.resource(button.beside) else ""
        view = _button(button, state.presses.get(button.name, Press()), scrub=scrub)
        found[place] = (*found.get(place, ()), view)
    return found


def _button(button: Button, press: Press, *, scrub: Callable[[str], str]) -> wire.ButtonView:
    return wire.ButtonView(
        name=button.name,
        text=scrub(button.text),
        disabled=button.disabled,
        confirm=button.confirm,
        inputs=tuple(
            wire.InputView(
                name=one.name,
                kind=cast("Literal['text', 'bool', 'choice']", one.kind),
                label=scrub(one.label or one.name),
                default=scrub(one.default),
                choices=tuple(map(scrub, one.choices)),
                placeholder=scrub(one.placeholder),
            )
            for one in button.inputs
            if one.kind != "hidden"
        ),
        running=press.running,
        problem=press.problem,
    )


def _row(state: State, resource: Resource, *, buttons: tuple[wire.ButtonView, ...]) -> wire.RowView:
    track = state.tracks[resource.name]
    update = status.update_status(state, resource)
    runtime = status.runtime_status(state, resource)
    enabled = state.enabled(resource.name)
    running = state.running(resource.name)
    pending = pending_files(state, resource, track) if enabled else ()
    can_trigger, tip = _trigger(state, resource, pending=bool(pending))
    last = track.last
    return wire.RowView(
        name=resource.name,
        kind=resource.kind,
        labels=resource.labels,
        update=wire.UpdateView(update.word, update.text, update.since or None, last.took if last else None),
        runtime=wire.RuntimeView(runtime.word, runtime.text, runtime.since or None),
        waiting=_waiting(state, resource.name),
        last=_last(last, resource) if last else None,
        pending=pending[:_SHOWN_FILES],
        endpoints=tuple(wire.EndpointView(*endpoint) for endpoint in status.endpoints(state, resource)),
        pod=_pod(track) if enabled else None,
        trigger_mode="manual" if resource.trigger_mode is TriggerMode.MANUAL else "auto",
        disabled=not enabled,
        can_trigger=can_trigger,
        trigger_tip=tip,
        can_stop=running is not None and not running.cancelling,
        stop_tip="Stop update" if running else "Nothing to stop",
        error=_error(update, runtime, last),
        buttons=buttons if enabled else (),
    )


def _pod(track: Track) -> wire.PodView | None:
    pod = newest(track)
    return wire.PodView(pod.name, pod.status or pod.phase, pod.restarts) if pod else None


def _error(update: status.Status, runtime: status.Status, last: Record | None) -> str:
    if update.word == "error" and last is not None:
        return last.error
    return runtime.text if runtime.word == "error" else ""


def _trigger(state: State, resource: Resource, *, pending: bool) -> tuple[bool, str]:
    track = state.tracks[resource.name]
    if not state.enabled(resource.name):
        return False, "Resource is disabled"
    if state.down:
        return False, "Everything was taken down: %tilt up starts it again"
    if track.asked:
        return False, "Resource already queued!"
    if state.running(resource.name):
        return False, "Resource already updating!"
    if pending and live.live_images(state.spec, resource):
        return True, "Trigger update to sync changes"
    if any(tracked.unmet for tracked in track.containers.values()) and not pending:
        return True, "Run the failed step again"
    return True, "Trigger update"


def _waiting(state: State, name: str) -> wire.WaitingView | None:
    hold = state.holds.get(name)
    return wire.WaitingView(hold.reason, hold.text, hold.on, hold.since or None) if hold else None


def _last(record: Record, resource: Resource) -> wire.LastUpdateView:
    rule = next((str(b.origin) for b in record.cause.because if b.origin.line), "")
    return wire.LastUpdateView(
        cause=record.cause.text,
        files=record.cause.files[:_SHOWN_FILES],
        how=status.how(record, resource),
        took=record.took,
        error=record.error,
        rule=rule,
        at=record.finished_at,
    )
