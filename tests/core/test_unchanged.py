"""When a save that changed nothing may be passed over."""

from __future__ import annotations

from ipytilt.core.state import CONFIG_WATCH, image_watch, local_watch
from ipytilt.core.unchanged import GRACE, may_be_dropped
from tests.support.core import World, failed, image, local, rules, service, spec

WATCH = image_watch("web")


def world() -> World:
    web = image("web", "web", live=rules(("web", "/app")))
    made = World(spec(service("web", "web"), local("gen", deps=("proto",)), images=[web]))
    made.settle()
    return made


def dropped(at: World, watch: str = WATCH, *, after: float = 2 * GRACE) -> bool:
    return may_be_dropped(at.state, watch, at.now + after)


def test_at_rest_it_may() -> None:
    assert dropped(world())
    assert dropped(world(), CONFIG_WATCH)


def test_while_somebody_may_have_read_the_files_it_may_not() -> None:
    at = world()
    assert not dropped(at, after=GRACE / 2)
    at.save("web/a")
    assert not dropped(at)
    at.settle()
    assert dropped(at)


def test_after_a_failure_a_save_means_another_try() -> None:
    at = world()
    at.save("web/a")
    at.finish("web", failed("cannot read it"))
    assert not dropped(at)


def test_a_command_that_writes_what_it_depends_on_does_not_start_itself() -> None:
    at = world()
    assert dropped(at, local_watch("gen"), after=0)
    at.save("proto/x")
    assert dropped(at, local_watch("gen"), after=0)
    at.finish("gen", failed("exit status 2"))
    assert not dropped(at, local_watch("gen"))


def test_a_tiltfile_in_error_is_read_again() -> None:
    at = world()
    at.load(None, error="wrong")
    assert not dropped(at, CONFIG_WATCH)
