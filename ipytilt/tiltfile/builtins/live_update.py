"""Live-update steps, and the rules a list of them becomes.

A step remembers where it was made until a list with it is consumed: what is left over at the end is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ipytilt.core.spec import LiveUpdate, RunStep, StopPath, Sync
from ipytilt.tiltfile.builtin import builtin
from ipytilt.tiltfile.draft import Step, Wrong
from ipytilt.tiltfile.evaluation import Eval
from ipytilt.tiltfile.values import StepValue
from ipytilt.tiltfile.vocabulary import Cmd, OneOrMany, Paths, Ref, Steps


def _made(ev: Eval, kind: str, **fields: Any) -> StepValue:
    step = Step(kind, ev.origin(), **fields)
    ev.draft.unused_steps[step.origin] = str(step)
    return StepValue(step)


@builtin("sync")
def sync(ev: Eval, local_path: str, remote_path: str) -> StepValue:
    """Copy changed files at or below `local_path` to the absolute container path `remote_path`; deletions too.

    `local_path` must lie in the image's context or `deps`. A folder is mirrored; a single file goes into `remote_path`
    if that ends with a slash, else it becomes that file. A changed file that no step covers means a full build.
    """
    return _made(ev, "sync", local=ev.path(local_path), container=remote_path)


@builtin("run")
def run(ev: Eval, cmd: Cmd, trigger: OneOrMany = (), echo_off: bool = False) -> StepValue:
    """Run a command in the container after syncing; with `trigger` only if one of these paths changed.

    `cmd` is a shell script or a list of words; `trigger` paths are on this machine, relative to the Tiltfile. A changed
    file that only a trigger covers runs the command and is not copied, where Tilt builds anew. `echo_off` keeps the
    command out of the log. Stands after all `sync` steps.
    """
    return _made(ev, "run", argv=cmd, triggers=trigger, echo_off=echo_off)


@builtin("fall_back_on")
def fall_back_on(ev: Eval, paths: Paths = (), *, files: Paths = ()) -> StepValue:
    """Build and deploy in full if one of these files, or anything below these folders, changed.

    Stands before all other steps. `files` is an older name for `paths`, which Tilt itself does not take.
    """
    chosen = tuple(StopPath(path, ev.origin()) for path in (*paths, *files))
    return _made(ev, "fall_back_on", paths=chosen)


@builtin("initial_sync")
def initial_sync(ev: Eval) -> StepValue:
    """Sync everything when a container starts, so that the image need not be up to date; stands first, once."""
    return _made(ev, "initial_sync")


@builtin("restart_container")
def restart_container(ev: Eval) -> StepValue:
    """Restart the container after syncing and running; stands last.

    For containers of Compose services. For Kubernetes use `docker_build_with_restart` from "ext://restart_process".
    """
    return _made(ev, "restart_container")


@builtin("live_update")
def live_update(ev: Eval, image: Ref, steps: Steps, full_rebuild_triggers: Paths = ()) -> None:
    """Older form: give live-update steps to the `image` build of that name, declared before or after.

    `full_rebuild_triggers` are `fall_back_on` paths. Tilt itself no longer has it: write `docker_build(...,
    live_update=[...])`.
    """
    stops = tuple(StopPath(path, ev.origin()) for path in full_rebuild_triggers)
    rules = consume(ev, steps, stops=stops)
    if rules:
        ev.draft.live_updates.append((image, rules))


def consume(ev: Eval, steps: Sequence[StepValue], *, stops: tuple[StopPath, ...] = ()) -> LiveUpdate | None:
    """The rules in a list of steps, None for an empty list; `Wrong` if the order or a step is not allowed."""
    seen: set[str] = set()
    for value in steps:
        step = value.step
        ev.draft.unused_steps.pop(step.origin, None)
        problem = _out_of_place(step.kind, seen)
        if problem:
            raise Wrong(f"live_update: {problem}", origin=step.origin)
        if step.kind == "sync" and not step.container.startswith("/"):
            hint = f"write where in the container it goes, such as /{step.container.removeprefix('./')}"
            raise Wrong(
                f"live_update: sync destination is not absolute: '{step.container}'", origin=step.origin, hint=hint
            )
        seen.add(step.kind)
    if not steps:
        return None
    if not seen & {"sync", "run"}:
        raise Wrong("live_update: must contain at least 1 sync or 1 exec to run on live update")
    made = [value.step for value in steps]
    return LiveUpdate(
        base=ev.dir,
        stop_paths=(*stops, *(path for step in made for path in step.paths)),
        syncs=tuple(_sync(ev, step) for step in made if step.kind == "sync"),
        runs=tuple(_run_step(ev, step) for step in made if step.kind == "run"),
        restart="restart_container" in seen,
        initial_sync="initial_sync" in seen,
        origin=ev.origin(),
    )


def _sync(ev: Eval, step: Step) -> Sync:
    return Sync(step.local, step.container, directory=ev.host.is_dir(step.local), origin=step.origin)


def _run_step(ev: Eval, step: Step) -> RunStep:
    return RunStep(
        argv=step.argv,
        triggers=tuple(ev.path(trigger) for trigger in step.triggers),
        echo_off=step.echo_off,
        triggers_as_written=step.triggers,
        origin=step.origin,
    )


def _out_of_place(kind: str, seen: set[str]) -> str:
    """Why a step may not follow those seen before it, or ""."""
    if kind == "initial_sync" and seen:
        return "initial_sync must appear at most once, at the start of the list"
    if kind == "fall_back_on" and seen & {"sync", "run", "restart_container"}:
        return "fall_back_on steps must appear at the start of the list"
    if kind in ("sync", "run") and "restart_container" in seen:
        return "restart container is only valid as the last step"
    if kind == "sync" and "run" in seen:
        return "all sync steps must precede all run steps"
    return ""
