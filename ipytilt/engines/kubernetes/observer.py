"""Watches clusters: whether they answer, the pods of what is deployed, what they write, ports that lead to them.

Each order has threads of its own, which post facts or logs until it is stopped. Lists of pods and events are shared
(`watching`); what was logged of containers and told of rollouts is remembered here, as orders come and go.
"""

from __future__ import annotations

import threading
import time
from urllib.parse import quote

from ipytilt.core.spec import KubeContext, Kubernetes
from ipytilt.core.steps import Attach, Cluster, Follow, Forward, ObserveCluster, ObservePods, Order, Pod
from ipytilt.engines.base import ClusterSeen, EngineSeen, Log, PodsFound, Post, Stop
from ipytilt.engines.kubernetes.client import ENGINE, Client, Clients, Document, Refused
from ipytilt.engines.kubernetes.cluster import look
from ipytilt.engines.kubernetes.forwarding import Forwarding
from ipytilt.engines.kubernetes.keeping import Keeper
from ipytilt.engines.kubernetes.logs import Following, Mark
from ipytilt.engines.kubernetes.names import place_of
from ipytilt.engines.kubernetes.owners import Belonging, Owners, belonging
from ipytilt.engines.kubernetes.pods import pod_of
from ipytilt.engines.kubernetes.rollout import Teller
from ipytilt.engines.kubernetes.watching import Watch, Watches
from ipytilt.engines.sessions import Sessions
from ipytilt.errors import EngineError, Unavailable

_HEALTH_SECONDS = 3.0  # between looks at an idle cluster
_HEALTH_ANSWER_SECONDS = 10.0
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 4.0
_OVER = ("Succeeded", "Failed")


class KubernetesObserver:
    """Implements `base.Observer`."""

    def __init__(self, clients: Clients, sessions: Sessions) -> None:
        self._clients = clients
        self._sessions = sessions
        self._started_at = time.time_ns()
        self._watches = Watches(clients, self._doubt)
        self._lock = threading.Lock()
        self._health: dict[KubeContext, ClusterObservation] = {}
        self._owners: dict[KubeContext, Owners] = {}
        self._tellers: dict[str, Teller] = {}
        self._marks: dict[tuple[str, str], Mark] = {}

    def start(self, order: Order, post: Post, log: Log) -> Stop:
        """See `base.Observer`."""
        match order:
            case ObserveCluster():
                return self._observe_cluster(order.context, post)
            case ObservePods():
                return self._observe_pods(order, post, log)
            case Follow():
                return self._follow(order, log)
            case Forward():
                return Forwarding(self._clients.of(order.context), order, post, log=log).start()
            case Attach():
                return self._sessions.attach(order.container_id, log)
            case _:
                raise TypeError(f"the Kubernetes engine does not keep orders such as {order}")

    def _observe_cluster(self, context: KubeContext, post: Post) -> Stop:
        observation = ClusterObservation(self._clients.of(context), post, self._watches)
        with self._lock:
            self._health[context] = observation
        return observation.start("ipytilt-cluster")

    def _doubt(self, context: KubeContext) -> None:
        with self._lock:
            observation = self._health.get(context)
        if observation is not None:
            observation.woken.set()

    def _observe_pods(self, order: ObservePods, post: Post, log: Log) -> Stop:
        target = order.resource.target
        if not isinstance(target, Kubernetes):
            raise TypeError(f"{order.resource.name} is not deployed to a cluster")
        client = self._clients.of(target.context)
        with self._lock:
            owners = self._owners.setdefault(target.context, Owners(client))
            teller = self._tellers.setdefault(order.resource.name, Teller(self._started_at))
        observation = PodsObservation(order, target, client, post=post, log=log, owners=owners, teller=teller)
        return observation.begin(self._watches)

    def _follow(self, order: Follow, log: Log) -> Stop:
        place = place_of(order.container_id)
        with self._lock:
            mark = self._marks.setdefault((place.uid, place.container), Mark())
        client = self._clients.of(place.context)
        following = Following(client, order, log, place=place, mark=mark, since=self._started_at)
        return following.start(f"ipytilt-follow-{place.pod}-{place.container}")


