"""When images of ours that nobody uses any more are removed: after the first build, then every so often.

Pure; asked by the planner. A Tiltfile says how often and how old (`docker_prune_settings`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ipytilt.core.state import State

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Prune:
    """Remove images that were built for development and last used more than `max_age` seconds ago.

    The `keep_recent` newest of each name stay, and those named by `keep` (local references).
    """

    max_age: float
    keep_recent: int
    keep: tuple[str, ...] = ()


def due(state: State, now: float) -> tuple[Prune | None, float | None]:
    """What to remove now, and when to ask again; nothing while anything is being built."""
    pruning, settings = state.pruning, state.spec.settings.prune
    if pruning.running or state.runs or not (pruning.asked or (settings.enabled and pruning.builds)):
        return None, None
    is_time = pruning.asked or not pruning.at
    wake_at: float | None = None
    if settings.num_builds:
        is_time = is_time or pruning.builds >= settings.num_builds
    elif not is_time:
        wake_at = pruning.at + settings.interval_hrs * _HOUR
        is_time = now >= wake_at
    if not is_time:
        return None, wake_at
    used = tuple(track.built.local_ref for track in state.images.values() if track.built)
    return Prune(settings.max_age_mins * 60.0, settings.keep_recent, used), None
