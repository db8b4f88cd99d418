"""Watches clusters: whether they answer, the pods of what is deployed, what they write, ports that lead to them.

Each order has threads of its own, which post facts or logs until it is stopped.
"""

from __future__ import annotations

from ipytilt.core.steps import Attach, Order
from ipytilt.engines.base import EngineSeen, Log, Post, Stop
from ipytilt.engines.kubernetes.client import ENGINE, Clients
from ipytilt.engines.sessions import Sessions


class KubernetesObserver:
    """Implements `base.Observer`."""

    def __init__(self, clients: Clients, sessions: Sessions) -> None:
        self._clients = clients
        self._sessions = sessions

    def start(self, order: Order, post: Post, log: Log) -> Stop:
        """See `base.Observer`."""
        match order:
            case Attach():
                return self._sessions.attach(order.container_id, log)
            case _:
                post(EngineSeen(ENGINE, "clusters are not observed yet"))
                return lambda: None
