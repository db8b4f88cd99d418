"""Worker threads: one per run, each posting exactly one finish, whatever happens.

Started by the controller thread (`start_*`), which never waits for them; cancelled by it too. Workers see an `Update`,
never the state. `join` is for the end of the session, bounded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from ipytilt.core import events as ev
from ipytilt.core.plan import LoadTiltfile, Update
from ipytilt.core.prune import Prune
from ipytilt.core.spec import Spec
from ipytilt.core.state import TILTFILE, Cause
from ipytilt.engines.base import Work
from ipytilt.errors import Cancelled
from ipytilt.runtime.execute import Engines, Memory, info_of, kind_of, perform
from ipytilt.runtime.logs import ALL, Logs

Post: TypeAlias = Callable[[ev.Event], None]
Evaluate: TypeAlias = Callable[[LoadTiltfile, Work], tuple[Spec, tuple[str, ...]]]
"""Evaluate a Tiltfile: the spec and the files it read. Raises TiltError; `reads` on it, if any, are watched too."""

PRUNE = -1
"""In the place of a run's number: the removal of old images."""

_NAMED_FILES = 5


class Workers:
    """Runs what the controller decides. Owned by the session."""

    def __init__(
        self,
        engines: Callable[[], Engines],
        evaluate: Evaluate,
        *,
        logs: Logs,
        clock: Callable[[], float],
        settle: Callable[[], None],
        may_act: Callable[[str], bool],
        directory: str,
        memory: Memory,
    ) -> None:
        """`settle` waits for what was saved to be known; `may_act`: a resource is not another session's."""
        self._engines = engines
        self._evaluate = evaluate
        self._logs = logs
        self._clock = clock
        self._settle = settle
        self._may_act = may_act
        self._directory = directory
        self._memory = memory
        self._lock = threading.Lock()
        self._running: dict[int, tuple[threading.Thread, Work]] = {}

    def start_update(self, update: Update, post: Post) -> None:
        """Carry an update out on a thread of its own."""
        self._start(update.run, update.resource, lambda work: self._update(update, work, post))

    def start_load(self, load: LoadTiltfile, post: Post) -> None:
        """Evaluate the Tiltfile on a thread of its own."""
        self._start(load.run, TILTFILE, lambda work: self._load(load, work, post))

    def start_prune(self, prune: Prune, post: Post) -> None:
        """Remove old images on a thread of its own."""
        self._start(PRUNE, ALL, lambda work: self._prune(prune, work, post))

    def cancel(self, run: int) -> None:
        """Ask a run to end; does not wait."""
        with self._lock:
            found = self._running.get(run)
        if found is not None and not found[1].cancelled:
            found[1].cancel()

    def stop(self, deadline: float) -> tuple[str, ...]:
        """Cancel everything and wait until `deadline` (monotonic seconds); returns the names of what is left."""
        with self._lock:
            running = dict(self._running)
        for _, work in running.values():
            work.cancel()
        for thread, _ in running.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        return tuple(thread.name for thread, _ in running.values() if thread.is_alive())

    def _start(self, run: int, resource: str, body: Callable[[Work], None]) -> None:
        span = "prune" if run == PRUNE else f"build:{run}"
        work = Work(lambda text, level: self._logs.append(resource, text, level=level, span=span))

        def main() -> None:
            try:
                body(work)
            finally:
                with self._lock:
                    self._running.pop(run, None)

        thread = threading.Thread(target=main, name=f"ipytilt-run-{'prune' if run == PRUNE else run}", daemon=True)
        with self._lock:
            self._running[run] = (thread, work)
        thread.start()

    def _update(self, update: Update, work: Work, post: Post) -> None:
        outcome: ev.Outcome
        times: tuple[tuple[str, float], ...] = ()

        def on_step(index: int, title: str) -> None:
            if update.lane != "live":  # a live update is over before anybody could see its steps
                post(ev.StepStarted(update.run, index, self._logs.scrub(title), self._clock()))

        try:
            if not self._may_act(update.resource):
                raise Cancelled("another session has taken it over")
            work.log(headline(update.cause, self._directory))
            outcome, times = perform(
                update, self._engines(), work, on_step=on_step, directory=self._directory, memory=self._memory
            )
            if isinstance(outcome, ev.Ok) and update.lane == "full":
                self._settle()  # what this update wrote is known before its end is
        except Cancelled:
            outcome = ev.Stopped()
        except BaseException as error:  # noqa: BLE001 - the one finish, whatever happens
            outcome = ev.Failed(info_of(error), kind_of(error))
        outcome = self._logs.without_secrets(outcome)  # the state holds no more than the log shows
        times = tuple((self._logs.scrub(title), took) for title, took in times)
        self._log_outcome(outcome, work)
        post(ev.UpdateFinished(update.run, outcome, self._clock(), times))
        self._write_down(update, outcome, work)

    def _write_down(self, update: Update, outcome: ev.Outcome, work: Work) -> None:
        """Keep what a later session has to know of the containers; nobody waits for that."""
        try:
            self._memory.ledger.write()
            if update.lane == "down":
                self._memory.ledger.forget(update.resource)
            for applied in outcome.applied if isinstance(outcome, ev.Ok) else ():
                if applied.containers:
                    self._memory.ledger.forget(applied.resource, but=[container.id for container in applied.containers])
        except OSError as error:
            text = f"cannot note what is in the containers, for a session that finds them there: {error}"
            work.log(text, "debug")

    def _load(self, load: LoadTiltfile, work: Work, post: Post) -> None:
        spec: Spec | None = None
        error: ev.ErrorInfo | None = None
        reads: tuple[str, ...] = ()
        try:
            spec, reads = self._evaluate(load, work)
        except Cancelled as problem:
            error = info_of(problem)
        except BaseException as problem:  # noqa: BLE001 - the one finish, whatever happens
            error = info_of(problem)
            reads = tuple(getattr(problem, "reads", ()))
            work.log(error.text or error.message, "error")
            if error.trace:
                work.log(error.trace, "debug")
        post(ev.LoadFinished(load.run, spec, self._logs.without_secrets(error), reads, self._clock()))

    def _prune(self, prune: Prune, work: Work, post: Post) -> None:
        level = "info"
        try:
            text = self._engines().containers.prune(prune, work)
        except BaseException as error:  # noqa: BLE001 - old images are no reason for anything to fail
            text, level = info_of(error).text, "warning"
        if text:
            work.log(f"[Docker Prune] {text}", level)
        post(ev.PruneFinished(self._logs.scrub(text), self._clock()))

    def _log_outcome(self, outcome: ev.Outcome, work: Work) -> None:
        match outcome:
            case ev.Failed(error=error):
                work.log(f"Build Failed: {error.text or error.message}", "error")
                if error.trace:
                    work.log(error.trace, "debug")
            case ev.Stopped():
                work.log("Build Failed: build canceled", "warning")
            case ev.Ok():
                pass


def headline(cause: Cause, directory: str) -> str:
    """The first line of an update's log, as Tilt words it; paths below `directory` are shown relative to it."""
    if not cause.files or "Initial Build" in cause.flags:
        return cause.text
    prefix = directory.rstrip("/") + "/"
    names = " ".join(f.removeprefix(prefix) for f in cause.files[:_NAMED_FILES]) + (
        " ..." if len(cause.files) > _NAMED_FILES else ""
    )
    count = len(cause.files)
    return f"{count} File{'s' if count != 1 else ''} Changed: [{names}]"
