"""A program in a container of a pod: the exec interface of the API server, over a WebSocket.

Speaks the channel protocol itself (v5 where the server has it, else v4), over a connection of its own for each
program: the client library's `stream` swaps methods of a shared client and polls. Used by one thread at a time; only
`abort` may come from another. Made by `kubernetes.containers`.
"""

from __future__ import annotations

import base64
import json
import os
import re
import select
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast
from urllib.parse import quote

from ipytilt.engines.kubernetes.client import ENGINE, Client
from ipytilt.engines.kubernetes.names import Place
from ipytilt.errors import Broke, Unavailable

_PROTOCOLS = "v5.channel.k8s.io, v4.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _STATUS = range(4)
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_CHUNK = 65536
_SEND_SECONDS = 60.0

# What runtimes say about a program that they could not start; Docker's gives an exit code as well.
_NO_SUCH_PROGRAM = re.compile(r"(?i)executable file .*not found|no such file or directory")
_NOT_EXECUTABLE = re.compile(r"(?i)permission denied|exec format error|is a directory")


class PodExec:
    """A program running in a container (`sessions.Exec`)."""

    def __init__(self, client: Client, place: Place, argv: Sequence[str], *, stdin: bool) -> None:
        """Start it. Raises `client.Refused` and `Unavailable`."""
        from websocket import frame_buffer

        self._answer = _upgraded(client, place, argv, stdin=stdin)
        self._socket: socket.socket = self._answer.connection.sock
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket.setblocking(False)
        self._arrived = memoryview(_early_bytes(self._answer))
        self._frames = frame_buffer(self._bytes, skip_utf8_validation=True)
        self._channel = _STDOUT
        self._output = bytearray()
        self._status = bytearray()
        self._outgoing = bytearray()
        self._ended = False

    def send(self, data: bytes) -> None:
        """See `exec_session.Duplex`."""
        left = memoryview(data)
        while left:
            self._queue(bytes((_STDIN,)) + left[:_CHUNK])
            left = left[_CHUNK:]
            while not self._flushed():
                # The program may be stuck too, until somebody takes what it writes.
                if self._wait(select.POLLIN | select.POLLOUT, _SEND_SECONDS) & ~select.POLLOUT:
                    self._take_all()
                if self._ended:
                    raise BrokenPipeError

    def receive(self, timeout: float | None = None) -> bytes:
        """See `exec_session.Duplex`."""
        while True:
            self._take_all()
            if self._output or self._ended:
                output = bytes(self._output)
                self._output.clear()
                return output
            self._wait(select.POLLIN if self._flushed() else select.POLLIN | select.POLLOUT, timeout)

    def abort(self) -> None:
        """See `exec_session.Duplex`."""
        with suppress(OSError):
            # Not the method of TLS sockets: that one takes the encryption away from under the other thread.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """See `exec_session.Duplex`. Whoever reads the program's input at the other end sees the end of it."""
        self._answer.close()

    def exit_code(self) -> int | None:
        """See `sessions.Exec`. Raises Broke with the cluster's words if the program could not be started."""
        return exit_code_of(bytes(self._status))

    # ------------------------------------------------------------------------------------ frames

    def _take_all(self) -> None:
        """Take in what is there, but no more than is sensible to hold."""
        while len(self._output) < _CHUNK and not self._ended and self._take():
            pass

    def _take(self) -> bool:
        """Take in one frame; False if none is there yet."""
        from websocket import ABNF, WebSocketException

        try:
            frame = self._frames.recv_frame()
        except _WOULD_BLOCK:
            return False
        except WebSocketException as problem:
            raise ConnectionError(str(problem)) from problem
        data = cast("bytes", frame.data)
        match frame.opcode:
            case ABNF.OPCODE_CLOSE:
                self._ended = True
            case ABNF.OPCODE_PING:
                self._queue(data, ABNF.OPCODE_PONG)
                self._flushed()
            case ABNF.OPCODE_CONT:
                self._message(data)
            case ABNF.OPCODE_BINARY | ABNF.OPCODE_TEXT if data:
                self._channel = data[0]
                self._message(data[1:])
        return True

    def _message(self, data: bytes) -> None:
        if self._channel in (_STDOUT, _STDERR):
            self._output += data
        elif self._channel == _STATUS:
            self._status += data

    def _bytes(self, size: int) -> bytes:
        """At most that many bytes of what arrived; raises one of `_WOULD_BLOCK` if there is nothing yet."""
        if not self._arrived:
            self._arrived = memoryview(self._socket.recv(_CHUNK))
            if not self._arrived:
                self._ended = True
                raise BlockingIOError
        taken, self._arrived = self._arrived[:size], self._arrived[size:]
        return bytes(taken)

    def _queue(self, data: bytes, opcode: int | None = None) -> None:
        from websocket import ABNF

        self._outgoing += ABNF.create_frame(data, ABNF.OPCODE_BINARY if opcode is None else opcode).format()

    def _flushed(self) -> bool:
        """Send what waits to be sent, as far as it goes; whether all of it went."""
        try:
            while self._outgoing:
                del self._outgoing[: self._socket.send(self._outgoing[:_CHUNK])]
        except _WOULD_BLOCK:
            return False
        return True

    def _wait(self, events: int, timeout: float | None) -> int:
        poller = select.poll()
        poller.register(self._socket, events)
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


def _upgraded(client: Client, place: Place, argv: Sequence[str], *, stdin: bool) -> Any:
    """The answer (`urllib3.HTTPResponse`) after which the connection is a WebSocket."""
    query = [("container", place.container), *(("command", word) for word in argv)]
    query += [(stream, "true") for stream in ("stdin", "stdout", "stderr") if stdin or stream != "stdin"]
    headers = {
        "Accept": "*/*",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": _PROTOCOLS,
    }
    path = f"/api/v1/namespaces/{quote(place.namespace)}/pods/{quote(place.pod)}/exec"
    answer = client.open("GET", path, query=query, headers=headers, doing=f"starting {argv[0]}")
    if answer.status != 101:
        answer.close()
        problem = f"something on the way to the cluster does not let WebSockets through (HTTP status {answer.status})"
        raise Unavailable(problem, engine=ENGINE, doing=f"starting {argv[0]}")
    return answer


def _early_bytes(answer: Any) -> bytes:
    """What was read together with the headers of the answer."""
    try:
        return bytes(answer._fp.fp.peek())  # noqa: SLF001 - nothing else tells
    except OSError:  # TLS has nothing ready
        return b""
