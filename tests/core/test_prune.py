"""When old images are removed."""

from __future__ import annotations

from dataclasses import replace

from ipytilt.core import events as ev
from ipytilt.core.prune import Prune
from ipytilt.core.settings import PruneSettings, Settings
from tests.support.core import World, failed, image, local, service, spec


def world(**settings: int | bool) -> World:
    asked = spec(service("web", "web"), local("gen"), images=[image("web")])
    return World(replace(asked, settings=Settings(prune=PruneSettings(**settings))))  # type: ignore[arg-type]


def pruned(at: World) -> Prune | None:
    """What this turn begins to remove; it is over at once."""
    found = at.plan.prune
    if found is not None:
        at.post(ev.PruneFinished("", at.now))
    return found


def built(at: World) -> None:
    """One more build of the image, after which nothing runs."""
    at.trigger("web")
    at.finish("web")


def test_the_first_build_that_goes_well_begins_it_once_nothing_is_built() -> None:
    at = world()
    at.finish("gen")
    at.finish("web", failed())
    assert pruned(at) is None
    built(at)
    found = pruned(at)
    assert found == Prune(6 * 3600.0, 2, (f"web:{at.history[-1].run}",))
    built(at)
    assert pruned(at) is None


def test_after_the_interval_it_is_time_again() -> None:
    at = world(max_age_mins=1, keep_recent=0)
    at.settle()
    first = next(update for update in at.history if update.resource == "web")
    assert pruned(at) == Prune(60.0, 0, (f"web:{first.run}",))
    built(at)
    assert at.plan.wake_at is not None
    at.tick(at.plan.wake_at - at.now)
    at.turn()
    assert pruned(at)
    at.tick(7200)
    at.turn()
    assert pruned(at) is None  # nothing was built since


def test_with_a_number_of_builds_time_does_not_count() -> None:
    at = world(num_builds=2)
    at.settle()
    assert pruned(at)
    built(at)
    at.tick(7200)
    at.turn()
    assert pruned(at) is None
    built(at)
    assert pruned(at)


def test_it_can_be_off_and_asked_for() -> None:
    at = world(enabled=False)
    at.settle()
    assert pruned(at) is None
    at.trigger("web")
    at.post(ev.PruneRequested(at.now))
    building = at.plan
    assert building.prune is None  # something is being built
    at.finish("web")
    pruning = at.plan
    assert pruning.prune is not None
    at.post(ev.PruneRequested(at.now))
    again = at.plan
    assert again.prune is None  # one at a time
    at.post(ev.PruneFinished("removed 1 images, reclaimed 1MB", at.now))
    assert pruned(at)
    assert at.state.pruning.text == ""
