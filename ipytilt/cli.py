"""The shell's door: `ipytilt <command>`, without IPython.

Runs on the main thread. `up` prints the log of a session until Ctrl-C, `ci` until everything has come up or something
has failed; the others evaluate the Tiltfile and need no session. This is the one place that writes to the terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ipytilt.core.events import Source
from ipytilt.engines.choose import ENGINES, named
from ipytilt.errors import EngineError, TiltError, TiltfileError, UsageError

if TYPE_CHECKING:
    from ipytilt.runtime.logs import Logs
    from ipytilt.runtime.session import Config
    from ipytilt.tiltfile.load import Loaded

EXIT_OK, EXIT_ERROR, EXIT_USAGE, EXIT_TILTFILE, EXIT_INTERRUPTED = 0, 1, 2, 5, 130
_LOOK_SECONDS = 0.2  # time passes without an event, too


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out the words of the command line; returns the exit status (2: wrong words, 5: the Tiltfile is wrong)."""
    words = list(sys.argv[1:] if argv is None else argv)
    words, args = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    options = _parser().parse_args(words)
    try:
        if options.command in ("export", "import"):
            return _convert(options, args if "--" in (sys.argv[1:] if argv is None else argv) else None)
        file, names = _file_and_names(options)
        return _do(options, _source(file), (*names, *args))
    except TiltError as error:
        print(error.render(), file=sys.stderr)
        if isinstance(error, TiltfileError):
            return EXIT_TILTFILE
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR


