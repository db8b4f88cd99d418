"""What people wait for, as values: when it is over, what is missing meanwhile, and how it ended.

Pure functions of snapshots, so that waiting on a thread (`Session.wait_for`) and in an event loop
(`runtime.awaiting`) is the same thing. A wait that no longer can end well ends at once, with the reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ipytilt.core import ci, claims, status
from ipytilt.core.spec import Resource
from ipytilt.core.state import State
from ipytilt.errors import CIFailed, Reported, TiltError

TAKE_OVER_SECONDS = 20.0
"""How long to wait for `claimed`: five times what is allowed to a holder that does not answer."""


def _nothing(_state: State) -> list[str]:
    return []


def _fine(_state: State) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Awaited:
    """Something to wait for.

    `what` names it in errors; `done` tells whether the wait is over, `missing` what keeps it, line by line; `judge`
    raises TiltError if it did not end well. `timed`: `done` looks at a clock, so it is asked even if nothing happens.
    """

    what: str
    done: Callable[[State], bool]
    missing: Callable[[State], list[str]] = _nothing
    judge: Callable[[State], None] = _fine
    timed: bool = False

    def over(self, state: State) -> bool:
        """It is done, or nothing will happen any more."""
        return bool(state.crash) or self.done(state)

    def ended(self, state: State) -> State:
        """The state it ended in. Raises TiltError if that is no good end."""
        if state.crash:
            raise TiltError(f"The session stopped working; this is a bug in ipytilt:\n{state.crash}")
        self.judge(state)
        return state

    def late(self, state: State, timeout: float) -> TiltError:
        """The error for a wait that took too long."""
        lines = [f"Waited {timeout:g} s for {self.what}", *self.missing(state)]
        return TiltError("\n".join(lines), hint="%tilt status shows what is going on")


def loaded(ticket: int) -> Awaited:
    """The load asked for with `ticket` is over; its error is raised as it was shown there."""

    def judge(state: State) -> None:
        if error := state.load.error:
            raise Reported(error.message, text=error.text, hint=error.hint, where=error.where)

    return Awaited("the Tiltfile to be evaluated", lambda s: s.load.finished >= ticket, judge=judge)


def claimed() -> Awaited:
    """Everything is this session's, after `take_over`."""

    def missing(state: State) -> list[str]:
        return [claims.sentence(scope, held) for scope, held in state.claims.items() if held.by]

    return Awaited("the other session to give up what it holds", lambda s: not missing(s), missing)


def taken_down() -> Awaited:
    """Nothing that was deployed is left, after `down`."""
    return Awaited("everything to be taken down", lambda s: s.down and not s.leaving and not s.runs)


def pruned(since: float) -> Awaited:
    """Old images were removed, beginning after `since`."""
    return Awaited("old images to be removed", lambda s: s.pruning.at > since and not s.pruning.running)


def handled(mark: str) -> Awaited:
    """The command of that id is in the state, and so is everything posted before it."""
    return Awaited("the controller", lambda s: any(command == mark for command, _ in s.handled))


def settled(names: tuple[str, ...], *, ready: bool, up_to_date: bool) -> Awaited:
    """Resources are `ready`, and with `up_to_date` nothing is pending; without names, all that are to run."""

    def chosen(state: State) -> list[Resource]:
        return [r for r in state.spec.resources if (r.name in names if names else status.is_wanted(state, r))]

    def arrived(state: State, resource: Resource) -> bool:
        good = not ready or status.is_ready(state, resource)
        return good and (not up_to_date or status.is_up_to_date(state, resource))

    def done(state: State) -> bool:
        found = chosen(state)
        return any(_has_failed(state, r) for r in found) or all(arrived(state, r) for r in found)

    def missing(state: State) -> list[str]:
        return [_missing(state, r) for r in chosen(state) if not arrived(state, r)]

    def judge(state: State) -> None:
        reasons = [_failure(state, r) for r in chosen(state) if _has_failed(state, r)]
        if reasons:
            raise TiltError("\n".join(reasons), hint="%tilt logs NAME shows the whole log")

    return Awaited(", ".join(names) or "all resources", done, missing, judge)


def passed(find: Callable[[State], ci.Verdict]) -> Awaited:
    """Everything has come up once, as `find` sees it. Raises CIFailed with the reasons if it has not."""

    def judge(state: State) -> None:
        verdict = find(state)
        if verdict.word != "success":
            raise CIFailed(verdict.reasons, hint="the log says more: %tilt logs NAME")

    return Awaited("everything to come up", lambda s: find(s).over, lambda s: list(find(s).reasons), judge, timed=True)


def _has_failed(state: State, resource: Resource) -> bool:
    if state.running(resource.name) or state.tracks[resource.name].retry_at:
        return False
    return "error" in (status.update_status(state, resource).word, status.runtime_status(state, resource).word)


def _missing(state: State, resource: Resource) -> str:
    hold = state.holds.get(resource.name)
    texts = (status.update_status(state, resource).text, status.runtime_status(state, resource).text)
    return f"{resource.name}: {hold.text if hold else ', '.join(filter(None, texts)) or 'not started'}"


def _failure(state: State, resource: Resource) -> str:
    last = state.tracks[resource.name].last
    if status.update_status(state, resource).word == "error" and last is not None:
        return f"{resource.name}: {last.error}"
    return f"{resource.name}: {status.runtime_status(state, resource).text}"
