"""The Starlark language as Tilt 0.37 speaks it; knows nothing of Tilt.

    program = check(text, "Tiltfile", predeclared={"local_resource"})     # StarlarkSyntaxError
    module = Module("Tiltfile", {"local_resource": Builtin("local_resource", fn)})
    module.execute(program, Thread(load=..., print=...))                  # EvalError, Cancelled
    module.freeze()

Checking parses with the standard `ast`, refuses what Starlark lacks, resolves names and lowers the tree to Python code
objects; executing runs those on the calling thread (any thread; nothing is started). A `Module` may execute several
programs, which then share one global namespace: pass `globals=module.globals` to `check` for the later ones.

None, bool, int, float, str, bytes, tuple and range are Python's own; str holds text whose operators count UTF-8 bytes
(bytes that are no UTF-8 appear as surrogate escapes). List, Dict, Set and functions are classes of this package; host
values derive from `Value`. A host builtin is `Builtin(name, fn)` with `fn(thread, args, kwargs)`: it returns a value,
raises `EvalError(message)`, and may ask `thread.position()` and `thread.stack()`. It calls functions of the program by
`thread.call(function, args, kwargs)`, and learns their parameters from `parameters(function)`. Any other exception
passes through unchanged, KeyboardInterrupt included. What another file may load is `module.exports`, the globals
without those that were loaded themselves.
"""

from __future__ import annotations

from ipytilt.starlark.check import Load, Program, check
from ipytilt.starlark.errors import Cancelled, EvalError, Frame, Position, StarlarkError, StarlarkSyntaxError
from ipytilt.starlark.evaluate import Module, Thread, parameters
from ipytilt.starlark.library import UNIVERSE, universe_docs
from ipytilt.starlark.operators import elements
from ipytilt.starlark.text import to_repr, to_str
from ipytilt.starlark.values import (
    MISSING,
    Builtin,
    Dict,
    List,
    Set,
    Struct,
    Value,
    equal,
    freeze,
    from_python,
    to_python,
    truth,
    type_name,
)

__all__ = [
    "MISSING",
    "UNIVERSE",
    "Builtin",
    "Cancelled",
    "Dict",
    "EvalError",
    "Frame",
    "List",
    "Load",
    "Module",
    "Position",
    "Program",
    "Set",
    "StarlarkError",
    "StarlarkSyntaxError",
    "Struct",
    "Thread",
    "Value",
    "check",
    "elements",
    "equal",
    "freeze",
    "from_python",
    "parameters",
    "to_python",
    "to_repr",
    "to_str",
    "truth",
    "type_name",
    "universe_docs",
]
