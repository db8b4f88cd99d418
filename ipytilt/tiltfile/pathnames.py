"""Lexical path arithmetic by Go's rules, which differ from Python's in the corners a Tiltfile can see.

Pure functions over POSIX paths, used all over this folder. Nothing here looks at a disk.
"""

from __future__ import annotations

import posixpath


def clean(path: str) -> str:
    """The shortest equivalent: no `.`, no inner `..`, no repeated or trailing slash; "" becomes "."."""
    cleaned = posixpath.normpath(path) if path else "."
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def absolute(base: str, path: str) -> str:
    """`path` seen from the directory `base`, clean."""
    return clean(path if path.startswith("/") else f"{base}/{path}")


def join(*parts: str) -> str:
    """All parts one below the other, clean; a later absolute part does not start over; "" if all are empty."""
    present = [part for part in parts if part]
    return clean("/".join(present)) if present else ""


def basename(path: str) -> str:
    """The last element, slashes at the end left out; "." for an empty path."""
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


def dirname(path: str) -> str:
    """Everything but what follows the last slash, clean."""
    return clean(path[: path.rfind("/") + 1])


def relative(base: str, target: str) -> str:
    """How to get from `base` to `target`; ValueError if only one of them is absolute or the way up is unknown."""
    base, target = clean(base), clean(target)
    if base == target:
        return "."
    start = [] if base == "." else base.strip("/").split("/")
    end = [] if target == "." else target.strip("/").split("/")
    if base == "/":
        start = []
    if target == "/":
        end = []
    shared = next((i for i, (a, b) in enumerate(zip(start, end, strict=False)) if a != b), min(len(start), len(end)))
    if base.startswith("/") != target.startswith("/") or ".." in start[shared:]:
        raise ValueError(f"Rel: can't make {target} relative to {base}")
    return "/".join([".."] * (len(start) - shared) + end[shared:])