def _do(options: argparse.Namespace, source: Source, args: tuple[str, ...]) -> int:
    match options.command:
        case "up":
            return _up(source, args, _config(source, options))
        case "ci":
            return _ci(source, args, _config(source, options), options=options)
        case "down":
            return _down(source, args, options)
        case "explain":
            return _explain(source, args, options.path)
        case "lint":
            return _lint(source, args)
        case "args":
            return _args(source, args)
        case _:
            return _result(source, args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ipytilt", description="The Tilt way of working, also without a notebook.")
    parser.add_argument("--version", action="version", version=f"ipytilt {version('ipytilt')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start what a Tiltfile asks for, and print its log until Ctrl-C")
    ci = commands.add_parser("ci", help="start what a Tiltfile asks for, wait until it has come up once, and end")
    ci.add_argument("--timeout", type=_seconds, help="seconds for all of it; 0: no limit (default: ci_settings)")
    down = commands.add_parser("down", help="take down what a Tiltfile asks for")
    down.add_argument("--delete-namespaces", action="store_true", help="also namespaces among the Kubernetes objects")
    down.add_argument("--delete-volumes", action="store_true", help="also the volumes of Compose projects")
    explain = commands.add_parser("explain", help="say what a change of a file would do, without touching anything")
    lint = commands.add_parser("lint", help="list likely mistakes of a Tiltfile, and what Tilt itself refuses")
    result = commands.add_parser("tiltfile-result", help="evaluate a Tiltfile and print what it asks for, as JSON")
    for command in (down, lint):
        command.add_argument("tiltfile", nargs="?", metavar="TILTFILE", help="the same as -f TILTFILE")
    ci.add_argument(
        "--output-snapshot-on-exit", metavar="FILE", help="save in the end what every view shows and the log, as JSON"
    )
    for command in (up, ci):
        command.add_argument(
            "words",
            nargs="*",
            metavar="NAME",
            help="enable only these resources and what they need; the first word may be a Tiltfile",
        )
        command.add_argument("--takeover", action="store_true", help="take over what a notebook or another shell holds")
    for setting, told in (
        ("rest", "changes rest so long before they are applied"),
        ("cap", "they are applied after so long in any case"),
    ):
        up.add_argument(
            f"--{setting}", action="append", default=[], metavar="[NAME=]SECONDS", help=f"{told}: of NAME, or of all"
        )
    for command in (up, ci, down):
        command.add_argument("--engine", choices=ENGINES, help="what images and services run on")
    explain.add_argument("path", help="the file")
    args = commands.add_parser("args", help="say which resources a Tiltfile enables with the arguments after --")
    for command in (up, ci, down, explain, lint, args, result):
        command.add_argument("-f", "--file", metavar="TILTFILE", help="the Tiltfile (default: ./Tiltfile)")
    _add_conversions(commands)
    return parser


def _add_conversions(commands: Any) -> None:
    export = commands.add_parser("export", help="write the %%%%tiltfile cells of a notebook as one Tiltfile")
    export.add_argument("notebook", metavar="NOTEBOOK")
    export.add_argument("tiltfile", metavar="TILTFILE", nargs="?", default="", help="default: beside the notebook")
    import_ = commands.add_parser("import", help="write a notebook with the parts of a Tiltfile as cells")
    import_.add_argument("tiltfile", metavar="TILTFILE")
    import_.add_argument("notebook", metavar="NOTEBOOK")
    import_.add_argument("--whole", action="store_true", help="one cell; the Tiltfile is not evaluated then")
    for command in (export, import_):
        command.add_argument("--force", action="store_true", help="replace a file that exists")


def _seconds(text: str) -> float:
    from ipytilt.verbs import seconds

    return seconds(text)


def _file_and_names(options: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    """The Tiltfile, and the resources to enable."""
    from ipytilt.verbs import tiltfile_and_names

    if not hasattr(options, "words"):
        return getattr(options, "tiltfile", None) or options.file or "Tiltfile", ()
    if options.file:
        return options.file, tuple(options.words)
    file, names = tiltfile_and_names(options.words, os.getcwd())
    return file or "Tiltfile", names


def _source(file: str) -> Source:
    path = os.path.realpath(file)
    if not os.path.isfile(path):
        raise UsageError(f"There is no file {file}", hint="name the Tiltfile with -f")
    return Source(f"file:{path}", path, os.path.dirname(path), None, path)


def _loaded(source: Source, args: tuple[str, ...], subcommand: str) -> Loaded:
    from ipytilt.tiltfile.host import DiskHost
    from ipytilt.tiltfile.load import load

    return load((source,), args, DiskHost(subcommand=subcommand))


def _down(source: Source, args: tuple[str, ...], options: argparse.Namespace) -> int:
    from ipytilt.core.steps import Delete
    from ipytilt.engines.base import Work
    from ipytilt.engines.choose import choose
    from ipytilt.engines.kubernetes import KubernetesEngine

    spec = _loaded(source, args, "down").spec
    containers, note = choose(named(options.engine or "", os.environ), os.environ)
    print(note)
    clusters = KubernetesEngine(containers)
    problems: list[EngineError] = []
    try:
        for resource in spec.dependants_first():
            if resource.kind == "local" or resource.name not in spec.enabled:
                continue
            deployer = clusters if resource.kind == "kubernetes" else containers
            step = Delete(resource, namespaces=options.delete_namespaces, volumes=options.delete_volumes)
            try:
                deployer.delete(step, Work(lambda text, _level: print(text)))
            except EngineError as problem:  # the others go nevertheless
                problems.append(problem)
    finally:
        clusters.close()
        containers.close()
    print("".join(f"{one.render()}\n" for one in problems), end="", file=sys.stderr)
    return EXIT_ERROR if problems else EXIT_OK


def _convert(options: argparse.Namespace, args: list[str] | None) -> int:
    from ipytilt.tiltfile.notebooks import export_notebook, import_tiltfile

    if options.command == "export":
        print(export_notebook(options.notebook, options.tiltfile, force=options.force))
    else:
        print(import_tiltfile(options.tiltfile, options.notebook, args, force=options.force, whole=options.whole))
    return EXIT_OK


def _args(source: Source, args: tuple[str, ...]) -> int:
    spec = _loaded(source, args, "up").spec
    for resource in spec.resources:
        print(f"{'on ' if resource.name in spec.enabled else 'off'} {resource.name}")
    print("Nothing was changed: a notebook's session is given arguments by", file=sys.stderr)
    print(f"%tilt args {shlex.join(['--', *args])}, a new one by ipytilt up -- ARGS", file=sys.stderr)
    return EXIT_OK


def _explain(source: Source, args: tuple[str, ...], path: str) -> int:
    from ipytilt.core.events import LoadFinished, LoadStarted, SourcePut
    from ipytilt.core.explain import what_if
    from ipytilt.core.reduce import reduce
    from ipytilt.core.state import State
    from ipytilt.views.answers import explain_text

    loaded = _loaded(source, args, "up")
    state = State()
    for event in (
        SourcePut(source, 1, 0.0),
        LoadStarted(1, 0.0),
        LoadFinished(1, loaded.spec, None, loaded.reads, 0.0),
    ):
        state = reduce(state, event)
    print(explain_text(what_if(state, os.path.abspath(path)), base=os.getcwd()))
    return EXIT_OK


def _lint(source: Source, args: tuple[str, ...]) -> int:
    from ipytilt.core.lint import rendered
    from ipytilt.tiltfile.lint import findings

    found = findings((source,), _loaded(source, args, "up").spec, os.path.exists)
    print("\n".join(rendered(finding, os.getcwd()) for finding in found) or "Nothing to complain about.")
    return EXIT_ERROR if found else EXIT_OK


def _result(source: Source, args: tuple[str, ...]) -> int:
    from ipytilt.tiltfile import result

    try:
        loaded = _loaded(source, args, "alpha tiltfile-result")
    except TiltfileError as error:
        print(json.dumps(result.failure(error), indent=2))
        return EXIT_TILTFILE
    print(json.dumps(result.document(loaded), indent=2))
    return EXIT_OK


def _config(source: Source, options: argparse.Namespace) -> Config:
    from ipytilt.core.paces import asked_for, from_words
    from ipytilt.runtime.session import Config

    paces = asked_for(*(from_words(getattr(options, setting, ())) for setting in ("rest", "cap")))
    engine, who = named(options.engine or "", os.environ), f"ipytilt {options.command} (process {os.getpid()})"
    return Config(engine, source.base, subcommand=options.command, who=who, take_over=options.takeover, paces=paces)


def _up(source: Source, args: tuple[str, ...], config: Config) -> int:
    from ipytilt.runtime.session import Session

    session = Session(config)
    log = _Log(session.logs)
    try:
        if args:
            session.set_args(args)
        session.put(source)
        while True:
            log.more.wait()
            log.show()
    except KeyboardInterrupt:
        print("\nStopped. Containers in Docker go on: ipytilt down takes them down.", file=sys.stderr)
        return EXIT_OK
    finally:
        session.stop()


def _ci(source: Source, args: tuple[str, ...], config: Config, *, options: argparse.Namespace) -> int:
    from ipytilt.errors import CIFailed, Reported
    from ipytilt.runtime.session import Session
    from ipytilt.verbs import HEALTHY

    session = Session(config)
    log = _Log(session.logs)
    try:
        if args:
            session.set_args(args)
        session.wait_loaded(session.put(source))
        awaited = session.passing(options.timeout)
        while not awaited.over(session.state):
            log.more.wait(_LOOK_SECONDS)
            log.show()
        awaited.ended(session.state)
        log.show()
        print(HEALTHY)
        return EXIT_OK
    except Reported as error:
        print(error.render(), file=sys.stderr)
        return EXIT_TILTFILE
    except CIFailed as error:
        log.show()
        print("\n".join(("ERROR:", *error.reasons)), file=sys.stderr)
        return EXIT_ERROR
    finally:
        try:
            if options.output_snapshot_on_exit:
                from ipytilt.views import snapshot

                snapshot.write(session, options.output_snapshot_on_exit)
        finally:
            session.stop()


class _Log:
    """Prints the log of a session as it grows; `more` is set when it has grown."""

    def __init__(self, logs: Logs) -> None:
        self.more = threading.Event()
        self._logs, self._next = logs, 0
        logs.wake(self.more)

    def show(self) -> None:
        """Print what is new."""
        self.more.clear()
        first, lines = self._logs.since("", self._next)
        self._next = first + len(lines)
        for line in lines:
            print(f"{line.resource:>13.13} │ {line.text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
