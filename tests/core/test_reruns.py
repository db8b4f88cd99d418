"""Running again with a dependency: when it is due, what it waits for, and that it happens once."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from ipytilt.core import events as ev
from ipytilt.core.explain import what_if, why
from ipytilt.core.reruns import ALL_DEPS, chosen, deps_of
from ipytilt.core.spec import Kubernetes, Resource
from ipytilt.core.state import FILES, RERUN
from ipytilt.core.status import has_pending_changes, is_up_to_date
from ipytilt.core.steps import Pod
from tests.support.core import MANUAL, ROOT, World, applied, failed, image, local, rules, service, spec

API = service("api", "api")
IMAGE = image("api", "api", live=rules(("api/src", "/app")))


def world(*resources: Resource, **reruns: tuple[str, ...]) -> World:
    """`api` and these resources, up to date, which run again as told."""
    made = World(spec(API, *resources, images=[IMAGE]))
    for name, deps in reruns.items():
        made.post(ev.RerunSet(name, deps, made.now))
    made.settle()
    return made


def depending(name: str, *deps: str, **options: object) -> Resource:
    return local(name, resource_deps=deps, parallel=True, **options)  # type: ignore[arg-type]


E2E = depending("e2e", "api")


def of(at: World, name: str) -> Resource:
    found = at.state.spec.resource(name)
    assert found is not None
    return found


@pytest.mark.parametrize("saved, lane", [("api/src/a.py", "live"), ("api/Makefile", "full")])
def test_every_update_that_went_well_counts(saved: str, lane: str) -> None:
    at = world(E2E, e2e=ALL_DEPS)
    assert at.lanes() == []  # the first update of each is no reason to run again
    at.save(saved)
    assert at.lanes() == [("api", lane)]
    at.finish("api")
    assert at.lanes() == [("e2e", "full")]
    (update,) = at.started.values()
    assert update.cause.flags == (RERUN,)
    assert update.cause.text == "Dependency Updated"
    at.settle()
    assert [update.resource for update in at.history] == ["api", "e2e", "api", "e2e"]


@pytest.mark.parametrize("outcome", [failed("no"), ev.Stopped(), ev.Ok(user_error="exit 1")])
def test_an_update_that_did_not_go_well_does_not(outcome: ev.Outcome) -> None:
    at = world(E2E, e2e=ALL_DEPS)
    at.save("api/src/a.py")
    at.finish("api", outcome)
    assert at.track("e2e").rerun == ()


def test_a_new_container_that_is_filled_does_not() -> None:
    at = world(E2E, e2e=ALL_DEPS)
    at.see("api", replace(at.container("api"), id="another"))
    at.settle()
    assert {update.resource for update in at.history[2:]} <= {"api"}


def test_without_being_asked_for_nothing_runs_again() -> None:
    at = world(E2E)
    at.save("api/Makefile")
    at.settle()
    assert at.last("e2e").cause.flags == ("Initial Build",)


def test_only_the_deps_that_were_named_count() -> None:
    at = world(local("db", parallel=True, deps=("db",)), depending("e2e", "api", "db"), e2e=("db", "unknown"))
    assert deps_of(at.state, of(at, "e2e")) == ("db",)
    at.save("api/Makefile")
    at.finish("api")
    assert at.lanes() == []
    at.save("db/x")
    at.finish("db")
    assert at.lanes() == [("e2e", "full")]


def test_what_ends_while_it_runs_makes_it_run_once_more() -> None:
    at = world(E2E, e2e=ALL_DEPS)
    at.save("api/src/a.py")
    at.finish("api")
    for name in ("b", "c"):
        at.save(f"api/src/{name}.py")
        at.finish("api")
    assert at.lanes() == [("e2e", "full")]
    at.finish("e2e")
    assert at.lanes() == [("e2e", "full")]
    at.finish("e2e")
    assert at.lanes() == []


def test_a_diamond_runs_its_tip_once() -> None:
    at = world(
        depending("left", "api"),
        depending("right", "api"),
        depending("tip", "left", "right"),
        left=ALL_DEPS,
        right=ALL_DEPS,
        tip=ALL_DEPS,
    )
    at.save("api/src/a.py")
    at.finish("api")
    assert at.lanes() == [("left", "full"), ("right", "full")]
    at.finish("left")
    assert at.lanes() == [("right", "full")]
    hold = at.state.holds["tip"]
    assert (hold.reason, hold.on) == ("waiting-for-dep", ("right",))
    at.finish("right")
    assert at.lanes() == [("tip", "full")]
    (update,) = at.started.values()
    assert [one.text for one in update.cause.because] == [
        "left was updated, and tip runs again with it",
        "right was updated, and tip runs again with it",
    ]
    at.finish("tip")
    assert at.lanes() == []


def test_it_waits_for_what_it_depends_on_even_if_its_own_files_changed() -> None:
    at = world(depending("e2e", "api", deps=("api",)), e2e=ALL_DEPS)
    at.save("api/src/a.py")
    assert at.lanes() == [("api", "live")]
    at.finish("api")
    (update,) = at.started.values()
    assert (update.resource, update.cause.flags) == ("e2e", (FILES, RERUN))
    at.settle()
    assert at.lanes() == []


def test_it_waits_until_the_dep_is_ready_again() -> None:
    at = world(E2E, e2e=ALL_DEPS)
    container = at.container("api")
    at.save("api/src/a.py")
    at.see("api", replace(container, state="restarting"))
    at.finish("api")
    assert (at.lanes(), at.state.holds["e2e"].text) == ([], "runs again when api is ready")
    assert not is_up_to_date(at.state, of(at, "e2e"))
    at.see("api", container)
    assert at.lanes() == [("e2e", "full")]


def test_what_only_runs_when_asked_has_it_pending() -> None:
    at = world(depending("e2e", "api", trigger_mode=MANUAL), e2e=ALL_DEPS)
    at.save("api/src/a.py")
    at.finish("api")
    assert (at.lanes(), has_pending_changes(at.state, of(at, "e2e"))) == ([], True)
    at.trigger("e2e")
    at.finish("e2e")
    assert (at.lanes(), has_pending_changes(at.state, of(at, "e2e"))) == ([], False)


def test_what_was_never_started_or_is_switched_off_does_not_begin() -> None:
    at = world(depending("late", "api", auto_init=False), depending("off", "api"), late=ALL_DEPS, off=ALL_DEPS)
    at.switch("off", on=False)
    at.save("api/src/a.py")
    at.finish("api")
    assert at.lanes() == []
    assert at.track("late").rerun == ()


def test_stopping_what_is_about_to_run_again_is_heard() -> None:
    at = world(local("db", parallel=True, deps=("db",)), depending("e2e", "api", "db"), e2e=ALL_DEPS)
    at.save("db/x")
    at.save("api/src/a.py")
    at.finish("api")
    assert at.state.holds["e2e"].on == ("db",)
    at.post(ev.CancelRequested("e2e", at.now))
    at.finish("db")
    at.settle()
    assert at.last("e2e").cause.flags == (RERUN,)  # for db; what was before is forgotten
    assert [one.text for one in at.last("e2e").cause.because] == ["db was updated, and e2e runs again with it"]


def test_a_service_that_runs_again_is_made_anew() -> None:
    worker = service("worker", "api", resource_deps=("gen",))
    at = World(spec(local("gen", parallel=True, deps=("gen",)), worker, images=[IMAGE]))
    at.post(ev.RerunSet("worker", ALL_DEPS, at.now))
    at.settle()
    at.save("gen/x")
    at.finish("gen")
    (update,) = at.started.values()
    assert (update.lane, applied(update).recreate) == ("full", True)


def test_it_is_foretold_and_told() -> None:
    at = world(E2E, depending("report", "e2e"), e2e=ALL_DEPS, report=("e2e",))
    answer = what_if(at.state, f"{ROOT}/api/src/a.py")
    assert [(effect.resource, effect.action) for effect in answer.effects] == [
        ("api", "live update"),
        ("e2e", "command"),
        ("report", "command"),
    ]
    assert answer.effects[1].because[0].text == "api is updated then, and e2e runs again with it"
    at.save("api/src/a.py")
    at.settle()
    told = why(at.state, "report")
    assert told is not None
    assert told.record is not None
    assert [one.text for one in told.record.cause.because] == ["e2e was updated, and report runs again with it"]


def test_it_is_asked_for_before_there_is_a_resource_and_taken_back() -> None:
    at = world(e2e=ALL_DEPS)
    at.load(spec(API, E2E, images=[IMAGE]))
    at.settle()
    assert deps_of(at.state, of(at, "e2e")) == ("api",)
    at.post(ev.RerunSet("e2e", (), at.now))
    assert (deps_of(at.state, of(at, "e2e")), dict(at.state.rerun)) == ((), {})


@pytest.mark.parametrize(
    "said, names", [(True, ALL_DEPS), (False, ()), ("db", ("db",)), (["a", "b"], ("a", "b")), ((), ())]
)
def test_what_people_say(said: object, names: tuple[str, ...]) -> None:
    assert chosen(said) == names


@pytest.mark.parametrize("said", [None, 5, [1], {"a": 1}])
def test_what_names_nothing(said: object) -> None:
    with pytest.raises(ValueError, match="names no dependencies"):
        chosen(said)


@pytest.mark.parametrize("readiness, force, replaced", [("wait", False, ("default/e2e-1",)), ("succeeded", True, ())])
def test_in_a_cluster_a_job_is_made_anew_and_of_others_only_the_pods(
    readiness: Literal["wait", "succeeded"], *, force: bool, replaced: tuple[str, ...]
) -> None:
    at = world(Resource("e2e", Kubernetes(pod_readiness=readiness), resource_deps=("api",)), e2e=ALL_DEPS)
    at.see_pods("e2e", Pod("e2e-1", "default", "1", "Running", ready=True))
    at.save("api/src/a.py")
    at.finish("api")
    step = applied(at.finish("e2e"))
    assert (step.force, step.pods) == (force, replaced)
