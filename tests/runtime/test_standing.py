"""Standing orders: what happens while they are being carried out is not missed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ipytilt.core import events as ev
from ipytilt.core.steps import Attach, Container, Order, Watch
from ipytilt.engines.base import ContainersSeen, EngineSeen, Fact, Log, Post, ServerSeen, Stop
from ipytilt.runtime.claims import Claims
from ipytilt.runtime.execute import Engines
from ipytilt.runtime.logs import Logs
from ipytilt.runtime.standing import Standing
from tests.support.waiting import eventually
from tests.support.watching import WITHIN, Eye, write

NO_CLAIMS = Claims("a test", place=str, quiet=bool)


def no_engines() -> Engines:
    raise AssertionError("only watches were ordered")


def test_a_file_saved_before_its_watch_is_set_is_noticed(tmp_path: Path, eye: Eye) -> None:
    gate, asked = threading.Event(), threading.Event()

    def set_late(watches: Mapping[str, Watch], since_ns: int) -> None:
        asked.set()
        assert gate.wait(WITHIN)
        eye.watcher.set_watches(watches, since_ns)

    standing = Standing(no_engines, set_late, claims=NO_CLAIMS, post=lambda _: None, logs=Logs(), clock=lambda: 0.0)
    standing.start()
    try:
        standing.keep(frozenset())
        assert asked.wait(WITHIN)
        orders: frozenset[Order] = frozenset({Watch("w", (str(tmp_path),))})
        standing.keep(orders)
        first = write(tmp_path / "first")
        standing.keep(orders | {Watch("v", (str(tmp_path),))})
        second = write(tmp_path / "second")
        gate.set()
        eye.sees(first, second)
    finally:
        gate.set()
        assert standing.stop(time.monotonic() + WITHIN) == ()


class SlowObserver:
    """Takes its time to begin; all else an engine has is not asked for."""

    def __init__(self) -> None:
        self.began, self.gate, self.ended = threading.Event(), threading.Event(), threading.Event()

    def start(self, *_: object) -> Callable[[], None]:
        self.began.set()
        assert self.gate.wait(WITHIN)
        return self.ended.set


FACTS: list[Fact] = [
    EngineSeen("docker", "no answer from tcp://user:hunter22@host"),
    ContainersSeen("api", (Container("hunter22", "api-1", "api", "exited", error="exec: hunter22: not found"),)),
    ServerSeen("srv", 7, error='"serve --token hunter22" failed to start'),
]


def test_no_secret_gets_into_the_state_with_what_the_world_says() -> None:
    class Telling:
        def start(self, order: Order, post: Post, log: Log) -> Stop:
            for fact in FACTS:
                post(fact)
            return lambda: None

    telling: Any = Telling()
    logs, posted = Logs(), list[ev.Event]()
    logs.redact({"hunter22": "[secret]"})
    standing = Standing(
        lambda: Engines(telling, lambda: (telling, telling)),
        lambda *_: None,
        claims=NO_CLAIMS,
        post=posted.append,
        logs=logs,
        clock=float,
    )
    standing.start()
    try:
        standing.keep(frozenset({Attach("container", "now")}))
        eventually(lambda: len(posted) == len(FACTS))
    finally:
        assert standing.stop(time.monotonic() + WITHIN) == ()
    engine, runtime, server = posted
    assert isinstance(engine, ev.EngineChanged)
    assert engine.problem == "no answer from tcp://user:[secret]@host"
    assert isinstance(runtime, ev.RuntimeSeen)
    assert runtime.containers[0].error == "exec: [secret]: not found"
    assert runtime.containers[0].id == "hunter22"  # what things are called is needed to reach them
    assert isinstance(server, ev.ServerChanged)
    assert server.error == '"serve --token [secret]" failed to start'


def test_an_order_that_begins_while_all_are_stopped_is_ended() -> None:
    slow: Any = SlowObserver()
    standing = Standing(
        lambda: Engines(slow, lambda: (slow, slow)),
        lambda *_: None,
        claims=NO_CLAIMS,
        post=lambda _: None,
        logs=Logs(),
        clock=float,
    )
    standing.start()
    standing.keep(frozenset({Attach("container", "now")}))
    assert slow.began.wait(WITHIN)
    assert standing.stop(time.monotonic()) == ("ipytilt-standing",)
    slow.gate.set()
    assert slow.ended.wait(WITHIN)
    assert standing.stop(time.monotonic() + WITHIN) == ()
