"""Running checked programs: threads of evaluation, modules, and where an error happened.

Nothing is recorded while code runs: stacks are read from Python's frames and tracebacks when somebody asks. A frame
is Starlark's if its globals are a module's namespace. Errors leave through one door, `Thread.run`, which gives them
their stack and turns what Python says about lowered code (an unbound variable, arguments that do not fit) into
Starlark's words.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from inspect import Signature
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any

from ipytilt.starlark import calls, operators
from ipytilt.starlark.check import TOPLEVEL, Program
from ipytilt.starlark.containers import dict_display, dict_from_pairs
from ipytilt.starlark.control import CURRENT, check_int, restart, tick
from ipytilt.starlark.errors import Cancelled, EvalError, Frame, Position
from ipytilt.starlark.library import FUNCTIONS, UNIVERSE
from ipytilt.starlark.recursion import deep_recursion
from ipytilt.starlark.text import interpolate_one
from ipytilt.starlark.values import MISSING, Builtin, Dict, List, equal, freeze

_COMPREHENSIONS = {"<listcomp>", "<dictcomp>"}  # frames of their own before Python 3.12
_QUOTED = re.compile(r"'([^']*)'")
_SLACK = 100  # Python frames that helpers take on top of the deepest Starlark call
_CALLERS = {calls.call.__code__, calls.invoke.__code__, calls.invoke_one.__code__, calls.invoke_named.__code__}
_HOST_CALL = Builtin.__call__.__code__


_HELPERS: dict[str, Any] = {
    f".{function.__name__}": function
    for function in (
        *(getattr(operators, name) for name in dir(operators) if isinstance(getattr(operators, name), FunctionType)),
        *(
            calls.attribute,
            calls.set_attribute,
            calls.invoke,
            calls.invoke_one,
            calls.invoke_named,
            calls.call,
            calls.apply,
        ),
        *(check_int, interpolate_one, equal, dict_from_pairs, dict_display, List, Dict, type, int),
    )
} | {".tick": tick}


class Thread:
    """One evaluation: the host's hooks, the limits, and the way for host builtins to look at the stack.

    `load(path, thread)` returns a Module (or a mapping of exported names). `print(text)` gets each line printed.
    `cancelled()` is asked every thousand steps or so; once true, evaluation ends in Cancelled. `max_depth` bounds
    nested calls: a plain call counts one, a call through `*args`, a comprehension or a builtin up to three. Not for use
    by two OS threads at once.
    """

    def __init__(
        self,
        *,
        load: Callable[[str, Thread], Any] | None = None,
        print: Callable[[str], None] | None = None,  # noqa: A002
        cancelled: Callable[[], bool] | None = None,
        max_steps: int = 20_000_000,
        max_depth: int = 5_000,
    ) -> None:
        self.load = load
        self.print = print or (lambda _text: None)
        self.cancelled = cancelled or (lambda: False)
        self.max_steps = max_steps
        self.max_depth = max_depth
        self.steps = 0

    def spend(self, steps: int) -> int:
        """Charge steps; return how many remain. Raises EvalError or Cancelled."""
        self.steps += steps
        if self.cancelled():
            raise Cancelled("evaluation was cancelled")
        if self.steps > self.max_steps:
            raise EvalError(f"too many steps: evaluation was stopped after {self.max_steps}")
        return self.max_steps - self.steps

    def call(self, function: Any, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """Call a value of the language. Raises EvalError."""
        return self.run(lambda: calls.call(function, *args, **(kwargs or {})))

    def position(self) -> Position | None:
        """Where the innermost active Starlark function stands: for a builtin, the place of its call."""
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
        while frame is not None:
            if ".module" in frame.f_globals:
                return _position(frame, frame.f_lasti)
            frame = frame.f_back
        return None

    def stack(self) -> tuple[Frame, ...]:
        """All active calls, outermost first."""
        active: list[tuple[FrameType, int]] = []
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
        while frame:
            active.append((frame, frame.f_lasti))
            frame = frame.f_back
        return tuple(_frames(reversed(active)))

    def run(self, work: Callable[[], Any]) -> Any:
        """Do some work as part of this evaluation. Raises EvalError with its stack."""
        with self._current():
            try:
                return work()
            except Exception as error:
                failure = _explain(error, self.max_depth)
                if failure is None:
                    raise
        failure.__traceback__ = failure.__context__ = None
        raise failure

    @contextmanager
    def _current(self) -> Iterator[None]:
        if CURRENT.get() is self:
            yield
            return
        token = CURRENT.set(self)
        restart()
        try:
            with deep_recursion(self.max_depth + _SLACK):
                yield
        finally:
            CURRENT.reset(token)
            restart()


class Module:
    """A global namespace and the programs executed in it, one after the other."""

    def __init__(self, name: str, predeclared: Mapping[str, Any]) -> None:
        self.name = name
        self.loaded: frozenset[str] = frozenset()  # names bound by load statements
        self._programs: list[Program] = []
        self._places: dict[int, tuple[CodeType, list[Any]]] = {}
        values = {f"@{known}": value for known, value in (UNIVERSE | dict(predeclared)).items()}
        functions = {f"@{known}()": function for known, function in FUNCTIONS.items()}
        builtins = _HELPERS | values | functions | {".load": self._load}
        self._namespace: dict[str, Any] = {"__builtins__": builtins, ".module": self}

    @property
    def globals(self) -> dict[str, Any]:
        """All global variables, by name."""
        return {name: value for name, value in self._namespace.items() if name[0] != "." and name != "__builtins__"}

    @property
    def exports(self) -> dict[str, Any]:
        """The globals without those that came from load statements."""
        return {name: value for name, value in self.globals.items() if name not in self.loaded}

    def execute(self, program: Program, thread: Thread) -> None:
        """Run a program in this namespace. Raises EvalError; what was assigned before stays."""
        self._programs.append(program)
        self._places.clear()
        self.loaded = (self.loaded - program.defines) | {name for load in program.loads for name, _ in load.names}
        function = FunctionType(program.code, self._namespace, TOPLEVEL)
        thread.run(function)

    def freeze(self) -> None:
        """Make all values reachable from the globals immutable."""
        for value in self.globals.values():
            freeze(value)

    def _load(self, path: str, names: tuple[str, ...]) -> list[Any]:
        thread = CURRENT.get()
        if not isinstance(thread, Thread) or thread.load is None:
            raise EvalError("load not implemented by this application")
        module = thread.load(path, thread)
        exports = module if isinstance(module, Mapping) else module.exports
        for name in names:
            if name not in exports:
                hint = calls.did_you_mean(name, list(exports))
                raise EvalError(f"load: name {name} not found in module {path}{hint}")
        return [exports[name] for name in names]

    def place(self, code: CodeType, offset: int) -> tuple[int, int]:
        """Line from 1 and column from 0 of an instruction."""
        if id(code) not in self._places:
            self._places[id(code)] = (code, list(code.co_positions()))
        line, _, col, _ = self._places[id(code)][1][offset // 2]
        return line or code.co_firstlineno, col or 0

    def program(self, code: CodeType) -> Program | None:
        """The program that some code is part of."""
        return next((program for program in reversed(self._programs) if _holds(program.code, code)), None)


def parameters(function: Any) -> Signature | None:
    """The parameters of a Starlark function; None for other callables, whose parameters are not known."""
    return calls.signature(function) if type(function) is FunctionType else None


def _holds(outer: CodeType, code: CodeType) -> bool:
    return outer is code or any(_holds(const, code) for const in outer.co_consts if isinstance(const, CodeType))


def _position(frame: FrameType, offset: int) -> Position:
    line, col = frame.f_globals[".module"].place(frame.f_code, offset)
    return Position(frame.f_code.co_filename, line, col + 1)


def _frames(active: Iterable[tuple[FrameType, int]]) -> list[Frame]:
    """The frames of the language among Python's, outermost first."""
    found: list[Frame] = []
    for frame, offset in active:
        code = frame.f_code
        inside = bool(found) and found[-1].position is None  # a builtin's helpers are not shown
        if ".module" in frame.f_globals:
            position = _position(frame, offset)
            if code.co_name in _COMPREHENSIONS and found:
                found[-1] = Frame(found[-1].name, position)
            else:
                found.append(Frame("lambda" if code.co_name == "<lambda>" else code.co_name, position))
        elif code is _HOST_CALL:
            found.append(Frame(frame.f_locals["self"].name, None))
        elif code in calls.LIBRARY and not inside:
            found.append(Frame(calls.LIBRARY[code].name, None))
    return found


