"""The engine that needs no daemon, no root and no download: images are directory trees, containers child processes.

It implements all four ports. Nothing is made, tried or started before the first call that needs it. One lock guards the
tables of images and containers; it is never held while something is built, started or stopped. Each `Observe` and
`Follow` order has a thread of its own.

What it is not: containers share the network of this machine (two that listen on one port are in each other's way), its
users and its devices; resources are not limited; what a step leaves in the background ends with the step.

The rooms behind: `sandbox_image` builds, `sandbox_store` keeps trees, `sandbox_run` makes views, `sandbox_container`
runs, `sandbox_service` reads Compose services. Linux only.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ipytilt import processes
from ipytilt.core.images import parse
from ipytilt.core.paths import Matcher
from ipytilt.core.prune import Prune
from ipytilt.core.spec import Compose, DockerBuild, Image, Resource
from ipytilt.core.steps import (
    Applied,
    Apply,
    Attach,
    BuildImage,
    Built,
    Container,
    Copy,
    Delete,
    Follow,
    Observe,
    Order,
)
from ipytilt.engines.base import ContainersSeen, EngineSeen, Holdings, Log, Post, Stop, Work
from ipytilt.engines.compare import differing
from ipytilt.engines.context import may_pass, placed
from ipytilt.engines.sandbox_container import SandboxContainer
from ipytilt.engines.sandbox_files import Root, RootLook, remove_tree
from ipytilt.engines.sandbox_image import ImageBuilder, Recipe, TreeImage
from ipytilt.engines.sandbox_run import Isolation, StartFailed, View, choose, finish
from ipytilt.engines.sandbox_service import build_section, dockerignore, mounts_of, notes, plan_service
from ipytilt.engines.sandbox_store import Store, default_folder
from ipytilt.errors import Broke, EngineError, Rejected, Unavailable, refusal

ENGINE = "sandbox"
_STOP_SECONDS = 1.0
_CLOSE_GRACE, _CLOSE_SECONDS = 0.8, 1.6
_HOW_TO_GET = "install proot, or allow user namespaces; local resources run without either"


class SandboxEngine:
    """Builds and runs on this machine's own programs. Thread-safe; `close` it."""

    lasting = False

    def __init__(self, *, folder: str = "", isolation: str = "") -> None:
        """`folder` is where trees live (default: the user's cache), `isolation` insists on "namespaces" or "proot"."""
        self._folder = folder or default_folder()
        self._wanted_isolation = isolation
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._version = 0
        self._closed = False
        self._starting = threading.Lock()
        self._store: Store | None = None
        self._isolation: Isolation | None = None
        self._problem = ""
        self._images: dict[str, TreeImage] = {}
        self._containers: dict[str, SandboxContainer] = {}
        self._deploying: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @property
    def name(self) -> str:
        """See `ContainerEngine`."""
        return ENGINE

    def describe(self) -> str:
        """See `ContainerEngine`."""
        ok, problem = self.available()
        way = self._isolation.name if ok and self._isolation else f"not available: {problem}"
        return f"sandbox ({way}): this machine's own programs, no images are downloaded"

    @property
    def environ(self) -> Mapping[str, str]:
        """See `base.Publisher`."""
        return os.environ

    def holdings(self) -> Holdings:
        """See `base.Publisher`: no cluster runs on it."""
        return Holdings()

    def prune(self, prune: Prune, work: Work) -> str:  # noqa: ARG002 - the port's signature
        """See `base.Pruner`: the store keeps itself small."""
        return ""

    def push(self, local_ref: str, work: Work) -> None:  # noqa: ARG002 - the port's signature
        """See `base.Publisher`: trees of files are no images to anybody else."""
        hint = "start Docker, and choose it with: %tilt engine docker"
        raise Rejected(
            "the sandbox makes no images for clusters", engine=ENGINE, doing=f"pushing {local_ref}", hint=hint
        )

    def available(self) -> tuple[bool, str]:
        """Whether containers can be run here, else why not. Tries it out the first time, in about 0.1 s."""
        try:
            self._tools()
        except EngineError as error:
            return False, error.message
        return True, ""

    def container_root(self, container: Container) -> Path:
        """The directory in which the files of a running container are seen from outside. Rejected if it is gone."""
        return Path(self._container(container).root)

    # ------------------------------------------------------------------------------------------ Builder

    def build(self, step: BuildImage, work: Work) -> Built:
        """See `Builder`. Images of `custom_build` cannot be built here."""
        image, build = step.image, step.image.build
        if not isinstance(build, DockerBuild):
            raise Rejected(
                "the sandbox builds images from Dockerfiles only, it has no image store for other builders",
                engine=ENGINE,
                doing=f"building {image.ref}",
                hint="use docker_build(), or start Docker and the docker engine",
                where=str(image.origin),
            )
        with self._lock:
            images = {ref: self._images[local] for ref, local in step.bases if local in self._images}
        recipe = Recipe(
            dockerfile=build.dockerfile,
            where=build.dockerfile_path or f"Dockerfile of {image.ref}",
            context=build.context,
            ignores=Matcher(image.context_ignores),
            args=_build_args(build.args),
            target=build.target,
            images=images,
        )
        return self._build(image, recipe, work)

    def has(self, built: Built) -> bool:
        """See `Builder`."""
        with self._lock:
            image = self._images.get(built.local_ref)
        return image is not None and (not image.key or self._tools()[0].find(image.key) is not None)

    def _build(self, image: Image, recipe: Recipe, work: Work) -> Built:
        made = self._build_tree(recipe, work, doing=f"building {image.ref}")
        local_ref = f"{parse(image.ref).familiar_name}:tilt-{made.digest.removeprefix('sha256:')[:16]}"
        with self._lock:
            self._images[local_ref] = made
        return Built(image.ref, local_ref, made.digest)

    def _build_tree(self, recipe: Recipe, work: Work, *, doing: str) -> TreeImage:
        store, isolation = self._tools()
        work.check()
        try:
            made = ImageBuilder(recipe, store=store, isolation=isolation, work=work).build()
        except EngineError as error:
            error.doing = doing
            raise
        store.prune()
        return made

    # ------------------------------------------------------------------------------------------ Deployer

    def apply(self, step: Apply, work: Work) -> Applied:
        """See `Deployer`. An unchanged container that runs is left alone."""
        resource = step.resource
        target = resource.target
        if not isinstance(target, Compose):
            raise Rejected(
                f"the sandbox runs Compose services, not {resource.kind} resources", engine=ENGINE, doing=resource.name
            )
        store, isolation = self._tools()
        image = self._image_for(target, step.images, work)
        plan = plan_service(
            resource.name, target, image, mounts=(mounts := mounts_of(target, f"{self._folder}/volumes"))
        )
        with self._deploying[resource.name]:
            work.check()
            with self._lock:
                old = self._containers.get(resource.name)
            fresh = step.force or step.recreate or old is None or old.plan.wanted != plan.wanted
            fresh = fresh or (old is not None and not old.running and not step.revive)
            if old is not None and not fresh:
                if not old.running:
                    with _starting(resource.name):
                        old.restart()
                return Applied(resource.name, (old.value,), kept=(old.id,))
            if old is not None:
                self._forget(old, grace=old.plan.grace)
            for note in notes(target):
                work.log(note)
            view = View(store.folder("container"), image.tree, mounts)
            os.mkdir(view.tree)
            try:
                with _starting(resource.name):
                    container = SandboxContainer(plan, view, isolation, changed=self._note_change)
                self._adopt(container)
            except BaseException:
                remove_tree(view.folder)
                raise
            return Applied(resource.name, (container.value,))

    def _adopt(self, container: SandboxContainer) -> None:
        """Start a new container and take it into the table, unless the engine was closed meanwhile."""
        resource = container.plan.resource
        with self._lock:
            closed = self._closed
            if not closed:
                self._containers[resource] = container
        try:
            if closed:
                raise Rejected("the sandbox is closed", engine=ENGINE, doing=f"starting {resource}")
            with _starting(resource):
                container.start()
        except BaseException:
            self._forget(container, grace=0)
            raise

    def _image_for(self, target: Compose, built: tuple[Built, ...], work: Work) -> TreeImage:
        """The image a service runs: built for it, built by its own section, or the programs of this host."""
        local_ref = next((each.local_ref for each in reversed(built) if each.ref == target.image_built), "")
        if local_ref:  # else it is one that Compose builds, or that is only synced into
            with self._lock:
                image = self._images.get(local_ref)
            if image is None:
                raise Rejected(
                    f"image {target.image_built} has not been built in this session",
                    engine=ENGINE,
                    doing=f"starting {target.service}",
                    hint="trigger the resource",
                )
            return image
        section = build_section(target)
        if not section:
            return TreeImage()
        dockerfile = section["dockerfile"]
        try:
            text = Path(dockerfile).read_text(encoding="utf-8") if dockerfile else section["dockerfile_inline"]
            ignores = Matcher(dockerignore(section["context"], dockerfile))
        except OSError as error:
            raise Rejected(f"cannot read {error.filename}: {error.strerror}", engine=ENGINE) from error
        recipe = Recipe(
            dockerfile=text,
            where=dockerfile or f"Dockerfile of {target.service}",
            context=section["context"],
            ignores=ignores,
            args=section["args"],
            target=section.get("target") or "",
        )
        return self._build_tree(recipe, work, doing=f"building {target.service}")

    def delete(self, step: Delete, work: Work) -> None:
        """See `Deployer`."""
        with self._deploying[step.resource.name]:
            with self._lock:
                container = self._containers.get(step.resource.name)
            if container is not None:
                with work.on_cancel(container.kill):
                    self._forget(container, grace=container.plan.grace)

    def _forget(self, container: SandboxContainer, *, grace: float) -> None:
        container.remove(grace)
        with self._lock:
            if self._containers.get(container.plan.resource) is container:
                del self._containers[container.plan.resource]
        self._note_change()

    def found(self, resource: Resource) -> tuple[Container, ...]:
        """See `ContainerEngine`."""
        with self._lock:
            container = self._containers.get(resource.name)
        return (container.value,) if container is not None and container.running else ()

    # ------------------------------------------------------------------------------------------ Containers

    def sync(self, where: Container, copies: tuple[Copy, ...], work: Work) -> None:
        """See `Containers`. Each file is replaced at once: a reader sees the old or the new one."""
        container = self._container(where)
        doing = f"updating {where.name}"
        for copy in copies:
            self._check_visible(container, os.path.normpath(copy.container), doing)
        removals, directories, files = placed(copies, engine=ENGINE)

        def bring(root: Root) -> None:
            for copy in directories:
                with _written(f"cannot make {copy.container} in {where.name}", doing):
                    root.put_directory(copy.local, copy.container, instead_of_link=copy.local != copy.root)
            for path in removals:
                with _written(f"cannot remove {path} in {where.name}", doing):
                    root.remove(path)
            for copy in files:
                work.check()
                with _written(f"cannot copy {copy.local} to {copy.container} in {where.name}", doing, copy.local):
                    root.put(copy.local, copy.container)

        if not container.use_files(bring):
            raise Broke(f"container {where.name} is not running", engine=ENGINE, doing=doing)

    def differing(self, where: Container, copies: tuple[Copy, ...], work: Work) -> tuple[Copy, ...]:
        """See `Containers`."""
        found: list[Copy] = []

        def look(root: Root) -> None:
            found.extend(differing(copies, RootLook(root, work.check), engine=ENGINE))

        if not self._container(where).use_files(look):
            raise Broke(f"container {where.name} is not running", engine=ENGINE, doing=f"comparing {where.name}")
        return tuple(found)

    @staticmethod
    def _check_visible(container: SandboxContainer, path: str, doing: str) -> None:
        if not container.view.shows(path):
            raise Rejected(
                f"{path} of {container.plan.name} belongs to this machine, not to the image",
                engine=ENGINE,
                doing=doing,
                hint="sync to a directory that the image makes itself, such as its WORKDIR",
            )

    def exec(self, where: Container, argv: tuple[str, ...], work: Work) -> int:
        """See `Containers`."""
        container = self._container(where)
        doing = f"running {processes.describe(argv)} in {where.name}"
        process = container.spawn(argv, work.log)
        if process is None:
            raise Broke(f"container {where.name} is not running", engine=ENGINE, doing=doing)
        code = finish(process, work)
        if code and not container.running:
            raise Broke(f"container {where.name} ended meanwhile", engine=ENGINE, doing=doing)
        return code

    def restart(self, where: Container, work: Work) -> None:
        """See `Containers`."""
        container = self._container(where)
        with work.on_cancel(container.kill), _starting(where.name):
            container.restart()

    def _container(self, where: Container) -> SandboxContainer:
        with self._lock:
            found = next((each for each in self._containers.values() if each.id == where.id), None)
        if found is None:
            raise Broke(f"container {where.name} is gone", engine=ENGINE)
        return found

    # ------------------------------------------------------------------------------------------ Observer

    def start(self, order: Order, post: Post, log: Log) -> Stop:
        """See `Observer`. There is nothing to attach to: files are written and commands started directly."""
        match order:
            case Observe():
                return self._observe(order, post)
            case Follow():
                with self._lock:
                    found = next((each for each in self._containers.values() if each.id == order.container_id), None)
                return found.output.follow(order.started_at, log) if found else _nothing
            case Attach():
                return _nothing
        raise TypeError(f"the sandbox does not serve {type(order).__name__}")

    def _observe(self, order: Observe, post: Post) -> Stop:
        stopped = threading.Event()
        names = [resource.name for resource in order.resources]

        def loop() -> None:
            _, problem = self.available()
            post(EngineSeen(ENGINE, problem))
            seen, known = -1, dict[str, tuple[Container, ...] | None](dict.fromkeys(names))
            while True:
                with self._changed:
                    while self._version == seen and not stopped.is_set():
                        self._changed.wait()
                    if stopped.is_set():
                        return
                    seen, table = self._version, dict(self._containers)
                for name in names:
                    now = (table[name].value,) if name in table else ()
                    if now != known[name]:
                        known[name] = now
                        post(ContainersSeen(name, now))

        def stop() -> None:
            with self._changed:
                stopped.set()
                self._changed.notify_all()
            thread.join(_STOP_SECONDS)

        thread = threading.Thread(target=loop, name="ipytilt-observe-sandbox", daemon=True)
        thread.start()
        return stop

    def _note_change(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    # ------------------------------------------------------------------------------------------ beginning and end

    def _tools(self) -> tuple[Store, Isolation]:
        """The store and the way to make views; Rejected where there is none."""
        with self._starting:
            if self._closed:
                raise Rejected("the sandbox is closed", engine=ENGINE)
            if self._store is None and not self._problem:
                self._open()
            if self._store is None or self._isolation is None:
                raise Rejected(f"containers cannot run here: {self._problem}", engine=ENGINE, hint=_HOW_TO_GET)
            return self._store, self._isolation

    def _open(self) -> None:
        try:
            store = Store(self._folder)
        except OSError as error:
            self._problem = f"cannot write to {self._folder}: {error.strerror}"
            return
        found = choose(store.session, self._wanted_isolation)
        if isinstance(found, str):
            self._problem = found
            store.close()
        else:
            self._store, self._isolation = store, found

    def close(self) -> None:
        """End all containers and remove what is this session's own; takes less than two seconds."""
        deadline = time.monotonic() + _CLOSE_SECONDS
        with self._lock:
            self._closed = True
            containers = list(self._containers.values())
        threads = [
            threading.Thread(
                target=self._forget, args=(each,), kwargs={"grace": _CLOSE_GRACE}, name="ipytilt-close", daemon=True
            )
            for each in containers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._starting:
            if self._store is not None:
                self._store.close()
                self._store = None


def _nothing() -> None:
    """Stop what was never started."""


def _build_args(args: tuple[str, ...]) -> Mapping[str, str]:
    pairs = [word.partition("=") for word in args]
    values = {name: value if equals else os.environ.get(name) for name, equals, value in pairs}
    return {name: value for name, value in values.items() if value is not None}


@contextmanager
def _written(problem: str, doing: str, local: str = "") -> Iterator[None]:
    """Translate what can go wrong with files of a container; either side may be the one that refuses.

    That `local` cannot be read may pass by itself (see `context.may_pass`).
    """
    try:
        yield
    except OSError as error:
        hint = "files are read and written as the user of the notebook"
        text = f"{problem}: {error.filename}: {error.strerror}"
        if error.filename == local and may_pass(error):
            raise Unavailable(text, engine=ENGINE, doing=doing) from error
        raise refusal(text, engine=ENGINE, doing=doing, hint=hint) from error


@contextmanager
def _starting(name: str) -> Iterator[None]:
    """Translate what can go wrong when a container is started."""
    try:
        yield
    except (StartFailed, processes.StartFailed) as error:
        raise Rejected(str(error), engine=ENGINE, doing=f"starting {name}", hint="check its command") from error
    except OSError as error:
        raise refusal(error.strerror or str(error), engine=ENGINE, doing=f"starting {name}") from error
