"""Images on real Docker: both builders, options, contexts, custom builds."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ipytilt import processes
from ipytilt.core.spec import Command, ComposeBuild, CustomBuild, DockerBuild, Ignore, Image, Origin
from ipytilt.core.steps import BuildImage, Built
from ipytilt.engines.base import Work
from ipytilt.engines.docker import buildkit
from ipytilt.engines.docker.buildkit import Progress, dockerignore
from ipytilt.errors import Rejected, Unavailable
from tests.engines.contract import CHECKS, Workspace, fails
from tests.engines.docks import workspace

BUILDER_CHECKS = CHECKS[: next(i for i, check in enumerate(CHECKS) if "service" in check.__name__)]


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Workspace]:
    with workspace(tmp_path, os.environ) as found:
        yield found


@pytest.fixture
def classic(tmp_path: Path) -> Iterator[Workspace]:
    with workspace(tmp_path, {**os.environ, "DOCKER_BUILDKIT": "0"}) as found:
        yield found


@pytest.fixture(params=["buildkit", "classic"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    off = {"DOCKER_BUILDKIT": "0"} if request.param == "classic" else {}
    with workspace(tmp_path, {**os.environ, **off, "FROM_ENV": "yes"}) as found:
        yield found


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


def optioned(image: Image, **options: object) -> Image:
    assert isinstance(image.build, DockerBuild)
    return replace(image, build=replace(image.build, **options))  # type: ignore[arg-type]


def custom(at: Workspace, script: str, **options: object) -> Image:
    command = Command(("sh", "-c", script), str(at.directory), ("OWN=1",), Origin("Tiltfile", 7))
    return Image(at.ref("web"), CustomBuild(command, **options))  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- both builders


@pytest.mark.docker
@pytest.mark.parametrize("check", BUILDER_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_the_classic_builder_keeps_the_contract(check: Callable[[Workspace], None], classic: Workspace) -> None:
    check(classic)


@pytest.mark.docker
def test_nothing_of_ours_gets_into_the_image(either: Workspace) -> None:
    either.file("context/a.txt")
    either.build(either.image('FROM BASE\nCOPY . /all\nRUN cd /all; echo "in: $(ls -A)"\n'))
    assert "in: a.txt" in either.said()


@pytest.mark.docker
def test_an_image_is_labelled_and_gets_its_tags(either: Workspace) -> None:
    extra = f"{either.ref('extra')}:v1"
    built = either.build(optioned(either.image("FROM BASE\nRUN true\n"), extra_tags=(extra, either.ref("more"))))
    found = json.loads(docker("inspect", built.digest))[0]
    assert found["Config"]["Labels"]["dev.ipytilt.built"] == "true"
    assert sorted(found["RepoTags"]) == sorted([extra, f"{either.ref('more')}:latest", built.local_ref])
    assert built.local_ref == f"{either.ref('web')}:tilt-{built.digest.removeprefix('sha256:')[:16]}"


@pytest.mark.docker
def test_build_options_arrive(either: Workspace) -> None:
    image = either.image("FROM BASE AS one\nARG FROM_ENV=no\nRUN echo $FROM_ENV; cat /etc/hosts\nFROM one\nRUN false\n")
    options = {
        "target": "one",
        "args": ("FROM_ENV", "NOT_SET"),
        "extra_hosts": ("build.test:10.1.2.3",),
        "network": "none",
    }
    either.build(optioned(image, **options))
    lines = [line.split() for line in either.lines()]
    assert ["yes"] in lines
    assert ["10.1.2.3", "build.test"] in lines


@pytest.mark.docker
@pytest.mark.parametrize("platform, arch, expected", [("", "arm64", "arm64"), ("linux/s390x", "arm64", "s390x")])
def test_an_image_is_for_the_cluster_s_machines_unless_the_tiltfile_says(
    either: Workspace, platform: str, arch: str, expected: str
) -> None:
    image = optioned(either.image("FROM scratch\nCOPY a.txt /\n"), platform=platform)
    either.file("context/a.txt", f"for {expected} by {either.ref('web')}")  # the classic cache does not know machines
    built = either.engine.build(BuildImage(image, arch=arch), either.work())
    assert json.loads(docker("inspect", built.digest))[0]["Architecture"] == expected


@pytest.mark.docker
def test_an_image_without_a_context(either: Workspace) -> None:
    either.build(optioned(either.image("FROM BASE\nRUN echo built\n"), context=""))
    assert "built" in either.said()


@pytest.mark.docker
def test_the_temporary_tag_is_gone(either: Workspace) -> None:
    either.build(either.image("FROM BASE\n"))
    either.refused(either.image("FROM BASE\nRUN false\n"))
    assert "tilt-build" not in docker("images", "--format", "{{.Repository}}:{{.Tag}}", either.ref("web"))


@pytest.mark.docker
def test_a_base_that_does_not_exist_is_named(either: Workspace) -> None:
    error = either.refused(either.image("FROM ipytilt-no-such:image\nRUN true\n"))
    assert "ipytilt-no-such" in error.message
    assert "registry" in error.hint


# ---------------------------------------------------------------------------------------------- BuildKit


@pytest.mark.docker
def test_secrets_need_buildkit(classic: Workspace) -> None:
    error = classic.refused(optioned(classic.image("FROM BASE\n"), secrets=("id=x,src=/dev/null",)))
    assert "BuildKit" in error.message
    assert "buildx" in error.hint


@pytest.mark.docker
def test_a_secret_is_mounted(at: Workspace) -> None:
    secret = at.file("token", "whispered")
    image = at.image(f"FROM BASE\nRUN --mount=type=secret,id=token cat /run/secrets/token # {at.ref('x')}\n")
    at.build(optioned(image, secrets=(f"id=token,src={secret}",)))
    assert "whispered" in at.said()


@pytest.mark.docker
def test_cached_steps_say_so(at: Workspace) -> None:
    image = at.image("FROM BASE\nRUN echo done\n")
    at.build(image)
    assert not any(line.endswith("echo done [cached]") for line in at.lines())
    at.build(image)
    assert any(line.endswith("echo done [cached]") for line in at.lines())


@pytest.mark.docker
def test_without_buildx_the_classic_builder_is_used(at: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with workspace(tmp_path, {**os.environ, "DOCKER_CONFIG": str(tmp_path / "empty")}) as plain:
        plain.build(plain.image("FROM BASE\n"))
        assert any(line.startswith("Step 1/") for line in plain.lines())


CONTEXT = "/ctx"


@pytest.mark.parametrize(
    "ignores, text",
    [
        ([], ""),
        ([Ignore(CONTEXT, (" **/*.pyc ", "", "./logs/"))], "**/*.pyc\nlogs\n"),
        ([Ignore("/ctx/.git"), Ignore("/ctx/Tiltfile"), Ignore("/elsewhere/Tiltfile")], ".git\nTiltfile\n"),
        ([Ignore(CONTEXT, ("a",)), Ignore(CONTEXT, ("*", "!b"))], "*\n!b\na\n"),
        ([Ignore(CONTEXT, ("**", "!a")), Ignore(CONTEXT, ("*", "!b"))], None),
        ([Ignore(CONTEXT, ("[a-z]",))], None),
        ([Ignore(CONTEXT, ("[",))], None),
        ([Ignore(CONTEXT, ("/ctx/a",))], None),
        ([Ignore(CONTEXT, ("../a",))], None),
        ([Ignore(CONTEXT, ("#a",))], None),
        ([Ignore("/ctx/sub", ("a",))], None),
        ([Ignore("/")], None),
        ([Ignore("/ctx/odd*")], None),
    ],
)
def test_ignore_sets_as_one_file_where_that_is_possible(ignores: list[Ignore], text: str | None) -> None:
    assert dockerignore(CONTEXT, ignores) == text


def test_progress_reads_documents_however_they_are_spread() -> None:
    said: list[tuple[str, str]] = []
    progress = Progress(lambda text, level: said.append((text, level)))
    vertex = {"digest": "d", "name": "[1/2] RUN make", "started": "2024-01-01T00:00:00.1Z"}
    for line in json.dumps({"vertexes": [vertex]}, indent=2).splitlines():
        progress.line(line)
    progress.line(json.dumps({"logs": [{"vertex": "d", "data": "b3V0"}, {"vertex": "unknown", "data": ""}]}))
    done = {**vertex, "completed": "2024-01-01T00:00:02.123456789Z"}
    progress.line(json.dumps({"vertexes": [done]}))
    internal = {"digest": "i", "name": "[internal] load build context", "started": "x", "error": "broken"}
    progress.line(json.dumps({"vertexes": [internal]}))
    for line in ("Dockerfile:7", "--------", "   7 | >>> RUN make", "--------", "ERROR: failed to solve: broken: no"):
        progress.line(line)
    assert said == [
        ("[1/2] RUN make", "info"),
        ("  out", "info"),
        ("[1/2] RUN make [done: 2.0s]", "info"),
        ("ERROR IN: [internal] load build context", "error"),
    ]
    assert progress.error() == ("broken: no", 7)


def test_a_build_whose_context_stops_coming_is_stuck() -> None:
    progress = Progress(lambda text, level: None)
    assert not progress.is_stuck(0)
    loading = {"digest": "i", "name": "[internal] load build context", "started": "x"}
    progress.line(json.dumps({"vertexes": [loading]}))
    assert not progress.is_stuck(60)
    assert progress.is_stuck(-1)
    progress.line(json.dumps({"vertexes": [{**loading, "completed": "y"}]}))
    assert not progress.is_stuck(-1)


def test_a_stuck_build_is_ended_and_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buildkit, "_STUCK_SECONDS", 0.0)
    monkeypatch.setattr(buildkit, "_LOOK_SECONDS", 0.01)
    progress = Progress(lambda text, level: None)
    progress.line(json.dumps({"vertexes": [{"digest": "i", "name": "[internal] load build context"}]}))
    with pytest.raises(Unavailable, match="build context stopped"):
        processes.run(["sleep", "600"], cancel=buildkit.Patience(Work(lambda *_: None), progress))


# ---------------------------------------------------------------------------------------------- custom builds


@pytest.mark.docker
def test_a_custom_build_tags_what_it_is_told_to(at: Workspace) -> None:
    script = 'echo "own=$OWN $EXPECTED_IMAGE:$EXPECTED_TAG=$EXPECTED_REF"; docker tag ipytilt-base:test $EXPECTED_REF'
    built = at.build(custom(at, script))
    assert built.digest == docker("inspect", "--format", "{{.Id}}", "ipytilt-base:test")
    assert built.local_ref == f"{at.ref('web')}:tilt-{built.digest.removeprefix('sha256:')[:16]}"
    line = next(line for line in at.lines() if line.startswith("own=1 "))
    named, _, reference = line.removeprefix("own=1 ").partition("=")
    assert named.endswith(reference)
    assert at.build(custom(at, "docker tag ipytilt-base:test $EXPECTED_REF", output_tag="mine")) == built
    assert docker("images", "-q", f"{at.ref('web')}:mine")


@pytest.mark.docker
def test_a_custom_build_may_choose_the_reference(at: Workspace) -> None:
    written = at.file("ref.txt", "left over from before")
    image = custom(at, "test ! -e ref.txt && echo ipytilt-base:test > ref.txt", outputs_image_ref_to=str(written))
    assert at.build(image).local_ref == "ipytilt-base:test"
    image = custom(at, "echo somewhere/else:1 > ref.txt; env", outputs_image_ref_to=str(written))
    assert at.build(image) == Built(image.ref, "somewhere/else:1")
    assert not any(line.startswith("EXPECTED_REF") for line in at.lines())


@pytest.mark.docker
def test_a_custom_build_may_skip_the_local_store(at: Workspace) -> None:
    image = custom(at, "true", skips_local_docker=True, output_tag="t")
    assert at.build(image) == Built(image.ref, f"{at.ref('web')}:t")


@pytest.mark.docker
def test_a_custom_build_knows_the_images_it_depends_on(at: Workspace) -> None:
    image = custom(at, "docker tag $TILT_IMAGE_0 $EXPECTED_REF", image_deps=("base",))
    base = Built("base", "ipytilt-base:test")
    assert at.build(image, base).digest == docker("inspect", "--format", "{{.Id}}", "ipytilt-base:test")


@pytest.mark.docker
@pytest.mark.parametrize(
    "script, options, message, hint",
    [
        ("exit 4", {}, 'Custom build "exit 4" failed: exit status 4', ""),
        ("true", {}, 'Custom build "true" failed: there is no image', "$EXPECTED_REF"),
        ("true", {"outputs_image_ref_to": "{}/ref"}, "wrote no image reference", ""),
        ("echo untagged > ref", {"outputs_image_ref_to": "{}/ref"}, "untagged has no tag", ""),
        ("echo '!!' > ref", {"outputs_image_ref_to": "{}/ref"}, "invalid reference format", ""),
    ],
)
def test_a_custom_build_that_fails_says_why(  # noqa: PLR0917 - a table
    at: Workspace, script: str, options: dict[str, str], message: str, hint: str
) -> None:
    options = {name: value.format(at.directory) for name, value in options.items()}
    error = fails(Rejected, lambda: at.build(custom(at, script, **options)))
    assert message in error.message
    assert hint in error.hint
    assert error.where == "Tiltfile:7"


@pytest.mark.docker
def test_a_missing_program_or_directory_is_the_users(at: Workspace) -> None:
    command = Command(("no-such-builder",), str(at.directory))
    error = fails(Rejected, lambda: at.build(Image(at.ref("web"), CustomBuild(command))))
    assert "no-such-builder" in error.message


@pytest.mark.docker
def test_what_compose_builds_is_not_built_here(at: Workspace) -> None:
    fails(Rejected, lambda: at.build(Image(at.ref("web"), ComposeBuild("web", str(at.directory)))))
