"""Standing orders: keeps what runs equal to what is wanted.

One thread (`ipytilt-standing`) compares the newest wanted set of orders with the table of running ones, stops what is
gone and starts what is new; starting or stopping may take a moment, so the controller only hands the set over. File
watches go to the watcher as a whole, every other kind to the observer that serves it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import assert_never

from ipytilt.core import events as ev
from ipytilt.core.claims import Claim
from ipytilt.core.steps import Attach, Follow, Forward, ObserveCluster, ObservePods, Order, Serve, Watch
from ipytilt.engines.base import (
    ClaimSeen,
    ClusterSeen,
    ContainersSeen,
    EngineSeen,
    Fact,
    ForwardSeen,
    Observer,
    PodsFound,
    ProbeSeen,
    ServerSeen,
    Stop,
)
from ipytilt.errors import TiltError
from ipytilt.runtime.execute import Engines, info_of
from ipytilt.runtime.logs import ALL, Logs
from ipytilt.runtime.manifest import clock_ns


class Standing:
    """The table of running orders. `keep` may be called from any thread; the rest happens on one of its own."""

    def __init__(
        self,
        engines: Callable[[], Engines],
        set_watches: Callable[[Mapping[str, Watch], int], None],
        *,
        claims: Observer,
        post: Callable[[ev.Event], None],
        logs: Logs,
        clock: Callable[[], float],
    ) -> None:
        self._engines = engines
        self._set_watches = set_watches
        self._claims = claims
        self._post = post
        self._logs = logs
        self._clock = clock
        self._running: dict[Order, Stop] = {}
        self._lock = threading.Lock()
        self._wanted: frozenset[Order] = frozenset()
        self._since_ns: int | None = None  # of the oldest call with a new watch that is not carried out
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="ipytilt-standing", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def keep(self, wanted: frozenset[Order]) -> None:
        """These orders and no others; what changes from now on is noticed, however late this is served."""
        with self._lock:
            if any(isinstance(order, Watch) for order in wanted - self._wanted):
                self._since_ns = self._since_ns or clock_ns()
            self._wanted = wanted
        self._wake.set()

    def stop(self, deadline: float) -> tuple[str, ...]:
        """Stop all orders; waits until `deadline` (monotonic seconds). Returns the names of what is left."""
        self._stopping = True
        self._wake.set()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return (self._thread.name,) if self._thread.is_alive() else ()

    def _loop(self) -> None:
        while not self._stopping:
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                wanted, since_ns = self._wanted, self._since_ns or clock_ns()
                self._since_ns = None
            if not self._stopping:
                self._reconcile(wanted, since_ns)
        self._reconcile(frozenset(), clock_ns())

    def _reconcile(self, wanted: frozenset[Order], since_ns: int) -> None:
        watches = {order.name: order for order in wanted if isinstance(order, Watch)}
        self._set_watches(watches, since_ns)
        self._stop_all([o for o in self._running if o not in wanted])
        for order in sorted((o for o in wanted if o not in self._running and not isinstance(o, Watch)), key=_rank):
            if self._stopping:
                return
            self._begin(order)

    def _stop_all(self, gone: list[Order]) -> None:
        """Stop side by side: one that is slow must not keep the others up."""
        threads = [
            threading.Thread(target=self._running.pop(order), name="ipytilt-standing-stop", daemon=True)
            for order in gone
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _begin(self, order: Order) -> None:
        name = _log_name(order)
        try:
            self._running[order] = self._observer(order).start(
                order, self._fact, lambda text, level: self._logs.append(name, text, level=level, span=_span(order))
            )
        except TiltError as error:
            self._logs.append(name, error.render(), level="error")
        except Exception as error:  # noqa: BLE001 - one broken order must not end the others
            info = info_of(error)
            self._logs.append(name, f"{info.message}\n{info.trace}", level="error")

    def _observer(self, order: Order) -> Observer:
        if isinstance(order, Claim):
            return self._claims
        engines = self._engines()
        match order:
            case Serve():
                return engines.local
            case ObserveCluster() | ObservePods() | Forward():
                return engines.clusters
            case Follow(kind="kubernetes") | Attach(kind="kubernetes"):
                return engines.clusters
            case _:
                return engines.containers

    def _fact(self, fact: Fact) -> None:
        at = self._clock()
        fact = self._logs.without_secrets(fact)  # the state holds no more than the log shows
        match fact:
            case ClaimSeen():
                self._post(ev.ClaimChanged(fact.scope, fact.by, at))
            case EngineSeen():
                kind = "kubernetes" if fact.engine == "kubernetes" else "compose"
                self._post(ev.EngineChanged(kind, fact.problem, at))
            case ClusterSeen():
                self._post(ev.ClusterChanged(fact.cluster, at))
            case PodsFound():
                self._post(ev.PodsSeen(fact.resource, fact.pods, at))
            case ForwardSeen():
                self._post(ev.Forwarded(fact.resource, fact.port, fact.problem, at))
            case ContainersSeen():
                self._post(ev.RuntimeSeen(fact.resource, fact.containers, at))
            case ServerSeen():
                self._post(ev.ServerChanged(fact.resource, fact.after_run, fact.pid, fact.exit_code, fact.error, at))
            case ProbeSeen():
                self._post(ev.Probed(fact.resource, fact.after_run, fact.ready, at))
            case _:
                assert_never(fact)


def _rank(order: Order) -> int:
    """First what needs no connection; then sessions for live updates: somebody may be about to save."""
    return 0 if isinstance(order, Claim | Serve) else 1 if isinstance(order, Attach) else 2


def _log_name(order: Order) -> str:
    match order:
        case Serve():
            return order.resource.name
        case Follow() | Forward():
            return order.resource
        case ObservePods():
            return order.resource.name
        case _:
            return ALL


def _span(order: Order) -> str:
    match order:
        case Serve():
            return f"localserve:{order.after_run}"
        case Follow(kind="kubernetes"):
            return f"pod:{order.resource}"
        case Follow():
            return f"dc:{order.resource}"
        case ObservePods():
            return f"monitor:{order.resource.name}"
        case _:
            return ""
