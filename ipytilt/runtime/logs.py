"""What resources have said: one bounded ring per resource, and one over all of them, with absolute line numbers.

Owned by the session. Any thread appends; views and `%tilt logs` read by line number from any thread. One lock guards
everything and is held for microseconds. Log text is never part of the state: views fetch it from here.

A line number never changes its line, except that a secret learnt later is taken out of the lines already held
(`revision` then grows, and views fetch anew).
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, NamedTuple

ALL: Final = ""
"""The name of the stream that holds the lines of every resource, in the order they came."""

PAGE_LINES: Final = 500
LIMIT_BYTES: Final = 2_000_000

TEXTS: Final = frozenset({"problem", "error", "user_error", "message", "hint", "where", "text", "trace"})
"""The fields of facts and outcomes that hold the world's own words."""

_LINE_COST = 64  # what a line costs beside its text
_LINE_CHARACTERS = 8_192
_KEPT_AFTER_TRIM = 0.75  # trimming seldom and by a quarter makes it free on average
_SHORTEST_SECRET_BYTES = 5
_NOISE = re.compile(
    r"\x1b\[[0-9;:?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # window titles, terminal links
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"  # controls, text direction overrides
)


class Line(NamedTuple):
    """One line: when (seconds since the epoch), "debug" | "info" | "warning" | "error", who wrote it, what, of whom."""

    at: float
    level: str
    span: str
    text: str
    resource: str


class _Ring:
    """The newest lines of one stream; `first` is the number of `lines[0]`."""

    __slots__ = ("first", "lines", "size")

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.first = 0
        self.size = 0

    @property
    def end(self) -> int:
        return self.first + len(self.lines)

    def add(self, line: Line, limit: int) -> None:
        self.lines.append(line)
        self.size += _cost(line)
        if self.size > limit:
            self._trim(int(limit * _KEPT_AFTER_TRIM))

    def _trim(self, limit: int) -> None:
        gone = 0
        while self.size > limit and gone < len(self.lines) - 1:  # the newest line stays, however long it is
            self.size -= _cost(self.lines[gone])
            gone += 1
        del self.lines[:gone]
        self.first += gone

    def slice(self, start: int, stop: int) -> tuple[int, list[Line]]:
        start = min(max(start, self.first), self.end)
        return start, self.lines[start - self.first : max(stop - self.first, 0)]


