"""Every user verb, once: words -> calls on the session -> an answer.

The doors (`magics`, `cli`) only find the session and show the answer. Runs on the caller's thread; only `wait` and the
evaluation of a Tiltfile block, in steps an interrupt can end.
"""

from __future__ import annotations

import argparse
import os
import shlex
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Final, NoReturn, TypeAlias

from ipytilt.core.events import Source
from ipytilt.core.lint import certain, rendered
from ipytilt.core.status import is_wanted
from ipytilt.errors import UsageError
from ipytilt.processes import describe
from ipytilt.runtime import waiting
from ipytilt.runtime.logs import Line
from ipytilt.runtime.session import Session
from ipytilt.views import answers, wire
from ipytilt.views import text as tables
from ipytilt.views.rows import session_view

TAIL_LINES = 200
PRUNE_SECONDS = 300.0
HEALTHY = "SUCCESS. All workloads are healthy."


@dataclass(frozen=True, slots=True)
class Answer:
    """What a verb says: plain text, whether the panel belongs beside it, and a cell to be put below."""

    text: str = ""
    panel: bool = False
    next_cell: str = ""

    def __repr__(self) -> str:
        return self.text


Argument: TypeAlias = tuple[str, dict[str, Any]]
Run: TypeAlias = Callable[[Session, argparse.Namespace], Answer]


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: how its words are parsed and what it does."""

    name: str
    summary: str
    arguments: tuple[Argument, ...]
    run: Run

    @property
    def takes_names(self) -> bool:
        """Its words are names of resources."""
        return any(word in ("name", "names") for word, _ in self.arguments)


_HELP: Final = {"-h", "--help"}
VERBS: Final[dict[str, Verb]] = {}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}", hint=self.format_usage().strip())


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of lines")
    return value


def seconds(text: str) -> float:
    """A time to wait, as an argparse type."""
    value = float(text)
    if not 0 <= value <= threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"{text} is no time to wait, in seconds")
    return value


def arg(word: str, **options: Any) -> Argument:
    """One argument of a verb, in argparse's terms."""
    return word, options


def verb(
    name: str,
    summary: str,
    *arguments: Argument,
) -> Callable[[Run], Run]:
    """Register the decorated function under `name`."""

    def register(run: Run) -> Run:
        VERBS[name] = Verb(name, summary, arguments, run)
        return run

    return register


def do(session: Session, words: Sequence[str]) -> Answer:
    """Carry out `words`, the first of which is a verb. Raises UsageError for unknown words."""
    if not words:
        return _status(session, argparse.Namespace())
    found = VERBS.get("help" if words[0] in _HELP else words[0])
    if found is None:
        raise UsageError(f"Unknown verb {words[0]!r}", hint=f"one of: {', '.join(VERBS)}")
    parser = _Parser(prog=f"%tilt {found.name}", description=found.summary, add_help=False, allow_abbrev=False)
    for word, options in found.arguments:
        parser.add_argument(word, **options)
    head, tail = _split_args(list(words[1:]))
    if _HELP & set(head):
        return Answer(parser.format_help().rstrip())
    namespace = parser.parse_args(head)
    namespace.args = tail
    answer = found.run(session, namespace)
    return replace(answer, text=session.logs.scrub(answer.text))  # a command that is explained may hold a secret


