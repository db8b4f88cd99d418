"""ipytilt: the Tilt way of working, in a Jupyter notebook.

`%load_ext ipytilt`, then a `%%tiltfile` cell. Importing this package starts nothing and imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__version__ = "0.1.0"


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext ipytilt`: register `%%tiltfile` and `%tilt`."""
    from ipytilt import magics

    magics.load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """`%unload_ext ipytilt`: end the session and forget the magics."""
    from ipytilt import magics

    magics.unload(shell)
