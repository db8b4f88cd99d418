"""The door to the Kubernetes client: which cluster, its credentials, errors translated, JSON in and out.

Callable from any thread. One `Client` per context; it reads the kube config with the first request, and again when the
credentials are refused. Objects travel as plain maps: what a Tiltfile deploys is not limited to the kinds and fields
that the client library knows. The library is imported with the first request.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from ipytilt.core.spec import KubeContext
from ipytilt.errors import EngineError, Rejected, Unavailable

ENGINE = "kubernetes"
ANSWER_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_SHOWN = 500
_CONNECTIONS = 1000
_BUSY = (429, 500, 502, 503, 504)

Query = Sequence[tuple[str, str]]
Document = Mapping[str, Any]


class Refused(Rejected):
    """The API server refused a request.

    Attributes:
        status: the HTTP status, such as 404.
        reason: Kubernetes' word for it, such as "NotFound".
    """

    def __init__(self, message: str, *, status: int, reason: str = "", doing: str = "", hint: str = "") -> None:
        super().__init__(message, engine=ENGINE, doing=doing, hint=hint)
        self.status = status
        self.reason = reason


class Client:
    """Requests to the cluster of one context. All methods may be called from any thread."""

    def __init__(self, context: KubeContext) -> None:
        self.context = context
        self._lock = threading.Lock()
        self._api: Any = None

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: object = None,
        content_type: str = "application/json",
        timeout: float = ANSWER_SECONDS,
        doing: str = "",
    ) -> Any:
        """Ask, and return the answer (JSON); `timeout` in seconds.

        Raises Refused with the server's words, Unavailable when the cluster is away or takes no more credentials.
        """
        answer = self.open(
            method, path, query=query, body=body, content_type=content_type, timeout=timeout, doing=doing
        )
        with _translated(doing):
            try:
                data = answer.read()
            finally:
                answer.release_conn()
        return json.loads(data) if data else None

    def open(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: object = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        timeout: float | None = ANSWER_SECONDS,
        doing: str = "",
    ) -> Any:
        """Ask, and return the answer unread (`urllib3.BaseHTTPResponse`): a watch, or a log that goes on.

        `timeout` is the longest silence in seconds, `headers` are sent besides the usual ones. Whoever calls closes it.
        Raises as `call`.
        """
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = content_type
        for last in (False, True):
            api = self.api()
            with _translated(doing):
                answer = _request(api, method, path, query=query, body=body, headers=sent, timeout=timeout)
            if answer.status == 401 and not last:
                answer.release_conn()
                self.forget(api)
                continue
            if answer.status >= 400:
                raise _refusal(answer, doing, keep=headers is None)
            return answer
        raise AssertionError("unreachable")

    def api(self) -> Any:
        """The library's client (`kubernetes.client.ApiClient`) with what the kube config says now.

        Raises Rejected if the kube config has no such context or cannot be read.
        """
        with self._lock:
            if self._api is None:
                self._api = self._connect()
            return self._api

    def forget(self, api: Any) -> None:
        """Read the kube config anew for the next request."""
        with self._lock:
            if self._api is api:
                self._api = None

    def close(self) -> None:
        """Let go of idle connections."""
        with self._lock:
            api, self._api = self._api, None
        if api is not None:
            api.rest_client.pool_manager.clear()
            api.close()

    def _connect(self) -> Any:
        from kubernetes.config import ConfigException, new_client_from_config

        context = self.context
        try:
            config = context.config or os.environ.get("KUBECONFIG") or None
            api = new_client_from_config(  # type: ignore[no-untyped-call]
                config_file=config, context=context.name or None, persist_config=False
            )
            # Every watch and log has a connection; when more come back than are kept, the library says so aloud.
            api.rest_client.pool_manager.connection_pool_kw["maxsize"] = _CONNECTIONS
            return api
        except (ConfigException, OSError, ValueError) as problem:
            doing = f"reading the kube config for context {context.name or '(current)'}"
            hint = "look at it with: kubectl config view"
            raise Rejected(str(problem), engine=ENGINE, doing=doing, hint=hint) from problem


def _request(
    api: Any, method: str, path: str, *, query: Query, body: object, headers: Mapping[str, str], timeout: float | None
) -> Any:
    """Ask; what only looks is asked a second time if the server had closed the connection that was kept."""
    from http.client import RemoteDisconnected

    from urllib3 import Timeout
    from urllib3.exceptions import ProtocolError

    headers = {"Accept": "application/json", "User-Agent": "ipytilt", **headers}
    for setting in api.configuration.auth_settings().values():
        headers[setting["key"]] = setting["value"]
    url = f"{api.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
    for last in (False, True):
        try:
            return api.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                timeout=Timeout(connect=_CONNECT_SECONDS, read=timeout),
                preload_content=False,
                retries=False,
                redirect=False,
            )
        except ProtocolError as problem:
            if last or method != "GET" or not isinstance(problem.args[-1], RemoteDisconnected):
                raise
    raise AssertionError("unreachable")


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Raise our errors instead of those of the libraries below."""
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (HTTPError, OSError) as problem:
        hint = "is the cluster running? It is tried again by itself"
        raise Unavailable(
            f"the cluster does not answer: {innermost(problem)}", engine=ENGINE, doing=doing, hint=hint
        ) from problem


def innermost(problem: BaseException) -> str:
    """The words of the system below all wrappers, such as "Connection refused"."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(problem)


def _refusal(answer: Any, doing: str, *, keep: bool) -> EngineError:
    """What a refusal means; its connection is kept unless it was to become another protocol's."""
    try:
        body = answer.read()
    finally:
        answer.release_conn() if keep else answer.close()
    try:
        said = json.loads(body)
    except ValueError:  # nodes answer in plain text
        said = {"message": body.decode(errors="replace").strip()[:_SHOWN]}
    if not isinstance(said, dict):
        said = {}
    message = str(said.get("message") or f"HTTP status {answer.status}")
    if answer.status == 401:
        text = f"the cluster does not accept the credentials of the kube config: {message}"
        return Unavailable(text, engine=ENGINE, doing=doing, hint="log in again; it is tried again by itself")
    if answer.status in _BUSY:
        return Unavailable(message, engine=ENGINE, doing=doing)
    return Refused(message, status=answer.status, reason=str(said.get("reason") or ""), doing=doing)


class Clients:
    """One client per context. Callable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[KubeContext, Client] = {}

    def of(self, context: KubeContext) -> Client:
        """The client of that context."""
        with self._lock:
            return self._clients.setdefault(context, Client(context))

    def close(self) -> None:
        """Let go of all connections."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()
