"""ipytilt: the Tilt way of working, in a Jupyter notebook and in Python.

`%load_ext ipytilt`, then a `%%tiltfile` cell; or `from ipytilt import Session, docker_build, sync` and the like: every
function a Tiltfile knows is a name of this package. Importing it starts nothing and imports nothing heavy.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ipytilt.errors import CIFailed, TiltError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ipytilt.api import Session, session

__version__ = "0.1.0"
__all__ = ["CIFailed", "Session", "TiltError", "__version__", "session"]

_API = ("Session", "session")


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext ipytilt`: register `%%tiltfile` and `%tilt`."""
    from ipytilt import magics

    magics.load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """`%unload_ext ipytilt`: end the session and forget the magics."""
    from ipytilt import magics

    magics.unload(shell)


def __getattr__(name: str) -> Any:
    """The session's class, or a word of the Tiltfile, found when it is asked for."""
    if name.startswith("_") or find_spec(f"{__name__}.{name}"):  # what tools look for; what import finds by itself
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _API:
        from ipytilt import api

        return getattr(api, name)
    from ipytilt.tiltfile import program

    try:
        return program.word(name)
    except AttributeError as error:
        raise AttributeError(f"module 'ipytilt' has no attribute {name!r}: {error}") from None


def __dir__() -> list[str]:
    from ipytilt.tiltfile import program

    return sorted({*globals(), *_API, *program.words()})
