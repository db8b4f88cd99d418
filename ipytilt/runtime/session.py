"""The session: wires controller, workers, watcher and standing orders together, and is the façade everybody calls.

One per kernel (or script). Making one starts nothing; `start` starts the threads, `stop` ends everything within two
seconds and names what is left. All methods may be called from any thread: those that ask for something only post an
event, those that wait look at the store.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ipytilt.core import ci, claims, status
from ipytilt.core import events as ev
from ipytilt.core import explain as answers
from ipytilt.core.buttons import Press, environment
from ipytilt.core.paces import Paces
from ipytilt.core.plan import LoadTiltfile
from ipytilt.core.spec import Resource, Spec
from ipytilt.core.state import TILTFILE, State
from ipytilt.core.steps import Watch
from ipytilt.core.unchanged import may_be_dropped
from ipytilt.engines.base import ClusterEngine, ContainerEngine, Work
from ipytilt.engines.cache import cache_folder
from ipytilt.errors import Cancelled, Reported, TiltError, UsageError
from ipytilt.runtime import waiting
from ipytilt.runtime.claims import Claims
from ipytilt.runtime.controller import Controller
from ipytilt.runtime.earlier import Earlier
from ipytilt.runtime.execute import Engines, Memory
from ipytilt.runtime.ledger import Ledger
from ipytilt.runtime.logs import ALL, LIMIT_BYTES, Logs
from ipytilt.runtime.presses import Presses
from ipytilt.runtime.standing import Standing
from ipytilt.runtime.store import Store
from ipytilt.runtime.waiting import Awaited
from ipytilt.runtime.workers import Workers

if TYPE_CHECKING:
    from ipytilt.runtime.watcher import Watcher

STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Config:
    """How a session is set up.

    `engine`: "auto" (Docker when a daemon answers, else the sandbox), "docker" or "sandbox". `directory`: where
    relative paths of cells start. `log_bytes`: kept per resource. `subcommand`: what the Tiltfile sees in
    `config.tilt_subcommand`; files are watched in "up" only. `who`: how other sessions call this one, if its project is
    theirs, too ("": by the running program); `take_over`: what they hold is taken from them at once. `paces`: how long
    changes rest, where that is set. `rerun`: as for `Session.rerun_with`, by resource.
    """

    engine: str = "auto"
    directory: str = field(default_factory=os.getcwd)
    log_bytes: int = LIMIT_BYTES
    subcommand: str = "up"
    who: str = ""
    take_over: bool = False
    paces: Paces = field(default_factory=Paces)
    rerun: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def place(self, scope: str) -> str:
        """Where the names of scopes mean one thing: a daemon of Docker's, or for everything else the directory."""
        docker = os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT") or "default"
        return f"docker {docker}" if claims.is_named(scope) and self.engine != "sandbox" else self.directory


