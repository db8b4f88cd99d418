"""What the language costs: programs that mean the same in Starlark and in Python, run by both; and a large Tiltfile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.figures import Figure, Report
from ipytilt.core.events import Source
from ipytilt.starlark import Module, Thread, check
from ipytilt.tiltfile.load import load
from tests.support.dict_host import DictHost

COUNT = 15
RATIO = 3
GOAL_TILTFILE = 0.5
RESOURCES = 500

PROGRAMS = {
    "loops with arithmetic": """
def main():
    total = 0
    for i in range(100000):
        total = total + i * 3 % 7 - 1
    return total
""",
    "while loops": """
def main():
    n, steps = 27, 0
    while steps < 50000:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
        if n == 1:
            n = 27 + steps
    return steps
""",
    "function calls": """
def area(width, height):
    return width * height

def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

def main():
    total = 0
    for i in range(20000):
        total += area(i, 2)
    return total + fibonacci(17)
""",
    "building strings": """
def main():
    names = []
    for i in range(20000):
        name = "service-%d" % i
        names.append(name + ":" + str(i) + "/" + name.upper())
    return ",".join(names)
""",
    "list and dict comprehensions": """
def main():
    count = 0
    for turn in range(60):
        squares = [x * x for x in range(300) if x % 2 == 0]
        named = {"k%d" % x: x for x in squares}
        count += len(named) + len(squares)
    return count
""",
    "lists and dicts by index": """
def main():
    sums, flags = {}, [True] * 1000
    for i in range(30000):
        name = "k" + str(i % 100)
        sums[name] = sums.get(name, 0) + i
        flags[i % 1000] = flags[i % 999]
    total = 0
    for name, value in sums.items():
        total += value
    return total
""",
}

TILTFILE = f"""
def service(name, number):
    labels = ["team-%d" % (number % 7), "odd" if number % 2 else "even"]
    links = [link("http://localhost:%d/%s" % (8000 + number, path), path) for path in ["", "admin"]]
    local_resource(name, cmd=["make", name], deps=["src/%s/%d" % (name, i) for i in range(4)], labels=labels,
                   links=links, resource_deps=["s%d" % (number // 2)] if number > 1 else [],
                   env={{"PORT": str(8000 + number)}}, ignore=["**/*.o"])

for number in range({RESOURCES}):
    service("s%d" % number, number)
"""


def measure(report: Report) -> None:
    """Add the figures of this file."""
    for name, text in PROGRAMS.items():
        by_python, by_us = _python(text), _starlark(text)
        assert by_python() == by_us(), "both compute the same"
        python, ours = _timed(by_python, by_us)
        floor = report.add(Figure(f"Python: {name}", python))
        report.add(Figure(f"Starlark: {name}", ours, floor.name, ratio_goal=RATIO))
    (took,) = _timed(_tiltfile)
    report.add(Figure(f"a Tiltfile with {RESOURCES} resources made in loops", took, goal=GOAL_TILTFILE))


def _timed(*works: Callable[[], Any]) -> list[list[float]]:
    """Processor seconds of each, taken in turn, so that what else the machine does burdens all alike."""
    took: list[list[float]] = [[] for _ in works]
    for _ in range(COUNT):
        for work, samples in zip(works, took, strict=True):
            began = time.thread_time()
            work()
            samples.append(time.thread_time() - began)
    return took


def _python(text: str) -> Callable[[], Any]:
    namespace: dict[str, Any] = {}
    exec(text, namespace)  # noqa: S102 - our own text above
    main: Callable[[], Any] = namespace["main"]
    return main


def _starlark(text: str) -> Callable[[], Any]:
    module, thread = Module("benchmark", {}), Thread(max_steps=1 << 60)
    module.execute(check(text, "benchmark", predeclared=()), thread)
    return lambda: thread.call(module.globals["main"])


def _tiltfile() -> None:
    source = Source(key="Tiltfile", name="Tiltfile", base="/project", path="/project/Tiltfile")
    loaded = load([source], (), DictHost({"/project/Tiltfile": TILTFILE}))
    assert len(loaded.spec.resources) == RESOURCES
