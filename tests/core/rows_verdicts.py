"""Rows 174 to 186, as far as a verdict or the log is what they are about."""

from __future__ import annotations

from dataclasses import replace

from ipytilt.core.ci import Verdict, verdict
from ipytilt.core.settings import CISettings, Settings
from ipytilt.core.steps import Pod
from ipytilt.runtime.logs import Logs
from tests.core.rows import kubernetes, row
from tests.support.core import World, spec


def deployed(readiness: str = "wait", **settings: float) -> World:
    """A Kubernetes workload whose first update went well."""
    asked = spec(kubernetes("web", pod_readiness=readiness))
    world = World(replace(asked, settings=Settings(ci=CISettings(**settings))))
    world.finish("web")
    return world


def judged(world: World) -> Verdict:
    """The verdict now."""
    return verdict(world.state, since=100.0, now=world.now)


CRASHING = Pod("web-1", "default", "1", "Running", status="CrashLoopBackOff", problem="container web keeps crashing")


@row(174, better="a crash ends the run at once instead of after five minutes; with a grace period it may still recover")
def _() -> None:
    world = deployed()
    world.see_pods("web", CRASHING)
    assert judged(world).word == "failure"
    world = deployed(k8s_grace_period=60.0)
    world.see_pods("web", CRASHING)
    assert judged(world).word == "open"
    world.see_pods("web", replace(CRASHING, ready=True, problem=""))
    assert judged(world).word == "success"


@row(177)
def _() -> None:
    assert judged(deployed("ignore")).word == "success"
    assert judged(deployed()).word == "open"


@row(186, also=("tests/runtime/test_logs.py::test_secrets_are_replaced_from_here_on_and_in_what_is_there",))
def _() -> None:
    logs = Logs()
    logs.append("(Tiltfile)", "it is abcde, x")
    logs.redact({"abcde": "[redacted secret s:key]", "x": "[redacted secret s:other]"})
    assert [line.text for line in logs.since("(Tiltfile)", 0)[1]] == ["it is [redacted secret s:key], x"]
