"""The session: wires controller, workers, watcher and standing orders together, and is the façade everybody calls.

One per kernel (or script). Making one starts nothing; `start` starts the threads, `stop` ends everything within two
seconds and names what is left. All methods may be called from any thread: those that ask for something only post an
event, those that wait look at the store.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ipytilt.core import events as ev
from ipytilt.core import explain as answers
from ipytilt.core import status
from ipytilt.core.plan import LoadTiltfile
from ipytilt.core.spec import Resource, Spec
from ipytilt.core.state import TILTFILE, State
from ipytilt.core.steps import Watch
from ipytilt.engines.base import Work
from ipytilt.errors import Cancelled, Reported, TiltError, UsageError
from ipytilt.runtime.controller import Controller
from ipytilt.runtime.execute import Engines
from ipytilt.runtime.logs import ALL, LIMIT_BYTES, Logs
from ipytilt.runtime.standing import Standing
from ipytilt.runtime.store import Store
from ipytilt.runtime.workers import Workers

if TYPE_CHECKING:
    from ipytilt.runtime.watcher import Watcher

STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Config:
    """How a session is set up.

    `engine`: "auto" (Docker when a daemon answers, else the sandbox), "docker" or "sandbox". `directory`: where
    relative paths of cells start. `log_bytes`: kept per resource.
    """

    engine: str = "auto"
    directory: str = field(default_factory=os.getcwd)
    log_bytes: int = LIMIT_BYTES


class Session:
    """A dev loop. `repr` says what it is doing."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        epoch = time.time() - time.monotonic()
        self.clock: Callable[[], float] = lambda: epoch + time.monotonic()  # steady, and reads as wall-clock time
        self.logs = Logs(self.config.log_bytes)
        self.store: Store[State] = Store(State())
        self._tickets = itertools.count(1)
        self._lock = threading.Lock()
        self._connecting = threading.Lock()  # its own: a daemon may take its time
        self._engines: Engines | None = None
        self._running = False
        self._stopped = False
        self._workers = Workers(
            self.engines,
            self._evaluate,
            logs=self.logs,
            clock=self.clock,
            settle=self._settle,
            directory=self.config.directory,
        )
        self._standing = Standing(self.engines, self._set_watches, post=self.post, logs=self.logs, clock=self.clock)
        self._controller = Controller(self.store, self._workers, self._standing, clock=self.clock)
        self._watcher: Watcher | None = None

    def __repr__(self) -> str:
        return (
            f"<Session {'stopped' if self._stopped else 'running' if self._running else 'idle'} {self.store.current!r}>"
        )

    # ------------------------------------------------------------------------------------------ life

    def start(self) -> None:
        """Start the threads, once; raises TiltError after `stop`."""
        with self._lock:
            if self._stopped:
                raise self._over()
            if self._running:
                return
            self._running = True
            from ipytilt.runtime.watcher import Watcher

            self._watcher = Watcher(self._files_changed, self._watch_troubled)
        self._controller.start()
        self._standing.start()

    @property
    def started(self) -> bool:
        """Its threads run, or have run."""
        return self._running

    def stop(self) -> tuple[str, ...]:
        """End everything that must not outlive the kernel; containers stay. Returns the names of what did not end."""
        with self._lock:
            if self._stopped:
                return ()
            self._stopped = True
        deadline = time.monotonic() + STOP_SECONDS
        left: list[str] = []
        if self._running:
            left += self._controller.stop(deadline)
            left += self._workers.stop(deadline - STOP_SECONDS / 2)
            left += self._standing.stop(deadline)
        if self._watcher is not None:
            self._watcher.stop()
        if self._engines is not None:  # somebody may have asked for them before anything was started
            self._engines.containers.close()
        from ipytilt import processes

        left += processes.stop_all(max(0.1, deadline - time.monotonic()))
        self.store.close()
        return tuple(left)

    def engines(self) -> Engines:
        """The engines, connected on first use; blocks, so only for worker threads and for people who ask."""
        with self._connecting:
            if self._engines is None:
                from ipytilt.engines.choose import choose
                from ipytilt.engines.local import LocalEngine

                containers, note = choose(self.config.engine, os.environ)
                with self._lock:
                    if self._stopped:
                        containers.close()
                        raise self._over()
                    self._engines = Engines(containers, LocalEngine())
                self.logs.append(ALL, note)
            return self._engines

    @property
    def engine_line(self) -> str:
        """What the session runs on, for people; "" until it was needed."""
        return self._engines.containers.describe() if self._engines else ""

    # ------------------------------------------------------------------------------------------ asking for things

    def post(self, event: ev.Event) -> None:
        """Tell the controller that something happened."""
        self._controller.post(event)

    def put(self, source: ev.Source) -> int:
        """Evaluate with this source in the place of the one with the same key; returns a ticket to wait for."""
        self.start()
        ticket = next(self._tickets)
        self.post(ev.SourcePut(source, ticket, self.clock()))
        return ticket

    def remove_source(self, key: str) -> int:
        """Evaluate without that source (all of them for ""); returns a ticket."""
        self.start()
        ticket = next(self._tickets)
        self.post(ev.SourceRemoved(key, ticket, self.clock()))
        return ticket

    def set_args(self, args: tuple[str, ...]) -> int:
        """Evaluate with other Tiltfile arguments; returns a ticket."""
        self.start()
        ticket = next(self._tickets)
        self.post(ev.ArgsChanged(args, ticket, self.clock()))
        return ticket

    def trigger(self, name: str, by: str = "Web Trigger") -> None:
        """Ask for an update. Raises UsageError for an unknown or disabled resource."""
        self._check_active(name)
        self.post(ev.Triggered(name, by, self.clock()))

    def stop_update(self, name: str) -> None:
        """Cancel the running update of a resource, or the evaluation of the Tiltfile ("(Tiltfile)")."""
        if name != TILTFILE:
            self.resource(name)
        self.post(ev.CancelRequested(name, self.clock()))

    def enable(self, names: tuple[str, ...], *, on: bool) -> None:
        """Switch resources on or off."""
        for name in names:
            self.resource(name)
        self.post(ev.Enabled(names, on, self.clock()))

    def down(self) -> None:
        """Take down everything that was deployed."""
        self.start()
        self.post(ev.DownRequested(self.clock()))

    # ------------------------------------------------------------------------------------------ looking and waiting

    @property
    def state(self) -> State:
        """The newest snapshot."""
        return self.store.current

    def resource(self, name: str) -> Resource:
        """The resource of that name. Raises UsageError naming the known ones."""
        found = self.state.spec.resource(name)
        if found is None:
            known = ", ".join(r.name for r in self.state.spec.resources)
            hint = f"one of: {known}" if known else "define resources in a %%tiltfile cell, or %tilt up"
            raise UsageError(f"There is no resource {name!r}", hint=hint)
        return found

    def wait_loaded(self, ticket: int, timeout: float | None = None) -> State:
        """Wait until the load asked for with `ticket` is over; raises its error, shown as it was there.

        An interrupt of the wait ends the evaluation as well, and is raised as `Cancelled`.
        """
        try:
            state = self._wait(lambda s: s.load.finished >= ticket, timeout, "the Tiltfile to be evaluated")
        except KeyboardInterrupt:
            self.stop_update(TILTFILE)
            raise Cancelled(
                "Stopped evaluating the Tiltfile; what was good before stays in force", hint="run the cell again"
            ) from None
        if state.load.error is not None:
            error = state.load.error
            raise Reported(error.message, text=error.text, hint=error.hint, where=error.where)
        return state

    def wait(self, names: tuple[str, ...] = (), *, timeout: float | None = None, up_to_date: bool = False) -> State:
        """Wait until resources (all enabled ones by default) are ready, and with `up_to_date` nothing is pending.

        Raises TiltError with the reasons as soon as one of them has failed, or after `timeout` seconds; UsageError for
        what cannot become ready: an unknown or disabled resource, or everything after `down`.
        """
        self.start()
        self._settle()
        self.handled()
        for name in names or [r.name for r in self.state.spec.resources if self.state.enabled(r.name)]:
            self._check_active(name)

        def chosen(state: State) -> list[Resource]:
            return [r for r in state.spec.resources if (r.name in names if names else state.enabled(r.name))]

        def settled(state: State) -> bool:
            found = chosen(state)
            if any(_has_failed(state, r) for r in found):
                return True
            return all(settled_one(state, r) for r in found)

        def settled_one(state: State, resource: Resource) -> bool:
            return status.is_ready(state, resource) and (not up_to_date or status.is_up_to_date(state, resource))

        def late(state: State) -> list[str]:
            return [_late(state, r) for r in chosen(state) if not settled_one(state, r)]

        state = self._wait(settled, timeout, ", ".join(names) or "all resources", late=late)
        reasons = [_reason(state, r) for r in chosen(state) if _has_failed(state, r)]
        if reasons:
            raise TiltError("\n".join(reasons), hint="%tilt logs NAME shows the whole log")
        return state

    def wait_taken_down(self, timeout: float = 60.0) -> None:
        """Wait until nothing that was deployed is left, after `down`."""
        self._wait(lambda s: s.down and not s.leaving and not s.runs, timeout, "everything to be taken down")

    def explain(self, path: str) -> answers.WhatIf:
        """What a change of `path` would do; nothing is touched."""
        absolute = os.path.normpath(os.path.join(self.config.directory, path))
        return answers.what_if(self.state, absolute)

    def why(self, name: str) -> answers.Why:
        """What the last update of a resource was caused by, and what was decided."""
        self.resource(name)
        found = answers.why(self.state, name)
        if found is None:
            raise UsageError(f"There is no resource {name!r}")
        return found

    def story(self, name: str) -> tuple[ev.Event, ...]:
        """The newest events that concern a resource, oldest first."""
        return tuple(e for e in self._controller.journal if getattr(e, "resource", None) == name)

    def handled(self) -> None:
        """Wait until everything that was posted before is in the state."""
        mark = f"mark:{next(self._tickets)}"
        self.post(ev.CommandHandled(mark, "", self.clock()))
        self._wait(lambda s: any(command == mark for command, _ in s.handled), None, "the controller")

    def _check_active(self, name: str) -> None:
        self.resource(name)
        if not self.state.enabled(name):
            raise UsageError(f"{name} is disabled", hint=f"enable it first: %tilt enable {name}")
        if self.state.down:
            raise UsageError("Everything was taken down", hint="%tilt up starts it again")

    def _wait(
        self,
        done: Callable[[State], bool],
        timeout: float | None,
        what: str,
        *,
        late: Callable[[State], list[str]] = lambda _: [],
    ) -> State:
        def over(state: State) -> bool:
            return bool(state.crash) or done(state)

        try:
            state = self.store.wait_for(over, timeout)
        except TimeoutError:
            raise TiltError(
                "\n".join([f"Waited {timeout:g} s for {what}", *late(self.state)]),
                hint="%tilt status shows what is going on",
            ) from None
        if state.crash:
            raise TiltError(f"The session stopped working; this is a bug in ipytilt:\n{state.crash}")
        return state

    def _over(self) -> TiltError:
        return TiltError("This session was stopped", hint="%reload_ext ipytilt starts a new one")

    # ------------------------------------------------------------------------------------------ callbacks

    def _evaluate(self, load: LoadTiltfile, work: Work) -> tuple[Spec, tuple[str, ...]]:
        from ipytilt.tiltfile.host import DiskHost
        from ipytilt.tiltfile.load import load as evaluate

        loaded = evaluate(load.sources, load.args, DiskHost(work.log), cancelled=lambda: work.cancelled)
        self.logs.redact({secret.value: secret.label for secret in loaded.spec.secrets})
        return loaded.spec, loaded.reads

    def _settle(self) -> None:
        if self._watcher is not None:
            self._watcher.flush()

    def _set_watches(self, watches: Mapping[str, Watch], since_ns: int) -> None:
        if self._watcher is not None:
            self._watcher.set_watches(watches, since_ns)

    def _files_changed(self, watch: str, paths: tuple[str, ...], at: float) -> None:  # noqa: ARG002 - our clock
        self.post(ev.FilesChanged(watch, paths, self.clock()))

    def _watch_troubled(self, watch: str, problem: str) -> None:
        self.post(ev.WatchTroubled(watch, problem, self.clock()))
        if problem:
            self.logs.append(ALL, f"{watch}: {problem}", level="warning")


def _has_failed(state: State, resource: Resource) -> bool:
    if state.running(resource.name) or state.tracks[resource.name].retry_at:
        return False
    return "error" in (status.update_status(state, resource).word, status.runtime_status(state, resource).word)


def _late(state: State, resource: Resource) -> str:
    hold = state.holds.get(resource.name)
    texts = (status.update_status(state, resource).text, status.runtime_status(state, resource).text)
    return f"{resource.name}: {hold.text if hold else ', '.join(filter(None, texts)) or 'not started'}"


def _reason(state: State, resource: Resource) -> str:
    last = state.tracks[resource.name].last
    if status.update_status(state, resource).word == "error" and last is not None:
        return f"{resource.name}: {last.error}"
    return f"{resource.name}: {status.runtime_status(state, resource).text}"
