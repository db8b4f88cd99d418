"""The verdict of a run without a user: everything has come up, something has failed, or it is still to be seen.

Pure, for the controller's snapshots on any thread. The Tiltfile, every update and everything that runs are *targets*:
the first that fails decides, success needs all of them. Patience ends without an event, so whoever waits also asks
while nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal, TypeAlias

from ipytilt.core import claims, status
from ipytilt.core.settings import CISettings
from ipytilt.core.spec import Kubernetes, Local, Resource
from ipytilt.core.state import TILTFILE, State, Track

Phase: TypeAlias = Literal["waiting", "not ready", "retrying", "failed", "done", "ignored"]
_OPEN: tuple[Phase, ...] = ("waiting", "not ready", "retrying")


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that must come up, such as `api:update`, `api:runtime` or `api:serve`.

    `text` is what it waits for or how it failed.
    """

    name: str
    phase: Phase
    text: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.text}" if self.text else self.name


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known now: `reasons` says what has failed, or what is still open."""

    word: Literal["open", "success", "failure"]
    reasons: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """It will not change any more."""
        return self.word != "open"


def verdict(state: State, *, since: float, now: float, timeout: float | None = None) -> Verdict:
    """The verdict at `now` of a run that began at `since` (both in seconds of the events' clock).

    `timeout` (seconds, 0: never) stands above the one of `ci_settings`.
    """
    found = targets(state, now)
    failed = tuple(str(target) for target in found if target.phase == "failed")
    if failed:
        return Verdict("failure", failed)
    still_open = [target for target in found if target.phase in _OPEN]
    if not still_open:
        return _complete(found)
    seconds = state.spec.settings.ci.timeout if timeout is None else timeout
    if seconds and now >= since + seconds:
        return Verdict("failure", (_timed_out(still_open, seconds), *map(str, still_open)))
    return Verdict("open", tuple(map(str, still_open)))


def targets(state: State, now: float) -> tuple[Target, ...]:
    """Every target, by name: the Tiltfile first."""
    found = [_tiltfile(state)]
    for resource in sorted(state.spec.resources, key=lambda r: r.name):
        found += _of_resource(state, resource, now)
    return tuple(found)


def _complete(found: tuple[Target, ...]) -> Verdict:
    if len(found) > 1:
        return Verdict("success")
    return Verdict("failure", (f"{TILTFILE}: it asks for nothing that could come up",))


def _timed_out(still_open: list[Target], seconds: float) -> str:
    counted = []
    for phase in _OPEN:
        names = [target.name for target in still_open if target.phase == phase]
        if names:
            counted.append(f"{len(names)} {phase} ({', '.join(names)})")
    return f"Timeout after {status.duration_text(seconds)}: {', '.join(counted)}"


def _tiltfile(state: State) -> Target:
    load = state.load
    if load.stale or load.running is not None or not load.count:
        return Target(TILTFILE, "waiting", "is being evaluated")
    if load.error is not None:
        return Target(TILTFILE, "failed", load.error.text or load.error.message)
    return Target(TILTFILE, "done")


def _of_resource(state: State, resource: Resource, now: float) -> Iterator[Target]:
    name, settings = resource.name, state.spec.settings.ci
    lost = state.engines.get("kubernetes") if isinstance(resource.target, Kubernetes) else ""
    if lost and state.enabled(name):
        yield Target(f"{name}:runtime", "failed", f"cluster connection failed: {lost}")
        return
    held = claims.others(state.claims, resource)
    if held and state.enabled(name):
        claim = state.claims[claims.scope_of(resource)]  # whoever has it may keep it for the rest of the day
        yield Target(f"{name}:update", "waiting" if claim.insist and not claim.taken else "failed", held)
        return
    local = resource.target if isinstance(resource.target, Local) else None
    running = f"{name}:{'serve' if local else 'runtime'}"
    up_to_date = status.update_status(state, resource).word in ("ok", "not_applicable")
    if local is None or local.cmd is not None:
        yield _update(f"{name}:update", state, resource, settings=settings, now=now)
    elif not up_to_date:  # a server alone has no update of its own
        yield _update(running, state, resource, settings=settings, now=now)
    if up_to_date and (local is None or local.serve is not None):
        yield _runtime(running, state, resource, settings=settings, now=now)


def _update(name: str, state: State, resource: Resource, *, settings: CISettings, now: float) -> Target:
    track = state.tracks[resource.name]
    found = status.update_status(state, resource)
    hold = state.holds.get(resource.name)
    if track.retry_at and found.word in ("pending", "in_progress", "error"):
        return _retrying(name, track, settings=settings, now=now)
    match found.word:
        case "in_progress":
            return Target(name, "not ready", found.text)
        case "pending":
            return Target(name, "waiting", hold.text if hold else "")
        case "error":
            return Target(name, "failed", track.last.error if track.last else found.text)
        case "ok" | "not_applicable":
            return Target(name, "done")
        case "none" | "disabled":
            return Target(name, "ignored")


def _retrying(name: str, track: Track, *, settings: CISettings, now: float) -> Target:
    """The world is away: it is tried again for as long as something may be not ready."""
    failures = list(takewhile(lambda record: record.result == "error", track.history))
    text = failures[0].error if failures else ""
    if not settings.readiness_timeout or not failures:
        return Target(name, "retrying", text)
    if now >= failures[-1].finished_at + settings.readiness_timeout:
        gave_up = f"Gave up after {status.duration_text(settings.readiness_timeout)}: {text}"
        return Target(name, "failed", gave_up)
    return Target(name, "retrying", text)


def _runtime(name: str, state: State, resource: Resource, *, settings: CISettings, now: float) -> Target:
    found = status.runtime_status(state, resource, health=False)
    if found.word == "ok":
        return Target(name, "done")
    deployed_at = _deployed_at(state.tracks[resource.name])
    if found.word == "error":
        return _broken(name, resource, text=found.text, deployed_at=deployed_at, settings=settings, now=now)
    return _not_ready(name, resource, since=max(found.since, deployed_at), settings=settings, now=now)


def _broken(
    name: str, resource: Resource, *, text: str, deployed_at: float, settings: CISettings, now: float
) -> Target:
    grace = settings.k8s_grace_period if isinstance(resource.target, Kubernetes) else 0.0
    if not grace:
        return Target(name, "failed", text)
    if now >= deployed_at + grace:
        return Target(name, "failed", f"exceeded grace period: {text}")
    return Target(name, "retrying", text)


def _not_ready(name: str, resource: Resource, *, since: float, settings: CISettings, now: float) -> Target:
    text, patience = "not ready yet", settings.readiness_timeout
    is_job = isinstance(resource.target, Kubernetes) and resource.target.pod_readiness == "succeeded"
    if is_job or not patience:
        return Target(name, "not ready", text)
    if now >= since + patience:
        lost = f'Readiness timeout after {status.duration_text(patience)}: target "{name}" not ready'
        return Target(name, "failed", lost)
    return Target(name, "not ready", text)


def _deployed_at(track: Track) -> float:
    """When the newest full update that went well ended, 0 if there was none."""
    return next((r.finished_at for r in track.history if r.result == "ok" and r.lane == "full"), 0.0)