def _explain(error: Exception, max_depth: int) -> EvalError | None:
    """The error to raise for one that came out of evaluation; None if it is to pass through."""
    trace = []
    step: TracebackType | None = error.__traceback__
    while step is not None:
        trace.append((step.tb_frame, step.tb_lasti))
        step = step.tb_next
    frames = _frames(trace)
    library, name = _library_frame(trace), ""
    if isinstance(error, EvalError):
        failure = error
        if library and not failure.stack:
            name = calls.LIBRARY[library.f_code].name
    elif isinstance(error, RecursionError):
        failure = EvalError(f"stack overflow: calls are nested too deeply (about {max_depth} levels)")
    elif isinstance(error, MemoryError):
        failure = EvalError("out of memory")
    else:
        message, name = _message(error, library, *trace[-1])
        if message is None:
            return None
        failure = EvalError(message)
        if name and frames and frames[-1].position is not None:
            frames.append(Frame(name, None))
    if name and name != "fail" and not failure.message.startswith(f"{name}: "):
        failure.message = f"{name}: {failure.message}"
    failure.stack = (*frames, *failure.stack)
    return failure


def _library_frame(trace: list[tuple[FrameType, int]]) -> FrameType | None:
    """The innermost builtin called by the program, if it is the library's own."""
    found = None
    for frame, _ in reversed(trace):
        if ".module" in frame.f_globals or frame.f_code is _HOST_CALL:
            break
        if frame.f_code in calls.LIBRARY:
            found = frame
    return found


