"""The door to the Docker SDK: which daemon, one client per task, errors translated, answers as our values.

Callable from any thread. A client is made for each task and closed with it, because the SDK's clients are not safe to
share between threads; making one costs half a millisecond. The SDK is imported with the first connection.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ipytilt.core.steps import Container
from ipytilt.errors import Broke, EngineError, Unavailable, refusal

ENGINE = "docker"
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
_ONE_OFF_LABEL = "com.docker.compose.oneoff=False"
PULSE_SECONDS = 3.0
"""A daemon that has been silent for so long is asked whether it still answers."""
_ANSWER_SECONDS = 60.0
EXEC_SECONDS = 8.0
"""A daemon that is there has begun to run a program in a container by then."""
_FIRST_ANSWER_SECONDS = 10.0  # of what may turn out to be stopped, or no daemon at all
_PULSE_ANSWER_SECONDS = 4.0
_GONE = re.compile(r"(?i)no such (container|exec)|no container with name or id|is (not running|restarting|paused)")
_GONE_STATES = frozenset({"exited", "dead", "removing"})


@dataclass(frozen=True, slots=True)
class Daemon:
    """A Docker daemon, or Podman behind Docker's interface, that has answered once.

    Attributes:
        environ: what a child process needs in its environment to reach the same daemon.
        version: what the daemon says it is.
        api_version: the newest version of its interface that the SDK speaks.
        arch: what it runs on, such as "amd64".
        is_podman: it is Podman: no BuildKit.
    """

    environ: Mapping[str, str]
    version: str
    api_version: str
    is_podman: bool
    arch: str = ""

    @property
    def host(self) -> str:
        """The daemon's address."""
        return str(_settings(self.environ).get("base_url") or "unix:///var/run/docker.sock")

    @contextmanager
    def api(self, doing: str = "", *, timeout: float | None = _ANSWER_SECONDS) -> Iterator[Any]:
        """A client for this block (`docker.APIClient`); `timeout` is for each answer, in seconds.

        Raises Unavailable, Broke (no such container, or it is not running) or Rejected instead of the SDK's errors.
        """
        with translated(doing):
            client = self._client(timeout)
            try:
                yield client
            finally:
                client.close()

    def stream(self, path: str, *, params: Mapping[str, str], timeout: float | None) -> Connection:
        """A GET whose answer goes on and on; `timeout` is the longest silence, in seconds."""
        connection = self._open("GET", path, params=params, timeout=timeout and _FIRST_ANSWER_SECONDS)
        connection.socket.settimeout(timeout)
        return connection

    def check(self) -> None:
        """Raise Unavailable unless the daemon answers now: a stopped one still takes connections, and says nothing."""
        with self.api(timeout=_PULSE_ANSWER_SECONDS) as api:
            api.ping()

    def upload(self, path: str, *, params: Mapping[str, Any], data: Iterator[bytes]) -> Connection:
        """A POST of an archive, with the user's registry credentials, whose answer goes on for long."""
        with self.api() as api:
            headers = {"Content-Type": "application/tar"}
            api._set_auth_headers(headers)  # noqa: SLF001 - what the SDK's own build sends
        return self._open("POST", path, params=params, data=data, headers=headers, timeout=None)

    def hijack(self, path: str, body: Mapping[str, object]) -> Connection:
        """A POST after which the connection belongs to the program at the other end."""
        headers = {"Content-Type": "application/json", "Connection": "Upgrade", "Upgrade": "tcp"}
        return self._open("POST", path, data=json.dumps(body), headers=headers, timeout=EXEC_SECONDS)

    def inspect(self, container_id: str) -> Container:
        """The container as it is now. Raises Broke if there is none."""
        with self.api() as api:
            return container_of(api.inspect_container(container_id))

    def containers(self, project: str) -> list[Container]:
        """All containers of a Compose project, running or not, except those of `docker compose run`."""
        found = []
        with self.api() as api:
            labels = [f"{PROJECT_LABEL}={project}", _ONE_OFF_LABEL]
            for listed in api.containers(all=True, filters={"label": labels}):
                with suppress(Broke), translated(""):  # gone since it was listed
                    found.append(container_of(api.inspect_container(listed["Id"])))
        return found

    def _client(self, timeout: float | None) -> Any:
        import docker

        settings = _settings(self.environ)
        _knock(settings)
        return docker.APIClient(version=self.api_version, timeout=timeout, **settings)

    def _open(self, method: str, path: str, **request: Any) -> Connection:
        with translated(""):
            api = self._client(_ANSWER_SECONDS)
            try:
                url = f"{api.base_url}/v{api.api_version}{path}"
                response = api.request(method, url, stream=True, **request)
                api._raise_for_status(response)  # noqa: SLF001 - the SDK's own errors, as from its other calls
                return Connection(api, response)
            except BaseException:
                api.close()
                raise


class Connection:
    """An answer that is still being written. Used by one thread; only `abort` may come from another.

    Attributes:
        socket: what the answer comes through.
        head: what arrived together with the answer's headers; only to be asked for after `hijack`.
    """

    def __init__(self, api: Any, response: Any) -> None:
        self._api = api
        self._response = response
        self._reader = response.raw._fp.fp  # noqa: SLF001 - the SDK reaches for it in the same way
        raw = getattr(self._reader, "raw", self._reader)
        self.socket: socket.socket = getattr(raw, "_sock", raw)

    def early_bytes(self) -> bytes:
        """What was read together with the headers of the answer; makes the socket non-blocking."""
        self.socket.setblocking(False)
        try:
            return bytes(self._reader.peek())
        except OSError:  # TLS has nothing ready
            return b""

    def __iter__(self) -> Iterator[bytes]:
        """The answer's chunks. Raises Unavailable when the connection is lost or silent for too long."""
        with translated(""):
            yield from self._response.iter_content(None)

    def abort(self) -> None:
        """Let whoever reads see the end now. Does not block."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back."""
        self._response.close()
        self._api.close()


