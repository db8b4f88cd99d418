"""Docker's way into its containers: programs run in them with their streams attached, archives, restarts.

Called on worker threads and by the `Attach` threads of `engines.sessions`, which does live update on top of this.
"""

from __future__ import annotations

import math
import select
import ssl
import time
from collections.abc import Sequence
from urllib.parse import quote

from ipytilt.core.steps import Container, Copy
from ipytilt.engines.base import Work
from ipytilt.engines.context import Archive
from ipytilt.engines.docker.client import ENGINE, EXEC_SECONDS, PULSE_SECONDS, Daemon, unframed
from ipytilt.engines.sessions import Sessions
from ipytilt.errors import Broke

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_CHUNK = 65536
_SEND_SECONDS = 60.0
_EXIT_CODE_SECONDS = 2.0


class DockerContainers:
    """Implements `base.Containers`, and `sessions.Transport` for it."""

    engine = ENGINE
    lasting = True

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.sessions = Sessions(self)

    def sync(self, where: Container, copies: tuple[Copy, ...], work: Work) -> None:
        """See `base.Containers`."""
        self.sessions.sync(where, copies, work)

    def differing(self, where: Container, copies: tuple[Copy, ...], work: Work) -> tuple[Copy, ...]:
        """See `base.Containers`."""
        return self.sessions.differing(where, copies, work)

    def exec(self, where: Container, argv: tuple[str, ...], work: Work) -> int:
        """See `base.Containers`."""
        return self.sessions.exec(where, argv, work)

    def restart(self, where: Container, work: Work) -> None:
        """See `base.Containers`."""
        work.check()
        with self._daemon.api(f"restarting {where.name}") as api:
            api.restart(where.id, timeout=0)

    # ------------------------------------------------------------------------------------ sessions.Transport

    def connect(self, container_id: str, argv: Sequence[str], *, stdin: bool) -> DockerExec:
        """See `sessions.Transport`."""
        return DockerExec(self._daemon, container_id, argv, stdin=stdin)

    def gone(self, container_id: str) -> str:
        """See `sessions.Transport`."""
        try:
            found = self._daemon.inspect(container_id)
        except Broke:
            return "it is gone"
        return "" if found.running else f"it is {found.state}"

    def label(self, container_id: str) -> str:
        """See `sessions.Transport`."""
        return container_id[:12]

    def unpack(self, container_id: str, archive: Archive) -> None:
        """See `sessions.Transport`.

        The SDK's own `put_archive` would make everything root's. Ids are written into the archive, because many
        daemons refuse to look up a number that has no entry in a user database.
        """
        with self._daemon.api("copying files", timeout=_SEND_SECONDS) as api:
            user, _, group = api.inspect_container(container_id)["Config"]["User"].partition(":")
            if user.isdecimal() and (group.isdecimal() or not group):
                archive.owner = (int(user), int(group or 0))
            params = {"path": "/", "copyUIDGID": str(bool(user) and not user.isdecimal()).lower()}
            url = f"{api.base_url}/v{api.api_version}/containers/{quote(container_id)}/archive"
            response = api.put(url, params=params, data=iter(archive), timeout=_SEND_SECONDS)
            api._raise_for_status(response)  # noqa: SLF001 - the SDK's own errors, as from its other calls


class DockerExec:
    """A program running in a container (`sessions.Exec`), over the connection that `exec start` turns into."""

    def __init__(self, daemon: Daemon, container_id: str, argv: Sequence[str], *, stdin: bool) -> None:
        self._daemon = daemon
        with daemon.api(timeout=EXEC_SECONDS) as api:
            created = api.exec_create(container_id, list(argv), stdin=stdin, stdout=True, stderr=True)
        self._id: str = created["Id"]
        self._connection = daemon.hijack(f"/exec/{self._id}/start", {"Detach": False, "Tty": False})
        self._socket = self._connection.socket
        self._frames = self._connection.early_bytes()
        self._ended = False

    def send(self, data: bytes) -> None:
        """See `exec_session.Duplex`."""
        left = memoryview(data)
        while left:
            try:
                left = left[self._socket.send(left[:_CHUNK]) :]
            except _WOULD_BLOCK:
                # The program may be stuck too, until somebody takes what it writes.
                if self._wait(select.POLLIN | select.POLLOUT, _SEND_SECONDS) & select.POLLIN:
                    self._take()
                if self._ended:  # the daemon closes its own side only, and reads no more
                    raise BrokenPipeError from None

    def receive(self, timeout: float | None = None) -> bytes:
        """See `exec_session.Duplex`."""
        while True:
            contents, self._frames = unframed(self._frames)
            if contents or self._ended:
                return b"".join(contents)
            if not self._take():
                self._wait(select.POLLIN, timeout)

    def abort(self) -> None:
        """See `exec_session.Duplex`."""
        self._connection.abort()

    def close(self) -> None:
        """See `exec_session.Duplex`."""
        self._connection.close()

    def exit_code(self) -> int | None:
        """See `sessions.Exec`. The stream may end a moment before the daemon knows."""
        deadline = time.monotonic() + _EXIT_CODE_SECONDS
        while time.monotonic() < deadline:
            with self._daemon.api() as api:
                found = api.exec_inspect(self._id)
            if not found["Running"] and found["ExitCode"] is not None:
                return int(found["ExitCode"])
            time.sleep(0.01)
        return None

    def _take(self) -> bool:
        """Read what is there; False if there is nothing yet."""
        try:
            data = self._socket.recv(_CHUNK)
        except _WOULD_BLOCK:
            return False
        self._frames += data
        self._ended = not data
        return True

    def _wait(self, events: int, timeout: float | None) -> int:
        """What can be done now. Raises TimeoutError, and Unavailable if the daemon is silent as a whole."""
        poller = select.poll()
        poller.register(self._socket, events)
        left = math.inf if timeout is None else timeout
        while not (ready := poller.poll(min(left, PULSE_SECONDS) * 1000)):
            left -= PULSE_SECONDS
            if left <= 0:
                raise TimeoutError
            self._daemon.check()
        return ready[0][1]
