"""Numbered channels over a WebSocket: how programs in pods and ports of pods are reached through the API server.

Each connection is its own: the client library's `stream` swaps methods of a shared client and polls. Nothing here
blocks. Used by one thread at a time; only `abort` may come from another. Made by `kubernetes.exec` and
`kubernetes.tunnel`.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
from contextlib import suppress
from typing import Any, cast

from ipytilt.engines.kubernetes.client import ENGINE, Client, Query
from ipytilt.errors import Unavailable

CHUNK = 65536
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Channels:
    """One connection; whoever derives from it says what becomes of what arrives.

    Attributes:
        socket: what it goes through, not blocking.
        ended: nothing more will arrive.
        outgoing: what waits to be sent.
    """

    def __init__(self, client: Client, path: str, query: Query, *, protocols: str, doing: str) -> None:
        """Connect. Raises `client.Refused` and `Unavailable`."""
        from websocket import frame_buffer

        self._answer = _upgraded(client, path, query, protocols=protocols, doing=doing)
        self.socket: socket.socket = self._answer.connection.sock
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.socket.setblocking(False)
        self.ended = False
        self.outgoing = bytearray()
        self._arrived = memoryview(_early_bytes(self._answer))
        self._frames = frame_buffer(self._bytes, skip_utf8_validation=True)
        self._channel = 0

    def arrived(self, channel: int, data: bytes) -> None:
        """Something came through a channel."""
        raise NotImplementedError

    def abort(self) -> None:
        """End it. Does not block."""
        with suppress(OSError):
            # Not the method of TLS sockets: that one takes the encryption away from under the other thread.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection."""
        self._answer.close()

    def take(self) -> bool:
        """Take in one frame; False if none is there yet. Raises OSError."""
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
                self.ended = True
            case ABNF.OPCODE_PING:
                self._queue(data, ABNF.OPCODE_PONG)
                self.flushed()
            case ABNF.OPCODE_CONT:
                self.arrived(self._channel, data)
            case ABNF.OPCODE_BINARY | ABNF.OPCODE_TEXT if data:
                self._channel = data[0]
                self.arrived(self._channel, data[1:])
        return True

    def queue(self, channel: int, data: bytes | memoryview) -> None:
        """Have something sent through a channel."""
        from websocket import ABNF

        self._queue(bytes((channel,)) + data, ABNF.OPCODE_BINARY)

    def flushed(self) -> bool:
        """Send what waits to be sent, as far as it goes; whether all of it went. Raises OSError."""
        try:
            while self.outgoing:
                del self.outgoing[: self.socket.send(self.outgoing[:CHUNK])]
        except _WOULD_BLOCK:
            return False
        return True

    def _queue(self, data: bytes, opcode: int) -> None:
        from websocket import ABNF

        self.outgoing += ABNF.create_frame(data, opcode).format()

    def _bytes(self, size: int) -> bytes:
        """At most that many bytes of what arrived; raises one of `_WOULD_BLOCK` if there is nothing yet."""
        if not self._arrived:
            self._arrived = memoryview(self.socket.recv(CHUNK))
            if not self._arrived:
                self.ended = True
                raise BlockingIOError
        taken, self._arrived = self._arrived[:size], self._arrived[size:]
        return bytes(taken)


def _upgraded(client: Client, path: str, query: Query, *, protocols: str, doing: str) -> Any:
    """The answer (`urllib3.HTTPResponse`) after which the connection is a WebSocket."""
    headers = {
        "Accept": "*/*",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": protocols,
    }
    answer = client.open("GET", path, query=query, headers=headers, doing=doing)
    if answer.status != 101:
        answer.close()
        problem = f"something on the way to the cluster does not let WebSockets through (HTTP status {answer.status})"
        raise Unavailable(problem, engine=ENGINE, doing=doing)
    return answer


def _early_bytes(answer: Any) -> bytes:
    """What was read together with the headers of the answer."""
    try:
        return bytes(answer._fp.fp.peek())  # noqa: SLF001 - nothing else tells
    except OSError:  # TLS has nothing ready
        return b""
