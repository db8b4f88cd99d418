"""When a container of an earlier session may go on running the image it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ipytilt.core.spec import DockerBuild, Ignore, Image, LiveUpdate, Origin, StopPath, Sync
from ipytilt.core.steps import Built, Container
from ipytilt.runtime import earlier
from ipytilt.runtime.earlier import Earlier, context_files

BUILT = Built("web", "web:tilt-1", "sha256:1")
RUNNING = (Container("c", "web-1", "web", "running", image="sha256:1"),)


class Past:
    """An image that was built from a context, and noted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("src/a", "src/b", "src/stop", "other", "left"):
            path = folder / "context" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        context = str(folder / "context")
        live = LiveUpdate(
            base=context,
            stop_paths=(StopPath(f"{context}/src/stop"),),
            syncs=(Sync(f"{context}/src", "/app", directory=True),),
        )
        build = DockerBuild(context, "FROM scratch", f"{context}/Dockerfile", args=("K",))
        self.image = Image("web", build, context_ignores=(Ignore(context, ("left",)),), live_update=live)
        self.note()

    def note(self) -> None:
        Earlier(str(self.folder / "kept")).note(self.image, BUILT, context_files(self.image))

    def usable(self) -> Built | None:
        return Earlier(str(self.folder / "kept")).usable(self.image, RUNNING)

    def file(self, name: str) -> Path:
        return self.folder / "context" / name


@pytest.fixture
def was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Past:
    monkeypatch.setenv("K", "v")
    return Past(tmp_path)


def _other_dockerfile(was: Past) -> None:
    assert isinstance(was.image.build, DockerBuild)
    was.image = replace(was.image, build=replace(was.image.build, dockerfile="FROM other"))


def _other_rules(was: Past) -> None:
    assert was.image.live_update
    was.image = replace(was.image, live_update=replace(was.image.live_update, stop_paths=()))


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda _: None, BUILT),
        (lambda was: setattr(was, "image", replace(was.image, origin=Origin("Tiltfile", 7, 1))), BUILT),
        (lambda was: was.file("left").write_text("ignored"), BUILT),
        (lambda was: was.file("src/a").write_text("synced"), replace(BUILT, stale=True)),
        (lambda was: was.file("src/new").write_text("synced"), replace(BUILT, stale=True)),
        (lambda was: was.file("src/a").unlink(), replace(BUILT, stale=True)),
        (lambda was: was.file("src/stop").write_text("needs an image"), None),
        (lambda was: was.file("other").write_text("not synced"), None),
        (lambda was: was.file("other").unlink(), None),
        (lambda was: was.file("new").write_text("not synced"), None),
        (_other_dockerfile, None),
        (_other_rules, None),
        (lambda was: next((was.folder / "kept").iterdir()).write_text("{"), None),
        (lambda was: next((was.folder / "kept").iterdir()).unlink(), None),
    ],
)
def test_it_may_if_live_updates_bring_what_changed(
    was: Past, change: Callable[[Past], object], expected: Built | None
) -> None:
    change(was)
    assert was.usable() == expected


def test_it_may_not_with_other_values_of_build_arguments(was: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", "another")
    assert was.usable() is None


def test_it_may_not_if_no_container_runs_that_image(was: Past) -> None:
    kept = Earlier(str(was.folder / "kept"))
    assert kept.usable(was.image, ()) is None
    assert kept.usable(was.image, [replace(RUNNING[0], image="sha256:2")]) is None


def test_what_the_image_brought_and_is_gone_is_known(was: Past) -> None:
    was.file("src/a").unlink()
    kept = Earlier(str(was.folder / "kept"))
    assert kept.gone(was.image, "sha256:1") == frozenset([str(was.file("src/a"))])
    assert kept.gone(was.image, "sha256:2") == frozenset()


def test_an_image_of_very_many_files_is_not_remembered(was: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    next((was.folder / "kept").iterdir()).unlink()
    monkeypatch.setattr(earlier, "KEPT_FILES", 2)
    was.note()
    assert was.usable() is None