def split(line: str) -> list[str]:
    """The words of a magic's line, as a shell would split them. Raises UsageError for an open quote."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"Cannot read {line!r}: {error}", hint="close the quotes") from None


def put_cell(session: Session, source: Source, args: tuple[str, ...] | None) -> Answer:
    """Evaluate a cell in the place of what it defined before; waits for the verdict and raises it."""
    if args is not None:
        session.set_args(args)
    state = session.wait_loaded(session.put(source))
    found = certain(state.spec, os.path.exists, source.name)
    return Answer(session.logs.scrub("\n".join(map(rendered, found))), panel=True)


# ---------------------------------------------------------------------------------------------- the verbs


@verb(
    "up",
    "Load a Tiltfile and start what it asks for, or only some of it: %tilt up [TILTFILE] [NAMES] [-- TILTFILE ARGS].",
    arg("names", nargs="*", metavar="TILTFILE or NAME", help="a file, and resources to enable with what they need"),
)
def _up(session: Session, words: argparse.Namespace) -> Answer:
    path, names = tiltfile_and_names(words.names, session.config.directory)
    if not path and not session.state.load.good:
        path = "Tiltfile"
    source = session.file_source(path) if path else None
    if names or words.args is not None:
        session.choose((*names, *(words.args or ())), source)
    elif source is not None:
        session.wait_loaded(session.put(source))
    elif session.state.down:
        session.wait_loaded(session.set_args(session.state.load.args))
    return Answer(panel=True)


def tiltfile_and_names(words: Sequence[str], directory: str) -> tuple[str, tuple[str, ...]]:
    """What follows `up` or `ci`: the Tiltfile if the first word is a file or reads like one, else ""; resources."""
    first = words[0] if words else ""
    is_file = "/" in first or "Tiltfile" in first or os.path.isfile(os.path.join(directory, first))
    return (first, tuple(words[1:])) if first and is_file else ("", tuple(words))


@verb(
    "down",
    "Take down everything that was deployed, and stop local servers.",
    arg("--delete-namespaces", action="append_const", dest="also", const="namespaces", help="also of clusters"),
    arg("--delete-volumes", action="append_const", dest="also", const="volumes", help="also of Compose projects"),
)
def _down(session: Session, words: argparse.Namespace) -> Answer:
    session.down(*words.also or ())
    session.wait_taken_down()
    return Answer("Everything is down. %tilt up starts it again.")


@verb("takeover", "Take over what another session holds; that one stops acting on it.")
def _takeover(session: Session, words: argparse.Namespace) -> Answer:  # noqa: ARG001 - one signature for all verbs
    held = [scope for scope, other in session.state.claims.items() if other.by]
    session.take_over()
    session.wait_for(waiting.claimed(), waiting.TAKE_OVER_SECONDS)
    return Answer(f"This session's now: {', '.join(held)}")


@verb("status", "Show all resources.")
def _status(session: Session, words: argparse.Namespace) -> Answer:  # noqa: ARG001 - one signature for all verbs
    document = wire.document(session_view(session.state, session.engine_line, scrub=session.logs.scrub))
    paces = answers.paces_text(session.state.paces)
    return Answer("\n\n".join(filter(None, (tables.table(document, now=session.clock()), paces))))


@verb("trigger", "Update a resource now.", arg("name"))
def _trigger(session: Session, words: argparse.Namespace) -> Answer:
    session.trigger(words.name, "CLI Trigger")
    return Answer(f"Triggered {words.name}")


@verb("stop", "Stop the running update of a resource.", arg("name"))
def _stop(session: Session, words: argparse.Namespace) -> Answer:
    session.stop_update(words.name)
    return Answer(f"Stopping the update of {words.name}")


@verb(
    "press",
    "Press a button of the Tiltfile; without a word, list the buttons.",
    arg("button", nargs="?"),
    arg("inputs", nargs="*", metavar="INPUT=VALUE"),
    arg("--yes", action="store_true", help="confirm a button that asks for it"),
)
def _press(session: Session, words: argparse.Namespace) -> Answer:
    if not words.button:
        listed = [f"{one.name}: {one.text} ({describe(one.command.argv)})" for one in session.state.spec.buttons]
        return Answer("\n".join(listed) or "The Tiltfile has no buttons")
    pairs = [word.partition("=") for word in words.inputs]
    if any(not equals for _, equals, _ in pairs):
        raise UsageError("An input is given as INPUT=VALUE")
    session.press(words.button, {name: value for name, _, value in pairs}, confirmed=words.yes)
    return Answer(f"Pressed {words.button}")


@verb("enable", "Switch resources on.", arg("names", nargs="+"))
def _enable(session: Session, words: argparse.Namespace) -> Answer:
    session.enable(tuple(words.names), on=True)
    session.handled()
    return Answer(f"Enabled {', '.join(words.names)}")


@verb("disable", "Switch resources off: take down what they deployed.", arg("names", nargs="+"))
def _disable(session: Session, words: argparse.Namespace) -> Answer:
    session.enable(tuple(words.names), on=False)
    session.handled()
    return Answer(f"Disabled {', '.join(words.names)}")


@verb(
    "logs",
    "Show the newest log lines of resources.",
    arg("names", nargs="*"),
    arg("--tail", type=_count, default=TAIL_LINES),
)
def _logs(session: Session, words: argparse.Namespace) -> Answer:
    for name in words.names:
        if name != "(Tiltfile)":
            session.resource(name)
    lines: list[Line] = []
    for name in words.names or [""]:
        lines += session.logs.since(name, 0)[1]
    lines.sort(key=lambda line: line.at)
    shown = lines[-words.tail :]
    prefix = len(words.names) != 1
    return Answer("\n".join(_log_line(line, prefix=prefix) for line in shown) or "no lines yet")


@verb(
    "wait",
    "Wait until resources are ready and up to date.",
    arg("names", nargs="*"),
    arg("--timeout", type=seconds, default=120.0),
)
def _wait(session: Session, words: argparse.Namespace) -> Answer:
    state = session.wait(tuple(words.names), timeout=words.timeout, up_to_date=True)
    names = words.names or [r.name for r in state.spec.resources if is_wanted(state, r)]
    if not names:
        raise UsageError("There is nothing to wait for", hint="define resources in a %%tiltfile cell, or %tilt up")
    return Answer(f"Ready: {', '.join(names)}")


@verb(
    "ci",
    "Wait until everything has come up once; fail with the reasons: %tilt ci [NAMES] [-- TILTFILE ARGS].",
    arg("names", nargs="*", help="only these resources and what they need"),
    arg("--timeout", type=seconds, help="seconds for all of it; 0: no limit"),
    arg("--output-snapshot-on-exit", metavar="FILE", help="save in the end what every view shows and the log, as JSON"),
)
def _ci(session: Session, words: argparse.Namespace) -> Answer:
    chosen = (*words.names, *(words.args or ())) if words.names or words.args is not None else None
    try:
        session.ci(words.timeout, chosen)
    finally:
        if words.output_snapshot_on_exit:
            from ipytilt.views import snapshot

            snapshot.write(session, os.path.join(session.config.directory, words.output_snapshot_on_exit))
    return Answer(f"{_status(session, words).text}\n\n{HEALTHY}")


@verb("explain", "Say what a change of a file would do, without touching anything.", arg("path"))
def _explain(session: Session, words: argparse.Namespace) -> Answer:
    return Answer(answers.explain_text(session.explain(words.path), base=session.config.directory))


@verb("lint", "List likely mistakes of the Tiltfile, and what Tilt itself refuses.")
def _lint(session: Session, words: argparse.Namespace) -> Answer:  # noqa: ARG001 - one signature for all verbs
    from ipytilt.tiltfile.lint import findings

    state = session.state
    enabled = frozenset(resource.name for resource in state.spec.resources if state.enabled(resource.name))
    found = findings(state.load.good, replace(state.spec, enabled=enabled), os.path.exists)
    said = [rendered(finding, session.config.directory) for finding in found] or ["Nothing to complain about."]
    if state.load.error:
        said.insert(0, f"The newest Tiltfile is in error; this is about the one before it.\n{state.load.error.text}\n")
    return Answer("\n".join(said))


@verb("why", "Say what the last update of a resource was caused by, and what was decided.", arg("name"))
def _why(session: Session, words: argparse.Namespace) -> Answer:
    return Answer(answers.why_text(session.why(words.name), base=session.config.directory, now=session.clock()))


@verb(
    "args",
    "Show the arguments of the Tiltfile; set them and evaluate it again: %tilt args -- WORDS.",
    arg("--clear", action="store_true", help="take all arguments away"),
)
def _args(session: Session, words: argparse.Namespace) -> Answer:
    if words.clear and words.args:
        raise UsageError("Arguments cannot be cleared and given at once", hint="%tilt args -- WORDS replaces them all")
    if words.clear or words.args is not None:
        session.wait_loaded(session.set_args(tuple(words.args or ())))
        return Answer(panel=True)
    args = session.state.load.args
    return Answer(f"The Tiltfile is given: {shlex.join(args)}" if args else "The Tiltfile is given no arguments")


@verb(
    "import",
    "Make cells of a Tiltfile: one below that holds it all, or with --to a notebook of its parts.",
    arg("path", nargs="?", default="Tiltfile"),
    arg("--to", metavar="NOTEBOOK", help="write this notebook; the Tiltfile is evaluated to see where to cut it"),
    arg("--whole", action="store_true", help="with --to: one cell, and nothing is evaluated"),
    arg("--force", action="store_true", help="with --to: replace a notebook that exists"),
)
def _import(session: Session, words: argparse.Namespace) -> Answer:
    from ipytilt.tiltfile.notebooks import as_one_cell, import_tiltfile

    path, to = (os.path.join(session.config.directory, each or "") for each in (words.path, words.to))
    if words.to:
        return Answer(import_tiltfile(path, to, words.args, force=words.force, whole=words.whole))
    if words.whole or words.force:
        raise UsageError("--whole and --force are for a notebook", hint="%tilt import Tiltfile --to NOTEBOOK.ipynb")
    cell = as_one_cell(path, session.config.directory, words.args)
    told = f"{words.path} is in a new cell below, to be run; %tilt import {words.path} --to NOTEBOOK.ipynb cuts it"
    if any(source.path == os.path.realpath(path) for source in session.state.load.good):
        told += "\nThe session runs that file already: %reload_ext ipytilt before the cell, or both define the same"
    return Answer(told, next_cell=cell)


@verb(
    "export",
    "Write the %%tiltfile cells as one Tiltfile.",
    arg("path", nargs="?", default="Tiltfile"),
    arg("--force", action="store_true", help="replace a file that exists"),
)
def _export(session: Session, words: argparse.Namespace) -> Answer:
    from ipytilt.tiltfile.notebooks import export_sources

    load, target = session.state.load, os.path.join(session.config.directory, words.path)
    told = export_sources(load.good, load.args, target, force=words.force)
    return Answer(f"{told}\nThe newest evaluation failed: this is what was good before it" if load.error else told)


@verb("engine", "Say which engine the session runs on.")
def _engine(session: Session, words: argparse.Namespace) -> Answer:  # noqa: ARG001 - one signature for all verbs
    return Answer(session.engines().containers.describe())


@verb("docker-prune", "Remove old images that ipytilt built, as docker_prune_settings() says.")
def _docker_prune(session: Session, words: argparse.Namespace) -> Answer:  # noqa: ARG001 - one signature for all verbs
    before = session.state.pruning.at
    session.prune()
    state = session.wait_for(waiting.pruned(before), PRUNE_SECONDS)
    return Answer(state.pruning.text or "There are no old images.")


@verb("panel", "Show the panel.")
def _panel(session: Session, words: argparse.Namespace) -> Answer:  # noqa: ARG001 - one signature for all verbs
    session.start()
    return Answer(panel=True)


@verb("help", "Show this list, or what can be said of a verb or of a name in Tiltfiles.", arg("topic", nargs="?"))
def _help(session: Session, words: argparse.Namespace) -> Answer:
    if not words.topic:
        width = max(map(len, VERBS))
        return Answer("\n".join(f"%tilt {name:<{width}}  {each.summary}" for name, each in VERBS.items()))
    if words.topic in VERBS:
        return do(session, [words.topic, "--help"])
    from ipytilt.tiltfile import manual

    text = manual.text(words.topic)
    if not text:
        close = get_close_matches(words.topic, [*VERBS, *documented()], n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "%tilt help lists the verbs"
        raise UsageError(f"There is no verb and no Tiltfile function {words.topic!r}", hint=hint)
    return Answer(text)


def documented() -> list[str]:
    """Every name of the Tilt API and of the language, about which `help` has something to say."""
    from ipytilt.tiltfile import manual

    return [*manual.entries(), *sorted(manual.modules())]


def _log_line(line: Line, *, prefix: bool) -> str:
    level = {"warning": "WARNING: ", "error": "ERROR: "}.get(line.level, "")
    return f"{line.resource:>13.13} │ {level}{line.text}" if prefix else f"{level}{line.text}"


def _split_args(words: list[str]) -> tuple[list[str], list[str] | None]:
    """What stands after `--` belongs to the Tiltfile."""
    if "--" not in words:
        return words, None
    at = words.index("--")
    return words[:at], words[at + 1 :]
