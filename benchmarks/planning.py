"""What one changed file costs the controller: one event reduced, one plan made, with few and with many resources."""

from __future__ import annotations

import time

from benchmarks.figures import Figure, Report
from ipytilt.core.events import FilesChanged
from ipytilt.core.plan import plan
from ipytilt.core.reduce import reduce
from ipytilt.core.reduce_run import planned
from ipytilt.core.state import image_watch
from tests.support.core import World, image, rules, service, spec

COUNT = 200


def measure(report: Report) -> None:
    """Add the figures of this file."""
    floor = report.add(Figure("planning a change, 10 resources", _once(10)))
    report.add(Figure("planning a change, 1,000 resources", _once(1_000), floor.name, goal=0.003, ratio_goal=2))


def _once(count: int) -> list[float]:
    names = [f"r{number}" for number in range(count)]
    images = [image(name, name, live=rules((name, "/app"))) for name in names]
    world = World(spec(*(service(name, name) for name in names), images=images))
    while world.started:
        world.finish(next(iter(world.started.values())).resource)
    took = []
    for number in range(COUNT):
        name = names[number % count]
        began = time.perf_counter()
        state = reduce(world.state, FilesChanged(image_watch(name), (f"/p/{name}/file",), world.now))
        state = planned(state, plan(state, world.now), world.now)
        took.append(time.perf_counter() - began)
        assert state.running(name), "the change was planned"
    return took
