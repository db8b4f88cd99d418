"""Images that go through a registry: what they are called on this machine, and how they get there.

Runs on pytest's thread; the registry is a real one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from ipytilt.core.spec import Command, CustomBuild, Image, Registry
from ipytilt.core.steps import BuildImage, Built
from ipytilt.errors import Rejected
from tests.engines.contract import Workspace, fails
from tests.engines.docks import workspace

pytestmark = pytest.mark.docker


@pytest.fixture
def at(docker_host: dict[str, str], tmp_path: Path) -> Iterator[Workspace]:
    """Give a workspace on Docker."""
    with workspace(tmp_path, docker_host) as found:
        yield found


def custom(at: Workspace, script: str, *, output_tag: str = "") -> Image:
    """An image by a command."""
    command = Command(("sh", "-c", script), str(at.directory))
    return Image(at.ref("web"), CustomBuild(command, output_tag=output_tag))


def build(at: Workspace, image: Image, registry: Registry) -> Built:
    """Build for a registry."""
    return at.engine.build(BuildImage(image, registry=registry), at.work())


def pushed(registry: str, name: str) -> list[str]:
    """The tags that a registry has of an image."""
    with urlopen(f"http://{registry}/v2/{name}/tags/list") as answer:
        found: list[str] = json.loads(answer.read())["tags"]
    return found


def test_an_image_is_built_under_the_registry_s_name_and_pushed_there(at: Workspace, registry: str) -> None:
    built = build(at, at.image("FROM BASE\nRUN echo pushed > /x\n"), Registry(registry))
    assert built.local_ref.startswith(f"{registry}/{at.ref('web')}:tilt-")
    at.engine.push(built.local_ref, at.work())
    assert pushed(registry, at.ref("web")) == [built.local_ref.rpartition(":")[2]]
    assert f"Authenticating to image repo: {registry}/{at.ref('web')}" in at.lines()
    assert [line for line in at.said() if line.endswith(": Pushed")]
    at.engine.push(built.local_ref, at.work())
    assert [line for line in at.said() if line.endswith(": Layer already exists")]


def test_a_registry_with_a_single_name_has_the_image_s_own_in_the_tag(at: Workspace, registry: str) -> None:
    built = build(at, at.image("FROM BASE\n"), Registry(registry, single_name="all"))
    assert re.fullmatch(rf"{registry}/all:{at.ref('web')}-tilt-[0-9a-f]{{16}}", built.local_ref)
    at.engine.push(built.local_ref, at.work())
    assert pushed(registry, "all") == [built.local_ref.rpartition(":")[2]]


def test_166_a_command_with_a_tag_of_its_own_sees_the_bare_name(at: Workspace) -> None:
    script = (
        'echo "ref=$EXPECTED_REF at=$EXPECTED_REGISTRY old=$REGISTRY_HOST"; docker tag ipytilt-base:test $EXPECTED_REF'
    )
    built = build(at, custom(at, script, output_tag="dev"), Registry("reg.example:5000"))
    assert f"ref={at.ref('web')}:dev at=reg.example:5000 old=reg.example:5000" in at.lines()
    assert re.fullmatch(rf"reg\.example:5000/{at.ref('web')}:tilt-[0-9a-f]{{16}}", built.local_ref)


def test_a_command_is_told_the_name_in_the_registry(at: Workspace) -> None:
    script = 'echo "ref=$EXPECTED_REF image=$EXPECTED_IMAGE"; docker tag ipytilt-base:test $EXPECTED_REF'
    built = build(at, custom(at, script), Registry("reg.example:5000", single_name="all"))
    said = next(line for line in at.lines() if line.startswith("ref="))
    assert re.fullmatch(rf"ref=reg\.example:5000/all:{at.ref('web')}-tilt-build-\d+ image=all", said)
    assert built.local_ref.startswith(f"reg.example:5000/all:{at.ref('web')}-tilt-")


def test_what_a_registry_refuses_is_said(at: Workspace, registry: str) -> None:
    problem = fails(Rejected, lambda: at.engine.push(f"{registry}/absent:1", at.work()))
    assert f"{registry}/absent" in problem.message
    assert problem.doing == f"pushing {registry}/absent:1"
