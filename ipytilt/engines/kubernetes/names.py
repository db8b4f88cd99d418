"""What a container of a pod is called outside of its cluster: an id that leads back to it.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from ipytilt.core.spec import KubeContext


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container is: cluster, namespace, pod (and which of that name), container (and which run of it)."""

    context: KubeContext
    namespace: str
    pod: str
    uid: str
    container: str
    run: str

    @property
    def id(self) -> str:
        """A `Container.id`: every part in its place, whatever is in it."""
        of, place = self.context, (self.namespace, self.pod, self.uid, self.container, self.run)
        return "\n".join((of.name, of.namespace, of.config, *place))


def place_of(container_id: str) -> Place:
    """The place a `Container.id` leads to."""
    name, default, config, namespace, pod, uid, container, run = container_id.split("\n")
    return Place(KubeContext(name, default, config), namespace, pod, uid, container, run)
