"""Ports of this machine that lead to pods: a listener per `Forward` order, and a tunnel per connection.

The listener has a thread, and so has each connection. As every connection gets a tunnel of its own, one that breaks
heals with the next; a pod that is replaced comes with a new order. A port that is taken is tried again.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from contextlib import ExitStack, closing, suppress

from ipytilt.core.steps import Forward
from ipytilt.engines.base import ForwardSeen, Log, Post, Stop
from ipytilt.engines.kubernetes.client import Client, innermost
from ipytilt.engines.kubernetes.tunnel import Tunnel
from ipytilt.errors import EngineError

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 15.0
_FIRST_PROBE = 1.0  # after a connection went wrong, whether the next one would
_PROBE_SECONDS = 2.0
_STOP_SECONDS = 1.5
_WORDS = 64
_LOOPBACK = "127.0.0.1"
_LOOPBACK_6 = "::1"


class Forwarding:
    """One Forward order."""

    def __init__(self, client: Client, order: Forward, post: Post, *, log: Log) -> None:
        self._client = client
        self._order = order
        self._post = post
        self._log = log
        self._stopped = threading.Event()
        self._awake, self._wake = socket.socketpair()
        self._lock = threading.Lock()
        self._carried: dict[threading.Thread, Tunnel | socket.socket | None] = {}
        self._problem: str | None = None

    def start(self) -> Stop:
        """Start the thread; what comes back ends it and all connections."""
        forward = self._order.forward
        thread = threading.Thread(target=self._main, name=f"ipytilt-forward-{forward.local}", daemon=True)
        thread.start()

        def stop() -> None:
            self._stopped.set()
            self._wake.close()
            deadline = time.monotonic() + _STOP_SECONDS
            thread.join(_STOP_SECONDS)
            with self._lock:
                carried = dict(self._carried)
            for end in carried.values():
                _abort(end)
            for each in carried:
                each.join(max(0.0, deadline - time.monotonic()))

        return stop

    def _main(self) -> None:
        delay = _FIRST_DELAY
        with self._awake:
            while not self._stopped.is_set():
                try:
                    with ExitStack() as listening:
                        listeners = [
                            listening.enter_context(one)
                            for one in _listeners(self._order.forward.host, self._order.forward.local)
                        ]
                        delay = _FIRST_DELAY
                        self._listen(listeners)
                except OSError as problem:
                    self._failed(f"cannot listen on port {self._order.forward.local}: {innermost(problem)}")
                    self._stopped.wait(delay)
                    delay = min(2 * delay, _LONGEST_DELAY)

    def _listen(self, listeners: list[socket.socket]) -> None:
        """Serve what connects until the order ends. Raises OSError."""
        forward = self._order.forward
        self._log(
            f"Forwarding from {_shown(forward.host)}:{forward.local} -> {self._order.pod}:{forward.container}", "info"
        )
        self._tell("")
        delay = _FIRST_PROBE
        with selectors.DefaultSelector() as ready:
            for one in (self._awake, *listeners):
                ready.register(one, selectors.EVENT_READ)
            while not self._stopped.is_set():
                found = ready.select(delay if self._problem else None)
                for key, _ in found:
                    if key.fileobj is self._awake:
                        self._awake.recv(_WORDS)
                    elif isinstance(key.fileobj, socket.socket):
                        self._serve(key.fileobj)
                delay = min(2 * delay, _LONGEST_DELAY) if self._problem else _FIRST_PROBE
                if self._problem and not found:
                    self._begin(None)

    def _serve(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionError):  # whoever it was is gone
            return
        self._begin(connection)

    def _begin(self, connection: socket.socket | None) -> None:
        name = f"ipytilt-forwarded-{self._order.forward.local}"
        thread = threading.Thread(target=self._main_of_one, args=(connection,), name=name, daemon=True)
        with self._lock:
            self._carried[thread] = connection
        thread.start()

    def _main_of_one(self, connection: socket.socket | None) -> None:
        """Carry one connection; none is to see whether it could be carried."""
        this = threading.current_thread()
        order = self._order
        problem = ""
        with ExitStack() as held:
            held.callback(self._forget, this)
            if connection is not None:
                held.enter_context(connection)
            try:
                with closing(Tunnel(self._client, order.pod, order.forward.container)) as tunnel:
                    problem = self._carry(tunnel, connection)
            except EngineError as error:
                problem = error.message
        if not self._stopped.is_set():
            if problem:
                self._failed(problem)
            else:
                self._tell("")

    def _carry(self, tunnel: Tunnel, connection: socket.socket | None) -> str:
        with self._lock:
            self._carried[threading.current_thread()] = tunnel
        if self._stopped.is_set():
            return ""
        with suppress(ConnectionError):  # either side may go whenever it likes
            if connection is None:
                tunnel.is_refused(_PROBE_SECONDS)
            else:
                tunnel.carry(connection)
        return tunnel.problem

    def _forget(self, thread: threading.Thread) -> None:
        with self._lock:
            del self._carried[thread]

    def _failed(self, problem: str) -> None:
        """Say what is wrong, once; whoever connects next finds out whether it still is."""
        order = self._order
        if self._problem != problem:
            leads = f"{order.resource} ({order.forward.local} -> {order.forward.container})"
            self._log(f"Reconnecting... Error port-forwarding {leads}: {problem}", "warning")
            self._tell(problem)
            with suppress(OSError):  # ended meanwhile
                self._wake.send(b"!")

    def _tell(self, problem: str) -> None:
        if self._problem != problem:
            self._problem = problem
            self._post(ForwardSeen(self._order.resource, self._order.forward.local, problem))


def _listeners(host: str, port: int) -> list[socket.socket]:
    """Listening sockets: on loopback in both families if nothing else is asked for. Raises OSError."""
    if host in ("", "localhost"):
        listeners = [_listener(socket.AF_INET, (_LOOPBACK, port))]
        with suppress(OSError):  # not every machine has it, and nobody depends on it
            listeners.append(_listener(socket.AF_INET6, (_LOOPBACK_6, port)))
        return listeners
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return [_listener(family, address)]


def _listener(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _abort(end: Tunnel | socket.socket | None) -> None:
    if isinstance(end, Tunnel):
        end.abort()
    elif end is not None:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _shown(host: str) -> str:
    return host or "localhost"
