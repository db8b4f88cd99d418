"""The public face for Python: `from ipytilt import Session`, in scripts and in notebooks alike.

    with Session() as session:
        session.tiltfile(Path("Tiltfile"))
        session["api"].wait(timeout=60)
        print(session.story("api"))

Thin: it finds the session of `runtime` and hands over data. Everything may be called from any thread. What blocks has
a twin whose name begins with `async_`, for notebooks and programs with an event loop; it leaves the loop free.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self, TypeVar, overload

from ipytilt.core import reruns
from ipytilt.core.events import Source
from ipytilt.core.explain import WhatIf
from ipytilt.core.paces import Setting, asked_for
from ipytilt.core.state import TILTFILE
from ipytilt.errors import UsageError
from ipytilt.runtime import session as runtime
from ipytilt.runtime import waiting
from ipytilt.runtime.awaiting import wait as wait_in_loop
from ipytilt.runtime.following import Events
from ipytilt.runtime.logs import ALL, LIMIT_BYTES
from ipytilt.tiltfile import program
from ipytilt.views import facts, story, text, wire
from ipytilt.views.lines import Logged
from ipytilt.views.rows import session_view

Program = TypeVar("Program", bound=Callable[[], object])
DOWN_SECONDS = 60.0


class Session(Logged):
    """A dev loop: what a notebook has, without the notebook.

    Args:
        directory: where relative paths start; by default the current directory.
        engine: "auto", "docker" or "sandbox"; by default what the environment variable IPYTILT_ENGINE says, else auto.
        args: arguments of the Tiltfile.
        log_bytes: how much log is kept per resource.
        rest: how long changes rest before they are applied, in seconds: one number, or numbers by name of resource
            ("(Tiltfile)" is one, too). By default as long as what is saved asks for, which is a few milliseconds.
        cap: after how long they are applied even if they never rest, in the same form.
        rerun: by resource, with which of its resource_deps it runs again: True (all), a name or several.

    Making one starts nothing. `stop`, or the end of a `with` block or of the process, ends what runs on this machine;
    containers stay until `down`. Raises UsageError for a directory or an engine there is not, and for a wrong `rest` or
    `cap`.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] = "",
        *,
        engine: str = "",
        args: Sequence[str] = (),
        log_bytes: int = LIMIT_BYTES,
        rest: Setting = MappingProxyType({}),
        cap: Setting = MappingProxyType({}),
        rerun: Mapping[str, bool | str | Sequence[str]] | None = None,
    ) -> None:
        from ipytilt.engines.choose import named

        root = os.path.abspath(directory)
        if not os.path.isdir(root):
            raise UsageError(f"There is no directory {os.fspath(directory)}", hint="give Session() one that exists")
        again = {name: _deps(deps) for name, deps in (rerun or {}).items()}
        config = runtime.Config(named(engine, os.environ), root, log_bytes, paces=asked_for(rest, cap), rerun=again)
        self._runtime = runtime.Session(config)
        self._first_args = tuple(args)
        self._is_shared = False
        atexit.register(self._runtime.stop)

    @classmethod
    def _sharing(cls, shared: runtime.Session) -> Self:
        made = cls.__new__(cls)
        made._runtime, made._first_args, made._is_shared = shared, (), True  # noqa: SLF001 - being made here
        return made

    @property
    def _session(self) -> runtime.Session:
        if program.is_running():  # it would wait for itself
            raise UsageError(
                "A Tiltfile cannot drive a session while it is evaluated", hint="do that after session.tiltfile(...)"
            )
        return self._runtime

    def __repr__(self) -> str:
        return repr(self._runtime)

    def __str__(self) -> str:
        document = wire.document(
            session_view(self._session.state, self._session.engine_line, scrub=self._session.logs.scrub)
        )
        return self._session.logs.scrub(text.table(document, now=self._session.clock()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_shared:
            self.stop()

    # ------------------------------------------------------------------------------------------ what is asked for

    @overload
    def tiltfile(
        self, source: Program, /, *, name: str = ..., args: Sequence[str] | None = ..., timeout: float | None = ...
    ) -> Program: ...
    @overload
    def tiltfile(
        self,
        source: str | os.PathLike[str],
        /,
        *,
        name: str = ...,
        args: Sequence[str] | None = ...,
        timeout: float | None = ...,
    ) -> None: ...
    def tiltfile(
        self, source: Any, /, *, name: str = "", args: Sequence[str] | None = None, timeout: float | None = None
    ) -> Any:
        """Evaluate a Tiltfile, and start what it asks for; returns when it is evaluated.

        `source` is a text, a path (`Path("Tiltfile")`), or a function without parameters in which the names of
        `ipytilt` are the Tiltfile's; that makes this a decorator, and the function is returned. The same again replaces
        what it defined before; texts with different `name`s add up. `args` are arguments of the Tiltfile: names of
        resources to enable, unless it parses them itself.

        Raises TiltError as the Tiltfile's error is shown, or after `timeout` seconds; what was good stays in force.
        """
        self._session.wait_loaded(self._put(source, name, args), timeout)
        return source if callable(source) else None

    async def async_tiltfile(
        self,
        source: str | os.PathLike[str] | Callable[[], object],
        /,
        *,
        name: str = "",
        args: Sequence[str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the error says what was late, which asyncio.timeout cannot
    ) -> None:
        """`tiltfile`, awaited; cancelling it ends the evaluation."""
        ticket = self._put(source, name, args)
        try:
            await wait_in_loop(self._session.store, waiting.loaded(ticket), timeout)
        except asyncio.CancelledError:
            self._session.stop_update(TILTFILE)
            raise

    def _put(self, source: Any, name: str, args: Sequence[str] | None) -> int:
        made = self._source(source, name)  # first: a wrong one changes nothing
        wanted = (self._first_args or None) if args is None else tuple(args)
        if wanted is not None:
            self._session.set_args(wanted)
        self._first_args = ()
        return self._session.put(made)

    def _source(self, source: Any, name: str) -> Source:
        base = self._session.config.directory
        if callable(source):
            return program.source_of(source, name, base)
        if isinstance(source, os.PathLike):
            return self._session.file_source(os.fspath(source))
        if not isinstance(source, str):
            raise UsageError(
                f"A {type(source).__name__} is no Tiltfile", hint="give a text, a pathlib.Path, or a function"
            )
        if "\n" not in source and os.path.isfile(os.path.join(base, source)):
            raise UsageError(f"{source!r} is a file, not a text", hint=f"session.tiltfile(Path({source!r})) loads it")
        return Source(f"text:{name}", name or "Tiltfile text", base, source)

    def explain(self, path: str | os.PathLike[str]) -> WhatIf:
        """What a change of that file would do, by which rules; nothing is touched."""
        return self._session.explain(os.fspath(path))

    # ------------------------------------------------------------------------------------------ resources

    def __getitem__(self, name: str) -> Handle:
        self._session.resource(name)
        return Handle(self, name)

    def __contains__(self, name: object) -> bool:
        return any(resource.name == name for resource in self._session.state.spec.resources)

    def __iter__(self) -> Iterator[str]:
        return iter([resource.name for resource in self._session.state.spec.resources])

    def __len__(self) -> int:
        return len(self._session.state.spec.resources)

    def __bool__(self) -> bool:
        return True  # a session without resources is one, too

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    @property
    def status(self) -> list[facts.Status]:
        """How every resource is doing, in the order of definition; `print(session)` shows it as a table."""
        return [self[name].status for name in self]

    def story(self, name: str) -> story.Story:
        """What happened to a resource and why: its updates, each with its chain of rules, and what it waits for now."""
        found = story.story(self._session.state, self._session.resource(name))
        return found.scrubbed(self._session.logs.scrub)

    def _log(self) -> tuple[runtime.Session, str]:
        return self._session, ALL

    def events(self, *, resource: str = "", timeout: float | None = None) -> Events:
        """What happens from now on, for `for` and `async for`: facts, as the engine of the session sees them.

        Ends with the session, or when nothing has happened for `timeout` seconds; one `resource` only if named.
        """
        if resource:
            self._session.resource(resource)
        self._session.start()
        return Events(self._session, resource, timeout)

    # ------------------------------------------------------------------------------------------ waiting

    def wait(self, *names: str, ready: bool = True, up_to_date: bool = True, timeout: float | None = None) -> Self:
        """Wait until resources (by default all that are to run) are `ready` and `up_to_date`.

        Raises TiltError with the reasons as soon as one has failed or after `timeout` seconds, UsageError for what
        cannot become ready.
        """
        self._session.wait(names, ready=ready, up_to_date=up_to_date, timeout=timeout)
        return self

    async def async_wait(
        self,
        *names: str,
        ready: bool = True,
        up_to_date: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - the error says what was late, which asyncio.timeout cannot
    ) -> Self:
        """`wait`, awaited."""
        awaited = await asyncio.to_thread(self._session.settling, names, ready=ready, up_to_date=up_to_date)
        await wait_in_loop(self._session.store, awaited, timeout)
        return self

    def ci(self, *, names: Sequence[str] = (), timeout: float | None = None) -> Self:
        """Wait until everything that starts by itself has come up once: commands done, servers and services ready.

        `names` are resources to enable, with what they need, in the place of the Tiltfile's arguments. `timeout` in
        seconds (0: none) stands above `ci_settings`. Raises CIFailed, whose `reasons` name all that
        failed, as soon as something has failed or the time is over; UsageError if there is nothing to judge.
        """
        self._session.ci(timeout, _names(names) or None)
        return self

    async def async_ci(
        self,
        *,
        names: Sequence[str] = (),
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> Self:
        """`ci`, awaited."""
        if names:
            ticket = self._session.set_args(_names(names))
            await wait_in_loop(self._session.store, waiting.loaded(ticket))
        awaited = await asyncio.to_thread(self._session.passing, timeout)
        await wait_in_loop(self._session.store, awaited)
        return self

    # ------------------------------------------------------------------------------------------ the end

    def take_over(self, *, timeout: float = waiting.TAKE_OVER_SECONDS) -> Self:
        """Take over what another session holds (`status` says who waits for that); it stops acting on it.

        Works with a frozen one, too. Raises UsageError if nothing is held, TiltError after `timeout` seconds.
        """
        self._session.take_over()
        self._session.wait_for(waiting.claimed(), timeout)
        return self

    async def async_take_over(self, *, timeout: float = waiting.TAKE_OVER_SECONDS) -> Self:  # noqa: ASYNC109 - as above
        """`take_over`, awaited."""
        self._session.take_over()
        await wait_in_loop(self._session.store, waiting.claimed(), timeout)
        return self

    def down(self, *, timeout: float = DOWN_SECONDS) -> None:
        """Take down everything that was deployed; the next `tiltfile` starts it again."""
        self._session.down()
        self._session.wait_taken_down(timeout)

    async def async_down(self, *, timeout: float = DOWN_SECONDS) -> None:  # noqa: ASYNC109 - as above
        """`down`, awaited."""
        self._session.down()
        await wait_in_loop(self._session.store, waiting.taken_down(), timeout)

    def stop(self) -> tuple[str, ...]:
        """End what runs on this machine, within two seconds; containers stay. Returns the names of what did not end."""
        if self._is_shared:
            raise UsageError("This session is the notebook's", hint="%unload_ext ipytilt ends it")
        atexit.unregister(self._session.stop)
        return self._session.stop()


class Handle(Logged):
    """One resource of a session, by name: it stays what it is over reloads of the Tiltfile."""

    def __init__(self, session: Session, name: str) -> None:
        self.name = name
        self._face = session

    @property
    def _session(self) -> runtime.Session:
        return self._face._session  # noqa: SLF001 - two halves of one face

    def __repr__(self) -> str:
        return f"<{self.name}: {self.status.text}>"

    @property
    def status(self) -> facts.Status:
        """How it is doing now."""
        return facts.status_of(self._session, self._session.resource(self.name))

    @property
    def updates(self) -> story.Story:
        """Its newest finished updates, oldest first: why, how, how long, with what result."""
        found = story.updates(self._session.state, self._session.resource(self.name))
        return found.scrubbed(self._session.logs.scrub)

    def story(self) -> story.Story:
        """What happened to it and why, and what it waits for now."""
        return self._face.story(self.name)

    def _log(self) -> tuple[runtime.Session, str]:
        self._session.resource(self.name)
        return self._session, self.name

    def events(self, *, timeout: float | None = None) -> Events:
        """What happens to it from now on; see `Session.events`."""
        return self._face.events(resource=self.name, timeout=timeout)

    @property
    def rest(self) -> float | None:
        """How long its changes rest before they are applied, in seconds; None: as long as what is saved asks for.

        May be set, None takes it back; that counts at once. Raises UsageError for what makes no sense.
        """
        return self._session.state.paces.rest_of(self.name)

    @rest.setter
    def rest(self, seconds: float | None) -> None:
        paces = self._session.state.paces
        self._session.set_paces(asked_for(_with(paces.rest, self.name, seconds), paces.cap))

    @property
    def cap(self) -> float:
        """After how long its changes are applied even if they never rest, in seconds; may be set as `rest`."""
        return self._session.state.paces.cap_of(self.name)

    @cap.setter
    def cap(self, seconds: float | None) -> None:
        paces = self._session.state.paces
        self._session.set_paces(asked_for(paces.rest, _with(paces.cap, self.name, seconds)))

    @property
    def rerun_with(self) -> tuple[str, ...]:
        """Those of its resource_deps whose updates make it run again, once they are ready; none by default.

        Set it to True for all of them, to names, or to False. Any update that went well counts, live ones too; those
        that end while it runs make it run once more. Where it has a container, that is replaced. Raises UsageError for
        a name it does not depend on.
        """
        return reruns.deps_of(self._session.state, self._session.resource(self.name))

    @rerun_with.setter
    def rerun_with(self, deps: bool | str | Sequence[str]) -> None:
        names, known = _deps(deps), self._session.resource(self.name).resource_deps
        wrong = [name for name in names if names != reruns.ALL_DEPS and name not in known]
        if wrong:
            hint = f"its resource_deps: {', '.join(known) or 'none'}"
            raise UsageError(f"{self.name} does not depend on {wrong[0]}", hint=hint)
        self._session.rerun_with(self.name, names)
        self._session.handled()

    def trigger(self) -> Self:
        """Update it now, whatever has changed. Raises UsageError if it is disabled."""
        self._session.trigger(self.name, "CLI Trigger")
        return self

    def stop(self) -> Self:
        """Stop its running update."""
        self._session.stop_update(self.name)
        return self

    def enable(self) -> Self:
        """Switch it on."""
        return self._switch(on=True)

    def disable(self) -> Self:
        """Switch it off: what it deployed is taken down, its server ends."""
        return self._switch(on=False)

    def wait(self, *, ready: bool = True, up_to_date: bool = True, timeout: float | None = None) -> Self:
        """Wait until it is `ready` and `up_to_date`; see `Session.wait`."""
        self._face.wait(self.name, ready=ready, up_to_date=up_to_date, timeout=timeout)
        return self

    async def async_wait(
        self,
        *,
        ready: bool = True,
        up_to_date: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - the error says what was late, which asyncio.timeout cannot
    ) -> Self:
        """`wait`, awaited."""
        await self._face.async_wait(self.name, ready=ready, up_to_date=up_to_date, timeout=timeout)
        return self

    def _switch(self, *, on: bool) -> Self:
        self._session.enable((self.name,), on=on)
        self._session.handled()
        return self


def _names(names: Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _deps(value: object) -> tuple[str, ...]:
    try:
        return reruns.chosen(value)
    except ValueError as error:
        raise UsageError(f"rerun: {error}") from None


def session() -> Session:
    """The session of this notebook, the one `%tilt` drives. Raises UsageError where there is none."""
    magics = sys.modules.get("ipytilt.magics")
    cockpit = magics.current() if magics else None
    if cockpit is None:
        raise UsageError(
            "There is no notebook session here", hint="%load_ext ipytilt makes one; in a script: session = Session()"
        )
    return Session._sharing(cockpit.session)  # noqa: SLF001 - two halves of one face


def _with(seconds: Mapping[str, float], name: str, value: float | None) -> Mapping[str, float]:
    others = {other: known for other, known in seconds.items() if other != name}
    return others if value is None else {**others, name: value}