def find_daemon(environ: Mapping[str, str]) -> Daemon:
    """The daemon that the docker command line would use under `environ`, else one of this user, Podman included.

    Raises Unavailable saying where was looked and what was wrong there.
    """
    problems: list[str] = []
    for host in _candidates(environ):
        try:
            return _reached({**environ, "DOCKER_HOST": host} if host else dict(environ))
        except Unavailable as problem:
            asked = host or environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT") or "the default socket"
            problems.append(f"{asked}: {problem.message}")
    hint = "start Docker, or set DOCKER_HOST to where it listens"
    raise Unavailable("\n".join(problems), engine=ENGINE, doing="connecting to Docker", hint=hint)


def container_of(inspected: Mapping[str, Any]) -> Container:
    """Our value for what the daemon says of a container."""
    state = inspected["State"]
    word = state["Status"].replace("stopped", "exited")  # Podman, until it has tidied up
    bindings = (inspected.get("NetworkSettings") or {}).get("Ports") or {}
    ports = {int(binding["HostPort"]) for found in bindings.values() for binding in found or () if binding["HostPort"]}
    return Container(
        id=inspected["Id"],
        name=inspected["Name"].lstrip("/"),
        service=(inspected["Config"].get("Labels") or {}).get(SERVICE_LABEL, ""),
        state=word,
        image=inspected["Image"],
        started_at=state["StartedAt"],
        exit_code=state["ExitCode"] if word in _GONE_STATES else None,
        health=(state.get("Health") or {}).get("Status", ""),
        error=state.get("Error", ""),
        ports=tuple(sorted(ports)),
    )


def unframed(buffer: bytes) -> tuple[list[bytes], bytes]:
    """Split Docker's stream format: the contents of the whole frames of both streams, and the unread rest."""
    contents = []
    position = 0
    while len(buffer) >= position + 8:
        end = position + 8 + int.from_bytes(buffer[position + 4 : position + 8], "big")
        if len(buffer) < end:
            break
        contents.append(buffer[position + 8 : end])
        position = end
    return contents, buffer[position:]


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise our errors instead of those of the SDK and what is below it."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except APIError as problem:
        raise _refusal(problem, doing) from problem
    except (RequestException, DockerException, HTTPError, OSError) as problem:
        hint = "is Docker running? It is tried again by itself"
        raise Unavailable(_innermost(problem), engine=ENGINE, doing=doing, hint=hint) from problem


def _refusal(problem: Any, doing: str) -> EngineError:
    text = str(problem.explanation or problem)
    if problem.status_code == 503:
        return Unavailable(text, engine=ENGINE, doing=doing)
    if _GONE.search(text):
        return Broke(text, engine=ENGINE, doing=doing)
    return refusal(text, engine=ENGINE, doing=doing)


def _innermost(problem: BaseException) -> str:
    """The words of the system below all wrappers, such as "No such file or directory"."""
    from requests.exceptions import Timeout

    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, Timeout):
            return "the Docker daemon does not answer: it is there, but silent"
        if isinstance(cause, OSError) and cause.strerror:
            return f"the Docker daemon does not answer: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return f"the Docker daemon does not answer: {problem}"


def _candidates(environ: Mapping[str, str]) -> Sequence[str]:
    """Addresses to try; "" is what the command line would use."""
    if environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT"):
        return [""]
    folder = environ.get("XDG_RUNTIME_DIR", "")
    sockets = [f"{folder}/docker.sock", f"{folder}/podman/podman.sock"] if folder else []
    return ["", *(f"unix://{path}" for path in [*sockets, "/run/podman/podman.sock"] if os.path.exists(path))]


def _reached(environ: Mapping[str, str]) -> Daemon:
    import docker

    with translated(""):
        _knock(_settings(environ))
        with docker.from_env(environment=environ, timeout=_FIRST_ANSWER_SECONDS).api as api:
            said = api.version()
            components = [component.get("Name", "") for component in said.get("Components") or ()]
            is_podman = "Podman Engine" in components
            return Daemon(environ, said["Version"], api.api_version, is_podman, str(said.get("Arch") or ""))


def _knock(settings: Mapping[str, Any]) -> None:
    """Raise OSError if a Unix socket does not answer; the SDK would leave a socket open in that case."""
    kind, _, path = str(settings.get("base_url", "unix:///var/run/docker.sock")).partition("://")
    if kind in {"unix", "http+unix"}:
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.connect(path)


def _settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """`base_url` and `tls` for the SDK, as its `from_env` works them out."""
    from docker.context import ContextAPI
    from docker.utils import kwargs_from_env

    settings = kwargs_from_env(environment=environ)
    return settings if "base_url" in settings else {**ContextAPI.kwargs_from_context(environment=environ), **settings}


def seconds_of(stamp: str) -> float:
    """Seconds since the epoch; 0 for what is no time."""
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0
