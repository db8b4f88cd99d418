"""The error family: everything a user may be shown, on any thread.

Owned by nobody in particular and importable by every layer. An error says what was being done, on what, what went
wrong (`message`) and what to try (`hint`); `where` names the file and line when there is one. Only these are expected:
anything else that reaches a worker is a bug of ours and is reported as one.
"""

from __future__ import annotations

import re

_FULL = re.compile(r"(?i)no space left on device|quota exceeded|: wrote only \d+ of \d+ bytes")


class TiltError(Exception):
    """Base of everything shown to a user.

    Attributes:
        message: one or more lines of plain text, no markup.
        hint: what to try, or "".
        where: "file:line" of the user's own text, or "".
    """

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def render(self) -> str:
        """The error as plain text, the way every view shows it."""
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head}\nTry: {self.hint}" if self.hint else head

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: show the message alone, never our frames."""
        return [self.render()]


class UsageError(TiltError):
    """Wrong words after a magic or on the command line."""


class TiltfileError(TiltError):
    """The Tiltfile is wrong, at a position.

    Attributes:
        file: absolute path, or a cell's display name; "" when there is no position.
        line: 1-based, or None.
        traceback: Starlark call stack as Tilt prints it, or "".
        excerpt: the offending source line with a caret below it, or "".
    """

    def __init__(
        self,
        message: str,
        *,
        file: str = "",
        line: int | None = None,
        traceback: str = "",
        excerpt: str = "",
        hint: str = "",
    ) -> None:
        where = f"{file}:{line}" if file and line is not None else file
        super().__init__(message, hint=hint, where=where)
        self.file = file
        self.line = line
        self.traceback = traceback
        self.excerpt = excerpt

    def render(self) -> str:
        """Position, excerpt with caret, message, and the call stack when it is deeper than one frame."""
        parts = [f"Tiltfile error at {self.where}" if self.where else "Tiltfile error"]
        if self.excerpt:
            parts.append(self.excerpt)
        parts.append(self.message)
        if self.traceback:
            parts.append(self.traceback)
        if self.hint:
            parts.append(f"Try: {self.hint}")
        return "\n".join(parts)


class EngineError(TiltError):
    """An engine could not do what was asked.

    Attributes:
        engine: "docker", "compose", "sandbox", "local", ...
        doing: the action and its object, such as "building image web".
    """

    def __init__(self, message: str, *, engine: str, doing: str = "", hint: str = "", where: str = "") -> None:
        super().__init__(message, hint=hint, where=where)
        self.engine = engine
        self.doing = doing

    def render(self) -> str:
        """As `TiltError.render`, led by what was being done."""
        text = super().render()
        return f"{self.doing}: {text}" if self.doing else text


class Rejected(EngineError):
    """The user's input is at fault: pointless to retry until something changes."""


class Unavailable(EngineError):
    """The world is away (daemon, cluster, network): back off and retry."""


def refusal(message: str, *, engine: str, doing: str = "", hint: str = "", where: str = "") -> EngineError:
    """`Rejected`; but `Unavailable` if only room was missing, which comes back without a change of any file."""
    if _FULL.search(message):
        hint = "make room there; it is tried again by itself"
        return Unavailable(message, engine=engine, doing=doing, hint=hint, where=where)
    return Rejected(message, engine=engine, doing=doing, hint=hint, where=where)


class Broke(EngineError):
    """A container or process died under us: its content is unknown from here on."""


class CIFailed(TiltError):
    """Not everything has come up: something failed, or the time is over.

    Attributes:
        reasons: one text per thing that failed, beginning with its name (`api:update: ...`).
    """

    def __init__(self, reasons: tuple[str, ...], *, hint: str = "") -> None:
        super().__init__("\n".join(reasons), hint=hint)
        self.reasons = reasons


class Cancelled(TiltError):
    """Asked for; never shown in red."""


class Reported(TiltError):
    """An error that happened on another thread and travelled here as data; `text` is its rendering."""

    def __init__(self, message: str, *, text: str, hint: str = "", where: str = "") -> None:
        super().__init__(message, hint=hint, where=where)
        self.text = text

    def render(self) -> str:
        """As it was rendered where it happened."""
        return self.text or super().render()
