"""One shell kept open inside a container, so that a live update costs no connection and no new exec.

Owns the protocol between us and a small POSIX-shell loop that runs in the container with the container's user,
environment and working directory. Knows nothing of how the bytes travel: an engine provides a `Duplex`. Used by one
thread at a time (`engines.sessions` holds the lock); only `abort` may come from elsewhere.

The protocol is in lock-step. We send a token, known to nobody else, and get a greeting. Each request is one line,
`token function 'argument' ...`, for `put` followed by an archive of the announced length. The loop answers with
whatever the command wrote and then `token code`. Lines that do not start with the token end the loop, so that a
stream that got out of step can never be taken for commands.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Protocol, TypeAlias

Output: TypeAlias = Callable[[bytes], None]

RM_FAILED = 70
"""What `put` answers when a removal failed; then nothing was copied."""

_BULK = 1 << 20
_BLOCK = 1 << 16
"""From how many bytes on an archive is sent in whole blocks, for the sake of a `dd` that takes them in one go."""

# Works in dash, bash, busybox and mksh. `head` limits what tar sees, because tar reads its input to the end; if tar
# gives up, `cat` takes the rest of the archive, which would stand before the next request otherwise. Some heads work
# byte by byte: where there is a `dd` that fills its blocks, much goes through that. A step gets /dev/null as its input
# and runs through `exec` in a subshell, so that a word such as "exit" is a program as well.
_LOOP = r"""
nl='
'
IFS= read -r token || exit 0
take() {
  case $1 in *x*) dd bs="${1#*x}" count="${1%x*}" iflag=fullblock 2>/dev/null ;; *) head -c "$1" ;; esac
}
put() {
  size=$1; shift
  if [ $# -gt 0 ] && ! rm -rf -- "$@" 2>&1; then take "$size" >/dev/null; return 70; fi
  take "$size" | ( LC_ALL=C tar -xpof - -C / 2>&1 || { code=$?; cat >/dev/null; exit $code; } )
}
drop() { rm -rf -- "$@" 2>&1; }
clear_way() {
  for path; do
    case $path in */) ;; *) if [ -d "$path" ] && [ ! -L "$path" ]; then rm -rf -- "$path" 2>&1 || return; fi ;; esac
    while path=${path%/*}; [ -n "$path" ]; do
      if [ ! -d "$path" ] && { [ -e "$path" ] || [ -L "$path" ]; }; then rm -f -- "$path" 2>&1 || return; fi
    done
  done
}
make_way() {
  for path; do
    if [ -L "$path" ] || [ ! -d "$path" ]; then rm -f -- "$path" 2>&1 && mkdir -p -- "$path" 2>&1 || return; fi
  done
}
run() { echo "$token began"; ( exec "$@" ) </dev/null 2>&1; }
lacks=
for tool in head tar cat rm mkdir; do command -v $tool >/dev/null 2>&1 || lacks="$lacks $tool"; done
dd bs=1 count=0 iflag=fullblock </dev/null >/dev/null 2>&1 || lacks="$lacks dd"
echo "$token hello $$ $(id -u 2>/dev/null || echo '?')$lacks"
while IFS= read -r line; do
  case $line in "$token "*) eval "${line#"$token "}" ;; *) exit 1 ;; esac
  echo "$token $?"
done
"""

# Ends a process and all below it; the argument is its id. Needs nothing but a shell and /proc.
_KILL_TREE = r"""
tree=" $1 "
grown=1
while [ $grown ]; do
  grown=
  for stat in /proc/[0-9]*/stat; do
    IFS= read -r line 2>/dev/null <"$stat" || continue
    set -- ${line##*) }
    pid=${stat#/proc/}; pid=${pid%/stat}
    case $tree in *" $pid "*) ;; *) case $tree in *" $2 "*) tree="$tree$pid "; grown=1 ;; esac ;; esac
  done
