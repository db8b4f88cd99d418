"""Go's regular expressions (RE2) as Python's, as far as the two write the same thing differently.

Pure; called while a Tiltfile is evaluated. What only Python has (looking around, references back) is refused.
"""

from __future__ import annotations

import re

_ELSEWHERE = re.compile(r"\(\?<?[=!]|(?<!\\)(?:\\\\)*\\[1-9]")
_NAMED = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
# An escape, or a class; a bracket right after its begin stands for itself.
_PART = re.compile(r"\\.|(\[\^?\]?)((?:\\.|\[:\w+:\]|[^\]\\])*)", re.DOTALL)
_CLASS_PART = re.compile(rf"\\.|\[:({'|'.join(_NAMED)}):\]|\[|--|&&|\|\||~~", re.DOTALL)


def compiled(text: str, flags: int = 0) -> re.Pattern[str]:
    """The expression for Python. Raises re.error saying what is wrong with it."""
    if found := _ELSEWHERE.search(text):
        raise re.error(f"invalid or unsupported Perl syntax: `{found[0]}`")
    return re.compile(_PART.sub(_part, text), flags)


def _part(found: re.Match[str]) -> str:
    begin, content = found.groups()
    if begin is None:
        return r"\Z" if found[0] == r"\z" else found[0]
    return begin + _CLASS_PART.sub(_class_part, content)


def _class_part(found: re.Match[str]) -> str:
    """What Python would take for something else, or warn of."""
    match found[0]:
        case "[":
            return r"\["
        case "--":
            return r"\--" if found.start() == 0 else r"-\-"
        case "&&" | "||" | "~~" as doubled:
            return f"\\{doubled[0]}\\{doubled[0]}"
        case other:
            return _NAMED[found[1]] if found[1] else other
