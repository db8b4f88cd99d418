"""The modules `os`, `os.path`, `sys` and `shlex`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ipytilt.starlark import List, freeze, to_repr
from ipytilt.tiltfile import pathnames
from ipytilt.tiltfile.builtin import builtin, constant
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.evaluation import Eval, unreadable
from ipytilt.tiltfile.values import Environ, set_variable
from ipytilt.tiltfile.vocabulary import Path, Text, go_type


@constant("os.name")
def _name(_ev: Eval) -> str:
    """The kind of operating system: "posix"."""
    return "posix"


@constant("os.environ")
def _environ(ev: Eval) -> Environ:
    """The environment of this process as a dict: reading, assigning and deleting act on it, beyond the evaluation.

    A missing name is an error; `os.getenv(name, default)` is not.
    """
    return Environ(ev.host.environ)


@builtin("os.getcwd")
def getcwd(ev: Eval) -> str:
    """The folder relative paths start from: that of the file being executed.

    A function uses the folder of the file that calls it, once the file that defines it has ended.
    """
    return ev.dir


@builtin("os.getenv")
def getenv(ev: Eval, key: str, default: Any = None) -> Any:
    """An environment variable, or `default` (None) if it is not set."""
    return ev.host.environ.get(key, default)


@builtin("os.putenv")
def putenv(ev: Eval, key: Text, value: Text) -> None:
    """Set an environment variable, for this process and what it starts."""
    set_variable(ev.host.environ, key, value)


@builtin("os.unsetenv")
def unsetenv(ev: Eval, key: Text) -> None:
    """Remove an environment variable."""
    ev.host.environ.pop(key, None)


@builtin("os.path.abspath")
def abspath(ev: Eval, path: Path) -> str:
    """The path made absolute, starting at the folder of the file being executed, and clean of "." and ".."."""
    del ev
    return path


@builtin("os.path.relpath")
def relpath(ev: Eval, targpath: str, basepath: str = "") -> str:
    """How to get from `basepath` (default: the working directory) to `targpath`, by the names alone."""
    try:
        return pathnames.relative(basepath or ev.dir, targpath)
    except ValueError as error:
        raise Wrong(str(error)) from None


@builtin("os.path.basename")
def basename(ev: Eval, path: Text) -> str:
    """The last part of a path: "b" of "a/b/", "." of an empty one."""
    del ev
    return pathnames.basename(path)


@builtin("os.path.dirname")
def dirname(ev: Eval, path: Text) -> str:
    """A path without its last part: "a" of "a/b", "." if there is only one part."""
    del ev
    return pathnames.dirname(path)


@builtin("os.path.join", raw=True, shown="*parts")
def join(ev: Eval, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """All parts as one clean path. Unlike in Python, an absolute part does not start over."""
    del ev, kwargs
    for part in args:
        if not isinstance(part, str):
            raise Wrong(f"os.path.join: '{to_repr(part)}' is a {go_type(part)}, not a string")
    return pathnames.join(*args)


@builtin("os.path.exists")
def exists(ev: Eval, path: Path) -> bool:
    """Whether there is a file or folder of this name. A change of the answer does not reload the Tiltfile."""
    return ev.host.exists(path)


@builtin("os.path.realpath")
def realpath(ev: Eval, path: Path) -> str:
    """The path with links resolved; an error if there is nothing."""
    try:
        return ev.host.real(path)
    except OSError as error:
        raise Wrong(unreadable(path, error).replace("open", "lstat", 1)) from None


@constant("sys.argv")
def _argv(ev: Eval) -> List:
    """The command line of this process, a list that cannot be changed."""
    words = List(ev.host.argv)
    freeze(words)
    return words


@constant("sys.executable")
def _executable(ev: Eval) -> str:
    """The path of the program that evaluates."""
    return ev.host.executable


@builtin("shlex.quote")
def quote(ev: Eval, name: Text) -> str:
    """The text as one word of a shell command."""
    del ev
    return shlex.quote(name)
