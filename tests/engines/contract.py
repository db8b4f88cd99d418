"""What every container engine promises, as functions: each gets a fresh `Workspace` and says so by AssertionError.

Purely in terms of `engines.base` and values of the spec. `test_contract.py` runs every check on every engine; what only
one engine can do is tested beside it. All images are built here on the workspace's base image, which has `sh`, `tar`
and the usual small programs; services run until they are told to stop.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from ipytilt.core.spec import Compose, ComposeProject, DockerBuild, Ignore, Image, Resource
from ipytilt.core.steps import (
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
from ipytilt.engines.base import ContainerEngine, ContainersSeen, EngineSeen, Fact, Stop, Work
from ipytilt.errors import Broke, Cancelled, Rejected, TiltError, Unavailable
from tests.support.waiting import eventually

FOREVER = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
E = TypeVar("E", bound=TiltError)


class Workspace:
    """One engine, one Compose project of its own, one directory, and a record of all that was logged and posted."""

    def __init__(self, engine: ContainerEngine, directory: Path, *, base: str) -> None:
        self.engine = engine
        self.directory = directory
        self.base = base
        self.log: list[tuple[str, str]] = []
        self.facts: list[Fact] = []
        self._name = f"contract{secrets.token_hex(4)}"
        self._services: dict[str, Mapping[str, object]] = {}
        self._resources: dict[str, Resource] = {}
        self._orders: list[Stop] = []

    def close(self) -> None:
        """Stop the orders and take down what was deployed."""
        for stop in self._orders:
            stop()
        for resource in self._resources.values():
            self.engine.delete(Delete(resource), self.work())

    def work(self) -> Work:
        return Work(self.write)

    def write(self, text: str, level: str = "info") -> None:
        self.log.append((text, level))

    def lines(self) -> list[str]:
        return [line for text, _ in self.log for line in text.split("\n")]

    def said(self) -> list[str]:
        """The lines without their indentation: output of a build."""
        return [line.strip() for line in self.lines()]

    def file(self, name: str, content: str = "", *, mode: int = 0o644) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(mode)
        return path

    # ------------------------------------------------------------------------------------ images

    def image(
        self, dockerfile: str, *, ref: str = "web", ignores: Sequence[Ignore] = (), args: Sequence[str] = ()
    ) -> Image:
        """An image of this workspace; its context is the folder `context`."""
        context = self.directory / "context"
        context.mkdir(exist_ok=True)
        # Caches outlive workspaces, and a cached step says nothing.
        text = re.sub(r"(?m)^RUN (?!--)", f"RUN : {self._name}; ", dockerfile.replace("BASE", self.base))
        build = DockerBuild(str(context), text, str(context / "Dockerfile"), args=tuple(args))
        return Image(self.ref(ref), build, context_ignores=tuple(ignores))

    def ref(self, name: str) -> str:
        return f"{self._name}-{name}"

    def build(self, image: Image, *bases: Built) -> Built:
        step = BuildImage(image, tuple((base.ref, base.local_ref) for base in bases))
        return self.engine.build(step, self.work())

    def refused(self, image: Image) -> Rejected:
        """Build what cannot be built; the error."""
        return fails(Rejected, lambda: self.build(image))

    # ------------------------------------------------------------------------------------ services

    def service(self, name: str = "web", *, image: str = "web", **definition: object) -> Resource:
        """A service that runs an image of this workspace; keywords are what Compose calls them."""
        defaults = {"command": FOREVER, "stop_grace_period": "1s", "network_mode": "none"}
        wanted = {**defaults, **definition, "image": f"{self.ref(image)}:latest"}
        self._services[name] = wanted
        path = self.file("compose.yaml", json.dumps({"services": self._services}))
        target = Compose(
            project=ComposeProject(self._name, (str(path),), str(self.directory)),
            service=name,
            image=self.ref(image),
            image_built=self.ref(image),
            config=json.dumps(wanted, sort_keys=True),
        )
        self._resources[name] = Resource(name, target, images=(self.ref(image),))
        return self._resources[name]

    def apply(self, resource: Resource, *built: Built, recreate: bool = False, force: bool = False) -> Container:
        step = Apply(resource, built, recreate=recreate, force=force)
        applied = self.engine.apply(step, self.work())
        assert applied.resource == resource.name
        assert len(applied.containers) == 1
        return applied.containers[0]

    def running(self, dockerfile: str = "FROM BASE\nWORKDIR /app\n", **definition: object) -> Container:
        """A running container of a service `web`."""
        built = self.build(self.image(dockerfile))
        return self.apply(self.service("web", image="web", **definition), built)

    def take_down(self) -> None:
        """Take down what `running` has brought up."""
        self.engine.delete(Delete(self.service()), self.work())

    # ------------------------------------------------------------------------------------ containers

    def sync(self, where: Container, *pairs: tuple[Path, str]) -> None:
        copies = tuple(Copy(str(local), container) for local, container in pairs)
        self.engine.sync(where, copies, self.work())

    def mirror(self, where: Container, source: Path, *names: str) -> None:
        """What a live update does about changed paths below the source of a sync to /app."""
        copies = tuple(Copy(str(source / name), f"/app/{name}", str(source)) for name in names)
        self.engine.sync(where, copies, self.work())

    def lacking(self, where: Container, source: Path, *names: str) -> list[str]:
        """Which of these, below the source of a sync to /app, differ in a container."""
        copies = tuple(Copy(str(source / name), f"/app/{name}", str(source)) for name in names)
        found = self.engine.differing(where, copies, self.work())
        return [copy.local.removeprefix(f"{source}/") for copy in found]

    def sh(self, where: Container, script: str) -> tuple[int, list[str]]:
        """Run a script in a container: exit code and lines."""
        lines: list[str] = []
        code = self.engine.exec(where, ("sh", "-c", script), Work(lambda text, _: lines.extend(text.split("\n"))))
        return code, lines

    def shown(self, where: Container, script: str) -> str:
        """What a script that succeeds prints in a container."""
        code, lines = self.sh(where, script)
        assert code == 0, lines
        return "\n".join(lines)

    # ------------------------------------------------------------------------------------ orders

    def start(self, order: Order, log: Callable[[str, str], None] | None = None) -> Stop:
        stop = self.engine.start(order, self.facts.append, log or self.write)
        self._orders.append(stop)
        return stop

    def seen(self, resource: str = "web") -> tuple[Container, ...] | None:
        """The containers last posted for a resource; None if there was nothing."""
        posted = [fact for fact in self.facts if isinstance(fact, ContainersSeen) and fact.resource == resource]
        return posted[-1].containers if posted else None


def fails(kind: type[E], action: Callable[[], object]) -> E:
    """The error of that kind that `action` raises."""
    with pytest.raises(kind) as caught:
        action()
    return caught.value


# ---------------------------------------------------------------------------------------------- Builder


def check_an_image_is_named_by_its_content(at: Workspace) -> None:
    at.file("context/a.txt", "one")
    image = at.image("FROM BASE\nCOPY a.txt /a.txt\n")
    first = at.build(image)
    assert first.ref == image.ref
    assert first.digest
    assert at.build(image) == first
    at.file("context/a.txt", "two")
    second = at.build(image)
    assert second.local_ref != first.local_ref
    assert second.digest != first.digest


def check_a_build_logs_its_output_and_takes_arguments(at: Workspace) -> None:
    at.build(at.image("FROM BASE\nARG WHO=nobody\nRUN echo hello $WHO, $WHO $WHO\n", args=("WHO=you",)))
    assert "hello you, you you" in at.said()


def check_a_failed_build_names_the_line_and_shows_the_output(at: Workspace) -> None:
    error = at.refused(at.image("FROM BASE\nRUN true\n\nRUN echo the reason; exit 3\n"))
    assert at.ref("web") in error.render()
    assert error.where.endswith("Dockerfile:4")
    assert "3" in error.message
    assert "the reason" in error.message


def check_a_wrong_dockerfile_names_the_line(at: Workspace) -> None:
    assert at.refused(at.image("FROM BASE\n\nNONSENSE here\n")).where.endswith("Dockerfile:3")


def check_a_missing_source_is_named(at: Workspace) -> None:
    error = at.refused(at.image("FROM BASE\nCOPY not-there.txt /x\n"))
    assert "not-there.txt" in error.message
    assert error.where.endswith("Dockerfile:2")


def check_ignored_files_are_not_in_the_context(at: Workspace) -> None:
    for name in ("kept.py", "left.pyc", "deep/left.pyc", "node_modules/left", "logs/left", "logs/kept.txt"):
        at.file(f"context/{name}")
    context = str(at.directory / "context")
    ignores = (
        Ignore(context, ("**/*.pyc", "node_modules")),
        Ignore(context, ("logs/*", "!logs/kept.txt")),
        Ignore(f"{context}/Dockerfile"),
    )
    image = at.image("FROM BASE\nCOPY . /all\nRUN cd /all && echo $(find . ! -type d | sort)\n", ignores=ignores)
    at.build(image)
    assert "./kept.py ./logs/kept.txt" in at.said()
    assert not any("left" in line for line in at.lines())


def check_two_ignore_sets_do_not_reach_into_each_other(at: Workspace) -> None:
    for name in ("a/kept", "a/left", "b/left"):
        at.file(f"context/{name}")
    context = str(at.directory / "context")
    ignores = (Ignore(context, ("**", "!a")), Ignore(context, ("**/left", "!b/left")))
    at.build(at.image("FROM BASE\nCOPY . /all\nRUN cd /all && find . ! -type d\n", ignores=ignores))
    assert "./a/kept" in at.said()
    assert not any("left" in line for line in at.lines())


def check_an_image_can_be_built_on_another(at: Workspace) -> None:
    base = at.build(at.image("FROM BASE\nRUN echo from-the-base > /base.txt\n", ref="base"))
    at.build(at.image(f"ARG ON={base.ref}\nFROM $ON AS one\nRUN cat /base.txt\n"), base)
    assert "from-the-base" in at.said()


def check_what_was_built_is_there(at: Workspace) -> None:
    built = at.build(at.image("FROM BASE\nRUN touch /made\n"))
    assert at.engine.has(built)
    assert not at.engine.has(replace(built, local_ref=f"{at.ref('web')}:gone"))


def check_a_build_can_be_cancelled(at: Workspace) -> None:
    work = at.work()
    image = at.image("FROM BASE\nRUN echo going; sleep 300; echo never\n")
    raised: list[BaseException] = []

    def build() -> None:
        try:
            at.engine.build(BuildImage(image), work)
        except TiltError as error:
            raised.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    eventually(lambda: "going" in at.said(), timeout=30)
    work.cancel()
    thread.join(20)
    assert not thread.is_alive()
    assert [type(error) for error in raised] == [Cancelled]


# ---------------------------------------------------------------------------------------------- Deployer


def check_a_service_is_brought_up_and_left_alone(at: Workspace) -> None:
    built = at.build(at.image("FROM BASE\nENV FROM_IMAGE=1\n"))
    resource = at.service(environment={"FROM_SERVICE": "2"})
    container = at.apply(resource, built)
    assert container.running
    assert container.service == "web"
    assert container.image == built.digest
    assert container.exit_code is None
    assert at.shown(container, "echo $FROM_IMAGE$FROM_SERVICE") == "12"
    again = at.engine.apply(Apply(resource, (built,)), at.work())
    assert (again.containers, again.kept) == ((container,), (container.id,))
    assert at.engine.apply(Apply(resource, (built,), recreate=True), at.work()).kept == ()


def check_recreate_and_force_give_a_fresh_container(at: Workspace) -> None:
    built = at.build(at.image("FROM BASE\n"))
    resource = at.service()
    first = at.apply(resource, built)
    at.shown(first, "echo drift > /drift")
    second = at.apply(resource, built, recreate=True)
    assert at.sh(second, "test -e /drift")[0] == 1
    third = at.apply(resource, built, force=True)
    assert len({first.id, second.id, third.id}) == 3


def check_a_container_that_ended_is_started_again_or_replaced(at: Workspace) -> None:
    built = at.build(at.image("FROM BASE\n"))
    resource = at.service(command=["sh", "-c", "while [ ! -e /end ]; do sleep 0.1; done; rm /end"])
    first = at.apply(resource, built)
    at.start(Observe(at.engine.name, (resource,)))

    def end(container: Container) -> None:
        at.sh(container, "touch /drift; touch /end")
        eventually(lambda: [c.state for c in at.seen() or () if c.id == container.id] == ["exited"])

    end(first)
    second = at.apply(resource, built)
    assert second.id == first.id
    assert at.shown(second, "ls /drift") == "/drift"
    end(second)
    third = at.engine.apply(Apply(resource, (built,), revive=False), at.work())
    assert third.kept == ()
    assert at.sh(third.containers[0], "test -e /drift")[0] == 1
    assert at.engine.apply(Apply(resource, (built,), revive=False), at.work()).kept == (third.containers[0].id,)


def check_a_new_image_replaces_the_container(at: Workspace) -> None:
    resource = at.service()
    first = at.apply(resource, at.build(at.image("FROM BASE\nRUN echo 1 > /number\n")))
    built = at.build(at.image("FROM BASE\nRUN echo 2 > /number\n"))
    second = at.apply(resource, built)
    assert second.id != first.id
    assert second.image == built.digest
    assert at.shown(second, "cat /number") == "2"


def check_services_do_not_disturb_each_other(at: Workspace) -> None:
    built = at.build(at.image("FROM BASE\n"))
    web, db = at.service("web"), at.service("db")
    first = at.apply(web, built)
    assert at.apply(db, built).id != first.id
    at.engine.delete(Delete(db), at.work())
    assert at.apply(web, built).id == first.id


def check_delete_takes_down_and_may_be_repeated(at: Workspace) -> None:
    container = at.running()
    resource = at.service()
    at.engine.delete(Delete(resource), at.work())
    fails(Broke, lambda: at.sh(container, "true"))
    at.engine.delete(Delete(resource), at.work())


# ---------------------------------------------------------------------------------------------- Containers


def check_files_are_copied_replaced_and_removed(at: Workspace) -> None:
    where = at.running()
    one, two = at.file("src/one.txt", "1"), at.file("src/two.txt", "2")
    at.sync(where, (one, "/app/one.txt"), (two, "/app/new/deep/two.txt"))
    assert at.shown(where, "cat /app/one.txt /app/new/deep/two.txt") == "12"
    one.write_text("one")
    two.unlink()
    at.sync(where, (one, "/app/one.txt"), (two, "/app/new/deep/two.txt"), (two, "/app/never-there"))
    assert at.shown(where, "cat /app/one.txt; ls /app/new/deep") == "one"


def check_directories_are_made_by_themselves_and_removed_whole(at: Workspace) -> None:
    where = at.running()
    file = at.file("src/a/b/c.txt", "c")
    (at.directory / "src/empty").mkdir()
    at.sync(where, (at.directory / "src/a", "/app/tree/a"), (at.directory / "src/empty", "/app/tree/empty"))
    assert at.shown(where, "cd /app/tree && find . | sort") == ".\n./a\n./empty"
    at.sync(where, (file, "/app/tree/a/b/c.txt"))
    at.sync(where, (at.directory / "gone", "/app/tree"))
    assert at.sh(where, "test -e /app/tree")[0] == 1


def check_a_directory_takes_the_place_of_a_link_to_another(at: Workspace) -> None:
    where = at.running()
    source = at.directory / "src"
    at.file("src/other/kept", "kept")
    (source / "thing").symlink_to("other")
    at.mirror(where, source, "other", "other/kept", "thing")
    assert at.shown(where, "cat /app/thing/kept") == "kept"
    (source / "thing").unlink()
    at.file("src/thing/new", "new")
    at.mirror(where, source, "thing", "thing/gone", "thing/kept", "thing/new")
    assert at.shown(where, "cd /app; ls thing other") == "other:\nkept\n\nthing:\nnew"


def check_what_is_below_a_link_is_left_to_its_target(at: Workspace) -> None:
    where = at.running()
    source = at.directory / "src"
    at.file("src/thing/one", "1")
    at.file("src/other/two", "2")
    at.mirror(where, source, "thing", "thing/one", "other", "other/two")
    shutil.rmtree(source / "thing")
    (source / "thing").symlink_to("other")
    at.mirror(where, source, "thing/one")  # whoever looks a moment later may find a directory there again
    assert at.shown(where, "cd /app; readlink thing; ls other") == "other\ntwo"
    at.mirror(where, source, "thing/one", "thing/two")
    assert at.shown(where, "cd /app; readlink thing; ls other") == "other\ntwo"


def check_a_file_takes_the_place_of_a_directory_whose_files_are_gone(at: Workspace) -> None:
    where = at.running()
    source = at.directory / "src"
    at.file("src/thing/one/two", "2")
    at.mirror(where, source, "thing", "thing/one", "thing/one/two")
    shutil.rmtree(source / "thing")
    at.file("src/thing", "file")
    at.mirror(where, source, "thing", "thing/one", "thing/one/two")
    assert at.shown(where, "cat /app/thing") == "file"


def check_a_file_takes_the_place_of_a_directory_and_back(at: Workspace) -> None:
    where = at.running()
    inside, file = at.file("one/thing/inside", "in"), at.file("two/thing", "file")
    at.sync(where, (inside, "/app/thing/inside"))
    at.sync(where, (file, "/app/thing"))
    assert at.shown(where, "cat /app/thing") == "file"
    at.sync(where, (inside, "/app/thing/inside"))
    assert at.shown(where, "cat /app/thing/inside") == "in"


def check_links_modes_and_times_are_kept(at: Workspace) -> None:
    where = at.running()
    program = at.file("src/program", "#!/bin/sh\necho ran\n", mode=0o755)
    link = at.directory / "src/link"
    link.symlink_to("program")
    os.utime(program, (1_000_000_000, 1_000_000_000))
    at.sync(where, (program, "/app/program"), (link, "/app/link"), (at.file("src/secret", mode=0o600), "/app/secret"))
    assert at.shown(where, "/app/link; readlink /app/link") == "ran\nprogram"
    assert at.shown(where, "stat -c '%a %Y' /app/program; stat -c %a /app/secret") == "755 1000000000\n600"


def check_odd_names_arrive_unchanged(at: Workspace) -> None:
    where = at.running()
    names = ["with space", "it's", 'say "hi"', "$HOME", "back\\slash", "new\nline", "-rf", "ünïcode", "*", "a" * 150]
    files = [at.file(f"src/{name}", str(number)) for number, name in enumerate(names)]
    at.sync(where, *((path, f"/app/odd/{path.name}") for path in files))
    assert at.shown(where, "cd /app/odd && set -- ./* && echo $#; cat ./with* ./-rf ./a*").split() == ["10", "069"]
    for path in files:
        path.unlink()
    at.sync(where, *((path, f"/app/odd/{path.name}") for path in files))
    assert at.shown(where, "ls -A /app/odd") == ""


def check_many_files_go_in_one_sync(at: Workspace) -> None:
    where = at.running()
    files = [at.file(f"src/{number}", str(number)) for number in range(1000)]
    at.sync(where, *((path, f"/app/many/{path.name}") for path in files))
    assert at.shown(where, "ls /app/many | wc -l; cat /app/many/999").split() == ["1000", "999"]
    for path in files:
        path.unlink()
    at.sync(where, *((path, f"/app/many/{path.name}") for path in files))
    assert at.shown(where, "ls -A /app/many") == ""


def check_big_files_arrive_whole(at: Workspace) -> None:
    where = at.running()
    block = secrets.token_bytes(1 << 20)
    path = at.file("src/big")
    path.write_bytes(block * 12)
    at.sync(where, (path, "/app/big"))
    assert at.shown(where, "wc -c < /app/big") == str(12 << 20)
    back = at.file("src/tail")
    back.write_bytes(block)
    at.sync(where, (back, "/app/tail"))
    at.shown(where, "tail -c 1048576 /app/big | cmp - /app/tail")


def check_of_two_copies_to_one_path_the_last_counts(at: Workspace) -> None:
    where = at.running()
    at.sync(where, (at.file("src/a", "a"), "/app/x"), (at.file("src/b", "b"), "/app/x"))
    assert at.shown(where, "cat /app/x") == "b"


def check_what_cannot_be_read_is_named(at: Workspace) -> None:
    where = at.running()
    passing = fails(Unavailable, lambda: at.sync(where, (Path("/proc/self/mem"), "/app/mem")))
    assert "/proc/self/mem" in passing.message
    lasting = fails(Rejected, lambda: at.sync(where, (at.directory / ("x" * 300), "/app/x")))
    assert "too long" in lasting.message
    at.sync(where, (at.file("src/fine", "fine"), "/app/fine"))
    assert at.shown(where, "cat /app/fine") == "fine"


def check_what_cannot_be_written_is_named(at: Workspace) -> None:
    where = at.running()
    error = fails(Rejected, lambda: at.sync(where, (at.file("src/x"), "/proc/no/such/place")))
    assert "proc/no" in error.message
    assert where.name in error.message


def check_the_root_is_never_removed(at: Workspace) -> None:
    where = at.running()
    fails(Rejected, lambda: at.sync(where, (at.directory / "gone", "/")))
    assert at.shown(where, "echo alive") == "alive"


def check_what_differs_is_found_and_nothing_is_written(at: Workspace) -> None:
    where = at.running()
    names = ["same", "content", "mode", "shorter", "with space", "ünïcode", "it's"]
    for name in names:
        at.file(f"src/{name}", f"content of {name}")
    source = at.directory / "src"
    for name, leads in (("link", "same"), ("moved", "same")):
        (source / name).symlink_to(leads)
    (source / "empty").mkdir()
    everything = [*names, "link", "moved", "empty"]
    at.mirror(where, source, *everything)
    assert at.lacking(where, source, *everything) == []
    at.shown(where, "cd /app; echo 'CONTENT of content' > content; chmod 700 mode; : > shorter; rm -r moved empty")
    at.shown(where, "cd /app; ln -s other moved; touch -t 200001010000 same; touch made")
    assert at.lacking(where, source, *everything) == ["content", "empty", "mode", "moved", "shorter"]
    assert at.lacking(where, source, "gone", "made") == ["made"]
    at.shown(where, "cd /app; rm same; mkfifo same")
    assert at.lacking(where, source, "same") == ["same"]
    at.mirror(where, source, *at.lacking(where, source, *everything, "made"))
    assert at.lacking(where, source, *everything, "made") == []


def check_what_was_found_below_a_link_is_lacking_once_the_link_is_a_directory(at: Workspace) -> None:
    where = at.running()
    source = at.directory / "src"
    at.file("src/other/file", "the same")
    (source / "thing").symlink_to("other")
    at.mirror(where, source, "other", "other/file", "thing")
    (source / "thing").unlink()
    at.file("src/thing/file", "the same")
    names = ("other", "other/file", "thing", "thing/file")
    assert at.lacking(where, source, *names) == ["thing", "thing/file"]
    at.mirror(where, source, *at.lacking(where, source, *names))
    assert at.shown(where, "cat /app/thing/file /app/other/file") == "the samethe same"


def check_many_files_are_compared(at: Workspace) -> None:
    where = at.running()
    names = [f"{number % 20}/{number}" for number in range(1200)]
    for name in names:
        at.file(f"src/{name}", name)
    at.mirror(where, at.directory / "src", *names)
    at.shown(where, "echo X > /app/7/1007")
    assert at.lacking(where, at.directory / "src", *names) == ["7/1007"]


def check_what_cannot_be_looked_at_is_named(at: Workspace) -> None:
    where = at.running()
    at.take_down()
    fails(Broke, lambda: at.lacking(where, at.directory / "src", "x"))


def check_steps_give_their_exit_code_and_output(at: Workspace) -> None:
    where = at.running()
    assert at.sh(where, "echo out; echo err >&2; printf last; exit 7") == (7, ["out", "err", "last"])
    assert at.sh(where, "true") == (0, [])
    assert at.engine.exec(where, ("no-such-program",), at.work()) == 127
    assert at.engine.exec(where, ("exit", "3"), at.work()) == 127
    assert at.shown(where, "pwd") == "/app"


def check_a_step_cannot_read_what_is_not_its_own(at: Workspace) -> None:
    where = at.running()
    at.start(Attach(where.id, where.started_at))
    assert at.shown(where, "cat; echo read nothing") == "read nothing"
    at.sync(where, (at.file("src/x", "x"), "/app/x"))
    assert at.shown(where, "cat /app/x") == "x"


def check_output_is_logged_as_it_comes_and_a_step_can_be_cancelled(at: Workspace) -> None:
    where = at.running()
    at.start(Attach(where.id, where.started_at))
    with _running(at, where, "echo first; sleep 300 & sleep 301") as (work, raised):
        eventually(lambda: "first" in at.lines())
        work.cancel()
    assert [type(error) for error in raised] == [Cancelled]
    eventually(
        lambda: (
            not at.shown(
                where,
                "for p in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $p; done 2>/dev/null |grep -c 'sleep 30[01]' || true",
            ).strip("0")
        )
    )


def check_a_background_child_does_not_hold_a_step(at: Workspace) -> None:
    where = at.running()
    at.start(Attach(where.id, where.started_at))
    assert at.shown(where, "(sleep 2; echo much later) & echo at once") == "at once"
    at.sync(where, (at.file("src/x", "x"), "/app/x"))
    assert at.shown(where, "cat /app/x") == "x"


def check_a_container_that_dies_during_a_step_is_broken(at: Workspace) -> None:
    where = at.running()
    with _running(at, where, "echo going; sleep 300") as (_, raised):
        eventually(lambda: "going" in at.lines())
        at.take_down()
    assert [type(error) for error in raised] == [Broke]


def check_a_container_that_is_gone_is_broken(at: Workspace) -> None:
    where = at.running()
    at.start(Attach(where.id, where.started_at))
    at.shown(where, "true")
    at.take_down()
    assert where.name in fails(Broke, lambda: at.sync(where, (at.file("src/x"), "/app/x"))).message
    fails(Broke, lambda: at.sh(where, "true"))


def check_what_is_gone_is_not_restarted(at: Workspace) -> None:
    where = at.running()
    at.take_down()
    fails(Broke, lambda: at.engine.restart(where, at.work()))


def check_a_restart_keeps_the_container_and_its_files(at: Workspace) -> None:
    where = at.running()
    at.start(Observe(at.engine.name, (at.service(),)))
    at.start(Attach(where.id, where.started_at))
    at.sync(where, (at.file("src/x", "kept"), "/app/x"))
    at.engine.restart(where, at.work())
    again = eventually(
        lambda: next((c for c in at.seen() or () if c.running and c.started_at != where.started_at), None)
    )
    assert again is not None
    assert again.id == where.id
    at.sync(again, (at.file("src/y", "new"), "/app/y"))
    assert at.shown(again, "cat /app/x /app/y") == "keptnew"


@contextmanager
def _running(at: Workspace, where: Container, script: str) -> Iterator[tuple[Work, list[TiltError]]]:
    """A step that runs on a thread of its own within the block and is over soon after it; its errors are collected."""
    work = at.work()
    raised: list[TiltError] = []

    def run() -> None:
        try:
            at.engine.exec(where, ("sh", "-c", script), work)
        except TiltError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield work, raised
    except BaseException:
        work.cancel()
        raise
    finally:
        thread.join(15)
    assert not thread.is_alive()


# ---------------------------------------------------------------------------------------------- Observer


def check_containers_are_observed_from_start_to_end(at: Workspace) -> None:
    resource = at.service()
    at.start(Observe(at.engine.name, (resource,)))
    eventually(lambda: at.seen() == ())
    eventually(lambda: EngineSeen(at.engine.name) in at.facts)
    first = at.apply(resource, at.build(at.image("FROM BASE\n")))
    eventually(lambda: at.seen() == (first,))
    second = at.apply(resource, at.build(at.image("FROM BASE\nENV X=1\n")))
    eventually(lambda: at.seen() == (second,))
    at.engine.delete(Delete(resource), at.work())
    eventually(lambda: at.seen() == ())


def check_an_observer_that_comes_late_sees_what_is_there(at: Workspace) -> None:
    where = at.running()
    at.start(Observe(at.engine.name, (at.service(),)))
    eventually(lambda: at.seen() == (where,))


def check_the_end_of_a_container_is_observed_with_its_exit_code(at: Workspace) -> None:
    where = at.running(command=["sh", "-c", "while ! test -e /end; do sleep 0.05; done; exit 5"])
    at.start(Observe(at.engine.name, (at.service(),)))
    eventually(lambda: at.seen() == (where,))
    at.engine.exec(where, ("touch", "/end"), at.work())
    ended = eventually(lambda: next((c for c in at.seen() or () if c.exit_code is not None), None))
    assert ended is not None
    assert (ended.id, ended.state, ended.exit_code, ended.running) == (where.id, "exited", 5, False)


def check_nothing_is_posted_after_the_stop(at: Workspace) -> None:
    resource = at.service()
    stop = at.start(Observe(at.engine.name, (resource,)))
    eventually(lambda: at.seen() == ())
    stop()
    at.apply(resource, at.build(at.image("FROM BASE\n")))
    assert at.seen() == ()


def check_output_is_followed_from_the_start(at: Workspace) -> None:
    command = ["sh", "-c", "echo one; echo two >&2; while ! test -e /go; do sleep 0.05; done; echo three; sleep 300"]
    where = at.running(command=command)
    followed: list[str] = []
    at.start(Follow("web", where.id, where.started_at), lambda text, _: followed.extend(text.split("\n")))
    eventually(lambda: sorted(followed) == ["one", "two"])
    at.shown(where, "touch /go")
    eventually(lambda: followed[2:] == ["three"])


def check_following_goes_on_after_a_restart_without_repeating(at: Workspace) -> None:
    where = at.running(
        command=["sh", "-c", "echo run $(cat /n 2>/dev/null); trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    )
    followed: list[str] = []

    def take(text: str, _: str) -> None:
        followed.extend(line.strip() for line in text.split("\n"))

    at.start(Observe(at.engine.name, (at.service(),)))
    at.start(Follow("web", where.id, where.started_at), take)
    eventually(lambda: followed == ["run"])
    at.shown(where, "echo 2 > /n")
    at.engine.restart(where, at.work())
    again = eventually(
        lambda: next((c for c in at.seen() or () if c.running and c.started_at != where.started_at), None)
    )
    assert again is not None
    at.start(Follow("web", again.id, again.started_at), take)
    eventually(lambda: followed == ["run", "run 2"])


def check_orders_stop_within_two_seconds(at: Workspace) -> None:
    where = at.running()
    orders: tuple[Order, ...] = (
        Observe(at.engine.name, (at.service(),)),
        Follow("web", where.id, where.started_at),
        Attach(where.id, where.started_at),
    )
    stops = [at.start(order) for order in orders]
    at.shown(where, "true")
    begin = time.monotonic()
    for stop in stops:
        stop()
    assert time.monotonic() - begin < 2 * len(stops)
    assert at.shown(where, "echo still there") == "still there"


CHECKS: tuple[Callable[[Workspace], None], ...] = tuple(
    function for name, function in globals().items() if name.startswith("check_")
)
_THERE = CHECKS.index(check_files_are_copied_replaced_and_removed)
INSIDE = CHECKS[_THERE : CHECKS.index(check_what_is_gone_is_not_restarted)]
"""Those about files and steps in containers, which every engine passes that has containers at all."""
