"""How long changes rest before a resource is updated: what people set, and what that makes of the default pace.

Pure. The default is `batch.Pace`, which follows what is saved; a rest that was set is fixed. Settings are part of the
state (`State.paces`), so that a new one counts at once; they are seconds by resource, those under `ALL` are for every
resource without one of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

from ipytilt.core.batch import Pace
from ipytilt.errors import UsageError

ALL = ""
LONGEST = 86_400.0
"""Seconds that may be set at most: a day."""

Seconds: TypeAlias = Mapping[str, float]
Setting: TypeAlias = float | Mapping[str, float]
"""As people give it: one number for all resources, or numbers by resource."""

_NONE: Seconds = MappingProxyType({})
_DEFAULT = Pace()
_CAP_PER_REST = _DEFAULT.cap / _DEFAULT.storm


@dataclass(frozen=True, slots=True)
class Paces:
    """Rests and caps that were set; see `Pace` for what they mean."""

    rest: Seconds = field(default_factory=lambda: _NONE)
    cap: Seconds = field(default_factory=lambda: _NONE)

    def __bool__(self) -> bool:
        return bool(self.rest or self.cap)

    @property
    def names(self) -> frozenset[str]:
        """The resources something is set for by name."""
        return frozenset({*self.rest, *self.cap} - {ALL})

    def rest_of(self, resource: str) -> float | None:
        """The rest that counts for a resource, in seconds; None: it follows what is saved."""
        return self.rest.get(resource, self.rest.get(ALL))

    def cap_of(self, resource: str) -> float:
        """The cap that counts for a resource, in seconds; a long rest has a long cap if none was set."""
        found = self.cap.get(resource, self.cap.get(ALL))
        return max(_DEFAULT.cap, _CAP_PER_REST * (self.rest_of(resource) or 0.0)) if found is None else found

    def of(self, *resources: str) -> Pace | None:
        """The pace of changes that are the business of these: the most patient one; None if nothing is set for them."""
        if not any(map(self.text, resources)):
            return None
        paces = [self._one(name) for name in resources]
        slowest = max(paces, key=lambda pace: (pace.storm, pace.lone))
        return replace(slowest, cap=max(pace.cap for pace in paces))

    def _one(self, resource: str) -> Pace:
        rest, cap = self.rest_of(resource), self.cap_of(resource)
        return replace(_DEFAULT, cap=cap) if rest is None else Pace(lone=rest, burst=rest, storm=rest, cap=cap)

    def text(self, resource: str) -> str:
        """What is set for a resource, for people; "" if nothing is."""
        if self.rest_of(resource) is None and not {resource, ALL} & set(self.cap):
            return ""
        rest, cap = self.rest_of(resource), f"at most {self.cap_of(resource):g} s in all"
        return f"changes rest until they have settled, {cap}" if rest is None else f"changes rest {rest:g} s, {cap}"


def asked_for(rest: Setting, cap: Setting) -> Paces:
    """The settings people gave.

    Raises UsageError for what is no number of seconds, and for a cap that is shorter than the rest it is to end.
    """
    paces = Paces(_seconds("rest", rest), _seconds("cap", cap))
    for name in sorted({*paces.rest, *paces.cap}):
        shortest = paces.rest_of(name)
        if shortest is not None and paces.cap_of(name) < shortest:
            whose = f" of {name}" if name else ""
            raise UsageError(
                f"The cap{whose} ({paces.cap_of(name):g} s) is shorter than the rest ({shortest:g} s)",
                hint="changes are applied after the cap whatever happens: it must be at least the rest",
            )
    if any(seconds == 0 for seconds in paces.cap.values()):
        raise UsageError("A cap of 0 s leaves no time to see a change", hint="set a rest of 0 to apply changes at once")
    return paces


def from_words(words: Iterable[str]) -> Setting:
    """A setting as the command line has it: `SECONDS` for all resources, `NAME=SECONDS` for one."""
    pairs = (word.rpartition("=") for word in words)
    return {name: _number(text) for name, _, text in pairs}


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text  # `asked_for` says what is wrong with it


def _seconds(what: str, setting: Setting) -> Seconds:
    given = setting if isinstance(setting, Mapping) else {ALL: setting}
    for name, value in given.items():
        if not isinstance(name, str):
            raise UsageError(f"{what}: {name!r} is no name of a resource", hint=f"for instance {what} = {{'api': 0.5}}")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not 0 <= value <= LONGEST:
            whose = f" of {name}" if name else ""
            raise UsageError(
                f"{what}{whose}: {value!r} is no time to wait",
                hint=f"give seconds, 0 to {LONGEST:g}: one number for all resources, or by resource {{'api': 0.5}}",
            )
    return MappingProxyType({name: float(value) for name, value in given.items()})
