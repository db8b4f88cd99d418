"""A resource in a real cluster, observed as a session would: the core says what is to be kept going, and it is.

Standing orders come from the state, facts go into it; kubectl deploys. The orders run on threads of their own, and the
state is guarded by a lock. A `Door` stands between the engine and the API server, so that a test can shut it.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlparse

from ipytilt.core import events as ev
from ipytilt.core.orders import orders
from ipytilt.core.reduce import reduce
from ipytilt.core.spec import KubeContext, Kubernetes, PortForward, Resource
from ipytilt.core.state import Track
from ipytilt.core.status import Status, runtime_status
from ipytilt.core.steps import Applied, ObjectRef, Pod
from ipytilt.engines.kubernetes.client import Clients
from ipytilt.engines.kubernetes.containers import PodContainers
from ipytilt.engines.kubernetes.observer import KubernetesObserver
from ipytilt.runtime.claims import Claims
from ipytilt.runtime.execute import Engines
from ipytilt.runtime.logs import Line, Logs
from ipytilt.runtime.standing import Standing
from tests.support.cluster import KubernetesCluster
from tests.support.core import World, spec
from tests.support.waiting import eventually
from tools.rig import images

WITHIN = 90.0
_STOP_SECONDS = 10.0


class Door:
    """A TCP relay on this machine; shut, it refuses connections and cuts those that it carries."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]

    def open(self) -> None:
        """Let connections through again."""
        self._listener = self._listen(self.port)

    def shut(self) -> None:
        """Let nothing through any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """End the connections there are."""
        with self._lock:
            ends = list(self._open)
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._to)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open |= {near, far}
            left = [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(*pair, left), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, left: list[socket.socket]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            left.remove(source)
            if not left:  # the other direction has ended as well
                self._open -= {source, target}
                source.close()
                target.close()


class Observed:
    """The resource `web` in a namespace of its own, and what is known of it."""

    def __init__(self, cluster: KubernetesCluster, context: KubeContext, **target: Any) -> None:
        self.cluster = cluster
        self.namespace = context.namespace
        self.target = Kubernetes(context=context, **target)
        self.logs = Logs()
        self.world = World(spec(Resource("web", self.target)))
        self.health: list[str] = []
        self._lock = threading.Lock()
        self._clients = Clients()
        observer = KubernetesObserver(self._clients, PodContainers(self._clients).sessions)
        engines = cast("Engines", type("OneEngine", (), {"clusters": observer}))
        self._standing = Standing(
            lambda: engines,
            lambda _watches, _since: None,
            claims=Claims("a test", place=str, quiet=bool),
            post=self._post,
            logs=self.logs,
            clock=time.time,
        )
        self._standing.start()

    def kubectl(self, *words: str, data: str = "") -> str:
        """What kubectl prints, in the namespace."""
        return self.cluster.kubectl(f"--namespace={self.namespace}", *words, data=data)

    def pod(self, name: str, container: Mapping[str, Any], **spec: Any) -> None:
        """Make a pod by hand, with the labels that those of the resource have."""
        usual = {"name": "web", "image": images.BASE, "imagePullPolicy": "IfNotPresent"}
        fields = {"terminationGracePeriodSeconds": 1, "containers": [{**usual, **container}], **spec}
        metadata = {"name": name, "labels": {"app": "web"}}
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": fields}
        self.kubectl("apply", "--filename=-", data=json.dumps(document))

    def deploy(self, kind: str, containers: Mapping[str, Any], **pod: Any) -> None:
        """Apply an object with a pod template: containers by name with their fields, `pod` for fields of its spec."""
        at = time.time()
        usual = {"image": images.BASE, "imagePullPolicy": "IfNotPresent"}
        made = [{"name": name, **usual, **fields} for name, fields in containers.items()]
        template = {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": made, **pod},
        }
        self._applied(_object(kind, template), at)

    def update(self, pods: Mapping[str, Any]) -> None:
        """Change the spec of the deployment's pods, as a new deploy would."""
        at = time.time()
        document = json.loads(self.kubectl("get", "deployment", "web", "--output=json"))
        document["spec"]["template"]["spec"].update(pods)
        self._applied(document, at)

    def _applied(self, document: Mapping[str, Any], at: float) -> None:
        with self._lock:
            if not self.world.started:
                self.world.trigger("web")
        found = json.loads(self.kubectl("apply", "--filename=-", "--output=json", data=json.dumps(document)))
        version, kind, metadata = found["apiVersion"], found["kind"], found["metadata"]
        ref = ObjectRef(version, kind, metadata["name"], metadata["namespace"], metadata["uid"])
        with self._lock:
            self.world.finish("web", ev.Ok(applied=(Applied("web", objects=(ref,), at=at),)))
            self._keep()

    def track(self) -> Track:
        """What the core knows."""
        with self._lock:
            return self.world.track("web")

    def pods(self) -> tuple[Pod, ...]:
        """The pods that belong to it."""
        return self.track().pods

    def status(self) -> Status:
        """How it does, in the words of every view."""
        with self._lock:
            resource = self.world.state.spec.resource("web")
            assert resource is not None
            return runtime_status(self.world.state, resource)

    def said(self) -> list[Line]:
        """Its log."""
        return self.logs.since("web", 0)[1]

    def lines(self) -> list[str]:
        """The texts of its log."""
        return [line.text for line in self.said()]

    def reaches(self, word: str, within: float = WITHIN) -> Status:
        """Wait for the status."""

        def reached() -> Status:
            found = self.status()
            assert found.word == word, f"{found}; {self.pods()}; {self.lines()}"
            return found

        return eventually(reached, timeout=within)

    def says(self, text: str, times: int = 1) -> str:
        """Wait for lines of the log that contain the text; returns the newest."""

        def said() -> str:
            found = [line for line in self.lines() if text in line]
            assert len(found) >= times, f"{text!r} is not {times} times in {self.lines()}"
            return found[-1]

        return eventually(said, timeout=WITHIN)

    def close(self) -> None:
        """End everything that is kept going."""
        left = self._standing.stop(time.monotonic() + _STOP_SECONDS)
        self._clients.close()
        assert left == ()

    def _post(self, event: ev.Event) -> None:
        with self._lock:
            if isinstance(event, ev.EngineChanged):
                self.health.append(event.problem)
            self.world.state = reduce(self.world.state, event)
            self._keep()

    def _keep(self) -> None:
        self._standing.keep(orders(self.world.state))


