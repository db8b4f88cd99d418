"""Making a text that shows a fault smaller while it shows the same one."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.seeds import tokens

_TRIES = 400  # evaluations; the smallest possible text is not worth more


def shrink(text: str, shows_it: Callable[[str], bool]) -> str:
    """A smaller text for which `shows_it` is true as well: lines left out, then tokens, then characters."""
    budget = [_TRIES]
    for cut in (lambda whole: whole.splitlines(keepends=True), tokens, list):
        pieces = _without(cut(text), lambda kept: shows_it("".join(kept)), budget)
        text = "".join(pieces)
    return text


def _without(pieces: list[str], shows_it: Callable[[list[str]], bool], budget: list[int]) -> list[str]:
    """Leave out ever smaller runs of pieces."""
    size = max(1, len(pieces) // 2)
    while budget[0] > 0:
        at, shorter = 0, False
        while at < len(pieces) and budget[0] > 0:
            budget[0] -= 1
            candidate = pieces[:at] + pieces[at + size :]
            if shows_it(candidate):
                pieces, shorter = candidate, True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return pieces
