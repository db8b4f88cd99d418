"""The declared image builds: which one provides a used reference, what each is built on, what each leaves out.

Runs on the evaluating thread, called by `assemble`. Only the ignore sets look at the world (for `.git` and dockerignore
files), through the host; the rest are functions of the draft.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ipytilt.core.images import Reference, dockerfile_references, exact_ones, matches, parse
from ipytilt.core.paths import is_below, only_patterns, parse_ignore_file
from ipytilt.core.spec import ComposeBuild, CustomBuild, DockerBuild, Ignore, Image, LiveUpdate, Origin
from ipytilt.tiltfile.draft import Draft, ImageDraft, ServiceDraft, Wrong
from ipytilt.tiltfile.host import Host


class Builds:
    """The builds in declaration order.

    Attributes:
        consumed: every reference something asked for, in order; similar ones are offered when a build is unused.
        used: keys of the builds that provide something.
    """

    def __init__(self, images: Sequence[ImageDraft]) -> None:
        self.consumed: dict[str, Reference] = {}
        self.used: set[str] = set()
        self._images = list(images)
        self._by_name: dict[str, list[tuple[ImageDraft, bool]]] = {}
        self._dependencies: dict[str, tuple[ImageDraft, ...]] = {}
        self._index()
        for image in self._images:
            self._dependencies[image.key] = tuple(self._built_on(image))

    def __iter__(self) -> Iterator[ImageDraft]:
        return iter(self._images)

    def _index(self) -> None:
        self._by_name.clear()
        for image, exact in zip(self._images, exact_ones([image.reference for image in self._images]), strict=True):
            self._by_name.setdefault(image.reference.name, []).append((image, exact))

    def add(self, image: ImageDraft) -> None:
        """A build found while assembling: the `build` section of a Compose service."""
        self._images.append(image)
        self._dependencies[image.key] = ()
        self._index()

    def is_exact(self, image: ImageDraft) -> bool:
        """Whether it matches used references tag and all."""
        return next(exact for other, exact in self._by_name[image.reference.name] if other is image)

    def matching(self, used: Reference) -> ImageDraft | None:
        """The first build that could provide `used`, which nobody has asked for yet."""
        candidates = self._by_name.get(used.name, ())
        return next((image for image, exact in candidates if matches(image.reference, used, exact=exact)), None)

    def find(self, used: Reference) -> ImageDraft | None:
        """The first build that provides `used`."""
        self.consumed.setdefault(used.familiar, used)
        image = self.matching(used)
        if image:
            self.used.add(image.key)
        return image

    def _built_on(self, image: ImageDraft) -> Iterator[ImageDraft]:
        for required in image.image_deps:
            found = self.find(required)
            if found is None:
                raise Wrong(f'image "{image.key}": image dep "{required.familiar}" not found', origin=image.origin)
            yield found
        if isinstance(image.build, DockerBuild):
            yield from filter(None, map(self.find, _parsed_references(image, image.build)))

    def in_build_order(self, image: ImageDraft) -> tuple[ImageDraft, ...]:
        """The image behind everything it is built on, each once; `Wrong` if it is built on itself."""
        ordered: dict[str, ImageDraft] = {}
        open_: list[str] = []

        def visit(current: ImageDraft) -> None:
            if current.key in ordered:
                return
            if current.key in open_:
                circle = " -> ".join([*open_[open_.index(current.key) :], current.key])
                raise Wrong(f"Image dependency cycle: {circle}", origin=current.origin)
            open_.append(current.key)
            for base in self._dependencies[current.key]:
                visit(base)
            open_.pop()
            ordered[current.key] = current

        visit(image)
        return tuple(ordered.values())

    def depends_on(self, image: ImageDraft) -> tuple[str, ...]:
        """Keys of what it is built on directly, each once."""
        return tuple(dict.fromkeys(base.key for base in self._dependencies[image.key]))


def build_order(resource: str, images: Iterable[ImageDraft], builds: Builds) -> tuple[str, ...]:
    """Keys of the images a resource deploys and of all they are built on, base images first, each once."""
    try:
        return tuple(dict.fromkeys(part.key for image in images for part in builds.in_build_order(image)))
    except Wrong as wrong:
        raise Wrong(f"getting image build info for {resource}: {wrong.message}", origin=wrong.origin) from None


def _parsed_references(image: ImageDraft, build: DockerBuild) -> Iterator[Reference]:
    try:
        found = dockerfile_references(
            build.dockerfile, {arg.partition("=")[0]: arg.partition("=")[2] for arg in build.args}
        )
    except ValueError as error:
        raise Wrong(f'image "{image.key}": reading its Dockerfile: {error}', origin=image.origin) from None
    for text in found:
        try:
            yield parse(text)
        except ValueError:
            continue  # a stage number, an unset variable: not ours


def service_image(service: ServiceDraft) -> Reference:
    """The image a service runs: what `dc_resource` said, what its file says, or the name Compose would give it."""
    text = service.image or service.config.get("image") or f"{service.project}_{service.service}"
    try:
        return parse(text)
    except ValueError as error:
        raise Wrong(
            f'getting service {service.service}: Error parsing image name "{text}": {error}', origin=service.origin
        ) from None


def attach_live_updates(draft: Draft, builds: Builds) -> None:
    """Give the rules of standalone `live_update(...)` calls to the builds they name."""
    for reference, rules in draft.live_updates:
        named = [image for image in builds if image.reference.name == reference.name]
        if not named:
            raise Wrong(
                f"live_update was specified for '{reference.familiar}', but no built resource uses that image",
                origin=rules.origin,
            )
        for image in named:
            image.live_update = rules


# ---------------------------------------------------------------------------------------------- ignore sets


def finished(image: ImageDraft, builds: Builds, host: Host) -> Image:
    """The image as it stands in the spec."""
    sets = tuple(_own_ignores(image, host))
    quiet = [path for path in (_dockerfile_path(image), *image.volumes) if path]
    build = image.build
    if isinstance(build, CustomBuild):
        build = replace(build, image_deps=builds.depends_on(image))
    return Image(
        ref=image.key,
        build=build,
        exact=builds.is_exact(image),
        depends_on=builds.depends_on(image),
        entrypoint=image.entrypoint,
        container_args=image.container_args,
        match_in_env_vars=image.match_in_env_vars,
        watched=image.watched,
        context_ignores=() if isinstance(build, CustomBuild) else sets,
        watch_ignores=(*sets, *(Ignore(path) for path in quiet), *image.passed_over),
        live_update=image.live_update,
        origin=image.origin,
    )


def _own_ignores(image: ImageDraft, host: Host) -> Iterator[Ignore]:
    if image.tiltfile and not isinstance(image.build, ComposeBuild):
        yield Ignore(image.tiltfile)
    yield from git_folders(image.watched, host)
    for directory in image.watched:
        if not host.is_dir(directory):
            continue
        if image.ignore:
            yield Ignore(directory, image.ignore, image.origin)
        if image.only:
            yield Ignore(directory, only_patterns(image.only), image.origin)
        yield from _dockerignore(directory, _dockerfile_path(image), host)


def _dockerfile_path(image: ImageDraft) -> str:
    return image.build.dockerfile_path if isinstance(image.build, DockerBuild) else image.dockerfile_path


def git_folders(directories: Sequence[str], host: Host) -> Iterator[Ignore]:
    """`.git` of each directory that has one."""
    for directory in dict.fromkeys(directories):
        folder = f"{directory.rstrip('/')}/.git"
        if host.is_dir(folder):
            yield Ignore(folder)


def _dockerignore(directory: str, dockerfile_path: str, host: Host) -> Iterator[Ignore]:
    path = f"{dockerfile_path}.dockerignore"
    if not dockerfile_path or not host.exists(path):
        path = f"{directory.rstrip('/')}/.dockerignore"
    patterns = ignore_file(path, host)
    if patterns:
        yield Ignore(directory, patterns)


def ignore_file(path: str, host: Host) -> tuple[str, ...]:
    """Patterns of an ignore file, recorded even if there is none."""
    host.record(path)
    try:
        text = host.read(path).decode(errors="replace")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return ()
    except OSError as error:
        raise Wrong(f"error reading {path}: {error.strerror}") from None
    return parse_ignore_file(text)


# ---------------------------------------------------------------------------------------------- live-update paths


def check_live_update_paths(image: ImageDraft, builds: Builds) -> None:
    """`Wrong` if a sync or stop path of a deployed image lies outside everything its builds watch."""
    rules = image.live_update
    never_built = isinstance(image.build, CustomBuild) and image.build.live_update_only
    if rules is None or never_built:
        return
    watched = [root for part in builds.in_build_order(image) for root in part.watched]
    listed = f"([{' '.join(watched)}])"
    for path, problem, origin in _rule_paths(rules):
        if not any(is_below(path, root) for root in watched):
            raise Wrong(
                f"live_update: {problem} is not a child of any watched filepaths {listed}",
                origin=origin,
                hint=f"sync something below {watched[0]}, or widen the image's context or deps" if watched else "",
            )


def _rule_paths(rules: LiveUpdate) -> Iterator[tuple[str, str, Origin]]:
    for sync in rules.syncs:
        yield sync.local, f"sync step source '{sync.local}'", sync.origin
    for stop in rules.stop_paths:
        yield stop.path, f"fall_back_on paths '{stop.path}'", stop.origin