@contextmanager
def observed(cluster: KubernetesCluster, **target: Any) -> Iterator[Observed]:
    """A resource with these fields in its target, ended in the end."""
    context = KubeContext(cluster.context, cluster.namespace(), str(cluster.kubeconfig))
    found = Observed(cluster, context, **target)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def behind_a_door(cluster: KubernetesCluster, folder: Path, **target: Any) -> Iterator[tuple[Observed, Door]]:
    """As `observed`, with a door between the engine and the cluster."""
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--output=json"))
    place = config["clusters"][0]["cluster"]
    server = urlparse(place["server"])
    door = Door(server.hostname or "", server.port or 443)
    place.update({"server": f"https://127.0.0.1:{door.port}", "tls-server-name": server.hostname})
    path = folder / "kubeconfig-behind-a-door"
    path.write_text(json.dumps(config))
    found = Observed(cluster, KubeContext(cluster.context, cluster.namespace(), str(path)), **target)
    try:
        yield found, door
    finally:
        found.close()
        door.shut()


def forward(container: int = 8080) -> PortForward:
    """A forward from a port of this machine that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return PortForward(probe.getsockname()[1], container)


def _object(kind: str, template: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": "web"}
    match kind:
        case "Deployment":
            fields = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
            return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": fields}
        case "Job":
            return {"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": {"template": template}}
        case _:
            return {
                "apiVersion": "v1",
                "kind": kind,
                "metadata": {**metadata, **template["metadata"]},
                "spec": template["spec"],
            }
