"""YAML whose only use is to read names out of it: every scalar stays the text it is written as.

Pure; the YAML library is imported when the first text is read.
"""

from __future__ import annotations

from typing import Any


def documents(text: str) -> list[Any]:
    """The documents of a text, empty ones left out, with texts for all scalars; ValueError if it is malformed."""
    import yaml

    try:
        return [found for found in yaml.load_all(text, Loader=yaml.BaseLoader) if found]
    except (yaml.YAMLError, RecursionError) as problem:
        raise ValueError(str(problem)) from None


def at(value: Any, *path: str) -> Any:
    """What the path leads to through maps, or None."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
