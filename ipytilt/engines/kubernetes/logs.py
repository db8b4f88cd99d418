r"""What containers of pods write, into the log of their resource: everything once, in order, whatever happens between.

Each `Follow` order has one thread. How far a container's output has been logged is kept in a `Mark` per container of a
pod, which all its runs share: a run that starts first logs what the one before it had left to say. Streams break for
many reasons (a connection, a rotated file, a kubelet that restarts), so the end of one counts only if the run had
ended before the stream was opened.
"""

from __future__ import annotations

import re
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

from ipytilt.core.steps import Follow
from ipytilt.engines.base import Log
from ipytilt.engines.kubernetes.client import Client, Document, Refused
from ipytilt.engines.kubernetes.keeping import Keeper, Silence, lines
from ipytilt.engines.kubernetes.names import Place
from ipytilt.errors import EngineError, Unavailable
from ipytilt.lines import Lines

_FIRST_DELAY = 1.0
_LONGEST_DELAY = 60.0
_LONGEST_DELAY_AWAY = 4.0
_END_SECONDS = 0.2  # after a stream ended: the cluster may not know yet that the container did
_SILENCE_SECONDS = 15.0  # a stream may stop without an end when the file below it is rotated
_TRIES = 5  # to read what an ended container has written
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$")
_SECOND = 1_000_000_000


@dataclass
class Mark:
    """How far a container's output has been logged: `count` lines with the time stamp `last` (in nanoseconds)."""

    last: int = 0
    count: int = 0

    def passes(self, stamp: int) -> None:
        """A line with that time stamp was logged."""
        if stamp > self.last:
            self.last, self.count = stamp, 1
        elif stamp == self.last:
            self.count += 1


class Following(Keeper):
    """One Follow order; `since` is where to begin (nanoseconds since the epoch) in a pod older than that."""

    def __init__(self, client: Client, order: Follow, log: Log, *, place: Place, mark: Mark, since: int) -> None:
        super().__init__(first=_FIRST_DELAY, longest=_LONGEST_DELAY)
        self._client = client
        self._place = place
        self._log = log
        self._prefix = order.prefix
        self._mark = mark
        self._since = since
        self._said = ""
        self._tries = 0
        self._caught_up = False

    def turn(self) -> bool:
        """Read what is new, to the end or until the stream breaks."""
        pod = self._pod()
        state = _state(pod, self._place) if pod else "gone"
        if pod is None or state == "gone":
            return True
        since = self._since if stamp_of(pod["metadata"].get("creationTimestamp") or "") < self._since else 0
        if state == "last" or (not self._caught_up and _has_earlier(pod, self._place)):
            self._read(since, previous=True, follow=False)
        self._caught_up = True
        if state == "last":
            return True
        self._read(since, previous=False, follow=state == "running")
        self._said, self._tries = "", 0
        self.recovered()
        if state == "ended":
            return True
        self.stopped.wait(_END_SECONDS)
        return False

    def failed(self, problem: EngineError) -> bool:
        """Say it once; what an ended container has written is not waited for forever."""
        is_away = isinstance(problem, Unavailable) and problem.__cause__ is not None  # which the cluster's health says
        if not is_away and self._said != problem.message:
            self._said = problem.message
            self._log(f"Error streaming {self._place.pod} logs: {problem.message}", "warning")
        if is_away:
            self.delay = min(self.delay, _LONGEST_DELAY_AWAY)
        else:
            self._tries += 1
        return self._tries >= _TRIES and not self._runs()

    def _runs(self) -> bool:
        try:
            pod = self._pod()
        except EngineError:
            return True
        return pod is not None and _state(pod, self._place) == "running"

    def _pod(self) -> Document | None:
        """The pod, if it is still the one that was meant."""
        try:
            pod: Document = self._client.call("GET", self._path)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        return pod if pod["metadata"]["uid"] == self._place.uid else None

    def _read(self, since: int, *, previous: bool, follow: bool) -> None:
        """Log what comes after the mark, until the stream ends."""
        start = max(since, self._mark.last)
        query = [("container", self._place.container), ("timestamps", "true")]
        query += [("sinceTime", _text(start - _SECOND))] if start else []
        query += [("previous", "true")] if previous else []
        query += [("follow", "true")] if follow else []
        try:
            answer = self._client.open("GET", f"{self._path}/log", query=query, timeout=_SILENCE_SECONDS)
        except Refused:
            if previous:  # the node has thrown it away
                return
            raise
        with suppress(Silence) if follow else nullcontext():
            self._take(answer, since)

    def _take(self, answer: Any, since: int) -> None:
        known, passed = Mark(self._mark.last, self._mark.count), 0
        output = Lines(lambda line: self._log(self._prefix + line, "info"))
        for line in lines(self.chunks(answer)):
            stamp, _, text = line.partition(b" ")
            when = stamp_of(stamp.decode(errors="replace"))
            if not when or when < max(known.last, since):  # without a time stamp: words of the node's own
                continue
            if when == known.last and passed < known.count:
                passed += 1
                continue
            if self.stopped.is_set():
                return
            self._mark.passes(when)
            output.feed(text + b"\n")

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{quote(self._place.namespace)}/pods/{quote(self._place.pod)}"


def stamp_of(text: str) -> int:
    """Nanoseconds since the epoch; 0 for what is no time."""
    found = _STAMP.match(text)
    if found is None:
        return 0
    seconds, fraction, zone = found.groups()
    whole = datetime.fromisoformat(seconds + zone)
    return int(whole.timestamp()) * _SECOND + int((fraction or "").ljust(9, "0"))


def _text(stamp: int) -> str:
    return datetime.fromtimestamp(max(stamp, 0) // _SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _status(pod: Document, place: Place) -> Document:
    status = pod.get("status") or {}
    every = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    return next((one for one in every if one["name"] == place.container), {})


def _state(pod: Document, place: Place) -> Literal["running", "ended", "last", "gone"]:
    """What became of the run: it goes on, is the newest and over, is the one before the newest, or is forgotten."""
    status = _status(pod, place)
    if status.get("containerID") == place.run:
        return "running" if (status.get("state") or {}).get("running") is not None else "ended"
    return "last" if _last(status).get("containerID") == place.run else "gone"


def _has_earlier(pod: Document, place: Place) -> bool:
    """There was a run before this one."""
    run = _last(_status(pod, place)).get("containerID")
    return bool(run) and run != place.run


def _last(status: Document) -> Document:
    return (status.get("lastState") or {}).get("terminated") or {}
