"""The notebook's door: `%%tiltfile`, `%tilt`, and what `%load_ext` and `%unload_ext` do.

Only this module imports IPython. Loading registers names and nothing else: session, threads and widget libraries come
with the first use, on the main thread.
"""

from __future__ import annotations

import builtins
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleMatcherResult, context_matcher
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.display import display
from traitlets import Dict, Enum, Float, Int, TraitError, Unicode, Union, observe, validate

if TYPE_CHECKING:
    from ipytilt.cockpit import Cockpit
    from ipytilt.core.events import Source
    from ipytilt.core.paces import Paces
    from ipytilt.core.state import State
    from ipytilt.verbs import Answer

ENGINE_VARIABLE = "IPYTILT_ENGINE"
ENGINES = ("auto", "docker", "sandbox")
SETTINGS = ("engine", "directory", "log_bytes")
_COMPLETED = "%tilt"  # IPython also asks for "tilt" then
_TILTFILE = re.compile(r"%%tiltfile(?!\S)")
_ASKED = re.compile(r"\?{0,2}([^\W\d][\w.]*)\?{0,2}")  # name? and ?name


class _Silence(Sequence[Any]):
    """No completions, which still keep other matchers from offering theirs."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: Any) -> Any:
        raise IndexError(index)


@magics_class
class IpyTilt(Magics):
    """ipytilt's settings: `%config IpyTilt`, or `c.IpyTilt` in a configuration file."""

    engine = Enum(ENGINES, default_value="auto", help="What images and services run on.").tag(config=True)
    directory = Unicode("", help="Where relative paths of cells start; empty: the kernel's directory.").tag(config=True)
    log_bytes = Int(2_000_000, help="How much log is kept per resource, in bytes.").tag(config=True)
    rest = Union(
        [Float(), Dict()],
        default_value={},
        help="How long changes rest before they are applied, in seconds: a number, or {'api': 0.5}.",
    ).tag(config=True)
    cap = Union(
        [Float(), Dict()],
        default_value={},
        help="After how long they are applied even if they never rest, in seconds: a number, or {'api': 30}.",
    ).tag(config=True)

    rerun = Dict(
        help="By resource, with which of its resource_deps it runs again: True (all), a name or a list of names."
    ).tag(config=True)

    _cockpit: Cockpit | None = None  # here already, because configuring happens within __init__
    _used: Mapping[str, Any] | None = None

    def __init__(self, shell: InteractiveShell, **options: Any) -> None:
        super().__init__(shell=shell, parent=shell, **options)

    @cell_magic
    def tiltfile(self, line: str, cell: str) -> None:
        """Evaluate a Tiltfile cell: `%%tiltfile [NAME] [--engine docker|sandbox] [-- TILTFILE ARGS]`.

        Running a cell again replaces what it defined before; several cells add up. A NAME makes that work where the
        front end does not tell cells apart (a terminal).
        """
        from ipytilt import verbs

        words = verbs.split(line)
        words, args = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, None)
        words = self._take_engine(words)
        source = self._source(words, cell)
        self._show(verbs.put_cell, source, tuple(args) if args is not None else None)

    @line_magic
    def tilt(self, line: str) -> Answer | None:
        """Drive the session: `%tilt help` lists the verbs."""
        from ipytilt import verbs

        words = self._take_engine(verbs.split(line))
        return self._show(verbs.do, words)

    @context_matcher(identifier="ipytilt", priority=100)  # type: ignore[untyped-decorator]
    def match(self, context: CompletionContext) -> SimpleMatcherResult:
        """What TAB offers inside a `%%tiltfile` cell, where nothing of Python's belongs."""
        cell = context.full_text
        offset = sum(len(line) + 1 for line in cell.split("\n")[: context.cursor_line]) + context.cursor_position
        try:
            from ipytilt import editing

            found = editing.complete(cell, offset, self._state(), self._directory())
        except Exception:  # noqa: BLE001 - a traceback would land in the cell that is being written
            found = None
        if found is None:
            return {"completions": []}
        offers: Any = found.offers or _Silence()
        fragment = cell[found.start : offset]
        return {"completions": offers, "matched_fragment": fragment, "ordered": True, "suppress": True}

    def inspected(self, cell: str, offset: int) -> str:
        """What Shift-Tab shows at this place of a `%%tiltfile` cell; "" leaves it to Python."""
        try:
            from ipytilt import editing

            return editing.describe(cell, offset, self._state(), self._directory())
        except Exception:  # noqa: BLE001 - as for match
            return ""

    def asked(self, lines: list[str]) -> list[str]:
        """`docker_build?` as `%tilt help docker_build`, unless the name means something in Python."""
        asked = _ASKED.fullmatch("".join(lines).strip())
        if asked is None or "?" not in asked[0] or self._means_something(asked[1]):
            return lines
        from ipytilt import editing

        return [f"%tilt help {asked[1]}\n"] if editing.is_documented(asked[1]) else lines

    def emptied(self, lines: list[str]) -> list[str]:
        """A Tiltfile cell without a text, which IPython would refuse: it takes back what it defined before."""
        if lines and _TILTFILE.match(lines[0]) and not "".join(lines[1:]):
            return [*lines, "\n"]
        return lines

    def _means_something(self, name: str) -> bool:
        shell: Any = self.shell
        first = name.partition(".")[0]
        return first in shell.user_ns or hasattr(builtins, first) or shell.find_magic(name) is not None

    def _state(self) -> State | None:
        return self._cockpit.session.state if self._cockpit is not None else None

    def close(self) -> None:
        """End the session, as at the end of the kernel."""
        if self._cockpit is not None:
            self._cockpit.close()
            self._cockpit = self._used = None

    @property
    def cockpit(self) -> Cockpit:
        """This kernel's session and views, made on first use."""
        if self._cockpit is None:
            from ipytilt.cockpit import Cockpit
            from ipytilt.runtime.session import Config

            config = Config(
                self._engine(),
                self._directory(),
                self.log_bytes,
                who=self._who(),
                paces=self._paces(),
                rerun=_reruns(self.rerun),
            )
            self._cockpit = Cockpit(self.shell, config)
            self._used = {name: getattr(self, name) for name in SETTINGS}
        return self._cockpit

    @validate(*SETTINGS)
    def _settled(self, proposal: Any) -> Any:
        """A session is set up once: a change it would not notice is refused."""
        name = proposal.trait.name
        if self._used is not None and proposal.value != self._used[name]:
            raise TraitError(f"{name} cannot change while there is a session; %reload_ext ipytilt makes it count")
        return proposal.value

    def _who(self) -> str:
        """What other sessions are told of this one; Jupyter servers say which notebook a kernel is started for."""
        name = os.path.basename(os.environ.get("JPY_SESSION_NAME", ""))
        return f"notebook {name} (kernel {os.getpid()})" if name else f"a notebook (kernel {os.getpid()})"

    @validate("rest", "cap")
    def _understood(self, proposal: Any) -> Any:
        from ipytilt.errors import UsageError

        try:
            self._paces(**{proposal.trait.name: proposal.value})
        except UsageError as error:
            raise TraitError(f"{error.message}; {error.hint}") from None
        return proposal.value

    @observe("rest", "cap")
    def _paced(self, _change: Any) -> None:
        if self._cockpit is not None:
            self._cockpit.session.set_paces(self._paces())

    def _paces(self, **changed: Any) -> Paces:
        from ipytilt.core.paces import asked_for

        given = {"rest": self.rest, "cap": self.cap} | changed
        return asked_for(given["rest"], given["cap"])

    @validate("rerun")
    def _named(self, proposal: Any) -> Any:
        try:
            _reruns(proposal.value)
        except ValueError as error:
            raise TraitError(f"rerun: {error}") from None
        return proposal.value

    @observe("rerun")
    def _changed(self, change: Any) -> None:
        if self._cockpit is not None:
            old, new = _reruns(change.old), _reruns(change.new)
            for name in {**old, **new}:
                self._cockpit.session.rerun_with(name, new.get(name, ()))

    def _engine(self) -> str:
        from ipytilt.errors import UsageError

        engine = os.environ.get(ENGINE_VARIABLE, "") if self.engine == "auto" else self.engine
        if engine and engine not in ENGINES:
            raise UsageError(f"{ENGINE_VARIABLE}={engine}: unknown engine", hint=f"one of: {', '.join(ENGINES)}")
        return engine or "auto"

    def _directory(self) -> str:
        from ipytilt.errors import UsageError

        try:
            directory = os.path.abspath(self.directory or os.getcwd())
        except FileNotFoundError:
            raise UsageError("The kernel's directory is gone", hint="os.chdir() to another one") from None
        if not os.path.isdir(directory):
            raise UsageError(f"There is no directory {directory}", hint="set c.IpyTilt.directory to one that exists")
        return directory

    def _show(self, do: Any, *operands: Any) -> Answer | None:
        from ipytilt.errors import Reported, TiltError

        cockpit = self.cockpit
        try:
            answer: Answer = do(cockpit.session, *operands)
        except KeyboardInterrupt:
            raise TiltError(
                "Stopped waiting; the session goes on in the background", hint="%tilt status shows what it does"
            ) from None
        except Reported:  # the error takes the place of the cell's old output, the panel among it
            self._display(cockpit)
            raise
        if answer.panel:
            self._display(cockpit)
        if answer.next_cell:  # front ends take one of these per run
            shell: Any = self.shell
            shell.set_next_input(answer.next_cell)
        return answer if answer.text else None

    def _display(self, cockpit: Cockpit) -> None:
        show: Any = display
        show(cockpit.panel())

    def _take_engine(self, words: list[str]) -> list[str]:
        """`--engine NAME`, taken out of the words; it counts until the session has started."""
        from ipytilt.errors import UsageError

        if "--engine" not in words:
            return words
        at = words.index("--engine")
        wanted = words[at + 1] if at + 1 < len(words) else ""
        if wanted not in ENGINES:
            raise UsageError(f"--engine {wanted}: unknown engine", hint=f"one of: {', '.join(ENGINES)}")
        if self._cockpit is not None and not self._cockpit.session.started:
            self.close()
        if self._cockpit is not None and self._cockpit.session.config.engine != wanted:
            raise UsageError(
                f"The session already runs with engine {self._cockpit.session.config.engine!r}",
                hint="%tilt down, then %reload_ext ipytilt, then name the engine first",
            )
        if self._cockpit is None:
            self.engine = wanted
        return words[:at] + words[at + 2 :]

    def _source(self, words: list[str], cell: str) -> Source:
        from ipytilt.core.events import Source
        from ipytilt.errors import UsageError

        if len(words) > 1:
            raise UsageError(f"%%tiltfile takes one name, not {shlex.join(words)!r}", hint="%%tiltfile? shows its use")
        number = (
            len(getattr(self.shell, "user_ns", {}).get("In", ())) - 1
        )  # the counter itself may be one ahead already
        parent: dict[str, Any] = getattr(self.shell, "get_parent", dict)() or {}
        cell_id = str(parent.get("metadata", {}).get("cellId", ""))
        key = f"cell:{words[0] if words else cell_id or number}"
        name = f"Cell {words[0]!r}" if words else f"Cell In[{number}]"
        # One line more in front, so that line numbers are those of the cell, whose first line is the magic itself.
        return Source(key, name, self.cockpit.session.config.directory, "\n" + cell)


