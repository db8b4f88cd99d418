"""What is told of a rollout, in the log of its resource: pods as they come up, containers that crash, cluster events.

A `Teller` per resource lives as long as the session, so that nothing is told twice when a resource is deployed anew.
Used by one thread at a time: that of the order which observes the resource's pods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from urllib.parse import quote

from ipytilt.engines.base import Log
from ipytilt.engines.kubernetes.client import Client, Document, Refused
from ipytilt.engines.kubernetes.logs import stamp_of
from ipytilt.engines.kubernetes.pods import Crash, condition, crashes, is_true

_SECOND = 1_000_000_000
_STAGES = (("Scheduled", "PodScheduled"), ("Initialized", "Initialized"), ("Ready", "Ready"))
_SHOWN_NORMAL = ("Pulling", "Pulled")
_LAST_LINES = 10


class Teller:
    """What has been told of one resource's pods; `started_at` is when the session began (nanoseconds)."""

    def __init__(self, started_at: int) -> None:
        self._started_at = started_at
        self._met: set[str] = set()
        self._told: set[tuple[str, ...]] = set()
        self._restarts: dict[tuple[str, str], int] = {}

    def pod(self, document: Document, client: Client, log: Log, *, applied_at: float) -> None:
        """Tell what is new about a pod; one made before `applied_at` (seconds) was there already."""
        metadata = document["metadata"]
        name, uid = metadata["name"], metadata["uid"]
        is_new = stamp_of(metadata.get("creationTimestamp") or "") + _SECOND > applied_at * _SECOND
        if uid not in self._met:
            self._met.add(uid)
            if is_new:
                log(f"Tracking new pod rollout ({name}):", "info")
            else:
                log(f"Attaching to existing pod ({name}). Only new logs will be streamed.", "info")
        if not metadata.get("deletionTimestamp"):
            self._stages(document, log)
        self._restarted(document, log)
        for crash in crashes(document):
            if self._once(uid, crash.container, crash.run or crash.finished_at):
                self._crashed(document, crash, client, log=log)

    def events(self, documents: Iterable[Document], is_mine: Callable[[Document], bool], log: Log) -> None:
        """Tell the events that are about what belongs to the resource and that somebody should know of."""
        for event in sorted(documents, key=_time_of):
            about, message = event.get("involvedObject") or {}, str(event.get("message") or "").strip()
            is_worth_it = event.get("type") != "Normal" or event.get("reason") in _SHOWN_NORMAL
            key = (about.get("uid") or "", event.get("reason") or "", message)
            is_recent = _time_of(event) >= self._started_at - self._started_at % _SECOND
            if is_worth_it and message and is_recent and key not in self._told and is_mine(about):
                self._told.add(key)
                namespace = f"{about['namespace']}/" if about.get("namespace") else ""
                log(f"[event: {str(about.get('kind')).lower()} {namespace}{about.get('name')}] {message}", "info")

    def _stages(self, document: Document, log: Log) -> None:
        uid = document["metadata"]["uid"]
        before = document["metadata"].get("creationTimestamp") or ""
        for title, name in _STAGES:
            found = condition(document, name)
            if not is_true(document, name):
                self._not_yet(document, title, found, log=log)
                return
            changed = found.get("lastTransitionTime") or before
            if self._once(uid, title):
                log(f"┊ {title:<15} - {_duration(stamp_of(changed) - stamp_of(before))}", "info")
            self._told.discard((uid, "not", title))
            before = changed

    def _not_yet(self, document: Document, title: str, found: Document, *, log: Log) -> None:
        """Waiting for the next stage is as it should be, unless it was reached before or a reason stands against it."""
        uid = document["metadata"]["uid"]
        is_lost = (uid, title) in self._told
        if found.get("status") == "False" and found.get("reason") and (is_lost or title == "Scheduled"):
            if document.get("status", {}).get("phase") not in ("Succeeded", "Failed") and self._once(uid, "not", title):
                log(f"┃ Not {title} - ({found['reason']}): {found.get('message') or ''}", "warning")
        elif self._once(uid, "pending", title):
            log(f"┊ {title:<15} - (…) Pending", "info")

    def _restarted(self, document: Document, log: Log) -> None:
        metadata = document["metadata"]
        for status in (document.get("status") or {}).get("containerStatuses") or ():
            key, count = (metadata["uid"], status["name"]), status.get("restartCount") or 0
            if count > self._restarts.get(key, count):
                text = f"Detected container restart. Pod: {metadata['name']}. Container: {status['name']}."
                log(text, "warning")
            self._restarts[key] = count

    def _crashed(self, document: Document, crash: Crash, client: Client, *, log: Log) -> None:
        why = f" ({crash.reason})" if crash.reason not in ("", "Error") else ""
        name = document["metadata"]["name"]
        log(f"Container {crash.container} of pod {name} ended with exit code {crash.exit_code}{why}", "error")
        if crash.message:
            log(crash.message, "error")
        elif stamp_of(crash.finished_at) < self._started_at:  # what it wrote since then is in the log anyway
            for line in _last_lines(document, crash, client):
                log(line, "error")

    def _once(self, *key: str) -> bool:
        is_new = key not in self._told
        self._told.add(key)
        return is_new


def _last_lines(document: Document, crash: Crash, client: Client) -> list[str]:
    metadata = document["metadata"]
    path = f"/api/v1/namespaces/{quote(metadata['namespace'])}/pods/{quote(metadata['name'])}/log"
    query = [("container", crash.container), ("tailLines", str(_LAST_LINES))]
    query += [("previous", "true")] if crash.previous else []
    try:
        answer = client.open("GET", path, query=query)
    except Refused:  # thrown away already
        return []
    try:
        return str(answer.read().decode(errors="replace")).splitlines()
    finally:
        answer.close()


def _time_of(event: Document) -> int:
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    return stamp_of(next((time for time in times if time), ""))


def _duration(nanoseconds: int) -> str:
    seconds = nanoseconds // _SECOND
    return str(timedelta(seconds=seconds)) if seconds >= 60 else f"{seconds}s" if seconds else "<1s"
