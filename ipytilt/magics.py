"""The notebook's door: `%%tiltfile`, `%tilt`, and what `%load_ext` and `%unload_ext` do.

Only this module imports IPython. Loading registers names and nothing else: session, threads and widget libraries come
with the first use, on the main thread.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.display import display
from traitlets import Enum, Int, TraitError, Unicode, validate

if TYPE_CHECKING:
    from ipytilt.cockpit import Cockpit
    from ipytilt.core.events import Source
    from ipytilt.verbs import Answer

ENGINE_VARIABLE = "IPYTILT_ENGINE"
ENGINES = ("auto", "docker", "sandbox")
_COMPLETED = "%tilt"  # IPython also asks for "tilt" then


@magics_class
class IpyTilt(Magics):
    """ipytilt's settings: `%config IpyTilt`, or `c.IpyTilt` in a configuration file."""

    engine = Enum(ENGINES, default_value="auto", help="What images and services run on.").tag(config=True)
    directory = Unicode("", help="Where relative paths of cells start; empty: the kernel's directory.").tag(config=True)
    log_bytes = Int(2_000_000, help="How much log is kept per resource, in bytes.").tag(config=True)

    def __init__(self, shell: InteractiveShell, **options: Any) -> None:
        super().__init__(shell=shell, parent=shell, **options)
        self._cockpit: Cockpit | None = None

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

    def close(self) -> None:
        """End the session, as at the end of the kernel."""
        if self._cockpit is not None:
            self._cockpit.close()
            self._cockpit = None

    @property
    def cockpit(self) -> Cockpit:
        """This kernel's session and views, made on first use."""
        if self._cockpit is None:
            from ipytilt.cockpit import Cockpit
            from ipytilt.runtime.session import Config

            self._cockpit = Cockpit(self.shell, Config(self._engine(), self._directory(), self.log_bytes))
        return self._cockpit

    @validate("engine", "directory", "log_bytes")
    def _settled(self, proposal: Any) -> Any:
        """A session is set up once: a change it would not notice is refused."""
        if self._cockpit is not None and proposal.value != getattr(self, proposal.trait.name):
            raise TraitError(f"{proposal.trait.name} cannot change while the session runs: %reload_ext ipytilt first")
        return proposal.value

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


def load(shell: InteractiveShell) -> None:
    """Register the magics; making them adds them to what `%config` knows."""
    magics = IpyTilt(shell)
    shell.register_magics(magics)
    set_hook: Any = shell.set_hook
    set_hook("complete_command", complete, str_key=_COMPLETED)


def unload(shell: InteractiveShell) -> None:
    """Take back all that `load` and what followed have done."""
    for kind, name in (("cell", "tiltfile"), ("line", "tilt")):
        shell.magics_manager.magics[kind].pop(name, None)
    shell.magics_manager.registry.pop("IpyTilt", None)
    for magics in [c for c in shell.configurables if isinstance(c, IpyTilt)]:
        magics.close()
        shell.configurables.remove(magics)
    shell.strdispatchers["complete_command"].strs.pop(_COMPLETED, None)


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
    if verb is None or not verb.takes_names or magics is None or magics._cockpit is None:  # noqa: SLF001 - completing must not start a session
        return []
    return [r.name for r in magics.cockpit.session.state.spec.resources]