class Session:
    """A dev loop. `repr` says what it is doing."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        epoch = time.time() - time.monotonic()
        self.clock: Callable[[], float] = lambda: epoch + time.monotonic()  # steady, and reads as wall-clock time
        self.logs = Logs(self.config.log_bytes)
        self.store: Store[State] = Store(State(paces=self.config.paces, rerun=dict(self.config.rerun)))
        self._tickets = itertools.count(1)
        self._lock = threading.Lock()
        self._connecting = threading.Lock()  # its own: a daemon may take its time
        self._engines: Engines | None = None
        self._connected: tuple[ContainerEngine, ClusterEngine] | None = None
        self._running = False
        self._stopped = False
        who = self.config.who or f"{os.path.basename(sys.argv[0]) or 'Python'} (process {os.getpid()})"
        self._claims = Claims(who, place=self.config.place, quiet=self._is_quiet)
        watches = self.config.subcommand == "up"
        self._workers = Workers(
            self.engines,
            self._evaluate,
            logs=self.logs,
            clock=self.clock,
            settle=self._settle,
            may_act=self._may_act,
            directory=self.config.directory,
            memory=Memory(Ledger(cache_folder("containers")), Earlier(cache_folder("images")), finds_images=watches),
        )
        self._standing = Standing(
            self.engines,
            self._set_watches,
            claims=self._claims,
            post=self.post,
            logs=self.logs,
            clock=self.clock,
        )
        self._controller = Controller(self.store, self._workers, self._standing, clock=self.clock)
        self._presses = Presses(self.logs, self._button_changed)
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
            if self.config.subcommand == "up":
                from ipytilt.runtime.watcher import Watcher

                self._watcher = Watcher(self._files_changed, self._watch_troubled, may_drop=self._may_drop)
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
            left += self._presses.stop(deadline)
        if self._watcher is not None:
            self._watcher.stop()
        self._claims.close()
        if self._connected is not None:  # somebody may have asked for them before anything was started
            for engine in reversed(self._connected):
                engine.close()
        from ipytilt import processes

        left += processes.stop_all(max(0.1, deadline - time.monotonic()))
        self.store.close()
        return tuple(left)

    def engines(self) -> Engines:
        """The engines; what needs a connection gets it on first use, which blocks: only for threads that may."""
        from ipytilt.engines.local import LocalEngine

        with self._lock:
            if self._engines is None:
                self._engines = Engines(LocalEngine(), self._connect)
            return self._engines

    def _connect(self) -> tuple[ContainerEngine, ClusterEngine]:
        with self._connecting:
            if self._connected is None:
                from ipytilt.engines.choose import choose
                from ipytilt.engines.kubernetes import KubernetesEngine

                containers, note = choose(self.config.engine, os.environ)
                with self._lock:
                    if self._stopped:
                        containers.close()
                        raise self._over()
                    self._connected = containers, KubernetesEngine(containers)
                self.logs.append(ALL, note)
            return self._connected

    @property
    def engine_line(self) -> str:
        """What the session runs on, for people; "" until it was needed."""
        return self._connected[0].describe() if self._connected else ""

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

    def choose(self, args: tuple[str, ...], source: ev.Source | None = None) -> State:
        """Evaluate with other arguments, and a source; if it fails (see `wait_loaded`), those before stand again."""
        before = self.state.load.args
        ticket = self.set_args(args)
        try:
            return self.wait_loaded(self.put(source) if source else ticket)
        except Reported:
            self.set_args(before)
            raise

    def trigger(self, name: str, by: str = "Web Trigger") -> None:
        """Ask for an update. Raises UsageError for an unknown or disabled resource."""
        self._check_active(name)
        self.post(ev.Triggered(name, by, self.clock()))

    def stop_update(self, name: str) -> None:
        """Cancel the running update of a resource, or the evaluation of the Tiltfile ("(Tiltfile)")."""
        if name != TILTFILE:
            self.resource(name)
        self.post(ev.CancelRequested(name, self.clock()))

    def press(self, name: str, values: Mapping[str, str], *, confirmed: bool = False) -> None:
        """Press a button of the Tiltfile, with values for its inputs; a run of it that goes on is stopped first.

        Raises UsageError for an unknown or disabled button, for wrong values, and for one that wants to be confirmed.
        """
        found = {button.name: button for button in self.state.spec.buttons}
        button = found.get(name)
        if button is None:
            raise UsageError(f"There is no button {name!r}", hint=f"there are: {', '.join(found) or 'none'}")
        if button.disabled:
            raise UsageError(f"The button {name} is disabled in the Tiltfile")
        if button.confirm and not confirmed:
            raise UsageError(f"The button {name} wants to be confirmed", hint=f"%tilt press {name} --yes")
        self._presses.press(button, environment(button, values))

    def set_paces(self, paces: Paces) -> None:
        """Let changes rest as long as that from now on; what waits already, too."""
        self.start()
        unknown = sorted(paces.names - {TILTFILE} - {resource.name for resource in self.state.spec.resources})
        if unknown and self.state.spec.resources:
            self.logs.append(ALL, f"rest or cap is set for what is no resource: {', '.join(unknown)}", level="warning")
        self.post(ev.PacesSet(paces, self.clock()))
        self.handled()

    def enable(self, names: tuple[str, ...], *, on: bool) -> None:
        """Switch resources on or off."""
        for name in names:
            self.resource(name)
        self.post(ev.Enabled(names, on, self.clock()))

    def take_over(self) -> None:
        """Ask for what other sessions hold; they stop acting on it. Raises UsageError if they hold nothing."""
        if not any(held.by for held in self.state.claims.values()):
            raise UsageError("Nothing is held by another session")
        self.post(ev.TakeOverRequested(self.clock()))

    def rerun_with(self, name: str, deps: tuple[str, ...]) -> None:
        """Run a resource again whenever one of these resource_deps was updated (`ALL_DEPS`: any; none: never)."""
        self.post(ev.RerunSet(name, deps, self.clock()))

    def down(self, *also: Literal["namespaces", "volumes"]) -> None:
        """Take down everything that was deployed, and `also` namespaces of clusters, volumes of Compose projects."""
        self.start()
        self.post(ev.DownRequested(self.clock(), frozenset(also)))

    def prune(self) -> None:
        """Remove old images of the kind ipytilt builds, as soon as nothing is being built."""
        self.start()
        self.post(ev.PruneRequested(self.clock()))

    def file_source(self, path: str) -> ev.Source:
        """A Tiltfile on disk as a source. Raises UsageError if there is none."""
        found = os.path.realpath(os.path.join(self.config.directory, path))
        if not os.path.isfile(found):
            raise UsageError(f"There is no file {path}", hint="name a Tiltfile, or write a %%tiltfile cell")
        return ev.Source(f"file:{found}", found, os.path.dirname(found), None, found)

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
            return self.wait_for(waiting.loaded(ticket), timeout)
        except KeyboardInterrupt:
            self.stop_update(TILTFILE)
            raise Cancelled(
                "Stopped evaluating the Tiltfile; what was good before stays in force", hint="run the cell again"
            ) from None

    def wait(
        self, names: tuple[str, ...] = (), *, timeout: float | None = None, ready: bool = True, up_to_date: bool = False
    ) -> State:
        """Wait until resources (all that are to run by default) are `ready`, and with `up_to_date` nothing is pending.

        Raises TiltError with the reasons as soon as one of them has failed, or after `timeout` seconds; UsageError for
        what cannot become ready: a resource that is unknown, disabled or not asked for, or everything after `down`.
        """
        return self.wait_for(self.settling(names, ready=ready, up_to_date=up_to_date), timeout)

    def settling(self, names: tuple[str, ...], *, ready: bool, up_to_date: bool) -> Awaited:
        """What `wait` waits for, as of now: everything saved or asked for until now counts."""
        self._catch_up()
        for name in names or [r.name for r in self.state.spec.resources if self.state.enabled(r.name)]:
            self._check_active(name)
        for name in names:
            if not status.is_wanted(self.state, self.resource(name)):
                hint = f"trigger it: %tilt trigger {name}"
                raise UsageError(f"{name} does not start by itself, and nobody has triggered it", hint=hint)
        return waiting.settled(names, ready=ready, up_to_date=up_to_date)

    def ci(self, timeout: float | None = None, args: tuple[str, ...] | None = None) -> State:
        """Wait until everything that starts by itself has come up once: commands done, servers and services ready.

        `timeout` (seconds, 0: never) stands above `ci_settings`; `args` take the place of the Tiltfile's arguments.
        Raises CIFailed with the reasons as soon as something has failed or the time is over; UsageError if there is
        nothing to judge, and what `wait_loaded` raises.
        """
        if args is not None:
            self.choose(args)
        return self.wait_for(self.passing(timeout))

    def passing(self, timeout: float | None = None) -> Awaited:
        """What `ci` waits for, as of now."""
        self._catch_up()
        if self.state.down:
            raise UsageError("Everything was taken down", hint="%tilt up starts it again")
        if not (self.state.load.good or self.state.load.wanted):
            raise UsageError("There is no Tiltfile to judge", hint="write a %%tiltfile cell, or %tilt up")
        since = self.clock()
        return waiting.passed(lambda state: ci.verdict(state, since=since, now=self.clock(), timeout=timeout))

    def wait_taken_down(self, timeout: float = 60.0) -> None:
        """Wait until nothing that was deployed is left, after `down`."""
        self.wait_for(waiting.taken_down(), timeout)

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
        self.resource(name)
        return tuple(event for event in self._controller.journal if self.concerns(event, name))

    def events_since(self, number: int | None) -> tuple[int, tuple[ev.Event, ...]]:
        """The number of the next event to come, and those from `number` on that are still kept; None: none yet."""
        if number is None:
            return self._controller.journal_end, ()
        return self._controller.journal_since(number)

    def concerns(self, event: ev.Event, name: str) -> bool:
        """The event is about that resource, or about one of its updates that are known."""
        run = getattr(event, "run", None)
        if run is None:
            return name == getattr(event, "resource", None) or name in getattr(event, "resources", ())
        track, running = self.state.tracks.get(name), self.state.runs.get(run)
        recorded = track is not None and any(record.run == run for record in track.history)
        return recorded or (running is not None and running.resource == name)

    def handled(self) -> None:
        """Wait until everything that was posted before is in the state."""
        mark = f"mark:{next(self._tickets)}"
        self.post(ev.CommandHandled(mark, "", self.clock()))
        self.wait_for(waiting.handled(mark))

    def _catch_up(self) -> None:
        """What was saved and asked for until now is in the state."""
        self.start()
        self._settle(insist=True)
        self.handled()

    def _check_active(self, name: str) -> None:
        self.resource(name)
        if not self.state.enabled(name):
            raise UsageError(f"{name} is disabled", hint=f"enable it first: %tilt enable {name}")
        if self.state.down:
            raise UsageError("Everything was taken down", hint="%tilt up starts it again")

    def wait_for(self, awaited: Awaited, timeout: float | None = None) -> State:
        """Wait for something, for `timeout` seconds at most; raises TiltError if it does not end well."""
        try:
            state = self.store.wait_for(awaited.over, timeout, timed=awaited.timed)
        except TimeoutError:
            raise awaited.late(self.state, timeout or 0.0) from None
        return awaited.ended(state)

    def _over(self) -> TiltError:
        return TiltError("This session was stopped", hint="start a new one: %reload_ext ipytilt, or Session()")

    # ------------------------------------------------------------------------------------------ callbacks

    def _evaluate(self, load: LoadTiltfile, work: Work) -> tuple[Spec, tuple[str, ...]]:
        from ipytilt.tiltfile.host import DiskHost
        from ipytilt.tiltfile.load import load as evaluate

        loaded = evaluate(
            load.sources,
            load.args,
            DiskHost(work.log, subcommand=self.config.subcommand),
            cancelled=lambda: work.cancelled,
        )
        self.logs.redact({secret.value: secret.label for secret in loaded.spec.secrets})
        work.check()
        self._claim(loaded.spec)
        return loaded.spec, loaded.reads

    def _claim(self, spec: Spec) -> None:
        """Known before the first update is planned: whose it is."""
        scopes = dict.fromkeys(filter(None, map(claims.scope_of, spec.resources)))
        held = {scope: self._claims.take(scope) for scope in scopes}
        for scope, by in held.items():
            self.post(ev.ClaimChanged(scope, by, self.clock()))
        if self.config.take_over and any(held.values()):
            self.post(ev.TakeOverRequested(self.clock()))

    def _may_act(self, name: str) -> bool:
        resource = self.state.spec.resource(name)
        return resource is None or self._claims.is_ours(claims.scope_of(resource))

    def _is_quiet(self, scope: str) -> bool:
        state = self.state
        held = state.claims.get(scope)
        found = (state.spec.resource(run.resource) for run in state.runs.values())
        return held is not None and bool(held.by) and scope not in [claims.scope_of(r) for r in found if r]

    def _button_changed(self, button: str, press: Press) -> None:
        self.post(ev.ButtonChanged(button, press, self.clock()))

    def _settle(self, *, insist: bool = False) -> None:
        if self._watcher is not None:
            self._watcher.flush(insist=insist)

    def _set_watches(self, watches: Mapping[str, Watch], since_ns: int) -> None:
        if self._watcher is not None:
            self._watcher.set_watches(watches, since_ns)

    def _files_changed(self, watch: str, paths: tuple[str, ...], at: float) -> None:  # noqa: ARG002 - our clock
        self.post(ev.FilesChanged(watch, paths, self.clock()))

    def _may_drop(self, watch: str) -> bool:
        return may_be_dropped(self.state, watch, self.clock())

    def _watch_troubled(self, watch: str, problem: str) -> None:
        self.post(ev.WatchTroubled(watch, self.logs.scrub(problem), self.clock()))
        if problem:
            self.logs.append(ALL, f"{watch}: {problem}", level="warning")
