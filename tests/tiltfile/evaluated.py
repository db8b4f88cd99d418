"""How the tests of this folder evaluate a Tiltfile: one text, a few files, in a world that exists only here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipytilt.core.events import Source
from ipytilt.tiltfile.host import Ran
from ipytilt.tiltfile.load import Loaded, load
from tests.support.dict_host import DictHost

ROOT = "/root"


def host(
    files: Mapping[str, str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    commands: Mapping[str, Ran] | None = None,
    directories: tuple[str, ...] = (),
) -> DictHost:
    """A world whose relative file names stand below ROOT; a Dockerfile is always there."""
    texts = {"Dockerfile": "FROM scratch\n", **(files or {})}
    return DictHost(
        {_absolute(name): text for name, text in texts.items()},
        environ=environ,
        commands=commands,
        directories=[ROOT, *map(_absolute, directories)],
    )


def _absolute(name: str) -> str:
    return name if name.startswith("/") else f"{ROOT}/{name}"


def evaluate(text: str, files: Mapping[str, str] | None = None, args: tuple[str, ...] = (), **world: Any) -> Loaded:
    """Evaluate `text` as ROOT/Tiltfile."""
    return load([tiltfile()], args, host({"Tiltfile": text, **(files or {})}, **world))


def tiltfile(name: str = "Tiltfile") -> Source:
    """A file source below ROOT."""
    return Source(key=name, name=name, base=ROOT, path=_absolute(name))


def cell(key: str, text: str, base: str = ROOT) -> Source:
    """A cell source."""
    return Source(key=key, name=f"<{key}>", base=base, text=text)
