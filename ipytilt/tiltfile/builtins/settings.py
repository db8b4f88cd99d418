"""Settings of the session as a whole: updates, CI, watching, pruning, features, version."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from ipytilt.core.settings import PruneSettings
from ipytilt.core.spec import Ignore
from ipytilt.tiltfile.builtin import Kind, builtin
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.evaluation import Eval
from ipytilt.tiltfile.vocabulary import Cmd, Duration, Env, MaybePath, Strs, go_type

TILT_VERSION = (0, 37, 6)
"""The version of Tilt whose language this is: what `version_settings(constraint=...)` is compared with."""

_FEATURES = {"snapshots": True, "cluster_refresh": False}
_OBSOLETE_FEATURES = (
    *("events", "facets", "labels", "live_update_v2", "disable_resources", "bulk_disable_resources"),
    *("multiple_containers_per_pod", "offline_snapshot_creation", "update_history"),
)


def _int_or_none(_ev: Eval, value: Any) -> int | None:
    if value is not None and type(value) is not int:
        raise Wrong(f"got {go_type(value)}, want int")
    return value


MaybeInt = Annotated[int | None, Kind("int or None", _int_or_none)]


@builtin("update_settings")
def update_settings(
    ev: Eval,
    max_parallel_updates: MaybeInt = None,
    k8s_upsert_timeout_secs: MaybeInt = None,
    suppress_unused_image_warnings: Strs = (),
    k8s_server_side_apply: str = "",
) -> None:
    """How updates run: `max_parallel_updates` at once (3), `k8s_upsert_timeout_secs` for an apply to take (30).

    `suppress_unused_image_warnings` lists images that need no resource ("*" for all); calls add to it.
    `k8s_server_side_apply` is "auto", "true" or "false".
    """
    if max_parallel_updates is not None and max_parallel_updates < 1:
        raise Wrong(f"max number of parallel updates must be >= 1(got: {max_parallel_updates})")
    if k8s_upsert_timeout_secs is not None and k8s_upsert_timeout_secs < 1:
        raise Wrong(f"minimum k8s upsert timeout is 1s; got {k8s_upsert_timeout_secs}s")
    if k8s_server_side_apply not in ("", "true", "false", "auto"):
        raise Wrong('k8s_server_side_apply must be "true", "false", or "auto"')
    old = ev.draft.settings.update
    new = replace(
        old,
        max_parallel_updates=max_parallel_updates or old.max_parallel_updates,
        k8s_upsert_timeout_secs=k8s_upsert_timeout_secs or old.k8s_upsert_timeout_secs,
        suppress_unused_image_warnings=(*old.suppress_unused_image_warnings, *suppress_unused_image_warnings),
        k8s_server_side_apply=k8s_server_side_apply or old.k8s_server_side_apply,
    )
    ev.draft.settings = replace(ev.draft.settings, update=new)


@builtin("ci_settings")
def ci_settings(
    ev: Eval,
    k8s_grace_period: Duration | None = None,
    timeout: Duration | None = None,
    readiness_timeout: Duration | None = None,
) -> None:
    """Limits of a CI run, such as "10m"; the last call that names one wins.

    `timeout` is for the whole run (30m), `readiness_timeout` for one resource to be ready (5m), `k8s_grace_period` for
    pods that fail to recover (none).
    """
    given = {"k8s_grace_period": k8s_grace_period, "timeout": timeout, "readiness_timeout": readiness_timeout}
    said = {name: seconds for name, seconds in given.items() if seconds is not None}
    ev.draft.settings = replace(ev.draft.settings, ci=replace(ev.draft.settings.ci, **said))


@builtin("watch_settings")
def watch_settings(ev: Eval, ignore: Strs = ()) -> None:
    """Files whose changes never trigger anything: patterns as in .dockerignore, relative to the Tiltfile's folder.

    Calls add up. They do not change what goes into images: that is what `docker_build(ignore=...)` is for.
    """
    if ignore:
        ev.draft.watch_ignores.append(Ignore(ev.dir, ignore, ev.origin()))


@builtin("docker_prune_settings")
def docker_prune_settings(
    ev: Eval,
    disable: bool = False,
    max_age_mins: int = 0,
    num_builds: int = 0,
    interval_hrs: int = 0,
    keep_recent: MaybeInt = None,
) -> None:
    """When old images of earlier builds are removed from Docker.

    They must be older than `max_age_mins` (360), and the `keep_recent` (2) newest of each stay. It happens every
    `num_builds` builds, or else every `interval_hrs` hours (1); `disable` leaves them all.
    """
    if num_builds and interval_hrs:
        raise Wrong("can't specify both num_builds and interval_hrs; pick one")
    old = ev.draft.settings.prune
    prune = PruneSettings(
        enabled=not disable,
        max_age_mins=max_age_mins or old.max_age_mins,
        num_builds=num_builds,
        interval_hrs=interval_hrs or old.interval_hrs,
        keep_recent=old.keep_recent if keep_recent is None else keep_recent,
    )
    ev.draft.settings = replace(ev.draft.settings, prune=prune)


@builtin("secret_settings")
def secret_settings(ev: Eval, disable_scrub: bool) -> None:
    """Show values of Kubernetes Secret objects in logs as they are, if `disable_scrub`; else they are blacked out."""
    ev.draft.settings = replace(ev.draft.settings, scrub_secrets=not disable_scrub)


@builtin("analytics_settings")
def analytics_settings(ev: Eval, enable: bool) -> None:
    """Accepted for Tilt's sake: nothing is reported anywhere."""
    del ev, enable


