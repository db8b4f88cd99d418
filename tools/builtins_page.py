"""Write `docs/builtins.md` from the registry: every builtin with what its docstring says. A test compares the two.

python -m tools.builtins_page
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from ipytilt.tiltfile.manual import Entry, entries, takes, wrapped

PAGE = Path(__file__).resolve().parents[1] / "docs" / "builtins.md"

TOPICS = {
    "images": "Images",
    "live_update": "Live updates",
    "compose": "Compose",
    "kubernetes": "Kubernetes",
    "charts": "Helm and kustomize",
    "local": "Local work, probes, links and trigger modes",
    "files": "Files and data",
    "modules": "os, sys and shlex",
    "config": "config",
    "control": "Control",
    "settings": "Settings",
    "v1alpha1": "v1alpha1",
}
"""Sections in order, by the module of `ipytilt/tiltfile/builtins` that has them."""

_EXTENSIONS, _LIMITS, _LANGUAGE = "Extensions that come along", "What is not supported", "The language"

_HEAD = """\
# What a Tiltfile may say

<!-- Written by tools/builtins_page.py from the functions themselves: `make docs`. -->

Every function and value of the Tiltfile language, as it works in `%%tiltfile` cells and in Tiltfiles. In a notebook
the same is shown by Shift-Tab inside a cell, by `%tilt help NAME` and by `NAME?`. Parameters may be given by position
in the order shown, or by name; what follows a `*` by name only. Paths are relative to the folder of the file that is
being executed, which for a cell is the notebook's. A default of `(unset)` stands for nothing given, where None would
mean something.
"""


def page() -> str:
    """The whole text. Raises KeyError for a builtin whose topic has no section here."""
    known = list(entries().values())
    parts = [_HEAD, *_sections(known), *_extensions(known), *_limits(known), *_language(known)]
    return "\n".join(parts).rstrip() + "\n"


def _sections(known: list[Entry]) -> Iterator[str]:
    by_topic: dict[str, list[Entry]] = {topic: [] for topic in TOPICS}
    for entry in known:
        if entry.origin in ("builtin", "constant"):
            by_topic[entry.topic].append(entry)
    links = (f"[{title}](#{_anchor(title)})" for title in (*TOPICS.values(), _EXTENSIONS, _LIMITS, _LANGUAGE))
    yield textwrap.fill(" · ".join(links), 118, break_on_hyphens=False) + "\n"
    for topic, title in TOPICS.items():
        yield f"## {title}\n"
        for entry in by_topic[topic]:
            yield from _described(entry)


def _anchor(title: str) -> str:
    return "".join(letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")


def _described(entry: Entry) -> Iterator[str]:
    yield f"### `{entry.name}`" + (f", of `ext://{entry.topic}`" if entry.origin == "extension" else "") + "\n"
    if entry.origin != "constant":
        yield f"```starlark\n{wrapped(entry.signature)}\n```\n"
    yield entry.doc + "\n"
    if entry.parameters:
        yield "| parameter | takes |\n|---|---|"
        yield "\n".join(f"| `{parameter.name}` | {takes(parameter)} |" for parameter in entry.parameters) + "\n"


def _extensions(known: list[Entry]) -> Iterator[str]:
    yield f"## {_EXTENSIONS}\n"
    yield 'Loaded by `load("ext://NAME", "function")` like any other, without a download.\n'
    for entry in known:
        if entry.origin == "extension":
            yield from _described(entry)


def _limits(known: list[Entry]) -> Iterator[str]:
    yield f"## {_LIMITS}\n"
    yield "Every function of the language is there, with every parameter. These do less than in Tilt, or nothing:\n"
    yield "\n".join(f"- `{entry.name}`: {entry.limits.partition(': ')[2]}" for entry in known if entry.limits) + "\n"
    yield "Parameters that end in `_bat` are commands for Windows: they are checked and not used.\n"


def _language(known: list[Entry]) -> Iterator[str]:
    yield f"## {_LANGUAGE}\n"
    yield "These belong to Starlark, the language itself.\n\n| function | |\n|---|---|"
    yield "\n".join(f"| `{entry.signature}` | {entry.doc} |" for entry in known if entry.origin == "starlark")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
