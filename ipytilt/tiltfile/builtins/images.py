"""Image builds: `docker_build`, `custom_build`, `default_registry`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from ipytilt.core.images import parse
from ipytilt.core.spec import Command, CustomBuild, DockerBuild, Registry
from ipytilt.tiltfile.builtin import Kind, builtin
from ipytilt.tiltfile.builtins.live_update import consume
from ipytilt.tiltfile.draft import ImageDraft, Wrong
from ipytilt.tiltfile.evaluation import Eval
from ipytilt.tiltfile.pathnames import join
from ipytilt.tiltfile.values import Blob, CustomBuildValue
from ipytilt.tiltfile.vocabulary import (
    UNSET,
    Cmd,
    CommandEnv,
    Env,
    Ignores,
    ImageDeps,
    MaybePath,
    Only,
    Path,
    Paths,
    Ref,
    Seq,
    Steps,
    Strs,
    Text,
)


def _contents(_ev: Eval, value: Any) -> str:
    if isinstance(value, str | Blob):
        return str(value)
    raise Wrong("Argument (dockerfile_contents): must be string or blob.")


DockerfileText = Annotated[str, Kind("string or Blob", _contents, verbatim=True)]


@builtin("docker_build")
def docker_build(
    ev: Eval,
    ref: Ref,
    context: Path,
    build_args: Env = {},  # noqa: B006 - never changed
    dockerfile: MaybePath = None,
    dockerfile_contents: DockerfileText | None = None,
    cache: Any = UNSET,
    live_update: Steps = (),
    match_in_env_vars: bool = False,
    ignore: Ignores = (),
    only: Only = (),
    entrypoint: Cmd | None = None,
    container_args: Seq | None = None,
    target: str = "",
    ssh: Strs = (),
    secret: Strs = (),
    network: Text = "",
    extra_tag: Strs = (),
    cache_from: Strs = (),
    pull: bool = False,
    platform: Text = "",
    extra_hosts: Strs = (),
) -> None:
    """Build an image from a Dockerfile whenever a file of its context changes and a resource uses it.

    `dockerfile` defaults to `<context>/Dockerfile`; `dockerfile_contents` is its text. `ignore` (patterns) and `only`
    (paths) narrow the context. `live_update` lists the steps that update a running container instead of building anew.
    `entrypoint` and `container_args` replace the container's command. The rest are options of docker build.
    """
    if cache is not UNSET:
        ev.warn("docker_build(cache=...) is obsolete, and currently a no-op.")
    _check(only, extra_tag)
    path, text = _dockerfile(ev, context, dockerfile, dockerfile_contents)
    image = ImageDraft(
        reference=ref,
        build=DockerBuild(
            context=context,
            dockerfile=text,
            dockerfile_path=path,
            args=tuple(sorted(f"{key}={value}" if value else key for key, value in build_args.items())),
            target=target,
            ssh=ssh,
            secrets=secret,
            network=network,
            extra_tags=extra_tag,
            cache_from=cache_from,
            platform=platform or ev.host.environ.get("DOCKER_DEFAULT_PLATFORM", ""),
            pull=pull,
            extra_hosts=extra_hosts,
        ),
        watched=(context,),
        ignore=ignore,
        only=only,
        entrypoint=entrypoint or None,
        container_args=container_args,
        match_in_env_vars=match_in_env_vars,
        live_update=consume(ev, live_update),
    )
    _declare(ev, image)


def _declare(ev: Eval, image: ImageDraft) -> None:
    image.tiltfile, image.origin = ev.current.path, ev.origin()
    ev.draft.add_image(image)


def _dockerfile(ev: Eval, context: str, dockerfile: str | None, contents: str | None) -> tuple[str, str]:
    """Path and text of the Dockerfile; no path if the text was given."""
    if contents is not None:
        if dockerfile:
            raise Wrong("Cannot specify both dockerfile and dockerfile_contents keyword arguments")
        return "", contents
    path = dockerfile or join(context, "Dockerfile")
    return path, ev.read(path, "error reading dockerfile")


def _check(only: Iterable[str], tags: Iterable[str]) -> None:
    for pattern in only:
        if "*" in pattern:
            raise Wrong(f"'only' does not support '*' file globs. Must be a real path: {pattern}")
    for tag in tags:
        try:
            parse(tag)
        except ValueError as error:
            raise Wrong(f'Argument extra_tag="{tag}" not a valid image reference: {error}') from None


@builtin("custom_build")
def custom_build(
    ev: Eval,
    ref: Ref,
    command: Cmd,
    deps: Paths,
    tag: str = "",
    disable_push: bool = False,
    skips_local_docker: bool = False,
    live_update: Steps = (),
    match_in_env_vars: bool = False,
    ignore: Ignores = (),
    entrypoint: Cmd | None = None,
    container_args: Seq | None = None,
    command_bat_val: Cmd | None = None,
    outputs_image_ref_to: MaybePath = "",
    command_bat: Cmd | None = None,
    image_deps: ImageDeps = (),
    env: CommandEnv = (),
    dir: MaybePath = None,
) -> CustomBuildValue:
    """Build an image with a `command` of your own whenever one of `deps` changes.

    The command finds in `EXPECTED_REF` the reference it must produce, unless `tag` names it or the command writes it to
    the file `outputs_image_ref_to`. It runs in `dir` with `env`. `image_deps` are images to be built before, found in
    `TILT_IMAGE_0` and so on. `skips_local_docker` does not look for the image in the local store, `disable_push` means
    the command pushes it itself. The command `:` with `live_update` makes an image that is never built, only synced
    into. `ignore`, `entrypoint`, `container_args` and `match_in_env_vars` are as in `docker_build`. `command_bat` is
    for Windows.
    """
    del command_bat, command_bat_val
    if not command:
        raise Wrong("Argument 2 (command) can't be empty")
    if tag and outputs_image_ref_to:
        raise Wrong("Cannot specify both tag= and outputs_image_ref_to=")
    build = CustomBuild(
        command=Command(command, dir or ev.dir, env, ev.origin()),
        deps=deps,
        output_tag=tag,
        outputs_image_ref_to=outputs_image_ref_to or "",
        skips_local_docker=skips_local_docker,
        disable_push=disable_push,
    )
    _declare(
        ev,
        ImageDraft(
            reference=ref,
            build=build,
            watched=deps,
            ignore=ignore,
            entrypoint=entrypoint or None,
            container_args=container_args,
            match_in_env_vars=match_in_env_vars,
            live_update=consume(ev, live_update),
            image_deps=image_deps,
        ),
    )
    return CustomBuildValue(str(ref))


_HOST = re.compile(r"(localhost|[^/]*[.:][^/]*)(/[a-z0-9._/-]+)?")


@builtin("default_registry")
def default_registry(ev: Eval, host: str, host_from_cluster: str = "", single_name: str = "") -> None:
    """Push every built image to this registry, under `host/` and its own name (or `host/single_name`); once.

    `host_from_cluster` is what the cluster calls the registry, if that differs. Not for Compose projects.
    """
    if ev.draft.registry:
        raise Wrong("default registry already defined")
    if not host:
        raise Wrong("validating defaultRegistry: host: Required value")
    for given in filter(None, (host, host_from_cluster)):
        if not _HOST.fullmatch(given):
            raise Wrong(f'validating defaultRegistry: "{given}": repository name must be canonical')
    ev.draft.registry = Registry(host, host_from_cluster, single_name)