class Logs:
    """The log lines of a session. Thread-safe.

    Args:
        limit_bytes: how much each stream keeps, its text and a fixed cost a line counted; the oldest lines go first.
        clock: seconds since the epoch.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES, clock: Callable[[], float] = time.time) -> None:
        self._limit = limit_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._rings: dict[str, _Ring] = {ALL: _Ring()}
        self._secrets: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self._wakes: tuple[threading.Event, ...] = ()
        self._revision = 0

    def append(self, resource: str, text: str, *, level: str = "info", span: str = "") -> None:
        """Add the lines of `text` to the log of `resource`; terminal escapes are dropped, secrets replaced.

        `resource` may be `ALL` for what concerns no resource in particular.
        """
        at = self._clock()
        with self._lock:
            whole = self._rings[ALL]
            ring = self._rings.setdefault(resource, _Ring())
            for piece in text.removesuffix("\n").split("\n"):
                line = Line(at, level, span, _cut(self._scrubbed(_clean(piece))), resource)
                whole.add(line, self._limit)
                if ring is not whole:
                    ring.add(line, self._limit)
        for wake in self._wakes:
            if not wake.is_set():
                wake.set()

    def since(self, stream: str, start: int, *, stop: int | None = None) -> tuple[int, list[Line]]:
        """The lines from `start` up to `stop` (default: the end) that are still held, after the first's number."""
        with self._lock:
            ring = self._rings.get(stream)
            return ring.slice(start, ring.end if stop is None else stop) if ring else (0, [])

    def page(self, stream: str, number: int) -> tuple[int, list[Line]]:
        """Page `number` of `PAGE_LINES` lines each, as far as it exists and is still held."""
        return self.since(stream, number * PAGE_LINES, stop=(number + 1) * PAGE_LINES)

    def tail(self, stream: str, count: int) -> list[Line]:
        """The newest `count` lines."""
        return self.since(stream, self.end(stream) - count)[1]

    def end(self, stream: str) -> int:
        """The number the next line of this stream will have."""
        return self.heads((stream,))[stream][1]

    def heads(self, streams: tuple[str, ...] | None = None) -> dict[str, tuple[int, int]]:
        """Per stream (default: all of them) the number of the oldest line held and of the next one to come."""
        with self._lock:
            found = {name: self._rings.get(name) for name in (self._rings if streams is None else streams)}
            return {name: (ring.first, ring.end) if ring else (0, 0) for name, ring in found.items()}

    @property
    def revision(self) -> int:
        """Grows when lines already held were changed: what a reader has cached is stale."""
        return self._revision

    def redact(self, secrets: Mapping[str, str]) -> None:
        """Show `secrets[value]` wherever a value stands, now, from here on and in the lines already held.

        Values under five bytes stay (they would black out half the log). The base64 form counts as the value, and
        each line of a value of several lines counts by itself, because lines come one by one.
        """
        forms = {form: label for value, label in secrets.items() for form in _forms(value)}
        with self._lock:
            if forms.keys() <= self._secrets.keys():
                return
            self._secrets.update(forms)
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))
            changed = [self._scrub_ring(ring) for ring in self._rings.values()]
            self._revision += any(changed)
        for wake in self._wakes:
            wake.set()

    def scrub(self, text: str) -> str:
        """`text` with every known secret replaced, for what is shown outside the log."""
        with self._lock:
            return self._scrubbed(text)

    def without_secrets(self, value: Any) -> Any:
        """A fact or an outcome (dataclasses and tuples) with what the world says in its own words scrubbed.

        That stands in fields of known names (`TEXTS`); names, ids and commands stay as they are.
        """
        if isinstance(value, tuple):
            return tuple(map(self.without_secrets, value))
        if not is_dataclass(value) or isinstance(value, type):
            return value
        found = {each.name: getattr(value, each.name) for each in fields(value)}
        changed = {
            name: self.scrub(one) if name in TEXTS and isinstance(one, str) else self.without_secrets(one)
            for name, one in found.items()
        }
        return replace(value, **changed)

    def wake(self, event: threading.Event) -> None:
        """Set `event` after each change from now on; the reader clears it."""
        with self._lock:
            self._wakes = (*self._wakes, event)

    def unwake(self, event: threading.Event) -> None:
        """Take back `wake`."""
        with self._lock:
            self._wakes = tuple(each for each in self._wakes if each is not event)

    def _scrubbed(self, text: str) -> str:
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: self._secrets[found[0]], text)

    def _scrub_ring(self, ring: _Ring) -> bool:
        clean = [line._replace(text=self._scrubbed(line.text)) for line in ring.lines]
        changed = clean != ring.lines
        ring.lines = clean
        ring.size = sum(map(_cost, clean))
        return changed

    def __repr__(self) -> str:
        counts = {name or "all": end - first for name, (first, end) in self.heads().items()}
        return f"<Logs {counts}>"


def _cost(line: Line) -> int:
    return len(line.text) + _LINE_COST


def _clean(text: str) -> str:
    """What a terminal would show in the end: no escapes, and only what follows the last carriage return."""
    if text.isprintable():
        return text
    return _NOISE.sub("", text.rstrip("\r").rpartition("\r")[2])


def _cut(text: str) -> str:
    if len(text) <= _LINE_CHARACTERS:
        return text
    return f"{text[:_LINE_CHARACTERS]} … ({len(text) - _LINE_CHARACTERS} more characters)"


def _forms(value: str) -> Iterator[str]:
    encoded = base64.b64encode(value.encode("utf-8", "surrogateescape")).decode("ascii")
    for form in (value, *value.splitlines(), encoded):
        if len(form.strip().encode("utf-8", "surrogateescape")) >= _SHORTEST_SECRET_BYTES:
            yield form.strip()
