"""Evaluating one text after another: the child process of `watch`, with bounds on time and memory.

A line of JSON with a text comes in, a line of JSON with what went wrong goes out. Running out of processor time ends
the process, after the frames it was in were written to stderr.
"""

from __future__ import annotations

import faulthandler
import json
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from ipytilt.errors import Cancelled
from ipytilt.tiltfile.load import LoadError, load
from ipytilt.tiltfile.result import document, failure
from tests.fuzz.seeds import PRELUDE, WORLD
from tests.tiltfile.evaluated import cell, host, tiltfile
from tests.tiltfile.test_chunks import COMMANDS

SECONDS = 10  # of processor time after which an evaluation counts as hanging
_INTERRUPT_AFTER = 3.0  # seconds of it after which somebody interrupts
_LOOKS = 200  # looks at the cancel flag, a thousand steps apart, after which somebody interrupts
_MEMORY = 3 << 30


@dataclass(frozen=True, slots=True)
class Fault:
    """What must not happen: `kind` tells one fault from another, `detail` is a traceback."""

    kind: str
    detail: str


def evaluate(text: str) -> Fault | None:
    """Evaluate a Tiltfile; None if it ends in a spec, a Tiltfile error or the interrupt."""
    began, looks = time.process_time(), 0

    def interrupted() -> bool:
        nonlocal looks
        looks += 1
        return looks > _LOOKS or time.process_time() - began > _INTERRUPT_AFTER

    world = host({**WORLD, "Tiltfile": text}, environ={"HOME": "/home/u", "X": "y"}, commands=COMMANDS)
    try:
        try:
            found = document(load([cell("prelude", PRELUDE), tiltfile()], (), world, cancelled=interrupted))
        except Cancelled:
            return None
        except LoadError as error:
            error.render()
            found = failure(error)
        json.dumps(found)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it must not come out
        return Fault(_kind(error), traceback.format_exc(limit=-30))
    return None


def _kind(error: BaseException) -> str:
    """The exception with the innermost place in our own code."""
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if "ipytilt" in Path(frame.filename).parts]
    return f"{type(error).__name__} in {places[-1].name if places else '?'}"


def main() -> None:
    """Answer until there is no more input."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    faulthandler.enable()
    faulthandler.register(signal.SIGXCPU, chain=True)
    evaluate("")  # imports everything
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    for line in sys.stdin:
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + SECONDS + 1, hard))
        fault = evaluate(json.loads(line))
        print(json.dumps([fault.kind, fault.detail] if fault else None), flush=True)


if __name__ == "__main__":
    main()
