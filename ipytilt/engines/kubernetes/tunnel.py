"""One connection to a port of a pod: the port-forward interface of the API server, over channels of a WebSocket.

A tunnel is carried by one thread; only `abort` may come from another. Made by `kubernetes.forwarding`.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress
from urllib.parse import quote

from ipytilt.engines.kubernetes.channels import CHUNK, Channels
from ipytilt.engines.kubernetes.client import Client

_DATA, _ERROR = range(2)
_PORT_BYTES = 2  # each channel begins with the number of the port
_LINGER_SECONDS = 5.0  # after the end of what the client sends: the protocol cannot pass that end on


class Tunnel(Channels):
    """A connection to `port` of the pod `namespace/name`."""

    def __init__(self, client: Client, pod: str, port: int) -> None:
        """Connect. Raises `client.Refused` and `Unavailable`."""
        namespace, _, name = pod.partition("/")
        path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(name)}/portforward"
        self._heads = {_DATA: _PORT_BYTES, _ERROR: _PORT_BYTES}
        self._to_local = bytearray()
        self._said = bytearray()
        super().__init__(client, path, [("ports", str(port))], protocols="v4.channel.k8s.io", doing="")

    @property
    def problem(self) -> str:
        """What the cluster said went wrong, or ""."""
        return self._said.decode(errors="replace").strip()

    def is_refused(self, timeout: float) -> bool:
        """Wait for a while (seconds) whether the cluster says that nothing listens there. Raises OSError."""
        deadline = time.monotonic() + timeout
        while not self._said and not self.ended and not self._to_local and time.monotonic() < deadline:
            poller = select.poll()
            poller.register(self.socket, select.POLLIN)
            poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
            self._take_all()
        return bool(self._said)

    def carry(self, local: socket.socket) -> None:
        """Pass on what comes from either side until one of them is done. Raises OSError if a connection breaks."""
        local.setblocking(False)
        sends, quiet_at = True, 0.0
        while True:
            took_all = self._take_all()
            self._send_on(local)
            if not took_all and len(self._to_local) < CHUNK:  # what is left may be in a buffer that tells nobody
                continue
            if self.ended and not self._to_local:
                return
            if sends and len(self.outgoing) < CHUNK:
                sends = self._take_from(local)
                quiet_at = time.monotonic() + _LINGER_SECONDS
            self.flushed()
            if not self._wait(local, sends=sends) and not sends and time.monotonic() >= quiet_at:
                return

    def arrived(self, channel: int, data: bytes) -> None:
        """See `Channels`."""
        head = min(self._heads.get(channel, 0), len(data))
        if head:
            self._heads[channel] -= head
        if channel == _DATA:
            self._to_local += data[head:]
        elif channel == _ERROR:
            self._said += data[head:]

    def _wait(self, local: socket.socket, *, sends: bool) -> bool:
        """Wait until there is something to do; False if nothing happened while the end was waited for."""
        poller = select.poll()
        at_pod = select.POLLIN * (len(self._to_local) < CHUNK) | select.POLLOUT * bool(self.outgoing)
        at_local = select.POLLIN * (sends and len(self.outgoing) < CHUNK) | select.POLLOUT * bool(self._to_local)
        if at_pod and not self.ended:
            poller.register(self.socket, at_pod)
        if at_local:  # what is registered for nothing still tells of its end, again and again
            poller.register(local, at_local)
        return bool(poller.poll(None if sends else _LINGER_SECONDS * 1000))

    def _take_from(self, local: socket.socket) -> bool:
        """Take what the client sends; False at its end."""
        try:
            data = local.recv(CHUNK)
        except BlockingIOError:
            return True
        if data:
            self.queue(_DATA, data)
        return bool(data)

    def _send_on(self, local: socket.socket) -> None:
        with suppress(BlockingIOError):
            while self._to_local:
                del self._to_local[: local.send(self._to_local[:CHUNK])]

    def _take_all(self) -> bool:
        """Take in what is there, but no more than is sensible to hold; whether that was all."""
        while len(self._to_local) < CHUNK and not self.ended:
            if not self.take():
                return True
        return self.ended
