"""Hands an image to its registry, and says what the daemon has, for clusters that run on it.

Runs on the worker thread of the update, with the credentials of the user's Docker configuration.
"""

from __future__ import annotations

from ipytilt.core.images import parse
from ipytilt.engines.base import Holdings, Work
from ipytilt.engines.docker.client import ENGINE, Daemon
from ipytilt.errors import Rejected

_POD_LABEL = "io.kubernetes.pod.uid"


def push(daemon: Daemon, local_ref: str, work: Work) -> None:
    """See `base.Publisher.push`."""
    reference, doing = parse(local_ref), f"pushing {local_ref}"
    work.log(f"Authenticating to image repo: {reference.familiar_name}\nSending image data")
    with daemon.api(doing) as api, work.on_cancel(api.close):
        for said in api.push(reference.familiar_name, tag=reference.tag, stream=True, decode=True):
            work.check()
            if problem := said.get("error"):
                hint = "is the registry there, and are you logged in? (docker login)"
                raise Rejected(problem, engine=ENGINE, doing=doing, hint=hint)
            if said.get("status") in ("Pushed", "Layer already exists"):
                work.log(f"  {said.get('id', '')}: {said['status']}")


def holdings(daemon: Daemon) -> Holdings:
    """See `base.Publisher.holdings`."""
    with daemon.api("looking at the daemon") as api:
        tags = (tag for image in api.images() for tag in image["RepoTags"] or ())
        found = api.containers(filters={"label": _POD_LABEL})
        return Holdings(daemon.version, frozenset(tags), frozenset(one["Labels"][_POD_LABEL] for one in found))
