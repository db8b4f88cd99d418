"""YAML text to Kubernetes documents and back.

Pure functions, called by builtins on the evaluating thread. A document is plain JSON data with a kind and an API
version; lists are taken apart, and known kinds have only the fields that the Kubernetes client knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ipytilt.core.manifests import identity
from ipytilt.tiltfile.builtins.yaml_text import YamlError, documents, dump
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.kube_types import decoded


def parse(text: str, place: str) -> list[dict[str, Any]]:
    """The objects in a text, in order; `Wrong` names the `place` the text is from."""
    return [document for document, _ in parse_with_lines(text, place)]


def parse_with_lines(text: str, place: str) -> list[tuple[dict[str, Any], int]]:
    """As `parse`, with the line each object's document begins in (0: not known)."""
    try:
        found = enumerate(_documents(text))
        lines = dict(enumerate(_starts(text)))
        return [(item, lines.get(i, 0)) for i, one in found if one is not None for item in _objects(one)]
    except (YamlError, Wrong) as error:
        hint = error.hint if isinstance(error, Wrong) else ""
        if "json parse error" in str(error) and place.startswith("/"):
            raise Wrong(f"{place} is not a valid YAML file: {error}", hint=hint) from None
        raise Wrong(f"Error reading yaml from {place}: {error}", hint=hint) from None


def _documents(text: str) -> Iterator[Any]:
    """YAML, or JSON: one object after the other, with tabs and escapes that YAML does not have."""
    try:
        yield from list(_json_objects(text)) if text.lstrip().startswith("{") else documents(text)
    except json.JSONDecodeError:
        yield from documents(text)


def _starts(text: str) -> Iterator[int]:
    """The line that each YAML document begins in."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.rstrip() == "---" or line.startswith(("--- ", "---\t")):
            yield number + (line.rstrip() == "---")
            inside = True
        elif line.startswith("..."):
            inside = False
        elif not inside and line.strip() and not line.startswith(("#", "%")):
            yield number
            inside = True


def _json_objects(text: str) -> Iterator[Any]:
    decoder, at = json.JSONDecoder(), 0
    while rest := text[at:].lstrip():
        at = len(text) - len(rest)
        found, at = decoder.raw_decode(text, at)
        yield found


def _objects(document: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        raise Wrong(f"couldn't get version/kind; json parse error: {_shown(document)} is no object")
    for field, name in (("kind", "Kind"), ("apiVersion", "apiVersion")):
        if not document.get(field):
            raise Wrong(f"Object '{name}' is missing in '{_shown(document)}'")
        if not isinstance(document[field], str):
            raise Wrong(f"couldn't get version/kind; json parse error: {field} {_shown(document[field])}")
    if document["kind"] == "List" and document["apiVersion"] == "v1":
        for item in document.get("items") or []:
            yield from _objects(item)
        return
    try:
        yield decoded(document)
    except ValueError as error:
        hint = 'a text that looks like something else needs quotes: "yes", "1"' if _wants_text(error) else ""
        raise Wrong(f'decoding {document["kind"]} "{identity(document).name}": {error}', hint=hint) from None


def _wants_text(error: ValueError) -> bool:
    return str(error).endswith("of type string")


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def serialize(found: Iterable[dict[str, Any]]) -> str:
    """Documents as one text; "" for none."""
    return "\n---\n".join(dump(document) for document in found)
