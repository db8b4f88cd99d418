"""A program in a container of a pod: the exec interface of the API server, over channels of a WebSocket.

Used by one thread at a time; only `abort` may come from another. Made by `kubernetes.containers`.
"""

from __future__ import annotations

import json
import re
import select
from collections.abc import Sequence
from urllib.parse import quote

from ipytilt.engines.kubernetes.channels import CHUNK, Channels
from ipytilt.engines.kubernetes.client import ENGINE, Client
from ipytilt.engines.kubernetes.names import Place
from ipytilt.errors import Broke

_PROTOCOLS = "v5.channel.k8s.io, v4.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _STATUS = range(4)
_SEND_SECONDS = 60.0

# What runtimes say about a program that they could not start; Docker's gives an exit code as well.
_NO_SUCH_PROGRAM = re.compile(r"(?i)executable file .*not found|no such file or directory")
_NOT_EXECUTABLE = re.compile(r"(?i)permission denied|exec format error|is a directory")


class PodExec(Channels):
    """A program running in a container (`sessions.Exec`).

    Once it is closed, whoever reads the program's input at the other end sees the end of it.
    """

    def __init__(self, client: Client, place: Place, argv: Sequence[str], *, stdin: bool) -> None:
        """Start it. Raises `client.Refused` and `Unavailable`."""
        path = f"/api/v1/namespaces/{quote(place.namespace)}/pods/{quote(place.pod)}/exec"
        query = [("container", place.container), *(("command", word) for word in argv)]
        query += [(stream, "true") for stream in ("stdin", "stdout", "stderr") if stdin or stream != "stdin"]
        self._output = bytearray()
        self._status = bytearray()
        super().__init__(client, path, query, protocols=_PROTOCOLS, doing=f"starting {argv[0]}")

    def send(self, data: bytes) -> None:
        """See `exec_session.Duplex`."""
        left = memoryview(data)
        while left:
            self.queue(_STDIN, left[:CHUNK])
            left = left[CHUNK:]
            while not self.flushed():
                # The program may be stuck too, until somebody takes what it writes.
                if self._wait(select.POLLIN | select.POLLOUT, _SEND_SECONDS) & ~select.POLLOUT:
                    self._take_all()
                if self.ended:
                    raise BrokenPipeError

    def receive(self, timeout: float | None = None) -> bytes:
        """See `exec_session.Duplex`."""
        while True:
            self._take_all()
            if self._output or self.ended:
                output = bytes(self._output)
                self._output.clear()
                return output
            self._wait(select.POLLIN if self.flushed() else select.POLLIN | select.POLLOUT, timeout)

    def exit_code(self) -> int | None:
        """See `sessions.Exec`. Raises Broke with the cluster's words if the program could not be started."""
        return exit_code_of(bytes(self._status))

    def arrived(self, channel: int, data: bytes) -> None:
        """See `Channels`."""
        if channel in (_STDOUT, _STDERR):
            self._output += data
        elif channel == _STATUS:
            self._status += data

    def _take_all(self) -> None:
        """Take in what is there, but no more than is sensible to hold."""
        while len(self._output) < CHUNK and not self.ended and self.take():
            pass

    def _wait(self, events: int, timeout: float | None) -> int:
        poller = select.poll()
        poller.register(self.socket, events)
        ready = poller.poll(None if timeout is None else timeout * 1000)
        if not ready:
            raise TimeoutError
        return ready[0][1]


def exit_code_of(status: bytes) -> int | None:
    """The exit code by what the server says in the end, None if that is nothing. Raises Broke if none can be had."""
    if not status:
        return None
    said = json.loads(status)
    if said.get("status") == "Success":
        return 0
    causes = (said.get("details") or {}).get("causes") or ()
    code = next((cause["message"] for cause in causes if cause.get("reason") == "ExitCode"), None)
    if code is not None:
        return int(code)
    message = str(said.get("message"))
    if _NO_SUCH_PROGRAM.search(message):
        return 127
    if _NOT_EXECUTABLE.search(message):
        return 126
    raise Broke(message, engine=ENGINE)
