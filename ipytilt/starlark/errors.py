"""What can go wrong in Starlark code, and where.

Owns positions, stack frames and the three exceptions that leave this package. Pure values: any thread may use them.
The host (ipytilt.tiltfile) translates them into its own error family at its border; host builtins raise
`EvalError(message)` and find the stack filled in when it arrives at the outermost `Module.execute` or `Thread.call`.
"""

from __future__ import annotations

from typing import NamedTuple

_SHOWN_FRAMES = 20  # at either end of a deep stack


class Position(NamedTuple):
    """A place in a source file; line and column count from 1, columns in characters."""

    file: str
    line: int
    col: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}"


class Frame(NamedTuple):
    """One active call: the function's name and where in it execution stands (None inside a builtin)."""

    name: str
    position: Position | None

    def __str__(self) -> str:
        return f"{self.position or '<builtin>'}: in {self.name}"


class StarlarkError(Exception):
    """Base of every error that Starlark source can cause; `message` has no position in it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class StarlarkSyntaxError(StarlarkError):
    """The text is not a valid program: syntax, a construct Starlark lacks, or an undefined name."""

    def __init__(self, message: str, position: Position) -> None:
        super().__init__(message)
        self.position = position

    def __str__(self) -> str:
        return f"{self.position}: {self.message}"


class EvalError(StarlarkError):
    """Running the program failed. `stack` holds the frames, outermost first, once evaluation has been left."""

    stack: tuple[Frame, ...] = ()

    @property
    def position(self) -> Position | None:
        """Where the innermost Starlark function stood, if the stack is known."""
        return next((frame.position for frame in reversed(self.stack) if frame.position), None)

    def backtrace(self) -> str:
        """The error as Tilt prints it: the frames, then the message and the builtin that raised it, if one did."""
        stack, where = self.stack, ""
        if stack and stack[-1].position is None:
            stack, where = stack[:-1], f" in {stack[-1].name}"
        lines = [f"  {frame}" for frame in stack]
        if len(lines) > 2 * _SHOWN_FRAMES:
            hidden = len(lines) - 2 * _SHOWN_FRAMES
            lines[_SHOWN_FRAMES:-_SHOWN_FRAMES] = [f"  ... {hidden} more frames ..."]
        if lines:
            lines.insert(0, "Traceback (most recent call last):")
        return "\n".join([*lines, f"Error{where}: {self.message}"])


class Cancelled(EvalError):
    """The host asked for evaluation to stop."""
