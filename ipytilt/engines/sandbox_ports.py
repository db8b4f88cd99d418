"""Published ports of the sandbox: containers live on the host's network, so only another number needs work.

One daemon thread per container, `ipytilt-forward-<port>`, with an event loop of its own; listening on loopback alone.
Started and stopped by the container that owns it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

LOOPBACK = "127.0.0.1"
_MAX_CONNECTIONS = 128
_CHUNK = 65536
_STOP_SECONDS = 1.0


class Forwarder:
    """Passes connections to ports of this machine on to other ones until it is stopped."""

    def __init__(self, pairs: Sequence[tuple[int, int]]) -> None:
        """`pairs`: where to listen (0: anywhere), where to connect to. Raises OSError if a port is taken."""
        self._listening: list[socket.socket] = []
        self._targets = [target for _, target in pairs]
        try:
            for port, _ in pairs:
                self._listening.append(socket.create_server((LOOPBACK, port)))
        except OSError:
            self._close()
            raise
        self._stopping: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name=f"ipytilt-forward-{self.ports[0]}", daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def ports(self) -> tuple[int, ...]:
        """Where it listens."""
        return tuple(each.getsockname()[1] for each in self._listening)

    def stop(self) -> None:
        """End all connections and let go of the ports."""
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_STOP_SECONDS)
        self._close()

    def _close(self) -> None:
        for each in self._listening:
            each.close()

    def _main(self) -> None:
        import asyncio

        asyncio.run(self._serve())

    async def _serve(self) -> None:
        import asyncio

        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        places = asyncio.Semaphore(_MAX_CONNECTIONS)
        servers: list[asyncio.Server] = []
        for listening, target in zip(self._listening, self._targets, strict=True):

            async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int = target) -> None:
                with contextlib.suppress(asyncio.CancelledError):  # the end of the forwarder, and of its connections
                    async with places:
                        await _connect(reader, writer, target)

            servers.append(await asyncio.start_server(accept, sock=listening.dup()))
        self._ready.set()
        await self._stopping.wait()
        for server in servers:
            server.close()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await asyncio.sleep(0)  # closed transports let go of their sockets one turn later


async def _connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
    import asyncio

    try:
        other_reader, other_writer = await asyncio.open_connection(LOOPBACK, target)
    except OSError:
        writer.close()  # nobody listens there (yet): the caller sees a connection that ends, as with Docker
        return
    try:
        await asyncio.gather(_pump(reader, other_writer), _pump(other_reader, writer))
    finally:
        writer.close()
        other_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