@builtin("experimental_analytics_report")
def experimental_analytics_report(ev: Eval, tags: Env) -> None:
    """Accepted for Tilt's sake: nothing is reported anywhere."""
    del ev, tags


@builtin("experimental_telemetry_cmd")
def experimental_telemetry_cmd(
    ev: Eval, cmd: Cmd, cmd_bat: Cmd | None = None, period: Duration | None = None, dir: MaybePath = None
) -> None:
    """Accepted for Tilt's sake: no telemetry is collected."""
    del cmd_bat, period, dir
    if not cmd:
        raise Wrong("cmd cannot be empty")
    if ev.draft.telemetry:
        raise Wrong("experimental_telemetry_cmd called multiple times; already called")
    ev.draft.telemetry = True


@builtin("experimental_metrics_settings", raw=True, shown="**settings")
def experimental_metrics_settings(ev: Eval, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Accepted for Tilt's sake: it does nothing there either; a warning says so."""
    del args, kwargs
    ev.warn("experimental_metrics_settings() is deprecated and does nothing")


# ---------------------------------------------------------------------------------------------- features, team, version


def _set_feature(ev: Eval, name: str, *, on: bool) -> None:
    if name in _OBSOLETE_FEATURES:
        ev.warn(f"Obsolete feature flag: {name}")
    elif name not in _FEATURES:
        raise Wrong(f"Unknown feature flag: {name}")
    else:
        features = dict(ev.draft.settings.features) | {name: on}
        ev.draft.settings = replace(ev.draft.settings, features=tuple(sorted(features.items())))


@builtin("enable_feature")
def enable_feature(ev: Eval, msg: str) -> None:
    """Switch a feature flag of Tilt on: "snapshots" or "cluster_refresh". Obsolete flags get a warning."""
    _set_feature(ev, msg, on=True)


@builtin("disable_feature")
def disable_feature(ev: Eval, msg: str) -> None:
    """Switch a feature flag of Tilt off: "snapshots" or "cluster_refresh". Obsolete flags get a warning."""
    _set_feature(ev, msg, on=False)


@builtin("disable_snapshots")
def disable_snapshots(ev: Eval) -> None:
    """Switch the feature "snapshots" off."""
    _set_feature(ev, "snapshots", on=False)


@builtin("set_team")
def set_team(ev: Eval, team_id: str) -> None:
    """Name the team in Tilt Cloud; once. Nothing is sent anywhere."""
    if not team_id:
        raise Wrong("team_id cannot be empty")
    if ev.draft.team:
        raise Wrong(f"team_id set multiple times (to '{ev.draft.team}' and '{team_id}')")
    ev.draft.team = team_id


@builtin("version_settings")
def version_settings(ev: Eval, check_updates: bool = True, constraint: str = "") -> None:
    """Stop unless the Tilt version this follows, 0.37.6, satisfies `constraint`, such as ">=0.30.0".

    A blank between comparisons means and, `||` means or. `check_updates` is accepted and has no effect.
    """
    del ev, check_updates
    shown = ".".join(map(str, TILT_VERSION))
    alternatives = constraint.split("||")
    if constraint and not any(_all_satisfied(part, constraint) for part in alternatives):
        raise Wrong(
            f"you are running Tilt version {shown}, which doesn't match the version constraint specified in "
            f"your Tiltfile: {constraint}"
        )


_PART = r"(\d+|[xX*])"
_COMPARISON = re.compile(rf"\s*,?\s*(>=|<=|!=|=|>|<|\^|~)?\s*v?{_PART}(?:\.{_PART})?(?:\.{_PART})?(?:-[\w.]+)?")


def _all_satisfied(text: str, whole: str) -> bool:
    position, results = 0, []
    while text[position:].strip():
        match = _COMPARISON.match(text, position)
        if not match:
            raise Wrong(f"parsing version constraint: could not parse {whole!r}: improper constraint")
        results.append(_satisfied(match[1] or "", match.groups()[1:]))
        position = match.end()
    return all(results)


def _satisfied(operator: str, parts: Sequence[str | None]) -> bool:
    given = tuple(int(part) for part in parts if part and part.isdigit())
    full = given + (0,) * (3 - len(given))
    fixed = 1 if operator == "^" and full[0] else len(given) if operator in ("", "=", "!=") else min(len(given), 2)
    match operator:
        case ">=":
            return full <= TILT_VERSION
        case ">":
            return TILT_VERSION[: len(given)] > given
        case "<=":
            return TILT_VERSION[: len(given)] <= given
        case "<":
            return full > TILT_VERSION
        case "!=":
            return TILT_VERSION[:fixed] != full[:fixed]
        case "" | "=":
            return TILT_VERSION[:fixed] == full[:fixed]
        case _:
            return full <= TILT_VERSION and TILT_VERSION[:fixed] == full[:fixed]