def _message(error: Exception, library: FrameType | None, frame: FrameType, offset: int) -> tuple[str | None, str]:
    """What is wrong in Starlark's words, and the builtin's name if one was called wrongly; None if it is our bug."""
    code = frame.f_code
    misfits = isinstance(error, TypeError) and code in _CALLERS
    if library and not misfits:
        return calls.mistyped(library.f_code, library.f_locals), calls.LIBRARY[library.f_code].name
    if isinstance(error, NameError) and ".module" in frame.f_globals:
        match = _QUOTED.search(str(error))
        kind = "local" if isinstance(error, UnboundLocalError) or "free variable" in str(error) else "global"
        return f"{kind} variable {match[1] if match else ''} referenced before assignment", ""
    if misfits:
        values = frame.f_locals
        is_method = code is not calls.call.__code__
        function = calls.METHODS[type(values["receiver"])][values["name"]] if is_method else values["function"]
        known = calls.LIBRARY.get(getattr(function, "__code__", None))
        skipped = known.skipped if known and not is_method else 0
        given = 1 if code is calls.invoke_one.__code__ else len(values["args"])
        message = calls.misfit(function, given - skipped, list(values.get("kwargs", ())))
        return message, known.name if known else ""
    if isinstance(error, TypeError) and ".module" in frame.f_globals:
        return _direct_call(frame, offset)
    return None, ""


def _direct_call(frame: FrameType, offset: int) -> tuple[str | None, str]:
    """Why a call of a variable failed before its function was entered."""
    module: Module = frame.f_globals[".module"]
    program = module.program(frame.f_code)
    site = program.calls.get(module.place(frame.f_code, offset)) if program else None
    if site is None:
        return None, ""
    function = MISSING
    for variables in (frame.f_locals, frame.f_globals, frame.f_builtins):
        if function is MISSING:
            function = variables.get(site.callee, MISSING)
    library = calls.LIBRARY.get(getattr(function, "__code__", None))
    return calls.misfit(function, site.positional, site.keywords), library.name if library else ""
