"""The other process of the figures on containers: changes files and watches the container's own tree for the result.

Run as a child so that it shares no interpreter lock with what is measured. Reads one JSON request a line on standard
input, answers with a JSON list of seconds. A mode is a way to repeat one thing: it prepares, changes, waits until the
result is visible, and says what of that counts.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

_TIMEOUT = 20.0
_LOOK_SECONDS = 0.0002  # between two looks, so that looking takes no core away from what is measured
_FILES = 1_000
_FILE_BYTES = 10_000
_HAND_LOOP = 'while read n c; do head -c $n | tar xf - -C /; eval "$c"; echo ok; done'

Once: TypeAlias = Callable[[bytes], float]
"""Does the thing with this content; returns what it took, in seconds."""


class _Hand:
    """An exec session that is open already, as somebody would use it who knew beforehand what to send."""

    def __init__(self, container: str) -> None:
        import docker

        self.api = docker.from_env().api
        created = self.api.exec_create(container, ["sh", "-c", _HAND_LOOP], stdin=True)
        self._socket = self.api.exec_start(created["Id"], socket=True)._sock  # noqa: SLF001 - the SDK's only way

    def send(self, archive: bytes, command: str = ":") -> None:
        self._socket.sendall(f"{len(archive)} {command}\n".encode() + archive)


class _PodHand:
    """The same in a pod (`namespace/name`), through the client library."""

    def __init__(self, pod: str) -> None:
        from kubernetes import client, config
        from kubernetes.stream import stream

        config.load_kube_config()  # type: ignore[no-untyped-call]
        namespace, _, name = pod.partition("/")
        streams = {"stdin": True, "stdout": True, "stderr": True, "tty": False, "_preload_content": False}
        way_in = client.CoreV1Api().connect_get_namespaced_pod_exec
        self._stream = stream(way_in, name, namespace, command=["sh", "-c", _HAND_LOOP], **streams)

    def send(self, archive: bytes, command: str = ":") -> None:
        self._stream.write_stdin(f"{len(archive)} {command}\n".encode() + archive)


def _archive(files: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name.lstrip("/"))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _until(condition: Callable[[], bool]) -> float:
    """Wait; returns when it came true, on the performance counter."""
    deadline = time.perf_counter() + _TIMEOUT
    while not condition():
        if time.perf_counter() > deadline:
            raise TimeoutError
        time.sleep(_LOOK_SECONDS)
    return time.perf_counter()


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False


def _save(request: dict[str, Any]) -> Once:
    """An editor's save (temporary file, rename) to visible; with `then`, from visible to `then` being the same."""
    local, seen, then = Path(request["local"]), Path(request["seen"]), request.get("then")
    temporary = local.with_suffix(".tmp~")

    def once(content: bytes) -> float:
        temporary.write_bytes(content)
        began = time.perf_counter()
        temporary.replace(local)
        visible = _until(lambda: _holds(seen, content))
        return _until(lambda: _holds(Path(then), content)) - visible if then else visible - began

    return once


def _by_hand(request: dict[str, Any]) -> Once:
    """One small file through the open session, of a container or a pod."""
    hand: _Hand | _PodHand = _PodHand(request["pod"]) if "pod" in request else _Hand(request["container"])
    seen = Path(request["seen"])

    def once(content: bytes) -> float:
        began = time.perf_counter()
        hand.send(_archive([(request["path"], content)]))
        return _until(lambda: _holds(seen, content)) - began

    return once


def _command(request: dict[str, Any]) -> Once:
    """A command through the open session; its input is there already."""
    hand, seen = _Hand(request["container"]), Path(request["seen"])
    source = seen.with_name(Path(request["path"]).name)

    def once(content: bytes) -> float:
        hand.send(_archive([(request["path"], content)]))
        _until(lambda: _holds(source, content))
        began = time.perf_counter()
        hand.send(b"", request["command"])
        return _until(lambda: _holds(seen, content)) - began

    return once


