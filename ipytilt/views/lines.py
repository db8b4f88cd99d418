"""Log lines for people who ask in Python: which of those held fit, as a list, or as an iterator that goes on.

Runs on the caller's thread; reads the logs of a session.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias, TypeVar, overload

from ipytilt.errors import UsageError
from ipytilt.runtime.following import NewLines
from ipytilt.runtime.logs import Line
from ipytilt.runtime.session import Session

T = TypeVar("T")
Since: TypeAlias = datetime | timedelta | float | None
"""From a moment on, or from so long ago on (a number: seconds)."""
LEVELS: Final = ("debug", "info", "warning", "error")


class Lines(list[Line]):
    """Log lines, oldest first: tuples of (at, level, span, text, resource); as text, what was logged."""

    def __str__(self) -> str:
        return "\n".join(line.text for line in self)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which lines: of these levels (all, if none is named), since then, and of those the newest `tail`."""

    tail: int | None = None
    levels: str | Iterable[str] = ()
    since: Since = None

    def held(self, session: Session, stream: str) -> Lines:
        """Those that are held. Raises UsageError for a choice nothing can fit."""
        fits = self._fitting(session)
        return Lines(self._newest([line for line in session.logs.since(stream, 0)[1] if fits.accepts(line)]))

    def followed(self, session: Session, stream: str, timeout: float | None) -> NewLines:
        """The same, and those to come. Raises UsageError for a choice nothing can fit."""
        fits = self._fitting(session)
        first, lines = session.logs.since(stream, 0)
        numbers = self._newest([number for number, line in enumerate(lines, first) if fits.accepts(line)])
        start = numbers[0] if numbers else first + len(lines)
        return NewLines(session, stream, start=start, fits=fits.accepts, timeout=timeout)

    def _newest(self, found: list[T]) -> list[T]:
        return found if self.tail is None else found[max(len(found) - self.tail, 0) :]

    def _fitting(self, session: Session) -> _Fitting:
        levels = frozenset((self.levels,) if isinstance(self.levels, str) else self.levels)
        wrong = sorted(levels - set(LEVELS))
        if wrong:
            raise UsageError(f"There is no level {wrong[0]!r}", hint=f"one of: {', '.join(LEVELS)}")
        if self.tail is not None and self.tail < 0:
            raise UsageError(f"{self.tail} is no number of lines", hint="give tail=0 or more")
        return _Fitting(levels or frozenset(LEVELS), _moment(self.since, session.clock()))


@dataclass(frozen=True, slots=True)
class _Fitting:
    levels: frozenset[str]
    since: float

    def accepts(self, line: Line) -> bool:
        return line.level in self.levels and line.at >= self.since


def _moment(since: Since, now: float) -> float:
    """In seconds since the epoch."""
    match since:
        case None:
            return 0.0
        case datetime():
            return since.timestamp()
        case timedelta():
            return now - since.total_seconds()
        case _:
            return now - since


class Logged:
    """What has a log: a session, or one resource of it."""

    @overload
    def logs(
        self,
        *,
        tail: int | None = ...,
        levels: str | Iterable[str] = ...,
        since: Since = ...,
        follow: Literal[False] = ...,
    ) -> Lines: ...
    @overload
    def logs(
        self,
        *,
        tail: int | None = ...,
        levels: str | Iterable[str] = ...,
        since: Since = ...,
        follow: Literal[True],
        timeout: float | None = ...,
    ) -> NewLines: ...
    def logs(
        self,
        *,
        tail: int | None = None,
        levels: str | Iterable[str] = (),
        since: Since = None,
        follow: bool = False,
        timeout: float | None = None,
    ) -> Lines | NewLines:
        """The log: the lines of these `levels`, `since` then, and of those the newest `tail`.

        `since` is a datetime, or how long ago: a timedelta, or seconds. With `follow`, an iterator for `for` and
        `async for` that goes on with what comes, until the session ends or nothing has come for `timeout` seconds.
        Raises UsageError for a level there is not.
        """
        (session, stream), choice = self._log(), Choice(tail, levels, since)
        if not follow:
            return choice.held(session, stream)
        session.start()
        return choice.followed(session, stream, timeout)

    def _log(self) -> tuple[Session, str]:
        """The session, and the stream of its logs."""
        raise NotImplementedError
