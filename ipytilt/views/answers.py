"""`why` and `explain` as text: the same lines in a notebook, a terminal and the panel.

Pure functions from the answers of `core.explain` to plain text; every rule stands with its file and line.
"""

from __future__ import annotations

import os.path
from collections.abc import Sequence

from ipytilt.core.explain import Effect, WhatIf, Why
from ipytilt.core.paces import Paces
from ipytilt.core.state import Because, Record
from ipytilt.core.status import duration_text

_FILES = 5
_FIRST_LINES, _LAST_LINES = 20, 10


def explain_text(answer: WhatIf, *, base: str) -> str:
    """What a change of the path would do, resource by resource; paths below `base` are shown relative to it."""
    path = _relative(answer.path, base)
    if not answer.effects:
        return "\n".join([f"A change of {path} would do nothing.", *_because(answer.because, base)])
    lines = [f"If {path} changed:"]
    for effect in answer.effects:
        lines += _effect(effect, base)
    return "\n".join(lines)


def why_text(answer: Why, *, base: str, now: float) -> str:
    """What the last update was caused by, what was decided and by which rules, and what waits."""
    lines = [f"{answer.resource} (defined at {_relative(str(answer.origin), base)})"]
    if answer.record is None:
        lines.append("has not been updated yet")
    else:
        lines += _record(answer.record, answer.how, base=base, now=now)
    if answer.running is not None:
        lines.append(f"is being updated now: {answer.running.text}")
    if answer.hold is not None:
        waited = duration_text(max(0.0, now - answer.hold.since))
        lines.append(f"waits ({answer.hold.reason}): {answer.hold.text}, since {waited}")
    return "\n".join(lines)


def paces_text(paces: Paces) -> str:
    """What was set of how long changes rest, a line for all resources and one for each that has its own."""
    lines = [(name or "all resources", paces.text(name)) for name in ("", *sorted(paces.names))]
    return "\n".join(f"{name}: {text}" for name, text in lines if text)


def because_text(one: Because, base: str = "") -> str:
    """One link of a decision: about which path, what, by the rule at which line."""
    subject = f"{_relative(one.path, base)}: " if one.path else ""
    where = f"  [{_relative(str(one.origin), base)}]" if one.origin.file else ""
    return f"because {subject}{_relative_in(one.text, base)}{where}"


def in_brief(lines: Sequence[str]) -> list[str]:
    """The lines without the middle of a long list, as many changed files make it; what they lead to is at the end."""
    left_out = len(lines) - _FIRST_LINES - _LAST_LINES
    if left_out <= 1:
        return list(lines)
    return [*lines[:_FIRST_LINES], f"  ... and {left_out} more", *lines[-_LAST_LINES:]]


def _record(record: Record, how: str, *, base: str, now: float) -> list[str]:
    ago = duration_text(max(0.0, now - record.finished_at))
    took = duration_text(record.took)
    lines = [f"last update: {how}, {record.result} in {took}, {ago} ago", f"caused by: {record.cause.text}"]
    if record.cause.files:
        shown = ", ".join(_relative(f, base) for f in record.cause.files[:_FILES])
        more = len(record.cause.files) - _FILES
        lines.append(f"files: {shown}" + (f" and {more} more" if more > 0 else ""))
    lines += ["decided by:", *_because(record.cause.because, base)] if record.cause.because else []
    lines += [f"  {title}: {duration_text(took)}" for title, took in record.step_times]
    if record.error:
        lines.append(f"error: {record.error}")
    return lines


def _effect(effect: Effect, base: str) -> list[str]:
    lines = [f"{effect.resource}: {effect.action}"]
    lines += [f"  {index}. {_relative_in(step, base)}" for index, step in enumerate(effect.steps, 1)]
    lines += _because(effect.because, base)
    if effect.rest:
        lines.append(f"  {effect.rest}")
    if effect.hold is not None:
        lines.append(f"  would wait ({effect.hold.reason}): {effect.hold.text}")
    return lines


def _because(chain: Sequence[Because], base: str) -> list[str]:
    return in_brief([f"  {because_text(one, base)}" for one in chain])


def _relative(path: str, base: str) -> str:
    return path.removeprefix(base.rstrip(os.path.sep) + os.path.sep) if base else path


def _relative_in(text: str, base: str) -> str:
    return text.replace(base.rstrip(os.path.sep) + os.path.sep, "") if base else text
