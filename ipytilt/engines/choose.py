"""Which container engine a session runs on: Docker when a daemon answers, else the sandbox.

Runs once per session, on the thread that needs an engine first. Podman counts as Docker: it answers the same interface.
"""

from __future__ import annotations

from collections.abc import Mapping

from ipytilt.engines.base import ContainerEngine
from ipytilt.errors import Unavailable, UsageError

ENGINES = ("auto", "docker", "sandbox")
VARIABLE = "IPYTILT_ENGINE"


def named(wanted: str, environ: Mapping[str, str]) -> str:
    """The engine somebody asked for: by name, else by the environment, else "auto". Raises UsageError for others."""
    engine = wanted or environ.get(VARIABLE) or "auto"
    if engine not in ENGINES:
        asked = f"{VARIABLE}={engine}: unknown engine" if not wanted else f"There is no engine {engine!r}"
        raise UsageError(asked, hint=f"one of: {', '.join(ENGINES)}")
    return engine


def choose(wanted: str, environ: Mapping[str, str]) -> tuple[ContainerEngine, str]:
    """The engine, and a line that says why this one.

    Raises:
        Unavailable: "docker" was asked for by name and no daemon answers.
        UsageError: there is no such engine.
    """
    if wanted not in ENGINES:
        raise UsageError(f"There is no engine {wanted!r}", hint=f"one of: {', '.join(ENGINES)}")
    if wanted == "sandbox":
        return _sandbox(), "Engine: sandbox, as asked for"
    from ipytilt.engines.docker import connect

    try:
        engine = connect(environ)
    except Unavailable as error:
        if wanted == "docker":
            raise
        return _sandbox(), f"Engine: sandbox, because no Docker daemon answers ({error.message})"
    return engine, f"Engine: {engine.describe()}"


def _sandbox() -> ContainerEngine:
    from ipytilt.engines.sandbox import SandboxEngine

    return SandboxEngine()