done
kill -KILL $tree
"""

COMMAND = ("sh", "-c", _LOOP)
"""What an engine runs in the container to have the loop at the other end of its `Duplex`."""


def kill_tree_command(pid: str) -> tuple[str, ...]:
    """What to run in the container to end `pid` and everything it started."""
    return ("sh", "-c", _KILL_TREE, "sh", pid)


class Duplex(Protocol):
    """Bytes to and from the loop: its standard input, and its output and errors as one stream."""

    def send(self, data: bytes) -> None:
        """Send all of it, taking in what arrives meanwhile. OSError when the other end is gone."""
        ...

    def receive(self, timeout: float | None = None) -> bytes:
        """What has arrived, at least one byte; b"" at the end of the stream; TimeoutError after `timeout` seconds."""
        ...

    def abort(self) -> None:
        """From any thread: let `send` and `receive` fail now. Does not block."""
        ...

    def close(self) -> None:
        """Give everything back; called once, by the thread that uses it."""
        ...


class SessionLost(Exception):
    """The other end is gone.

    Attributes:
        began: the command of the request had begun, so that repeating it means running it twice.
    """

    def __init__(self, *, began: bool = False) -> None:
        super().__init__("the session ended")
        self.began = began


class ExecSession:
    """Our end of an open session.

    Attributes:
        pid: of the loop, inside the container.
        user: its user id there.
        lacks: which of head, tar, cat, rm, mkdir and a `dd` that can fill its blocks the image does not have; without
            the first three `put` cannot work.
    """

    def __init__(self, duplex: Duplex, *, timeout: float = 20.0) -> None:
        """Greet the loop. Raises SessionLost (there is no shell) and TimeoutError; the duplex is closed then."""
        self._duplex = duplex
        # The first character is one that output hardly has: most chunks need no closer look.
        self._token = b"\x1e" + secrets.token_hex(16).encode()
        self._unread = b""
        self._began = False
        try:
            self._send([self._token + b"\n"])
            words = self._answer(lambda _: None, timeout)
        except BaseException:
            duplex.close()
            raise
        self.pid, self.user, self.lacks = words[1], words[2], frozenset(words[3:])

    def put(
        self, size: int, chunks: Iterable[bytes], *, removals: Sequence[str], output: Output, timeout: float | None
    ) -> int:
        """Remove paths, then unpack an archive of `size` bytes at `/`; the exit code of tar, or `RM_FAILED`.

        The chunks are made while they are sent; what making them raises ends the session.

        Raises SessionLost, and TimeoutError after `timeout` seconds without a sign of life.
        """
        announced, filler = str(size), b""
        if size >= _BULK and "dd" not in self.lacks:
            blocks = -(-size // _BLOCK)
            announced, filler = f"{blocks}x{_BLOCK}", bytes(blocks * _BLOCK - size)  # zeros end an archive anyway
        try:
            self._send(chain([self._line("put", announced, *removals)], chunks, [filler]))
        except BaseException:
            self._duplex.abort()  # after half an archive nothing else would be understood
            raise
        return self._code(output, timeout)

    def call(self, function: str, arguments: Sequence[str], *, output: Output, timeout: float | None) -> int:
        """Call `drop`, `clear_way`, `make_way` (paths) or `run` (argv) in the loop; the exit code. Raises as `put`."""
        self._send([self._line(function, *arguments)])
        return self._code(output, timeout)

    def drain(self, output: Output) -> None:
        """Take what arrived without being asked for: output of a step's background child. Raises SessionLost."""
        try:
            while True:
                output(self._received(0))
        except TimeoutError:
            return

    def abort(self) -> None:
        """From any thread: make the request that runs raise SessionLost."""
        self._duplex.abort()

    def close(self) -> None:
        """End the session; the loop in the container ends with it."""
        self._duplex.close()

    def _line(self, *words: str) -> bytes:
        return b" ".join((self._token, *map(_quoted, words))) + b"\n"

    def _send(self, parts: Iterable[bytes]) -> None:
        """Send the parts, small ones together."""
        self._began = False
        held: list[bytes] = []
        size = 0
        for part in parts:
            if size + len(part) > _BLOCK:
                self._pass_on(b"".join(held))
                held, size = [], 0
            held.append(part)
            size += len(part)
        self._pass_on(b"".join(held))

    def _pass_on(self, data: bytes) -> None:
        try:
            self._duplex.send(data)
        except TimeoutError:
            raise
        except OSError as problem:
            raise SessionLost from problem

    def _code(self, output: Output, timeout: float | None) -> int:
        return int(self._answer(output, timeout)[0])

    def _answer(self, output: Output, timeout: float | None) -> list[str]:
        """Hand on output until the final answer; its words."""
        while True:
            before, found, after = self._unread.partition(self._token)
            if not found:
                self._hand_on(output)
            elif b"\n" in after:
                answer, _, self._unread = after.partition(b"\n")
                output(before)
                words = answer.decode().split()
                if words != ["began"]:
                    return words
                self._began = True
                continue
            self._unread += self._received(timeout)

    def _hand_on(self, output: Output) -> None:
        """Hand on all but what may be the beginning of the token."""
        start = self._unread.rfind(self._token[:1])
        keep = start if start >= 0 and self._token.startswith(self._unread[start:]) else len(self._unread)
        output(self._unread[:keep])
        self._unread = self._unread[keep:]

    def _received(self, timeout: float | None) -> bytes:
        try:
            data = self._duplex.receive(timeout)
        except TimeoutError:
            raise
        except OSError as problem:
            raise SessionLost(began=self._began) from problem
        if not data:
            raise SessionLost(began=self._began)
        return data


def _quoted(word: str) -> bytes:
    return b"'" + os.fsencode(word).replace(b"'", b"'\\''").replace(b"\n", b"'\"$nl\"'") + b"'"
