"""Everything there is to say about a Tiltfile that evaluates: what Tilt itself refuses, and likely mistakes.

Runs on the caller's thread, without evaluating: `core.lint` looks at what is asked for, this module at the text, for
what is understood here and no longer, or not yet, by Tilt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ipytilt.core.events import Source
from ipytilt.core.lint import Exists, Finding, lint
from ipytilt.core.spec import Origin, Spec
from ipytilt.tiltfile.cursor import Token, names_of, tokens

NOT_IN_TILT = "not-in-tilt"

_REFUSED = {
    ("live_update", "("): (
        "live_update(...) by itself is refused by Tilt",
        "it is an older form; today the steps belong to the image's build",
        "docker_build(..., live_update=[...])",
    ),
    ("fall_back_on", "(", "files", "="): (
        "fall_back_on(files=...) is refused by Tilt",
        "there the parameter is called paths",
        "fall_back_on(paths), without a name",
    ),
}


def findings(sources: Iterable[Source], spec: Spec, exists: Exists) -> tuple[Finding, ...]:
    """What there is to say, in the order of the text; `exists` tells whether there is something at a path."""
    texts = [found for source in sources for found in refused(text_of(source), source.path or source.name)]
    every = dict.fromkeys((*texts, *lint(spec, exists)))
    return tuple(sorted(every, key=lambda finding: (finding.origin.file, finding.origin.line)))


def refused(text: str, file: str) -> Iterator[Finding]:
    """Calls that work here and not in Tilt, unless the text gives their names a meaning of its own."""
    pieces = [token for token in tokens(text) if token.kind not in ("comment", "line")]
    mine = names_of(text).names
    for at, token in enumerate(pieces):
        before = pieces[at - 1].text if at else ""
        if token.kind != "name" or token.text in mine or before == ".":
            continue
        for words, (what, why, advice) in _REFUSED.items():
            if _begins(pieces[at : at + len(words)], words):
                line = text.count("\n", 0, token.start)
                column = token.start - text.rfind("\n", 0, token.start)
                yield Finding(NOT_IN_TILT, Origin(file, line + 1, column), what, why, advice)


def _begins(pieces: list[Token], words: tuple[str, ...]) -> bool:
    return tuple(piece.text for piece in pieces) == words


def text_of(source: Source, most: int = -1) -> str:
    """The text of a source, of at most so many characters; "" for a file that has gone."""
    if source.text is not None:
        return source.text
    try:
        with open(source.path, encoding="utf-8", errors="replace") as file:
            return file.read(most)
    except OSError:
        return ""
