"""The shell's door: `ipytilt <command>`, without IPython.

Runs on the main thread. `up` prints the log of a session until Ctrl-C; `tiltfile-result` only evaluates. This is the
one place that writes to the terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version

from ipytilt.core.events import Source
from ipytilt.errors import TiltError, TiltfileError, UsageError

EXIT_OK, EXIT_ERROR, EXIT_USAGE, EXIT_TILTFILE = 0, 1, 2, 5


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out the words of the command line; returns the exit status (2: wrong words, 5: the Tiltfile is wrong)."""
    words = list(sys.argv[1:] if argv is None else argv)
    words, args = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    options = _parser().parse_args(words)
    try:
        source = _source(options.file)
        return _up(source, tuple(args), options.engine) if options.command == "up" else _result(source, tuple(args))
    except TiltError as error:
        print(error.render(), file=sys.stderr)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ipytilt", description="The Tilt way of working, also without a notebook.")
    parser.add_argument("--version", action="version", version=f"ipytilt {version('ipytilt')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start what a Tiltfile asks for, and print its log until Ctrl-C")
    up.add_argument("--engine", choices=("auto", "docker", "sandbox"), default=None)
    result = commands.add_parser("tiltfile-result", help="evaluate a Tiltfile and print what it asks for, as JSON")
    for command in (up, result):
        command.add_argument("-f", "--file", default="Tiltfile", help="the Tiltfile (default: ./Tiltfile)")
    return parser


def _source(file: str) -> Source:
    path = os.path.realpath(file)
    if not os.path.isfile(path):
        raise UsageError(f"There is no file {file}", hint="name the Tiltfile with -f")
    return Source(f"file:{path}", path, os.path.dirname(path), None, path)


def _result(source: Source, args: tuple[str, ...]) -> int:
    from ipytilt.tiltfile import result
    from ipytilt.tiltfile.host import DiskHost
    from ipytilt.tiltfile.load import load

    try:
        loaded = load((source,), args, DiskHost(subcommand="alpha tiltfile-result"))
    except TiltfileError as error:
        print(json.dumps(result.failure(error), indent=2))
        return EXIT_TILTFILE
    print(json.dumps(result.document(loaded), indent=2))
    return EXIT_OK


def _up(source: Source, args: tuple[str, ...], engine: str | None) -> int:
    from ipytilt.runtime.logs import ALL
    from ipytilt.runtime.session import Config, Session

    session = Session(Config(engine or os.environ.get("IPYTILT_ENGINE") or "auto", source.base))
    more = threading.Event()
    session.logs.wake(more)
    shown = 0
    try:
        if args:
            session.set_args(args)
        session.put(source)
        while True:
            more.wait()
            more.clear()
            first, lines = session.logs.since(ALL, shown)
            shown = first + len(lines)
            for line in lines:
                print(f"{line.resource:>13.13} │ {line.text}", flush=True)
    except KeyboardInterrupt:
        print("\nStopped. Containers go on: docker compose down takes them down.", file=sys.stderr)
        return EXIT_OK
    finally:
        session.stop()


if __name__ == "__main__":
    sys.exit(main())