def _put_archive(request: dict[str, Any]) -> Once:
    """One small file through the archive API."""
    import docker

    api, seen = docker.from_env().api, Path(request["seen"])

    def once(content: bytes) -> float:
        began = time.perf_counter()
        api.put_archive(request["container"], "/", _archive([(request["path"], content)]))
        return _until(lambda: _holds(seen, content)) - began

    return once


def _kubectl_cp(request: dict[str, Any]) -> Once:
    """One small file by `kubectl cp`."""
    local, seen = Path(request["local"]), Path(request["seen"])
    command = ["kubectl", "cp", str(local), f"{request['pod']}:{request['path']}"]

    def once(content: bytes) -> float:
        local.write_bytes(content)
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return _until(lambda: _holds(seen, content)) - began

    return once


def _names() -> list[str]:
    return [f"{number:04}" for number in range(_FILES)]


def _filled(content: bytes) -> bytes:
    return content + b"." * (_FILE_BYTES - len(content))


def _all_hold(folder: Path, content: bytes) -> float:
    """Wait until every file of the folder has the content."""
    missing = _names()

    def none_missing() -> bool:
        while missing and _holds(folder / missing[-1], content):
            missing.pop()
        return not missing

    return _until(none_missing)


def _write_all(folder: Path, content: bytes) -> None:
    folder.mkdir(exist_ok=True)
    for name in _names():
        (folder / name).write_bytes(content)


def _tar(request: dict[str, Any]) -> Once:
    """Many files, archived and sent by hand. Their directory is nobody's sync rule."""
    hand, seen = _Hand(request["container"]), Path(request["seen"] + "-by-hand")

    def once(content: bytes) -> float:
        content = _filled(content)
        began = time.perf_counter()
        hand.send(_archive((f"{request['path']}-by-hand/{name}", content) for name in _names()))
        return _all_hold(seen, content) - began

    return once


def _rewrite(request: dict[str, Any]) -> Once:
    """The same files written here, from the last one being written."""
    local, seen = Path(request["local"]), Path(request["seen"])

    def once(content: bytes) -> float:
        content = _filled(content)
        _write_all(local, content)
        began = time.perf_counter()
        return _all_hold(seen, content) - began

    return once


def _remove(request: dict[str, Any]) -> Once:
    """A directory of many files removed by hand."""
    hand, seen = _Hand(request["container"]), Path(request["seen"] + "-by-hand")

    def once(content: bytes) -> float:
        hand.send(_archive((f"{request['path']}-by-hand/{name}", content) for name in _names()))
        _all_hold(seen, content)
        time.sleep(request["pause"])
        began = time.perf_counter()
        hand.send(b"", f"rm -r {request['path']}-by-hand")
        return _until(lambda: not seen.exists()) - began

    return once


def _delete(request: dict[str, Any]) -> Once:
    """A directory of many files removed here, from its being gone."""
    local, seen = Path(request["local"]), Path(request["seen"])

    def once(content: bytes) -> float:
        _write_all(local, content)
        _all_hold(seen, content)
        time.sleep(request["pause"])
        shutil.rmtree(local)
        began = time.perf_counter()
        return _until(lambda: not seen.exists()) - began

    return once


_MODES: dict[str, Callable[[dict[str, Any]], Once]] = {
    "save": _save,
    "exec": _by_hand,
    "command": _command,
    "put_archive": _put_archive,
    "kubectl_cp": _kubectl_cp,
    "tar": _tar,
    "rewrite": _rewrite,
    "rm": _remove,
    "delete": _delete,
}


def main() -> None:
    """Serve requests until standard input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        once = _MODES[request["mode"]](request)
        took = []
        for index in range(request["count"]):
            time.sleep(request.get("pause", 0.05))
            took.append(once(f"{request['mode']} {index} {time.time_ns()}\n".encode()))
        print(json.dumps(took), flush=True)


if __name__ == "__main__":
    main()
