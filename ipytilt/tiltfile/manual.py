"""What can be read about every name a Tiltfile may use: signature, what parameters take, what it does.

Pure functions over the registry and its docstrings, on whatever thread asks; made at first use and kept. Completion,
Shift-Tab, `%tilt help NAME` and the page `docs/builtins.md` say what stands here and nothing else.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ipytilt.starlark import universe_docs
from ipytilt.tiltfile.builtin import Parameter, constants, registered
from ipytilt.tiltfile.builtins import extensions
from ipytilt.tiltfile.cursor import Defined

NOT_SUPPORTED = "Not supported:"
"""What a paragraph of a docstring begins with that says what the builtin does not do here."""

ACCEPTED = "Accepted for Tilt's sake:"
"""What the docstring of a builtin begins with that does nothing here."""

_WORDS = {
    "any": "any value",
    "bool": "True or False",
    "bool?": "True, False or None",
    "cmd": "a shell script (string), or a list of words",
    "duration": 'a duration such as "1h5m" or "300ms"',
    "env": "a dict from string to string",
    "ExecAction": "exec_action(...)",
    "HTTPGetAction": "http_get_action(...)",
    "image object": "a dict with json_path, repo_field and tag_field",
    "int": "an int",
    "int or None": "an int, or None",
    "labels": "a label, or a list of labels",
    "links": "a URL or link(...), or a list of these",
    "list": "a list",
    "list of dict": "a list of dicts",
    "mode": "TRIGGER_MODE_AUTO or TRIGGER_MODE_MANUAL",
    "name": "a name: a string without / and %",
    "never": "nothing: write it in the dict form",
    "oneormany str": "a string, or a list of strings",
    "path": "a path, relative to the Tiltfile's folder",
    "path or None": "a path relative to the Tiltfile's folder, or None",
    "paths": "a path, or a list of paths",
    "pod selectors": "a dict of labels, or a list of such dicts",
    "Probe": "probe(...)",
    "ref": "an image reference",
    "refs": "a list of image references",
    "regex": "a regular expression, found anywhere, whatever the case",
    "seq": "a list of strings",
    "steps": "a list of live-update steps",
    "str": "a string",
    "str or None": "a string, or None",
    "string or Blob": "a string or Blob",
    "strlist": "a list of strings",
    "strs": "a string, or a list of strings",
    "TCPSocketAction": "tcp_socket_action(...)",
    "text": "a string or Blob",
    "text or None": "a string or Blob, or None",
}
"""What the words of the type vocabulary mean to a reader; any other word names a helper of `v1alpha1`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name. `signature` is the name alone for a value; `parameters` are empty for a function that takes anything.

    `origin`: "builtin", "constant", "extension", "starlark" or "yours". `topic`: the module of `builtins/` it stands
    in, the name of the extension, or "".
    """

    name: str
    signature: str
    doc: str
    origin: str
    parameters: tuple[Parameter, ...] = ()
    topic: str = ""

    @property
    def summary(self) -> str:
        """The first sentence or two: what the first paragraph says."""
        return " ".join(self.doc.partition("\n\n")[0].split())

    @property
    def limits(self) -> str:
        """What it does not do here; "" if there is no such thing."""
        paragraphs = (" ".join(paragraph.split()) for paragraph in self.doc.split("\n\n"))
        return next((text for text in paragraphs if text.startswith((NOT_SUPPORTED, ACCEPTED))), "")


@cache
def entries() -> Mapping[str, Entry]:
    """Every name of the Tilt API, of the extensions that come along, and of the language; sorted within each."""
    found = {
        name: Entry(name, function.signature, function.doc, "builtin", function.parameters, function.topic)
        for name, function in registered().items()
    }
    found |= {name: Entry(name, name, doc, "constant", (), topic) for name, (topic, doc) in constants().items()}
    found = dict(sorted(found.items()))
    for extension, functions in extensions.brought().items():
        for name, function in functions.items():
            found[name] = Entry(name, function.signature, function.doc, "extension", function.parameters, extension)
    for name, text in sorted(universe_docs().items()):
        signature, _, doc = text.partition(" - ")
        found.setdefault(name, Entry(name, signature, doc, "starlark"))
    return found


@cache
def extensions_brought() -> Mapping[str, tuple[str, ...]]:
    """What can be loaded from the extensions that come along."""
    return {name: tuple(functions) for name, functions in extensions.brought().items()}


@cache
def modules() -> frozenset[str]:
    """Dotted names of the modules: `os`, `os.path`, ..."""
    names = [name.split(".") for name in entries()]
    return frozenset(".".join(parts[:end]) for parts in names for end in range(1, len(parts)))


def own(function: Defined) -> Entry:
    """The entry of a function of the user's."""
    return Entry(function.name, function.head, function.doc, "yours")


def takes(parameter: Parameter) -> str:
    """What may be passed for a parameter, in words."""
    word = parameter.kind.word
    listed = word.startswith("[")
    helper = f"v1alpha1.{word.strip('[]')}"
    if word not in _WORDS and helper in registered():
        return f"a list of {helper}(...) or dicts" if listed else f"{helper}(...) or a dict"
    return _WORDS.get(word, word)


def text(name: str) -> str:
    """What can be read about a name or a module; "" if there is no such thing."""
    if name in modules():
        return module_text(name)
    return shown(entries()[name]) if name in entries() else ""


def shown(entry: Entry, parameter: str = "") -> str:
    """The entry as text: signature, what `parameter` takes if the cursor stands in it, docstring."""
    parts = [wrapped(entry.signature)]
    here = next((known for known in entry.parameters if known.name == parameter), None)
    if here is not None:
        parts.append(f"{here.name}: {takes(here)}{_about(entry.doc, here.name)}")
    if entry.doc:
        parts.append(entry.doc)
    return "\n\n".join(parts)


def wrapped(signature: str) -> str:
    """A signature in lines that fit, broken between parameters."""
    indent = " " * (signature.find("(") + 1)
    held = re.sub(r"(?<!,) ", "\0", signature)  # blanks within a default stay
    return textwrap.fill(held, 100, subsequent_indent=indent, break_long_words=False).replace("\0", " ")


def _about(doc: str, parameter: str) -> str:
    """The first sentence of a docstring that speaks of a parameter, in a line of its own; "" if there is none."""
    sentences = re.split(r"(?<=[.;])\s+", " ".join(doc.split()))
    found = next((sentence for sentence in sentences if f"`{parameter}`" in sentence), "")
    return f"\n    {found}" if found else ""


def module_text(name: str) -> str:
    """What a module holds, one line a member."""
    members = [entry for full, entry in entries().items() if full.startswith(f"{name}.")]
    return "\n".join([f"{name}: a module", "", *(f"{entry.signature}\n    {entry.summary}" for entry in members)])
