"""What happened to a resource and why, as data: one chapter per update, the newest last, and what it waits for now.

Pure functions of a snapshot, on any thread. A chapter is flat and made of plain values, so that a list of them is a
table for whoever likes tables (`pandas.DataFrame(session.story("api"))`), and in a notebook shows as one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from html import escape
from typing import Literal, TypeAlias

from ipytilt.core import status
from ipytilt.core.pods import newest
from ipytilt.core.spec import Resource
from ipytilt.core.state import Cause, Hold, Record, Run, State
from ipytilt.views.answers import because_text, in_brief

Result: TypeAlias = Literal["ok", "error", "stopped", "running", "waiting"]
_CELL = "padding:4px 8px;text-align:left;vertical-align:top;white-space:pre-wrap"


@dataclass(frozen=True, slots=True)
class Chapter:
    """One update of a resource, finished or not, or what it waits for.

    `what`: "live update", "full update", "command", for a wait its stable reason, or the newest pod. `cause` is why in
    a few words, `files` what changed, `because` the rules that decided how, each with its line, `steps` what was done
    and its seconds, `on` who is waited for. Times are seconds since the epoch; `took` is 0 until it is over.
    """

    resource: str
    what: str
    result: Result
    cause: str
    at: float
    took: float = 0.0
    files: tuple[str, ...] = ()
    because: tuple[str, ...] = ()
    steps: tuple[tuple[str, float], ...] = ()
    error: str = ""
    on: tuple[str, ...] = ()

    def __str__(self) -> str:
        took = f" in {status.duration_text(self.took)}" if self.took else ""
        head = f"{self.what}, {self.result}{took}: {self.cause}"
        done = [f"{title}: {status.duration_text(seconds)}" for title, seconds in self.steps]
        return "\n  ".join([head, *in_brief(self.because), *done, *self.error.splitlines()])


class Story(list[Chapter]):
    """Chapters, oldest first; text and a table for people."""

    def scrubbed(self, scrub: Callable[[str], str]) -> Story:
        """The same without secrets."""
        return Story(
            replace(
                chapter,
                cause=scrub(chapter.cause),
                because=tuple(map(scrub, chapter.because)),
                steps=tuple((scrub(title), seconds) for title, seconds in chapter.steps),
                error=scrub(chapter.error),
            )
            for chapter in self
        )

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "nothing has happened yet"

    def _repr_html_(self) -> str:
        heads = "".join(f'<th style="{_CELL}">{head}</th>' for head in ("what", "result", "took", "cause", "because"))
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(map(_row, self))}</tbody></table>"


def story(state: State, resource: Resource) -> Story:
    """All that is still known of a resource: its finished updates, the running ones, what it waits for, its pod."""
    runs = [_running(run, resource) for run in state.runs.values() if run.resource == resource.name]
    hold = state.holds.get(resource.name)
    waits = [_waiting(hold, resource)] if hold else []
    return Story([*updates(state, resource), *runs, *waits, *_pod(state, resource)])


def updates(state: State, resource: Resource) -> Story:
    """The finished updates."""
    return Story(_finished(record, resource) for record in reversed(state.tracks[resource.name].history))


def _finished(record: Record, resource: Resource) -> Chapter:
    return Chapter(
        resource.name,
        status.how(record, resource),
        record.result,
        record.cause.text,
        record.started_at,
        took=record.took,
        files=record.cause.files,
        because=_because(record.cause),
        steps=record.step_times,
        error=record.error,
    )


def _running(run: Run, resource: Resource) -> Chapter:
    what = "take down" if run.lane == "down" else status.how(run, resource)
    return Chapter(
        resource.name,
        what,
        "running",
        run.cause.text,
        run.started_at,
        files=run.cause.files,
        because=_because(run.cause),
    )


def _waiting(hold: Hold, resource: Resource) -> Chapter:
    return Chapter(resource.name, hold.reason, "waiting", hold.text, hold.since, on=hold.on)


def _pod(state: State, resource: Resource) -> list[Chapter]:
    pod = newest(state.tracks[resource.name])
    if pod is None or not state.enabled(resource.name):
        return []
    runtime = status.runtime_status(state, resource)
    result: Result = "ok" if runtime.word == "ok" else "error" if runtime.word == "error" else "waiting"
    restarts = f", {pod.restarts} restart{'s' if pod.restarts != 1 else ''}" if pod.restarts else ""
    links = tuple(f"{each.url} {each.problem}".strip() for each in status.endpoints(state, resource))
    cause = f"{pod.status or pod.phase}{restarts}"
    return [Chapter(resource.name, f"pod {pod.name}", result, cause, runtime.since, because=links, error=pod.problem)]


def _because(cause: Cause) -> tuple[str, ...]:
    return tuple(because_text(one) for one in cause.because)


def _row(chapter: Chapter) -> str:
    took = status.duration_text(chapter.took) if chapter.took else ""
    reasons = "\n".join((*in_brief(chapter.because), chapter.error)).strip()
    cells = (chapter.what, chapter.result, took, chapter.cause, reasons)
    return f"<tr>{''.join(f'<td style={_CELL!r}>{escape(cell)}</td>' for cell in cells)}</tr>"
