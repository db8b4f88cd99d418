"""What a Tiltfile sets for the session as a whole: `update_settings`, `ci_settings` and the like.

Pure values, a part of `spec.Spec`; read on any thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UpdateSettings:
    """`update_settings(...)`; timeout in seconds."""

    max_parallel_updates: int = 3
    k8s_upsert_timeout_secs: int = 30
    suppress_unused_image_warnings: tuple[str, ...] = ()
    k8s_server_side_apply: str = "auto"


@dataclass(frozen=True, slots=True)
class CISettings:
    """`ci_settings(...)`; all in seconds, 0 means off."""

    k8s_grace_period: float = 0.0
    timeout: float = 1800.0
    readiness_timeout: float = 300.0


@dataclass(frozen=True, slots=True)
class PruneSettings:
    """`docker_prune_settings(...)`."""

    enabled: bool = True
    max_age_mins: int = 360
    num_builds: int = 0
    interval_hrs: int = 1
    keep_recent: int = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a Tiltfile sets for the session as a whole."""

    update: UpdateSettings = field(default_factory=UpdateSettings)
    ci: CISettings = field(default_factory=CISettings)
    prune: PruneSettings = field(default_factory=PruneSettings)
    features: tuple[tuple[str, bool], ...] = ()
    scrub_secrets: bool = True