def _reruns(by_name: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Raises ValueError for what names no deps."""
    from ipytilt.core.reruns import chosen

    return {name: chosen(deps) for name, deps in by_name.items()}


def load(shell: InteractiveShell) -> None:
    """Register the magics; making them adds them to what `%config` knows. Raises UsageError for wrong settings."""
    from ipytilt.errors import UsageError

    try:
        magics = IpyTilt(shell)
    except TraitError as error:
        unload(shell)
        raise UsageError(
            f"c.IpyTilt: {error}", hint="mend the configuration file, or set another value with %config"
        ) from None
    shell.register_magics(magics)
    set_hook: Any = shell.set_hook
    set_hook("complete_command", complete, str_key=_COMPLETED)
    completer: Any = shell.Completer
    completer.custom_matchers.append(magics.match)
    shell.input_transformers_cleanup.extend((magics.asked, magics.emptied))
    kernel: Any = getattr(shell, "kernel", None)
    if kernel is not None:
        kernel.do_inspect = _inspecting(magics, kernel.do_inspect)


def _inspecting(magics: IpyTilt, others: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel's answer to Shift-Tab, with ours in Tiltfile cells. IPython's own hooks are not told of the cell."""

    def do_inspect(code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()) -> Any:
        text = magics.inspected(code, cursor_pos)
        if not text:
            return others(code, cursor_pos, detail_level, omit_sections)
        return {"status": "ok", "found": True, "data": {"text/plain": text}, "metadata": {}}

    do_inspect.ipytilt = others  # type: ignore[attr-defined]
    return do_inspect


def current() -> Cockpit | None:
    """The session and views of this kernel, made if need be; None where the extension is not loaded."""
    shell = InteractiveShell.instance() if InteractiveShell.initialized() else None
    magics = next((c for c in shell.configurables if isinstance(c, IpyTilt)), None) if shell else None
    return magics.cockpit if magics else None


def unload(shell: InteractiveShell) -> None:
    """Take back all that `load` and what followed have done."""
    for kind, name in (("cell", "tiltfile"), ("line", "tilt")):
        shell.magics_manager.magics[kind].pop(name, None)
    shell.magics_manager.registry.pop("IpyTilt", None)
    for magics in [c for c in shell.configurables if isinstance(c, IpyTilt)]:
        magics.close()
        shell.configurables.remove(magics)
        _forget(shell, magics)
    completers = shell.strdispatchers.get("complete_command")
    if completers is not None:
        completers.strs.pop(_COMPLETED, None)


def _forget(shell: Any, magics: IpyTilt) -> None:
    """Take the hooks for editing back, as far as they are still there."""
    for hooks, ours in (
        (shell.Completer.custom_matchers, magics.match),
        (shell.input_transformers_cleanup, magics.asked),
        (shell.input_transformers_cleanup, magics.emptied),
    ):
        if ours in hooks:
            hooks.remove(ours)
    kernel = getattr(shell, "kernel", None)
    others = getattr(getattr(kernel, "do_inspect", None), "ipytilt", None)
    if kernel is not None and others is not None:
        del kernel.do_inspect
        if kernel.do_inspect != others:  # somebody else had put theirs there
            kernel.do_inspect = others


def complete(shell: InteractiveShell, event: Any) -> list[str]:
    """Verbs after `%tilt`, then the names of resources where one belongs; nothing leaves the word to IPython."""
    from ipytilt import verbs

    words = event.line.split()
    if words[0] in shell.user_ns:  # a variable of that name, not the magic
        return []
    if len(words) == 1 or (len(words) == 2 and not event.line.endswith(" ")):
        return list(verbs.VERBS)
    magics = next((c for c in shell.configurables if isinstance(c, IpyTilt)), None)
    verb = verbs.VERBS.get(words[1])
    if words[1] == "help":
        return [*verbs.VERBS, *verbs.documented()]
    if verb is None or not verb.takes_names or magics is None or magics._cockpit is None:  # noqa: SLF001 - completing must not start a session
        return []
    return [r.name for r in magics.cockpit.session.state.spec.resources]
