"""`load(sources, args, host)`: evaluate Tiltfile cells and files, and say what they ask for.

Runs on one thread from start to end, blocking for as long as the Tiltfile's own commands take; `cancelled` is asked all
the time. All sources share one namespace, in order; files they load have one each and run at most once. Errors of the
language, of builtins and of assembly leave as `LoadError`, with what was read until then.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from ipytilt.core.events import Source
from ipytilt.core.paths import Matcher
from ipytilt.core.spec import Ignore, Origin, Spec
from ipytilt.errors import Cancelled, TiltfileError
from ipytilt.starlark import Cancelled as EvaluationCancelled
from ipytilt.starlark import EvalError, Module, Position, StarlarkError, StarlarkSyntaxError, Thread, check
from ipytilt.tiltfile import program
from ipytilt.tiltfile.assemble import assemble
from ipytilt.tiltfile.builtin import environment
from ipytilt.tiltfile.builtins import extensions
from ipytilt.tiltfile.draft import Draft, Wrong
from ipytilt.tiltfile.evaluation import Eval, Exit, Running
from ipytilt.tiltfile.host import Host
from ipytilt.tiltfile.image_builds import ignore_file
from ipytilt.tiltfile.pathnames import basename, clean, dirname, join


@dataclass(frozen=True, slots=True)
class Loaded:
    """A finished evaluation: what is asked for, the paths whose change asks for another one, the log by lines."""

    spec: Spec
    reads: tuple[str, ...]
    log: tuple[str, ...]


class LoadError(TiltfileError):
    """The Tiltfile is in error; what it read and logged until then is kept, so that mending a file reloads it."""

    reads: tuple[str, ...] = ()
    log: tuple[str, ...] = ()


def load(
    sources: Sequence[Source],
    args: tuple[str, ...],
    host: Host,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> Loaded:
    """Evaluate `sources` in order, with `args` as Tiltfile arguments, in the world of `host`.

    Raises `LoadError` for whatever is wrong with the Tiltfile, `Cancelled` if `cancelled` becomes true.
    """
    return _load(sources, args, host, cancelled=cancelled, within=frozenset())


def complete_after(
    sources: Sequence[Source],
    args: tuple[str, ...],
    host: Host,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[bool, ...]:
    """For each source, whether those up to it are a Tiltfile without error by themselves; all code runs only once.

    Raises as `load` does if all of them together are not.
    """
    verdicts: list[bool] = []

    def judge(draft: Draft) -> None:
        try:
            assemble(copy.deepcopy(draft), host, args=args)
        except (StarlarkError, Wrong):
            verdicts.append(False)
        else:
            verdicts.append(True)

    _load(sources, args, host, cancelled=cancelled, within=frozenset(), after=judge)
    return (*verdicts, *[True] * (len(sources) - len(verdicts)))  # what follows an exit() changes nothing


def _load(
    sources: Sequence[Source],
    args: tuple[str, ...],
    host: Host,
    *,
    cancelled: Callable[[], bool],
    within: frozenset[str],
    after: Callable[[Draft], None] = lambda _: None,
) -> Loaded:
    """`load`; `within` are the extensions being run, which are not run again; `after` each source comes a call."""
    main = _path(sources[0]) or join(sources[0].base, "Tiltfile") if sources else ""
    ev = Eval(host=host, args=args, main=main, cancelled=cancelled)
    run = _Run(ev)
    try:
        run.sources(sources, after)
        spec = assemble(ev.draft, host, args=args)
        for name, path, extension_args in extensions.unloaded(ev):
            if name not in within:
                source = Source(key=f"extension {name}", name=path, base=dirname(path), path=path)
                loaded = _load([source], extension_args, host, cancelled=cancelled, within=within | {name})
                ev.lines += loaded.log
                spec = _with_extension(spec, name, loaded.spec)
    except EvaluationCancelled:
        raise Cancelled("evaluation of the Tiltfile was cancelled") from None
    except (StarlarkError, Wrong) as error:
        failure = run.failure(error)
    else:
        for warning in spec.warnings:
            ev.log(f"WARNING: {warning}", "warning")
        return Loaded(replace(spec, config_files=host.reads), host.reads, tuple(ev.lines))
    ignored = Matcher(ev.draft.watch_ignores)  # they count for what is in error, too
    failure.reads = tuple(path for path in host.reads if not ignored.ignores(path))
    failure.log = tuple(ev.lines)
    raise failure


def _with_extension(spec: Spec, name: str, other: Spec) -> Spec:
    """The spec with what an extension that runs on its own asks for, labelled with its name."""
    for resource in other.resources:
        if spec.resource(resource.name):
            raise Wrong(f'extension {name}: a resource named "{resource.name}" already exists')
    for ref in other.images.keys() & spec.images.keys():
        raise Wrong(f'extension {name}: Image for ref "{ref}" has already been defined')
    label = f"extension.{name}"
    labelled = [replace(item, labels=tuple(sorted({*item.labels, label}))) for item in other.resources]
    return replace(
        spec,
        resources=(*spec.resources, *labelled),
        images=MappingProxyType({**spec.images, **other.images}),
        enabled=spec.enabled | other.enabled,
        watch_ignores=(*spec.watch_ignores, *other.watch_ignores),
        secrets=(*spec.secrets, *other.secrets),
        buttons=(*spec.buttons, *other.buttons),
    )


def _path(source: Source) -> str:
    """The file a source stands in, or "" for a cell."""
    return clean(source.path) if source.text is None else ""


@dataclass(slots=True)
class _Run:
    """The code-running half of an evaluation: modules, the files loaded so far, texts for excerpts."""

    ev: Eval
    texts: dict[str, str] = field(default_factory=dict)
    _files: dict[str, Module | Exception] = field(default_factory=dict)
    _predeclared: dict[str, Any] = field(default_factory=dict)
    _thread: Thread = field(init=False)

    def __post_init__(self) -> None:
        ev = self.ev
        ev.globals_of = self._exports
        self._thread = Thread(load=lambda path, _thread: self._exports(path), print=ev.log, cancelled=ev.cancelled)
        ev.thread = self._thread
        self._predeclared = environment(ev)

    def sources(self, sources: Sequence[Source], after: Callable[[Draft], None]) -> None:
        """Run the sources in one namespace, `after` coming after each; `exit()` ends all of them."""
        namespace = Module("Tiltfile", {**self._predeclared, "__name__": "__main__"})
        for source in sources:
            try:
                self._source(source, namespace)
            except Exit:
                return
            after(self.ev.draft)

    def _source(self, source: Source, namespace: Module) -> None:
        ev, path = self.ev, _path(source)
        name, base = (path, dirname(path)) if path else (source.name, clean(source.base))
        patterns = ignore_file(join(base, ".tiltignore"), ev.host)
        ignored = Ignore(base, patterns)
        if patterns and ignored not in ev.draft.watch_ignores:
            ev.draft.watch_ignores.append(ignored)
        # the sources share a namespace, so what differs between them is assigned like any other global
        self._execute(f"__file__ = {json.dumps(path or join(base, 'Tiltfile'), ensure_ascii=False)}\n", "", namespace)
        text = ev.read(path, f"error reading file {path}") if path else source.text or ""
        with ev.running(Running(source.key, path, base)):
            if source.program is None:
                self._execute(text, name, namespace)
            else:
                self.texts[name] = program.text_of(source.program)
                program.run(source.program, ev, self._predeclared, shown=name)

    def _execute(self, text: str, name: str, module: Module) -> None:
        self.texts[name] = text
        _check_utf8(text, name)
        predeclared = {*self._predeclared, "__file__", "__name__"}
        module.execute(check(text, name, globals=module.globals, predeclared=predeclared), self._thread)

    def _exports(self, path: str) -> Mapping[str, Any]:
        """What another file or an extension offers. Raises EvalError."""
        if path.startswith(extensions.SCHEME):
            module = path.removeprefix(extensions.SCHEME)
            try:
                ours = extensions.own(self.ev, module)
                if ours is not None:
                    return ours
                path = extensions.locate(self.ev, module)
            except Wrong as wrong:
                raise EvalError(wrong.message) from wrong
        return self._module(path).exports

    def _module(self, path: str) -> Module:
        """The frozen module of a file, run now unless it has run before. Raises EvalError."""
        ev = self.ev
        path = ev.path(path)
        known = self._files.get(path)
        if isinstance(known, Module):
            return known
        if known is not None:
            raise _again(known) from known
        if ev.is_running(path):
            raise EvalError(f"Circular load: {path}")
        module = Module(path, {**self._predeclared, "__file__": path, "__name__": basename(path)})
        try:
            with ev.running(Running(ev.current.source, path, dirname(path))):
                self._execute(ev.read(path, f"error reading file {path}"), path, module)
        except EvalError as error:
            self._files[path] = error
            raise
        except (StarlarkSyntaxError, Wrong) as error:
            self._files[path] = error
            raise _again(error) from error
        module.freeze()
        self._files[path] = module
        return module

    # ------------------------------------------------------------------------------------------ errors

    def failure(self, error: StarlarkError | Wrong) -> LoadError:
        """The error as users see it: where it is, the line with a caret, the call stack if it says more."""
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        file, line, column = _place(error, root)
        stack = error.stack if isinstance(error, EvalError) else ()
        deep = sum(frame.position is not None for frame in stack) > 1
        return LoadError(
            error.message,
            file=file,
            line=line or None,
            traceback=error.backtrace() if deep and isinstance(error, EvalError) else "",
            excerpt=excerpt(self.texts.get(file, ""), line, column),
            hint=root.hint if isinstance(root, Wrong) else "",
        )


def _check_utf8(text: str, name: str) -> None:
    """`Wrong` if the text has bytes that are no UTF-8, which reading keeps as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        column = error.start - text.rfind("\n", 0, error.start)
        raise Wrong("invalid UTF-8 encoding", origin=Origin(name, line, column)) from None


def _again(error: Exception) -> EvalError:
    """An error as a fresh one, to be raised from another place; its text names the first place if it has one."""
    return EvalError(str(error))


def _place(error: StarlarkError | Wrong, root: BaseException) -> tuple[str, int, int]:
    """File, line and column (0 if unknown): where the rule stands that is wrong, else where execution stood."""
    for candidate in (root, error):
        if isinstance(candidate, Wrong) and candidate.origin.line:
            return candidate.origin.file, candidate.origin.line, candidate.origin.column
        position = getattr(candidate, "position", None)
        if isinstance(position, Position):
            return position
    return "", 0, 0


def excerpt(text: str, line: int, column: int) -> str:
    """A line of a text (counted from 1) with a caret below the column, "" if there is no such line."""
    lines = text.splitlines()
    if not 0 < line <= len(lines):
        return ""
    shown = lines[line - 1]
    blanks = "".join("\t" if letter == "\t" else " " for letter in shown[: max(column - 1, 0)])
    return f"{line:>4} | {shown}\n       {blanks}^"
