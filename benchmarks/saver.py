"""The other process of the save-to-container figures: saves files and watches the container's own tree for them.

Run as a child so that it shares no interpreter lock with what is measured. Reads one JSON request a line on standard
input, answers with a JSON list of seconds. Modes: `save` (an editor's save: write a temporary file, rename it over),
`exec` (the same bytes by hand through an exec session that is already open), `put_archive` (the archive API).
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TIMEOUT = 5.0
_HAND_LOOP = "while read n; do head -c $n | tar xf - -C /; echo ok; done"


def _archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name.lstrip("/"))
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _visible(path: str, content: bytes) -> None:
    """Wait until the container's file has the content."""
    deadline = time.perf_counter() + _TIMEOUT
    while time.perf_counter() < deadline:
        try:
            if Path(path).read_bytes() == content:
                return
        except FileNotFoundError:
            pass
    raise TimeoutError(path)


def _saver(request: dict[str, Any]) -> Callable[[bytes], None]:
    local = Path(request["local"])
    temporary = local.with_suffix(".tmp~")

    def save(content: bytes) -> None:
        temporary.write_bytes(content)
        temporary.replace(local)

    return save


def _by_hand(request: dict[str, Any]) -> Callable[[bytes], None]:
    import docker

    api = docker.from_env().api
    created = api.exec_create(request["container"], ["sh", "-c", _HAND_LOOP], stdin=True)
    socket = api.exec_start(created["Id"], socket=True)._sock  # noqa: SLF001 - the SDK offers no other way to write

    def send(content: bytes) -> None:
        archive = _archive(request["path"], content)
        socket.sendall(f"{len(archive)}\n".encode() + archive)

    return send


def _put_archive(request: dict[str, Any]) -> Callable[[bytes], None]:
    import docker

    api = docker.from_env().api

    def send(content: bytes) -> None:
        api.put_archive(request["container"], "/", _archive(request["path"], content))

    return send


def main() -> None:
    """Serve requests until standard input ends."""
    ways = {"save": _saver, "exec": _by_hand, "put_archive": _put_archive}
    for line in sys.stdin:
        request = json.loads(line)
        change = ways[request["mode"]](request)
        took = []
        for index in range(request["count"]):
            time.sleep(request.get("pause", 0.05))
            content = f"{request['mode']} {index} {time.time_ns()}\n".encode()
            began = time.perf_counter()
            change(content)
            _visible(request["seen"], content)
            took.append(time.perf_counter() - began)
        print(json.dumps(took), flush=True)


if __name__ == "__main__":
    main()
