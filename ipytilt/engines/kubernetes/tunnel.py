"""One connection to a port of a pod: the port-forward interface of the API server, over a WebSocket.

Speaks the channel protocol itself, as the client library's version polls with `select` and swaps methods of a shared
client. A tunnel is carried by one thread; only `abort` may come from another. Made by `kubernetes.forwarding`.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import ssl
import time
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from ipytilt.engines.kubernetes.client import ENGINE, Client
from ipytilt.errors import Unavailable

_DATA, _ERROR = range(2)
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_CHUNK = 65536
_PORT_BYTES = 2  # each channel begins with the number of the port
_LINGER_SECONDS = 5.0  # after the end of what the client sends: the protocol cannot pass that end on


class Tunnel:
    """A connection to `port` of the pod `namespace/name`."""

    def __init__(self, client: Client, pod: str, port: int) -> None:
        """Connect. Raises `client.Refused` and `Unavailable`."""
        from websocket import frame_buffer

        self._answer = _upgraded(client, pod, port)
        self._socket: socket.socket = self._answer.connection.sock
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._arrived = memoryview(_early_bytes(self._answer))
        self._frames = frame_buffer(self._bytes, skip_utf8_validation=True)
        self._channel = _DATA
        self._heads = {_DATA: _PORT_BYTES, _ERROR: _PORT_BYTES}
        self._to_local = bytearray()
        self._to_pod = bytearray()
        self._said = bytearray()
        self._ended = False

    @property
    def problem(self) -> str:
        """What the cluster said went wrong, or ""."""
        return self._said.decode(errors="replace").strip()

    def is_refused(self, timeout: float) -> bool:
        """Wait for a while whether the cluster says that nothing listens there. Raises OSError."""
        deadline = time.monotonic() + timeout
        while not self._said and not self._ended and not self._to_local and time.monotonic() < deadline:
            poller = select.poll()
            poller.register(self._socket, select.POLLIN)
            poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
            self._take()
        return bool(self._said)

    def carry(self, local: socket.socket) -> None:
        """Pass on what comes from either side until one of them is done. Raises OSError if a connection breaks."""
        local.setblocking(False)
        sends, quiet_at = True, 0.0
        while True:
            self._take()
            self._send_on(local)
            self._flush()
            if self._ended and not self._to_local:
                return
            if sends and len(self._to_pod) < _CHUNK:
                sends = self._take_from(local)
                quiet_at = time.monotonic() + _LINGER_SECONDS
                if self._to_pod:
                    self._flush()
            if not self._wait(local, sends=sends) and not sends and time.monotonic() >= quiet_at:
                return

    def abort(self) -> None:
        """End it. Does not block."""
        with suppress(OSError):
            # Not the method of TLS sockets: that one takes the encryption away from under the other thread.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection."""
        self._answer.close()

    def _wait(self, local: socket.socket, *, sends: bool) -> bool:
        """Wait until there is something to do; False if nothing happened while the end was waited for."""
        poller = select.poll()
        wants_more = len(self._to_local) < _CHUNK
        at_pod = select.POLLIN * wants_more | select.POLLOUT * bool(self._to_pod)
        at_local = select.POLLIN * (sends and len(self._to_pod) < _CHUNK) | select.POLLOUT * bool(self._to_local)
        if at_pod and not self._ended:
            poller.register(self._socket, at_pod)
        if at_local:  # what is registered for nothing still tells of its end, again and again
            poller.register(local, at_local)
        return bool(poller.poll(None if sends else _LINGER_SECONDS * 1000))

    def _take_from(self, local: socket.socket) -> bool:
        """Take what the client sends; False at its end."""
        from websocket import ABNF

        try:
            data = local.recv(_CHUNK)
        except BlockingIOError:
            return True
        if data:
            self._to_pod += ABNF.create_frame(bytes((_DATA,)) + data, ABNF.OPCODE_BINARY).format()
        return bool(data)

    def _send_on(self, local: socket.socket) -> None:
        with suppress(BlockingIOError):
            while self._to_local:
                del self._to_local[: local.send(self._to_local[:_CHUNK])]

    def _flush(self) -> None:
        with suppress(*_WOULD_BLOCK):
            while self._to_pod:
                del self._to_pod[: self._socket.send(self._to_pod[:_CHUNK])]

    def _take(self) -> None:
        """Take in the frames that are there, but no more than is sensible to hold."""
        from websocket import ABNF, WebSocketException

        while len(self._to_local) < _CHUNK and not self._ended:
            try:
                frame: Any = self._frames.recv_frame()
            except _WOULD_BLOCK:
                return
            except WebSocketException as problem:
                raise ConnectionError(str(problem)) from problem
            match frame.opcode:
                case ABNF.OPCODE_CLOSE:
                    self._ended = True
                case ABNF.OPCODE_PING:
                    self._to_pod += ABNF.create_frame(frame.data, ABNF.OPCODE_PONG).format()
                case ABNF.OPCODE_CONT:
                    self._message(frame.data)
                case ABNF.OPCODE_BINARY | ABNF.OPCODE_TEXT if frame.data:
                    self._channel = frame.data[0]
                    self._message(frame.data[1:])

    def _message(self, data: bytes) -> None:
        head = min(self._heads.get(self._channel, 0), len(data))
        if head:
            self._heads[self._channel] -= head
        if self._channel == _DATA:
            self._to_local += data[head:]
        elif self._channel == _ERROR:
            self._said += data[head:]

    def _bytes(self, size: int) -> bytes:
        """At most that many bytes of what arrived; raises one of `_WOULD_BLOCK` if there is nothing yet."""
        if not self._arrived:
            self._arrived = memoryview(self._socket.recv(_CHUNK))
            if not self._arrived:
                self._ended = True
                raise BlockingIOError
        taken, self._arrived = self._arrived[:size], self._arrived[size:]
        return bytes(taken)


def _upgraded(client: Client, pod: str, port: int) -> Any:
    """The answer (`urllib3.HTTPResponse`) after which the connection is a WebSocket."""
    namespace, _, name = pod.partition("/")
    headers = {
        "Accept": "*/*",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": "v4.channel.k8s.io",
    }
    path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(name)}/portforward"
    answer = client.open("GET", path, query=[("ports", str(port))], headers=headers)
    if answer.status != 101:
        answer.close()
        problem = f"something on the way to the cluster does not let WebSockets through (HTTP status {answer.status})"
        raise Unavailable(problem, engine=ENGINE)
    return answer


def _early_bytes(answer: Any) -> bytes:
    """What was read together with the headers of the answer."""
    try:
        return bytes(answer._fp.fp.peek())  # noqa: SLF001 - nothing else tells
    except OSError:  # TLS has nothing ready
        return b""
