"""Hands an image to its registry.

Runs on the worker thread of the update, with the credentials of the user's Docker configuration.
"""

from __future__ import annotations

from ipytilt.core.images import parse
from ipytilt.engines.base import Work
from ipytilt.engines.docker.client import ENGINE, Daemon
from ipytilt.errors import Rejected


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