class ClusterObservation(Keeper):
    """One ObserveCluster order: asks again and again, and at once when somebody has reason to doubt."""

    def __init__(self, client: Client, post: Post, watches: Watches) -> None:
        super().__init__(first=_FIRST_DELAY, longest=_LONGEST_DELAY)
        self._client = client
        self._post = post
        self._watches = watches
        self._cluster: Cluster | None = None
        self._problem: str | None = None

    def turn(self) -> bool:
        """Look what answers, then see to it that it does."""
        cluster = look(self._client)
        if cluster != self._cluster:
            self._cluster = cluster
            self._post(ClusterSeen(cluster))
        if self._problem:
            self._watches.renew(self._client.context)
        self._tell("")
        self.recovered()
        while not self.stopped.is_set():
            self.woken.wait(_HEALTH_SECONDS)
            self.woken.clear()
            if not self.stopped.is_set():
                self._ask()
        return True

    def failed(self, problem: EngineError) -> bool:
        """Say so."""
        self._tell(problem.message if isinstance(problem, Unavailable) else f"{problem.doing}: {problem.message}")
        return False

    def _ask(self) -> None:
        try:
            self._client.call("GET", "/version", timeout=_HEALTH_ANSWER_SECONDS)
        except Refused:  # an answer all the same
            return

    def _tell(self, problem: str) -> None:
        if self._problem != problem:
            self._problem = problem
            self._post(EngineSeen(ENGINE, problem))


class PodsObservation(Keeper):
    """One ObservePods order: looks at the pods of its namespaces whenever they change."""

    def __init__(
        self,
        order: ObservePods,
        target: Kubernetes,
        client: Client,
        *,
        post: Post,
        log: Log,
        owners: Owners,
        teller: Teller,
    ) -> None:
        super().__init__(first=_FIRST_DELAY, longest=_LONGEST_DELAY)
        self._order = order
        self._target = target
        self._client = client
        self._post = post
        self._log = log
        self._owners = owners
        self._teller = teller
        self._uids = frozenset(ref.uid for ref in order.applied.objects if ref.uid)
        self._pods: list[Watch] = []
        self._events: list[Watch] = []
        self._mine: dict[str, Belonging] = {}
        self._posted: tuple[Pod, ...] | None = None
        self._said = ""

    def begin(self, watches: Watches) -> Stop:
        """Hold the watches it needs and start; what comes back ends and lets go of them."""
        context = self._target.context
        namespaces = {ref.namespace for ref in self._order.applied.objects if ref.namespace} or {context.namespace}
        releases = []
        for namespace in sorted(namespaces):
            for kind, kept in (("pods", self._pods), ("events", self._events)):
                watch, release = watches.hold(context, f"/api/v1/namespaces/{quote(namespace)}/{kind}", self.woken.set)
                kept.append(watch)
                releases.append(release)
        stop = self.start(f"ipytilt-pods-{self._order.resource.name}")

        def end() -> None:
            stop()
            for release in releases:
                release()

        return end

    def turn(self) -> bool:
        """Look, and again whenever there is news."""
        self._look()
        self.recovered()
        self.woken.wait()
        self.woken.clear()
        return self.stopped.is_set()

    def failed(self, problem: EngineError) -> bool:
        """The cluster's health says what is wrong; a bug of ours must be seen."""
        if type(problem) is EngineError and problem.message != self._said:
            self._said = problem.message
            self._log(problem.render(), "error")
        return False

    def _look(self) -> None:
        problem = next((watch.problem for watch in self._pods if watch.problem), "")
        if problem and problem != self._said:
            self._said = problem
            self._log(f"the pods of {self._order.resource.name} cannot be observed: {problem}", "warning")
        if not all(watch.listed for watch in self._pods):
            return
        documents = [document for watch in self._pods for document in watch.objects()]
        found = belonging(documents, self._target, self._order.applied, owners=self._owners)
        found = (*found, *self._kept(found))
        self._mine = {one.pod["metadata"]["uid"]: one for one in found}
        pods = tuple(sorted((pod_of(one.pod, self._target.context) for one in found), key=_age))
        if pods != self._posted:
            self._posted = pods
            self._post(PodsFound(self._order.resource.name, pods))
        for one in found:
            self._teller.pod(one.pod, self._client, self._log, applied_at=self._order.applied.at)
        events = [event for watch in self._events for event in watch.objects()]
        self._teller.events(events, self._is_mine, self._log)

    def _kept(self, found: tuple[Belonging, ...]) -> list[Belonging]:
        """Pods that were done and are gone, as long as nothing has come after them."""
        there = {one.pod["metadata"]["uid"] for one in found}
        ancestors = {one.ancestor for one in found}
        gone = [one for uid, one in self._mine.items() if uid not in there and one.ancestor not in ancestors]
        return [one for one in gone if (one.pod.get("status") or {}).get("phase") in _OVER]

    def _is_mine(self, about: Document) -> bool:
        uid = about.get("uid")
        return uid in self._mine or any(one.uid in self._uids for one in self._owners.chain_of(about, self._uids))


def _age(pod: Pod) -> tuple[str, str]:
    return pod.created_at, pod.name
