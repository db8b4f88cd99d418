"""Rows 45 to 91: live update or full update, in which containers, and what follows a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipytilt.core import events as ev
from ipytilt.core.state import CONFIG
from ipytilt.core.steps import CatchUp, Container, ExecIn, RestartContainer, SyncAll, SyncFiles
from ipytilt.tiltfile.load import LoadError
from tests.core.rows import (
    FX_B,
    FX_D,
    WEB,
    asked_for,
    at_rest,
    built,
    commands,
    effect,
    held,
    only,
    row,
    running,
    sent,
    targets,
)
from tests.support.core import MANUAL, World, applied, failed, image, rules, service, spec
from tests.support.core import ROOT as HERE

SESSION = "tests/runtime/test_session.py::test_"
DOCKER = "tests/engines/test_docker_containers.py::test_"


def saved(*paths: str, world: World | None = None) -> World:
    """A running world of rules A (or another) in which these files were saved."""
    world = world or running()
    world.save(*paths)
    return world


def in_state(word: str, exit_code: int | None = None, world: World | None = None) -> World:
    """A world whose container is in this state."""
    world = world or running()
    up = world.container("web")
    world.see("web", replace(up, state=word, exit_code=exit_code))
    return world


@row(45, also=(f"{SESSION}saved_made_moved_and_deleted_files_arrive_without_a_build[sandbox]",))
def _() -> None:
    world = saved("src/a.py")
    assert world.lanes() == [("web", "live")]
    assert sent(world) == [("src/a.py", "/app/src/a.py")]
    assert commands(world) == ["touch /app/reload"]
    assert only(world).cause.text == "1 File Changed"


@row(46)
def _() -> None:
    assert commands(saved("src/setup.py")) == ["pip check", "touch /app/reload"]


@row(47, also=("tests/engines/test_contract.py::test_contract[sandbox-files_are_copied_replaced_and_removed]",))
def _() -> None:
    assert sent(saved("src/old.py")) == [("src/old.py", "/app/src/old.py")]


@row(48)
def _() -> None:
    world = saved("requirements.txt")
    assert world.lanes() == [("web", "full")]
    assert "not matching any sync" in only(world).cause.because[-1].text


STOPPED = rules((".", "/app"), stop=["requirements.txt"])


@row(49)
def _() -> None:
    world = saved("requirements.txt", world=running(STOPPED))
    assert world.lanes() == [("web", "full")]
    assert any("fall_back_on('requirements.txt')" in b.text and b.origin.line == 10 for b in only(world).cause.because)
    assert "detected change to stop file 'requirements.txt'" in only(world).cause.because[-1].text


@row(50)
def _() -> None:
    world = saved("src/a.py", "README.md")
    assert world.lanes() == [("web", "full")]
    assert len(only(world).cause.files) == 2


@row(51)
def _() -> None:
    text = WEB + "docker_build('web', '.', live_update=[sync('src', '/app/src')])"
    ignoring = {".dockerignore": "README.md"}
    assert effect(text, "README.md") == {"web": "full update"}
    assert effect(text, "README.md", ignoring) == {}
    assert effect(text, "src/a.py", ignoring) == {"web": "live update"}


@row(52)
def _() -> None:
    world = saved("requirements.txt", world=running(STOPPED))
    world.settle()
    assert sent(saved("src/a.py", world=world)) == [("src/a.py", "/app/src/a.py")]


@row(54)
def _() -> None:
    world = running()
    up = world.container("web")
    saved("src/a.py", world=in_state("created", world=world))
    assert world.lanes() == []
    assert held(world, "web") == "waiting-for-deploy"
    world.see("web", up)
    assert targets(world) == ["/app/src/a.py"]


@row(56)
def _() -> None:
    world = saved("src/a.py", world=in_state("exited", 1))
    assert world.lanes() == [("web", "full")]
    assert "is stopped" in only(world).cause.because[-1].text


@row(57)
def _() -> None:
    world = running()
    one = world.container("web")
    world.see("web", replace(one, state="exited", exit_code=1), Container("c9", "web-2", "web", "running"))
    saved("src/a.py", world=world)
    assert set(only(world).marks) == {"c9"}


@row(58)
def _() -> None:
    world = saved("src/a.py", world=in_state("restarting", 1))
    assert world.lanes() == [("web", "full")]
    assert "keeps crashing" in only(world).cause.because[-1].text


@row(59)
def _() -> None:
    world = saved("src/a.py", world=in_state("restarting", 1))
    world.see("web", world.container("web"))
    assert world.lanes() == [("web", "full")]


@row(60, better="Tilt updates the three one after the other, we side by side")
def _() -> None:
    world = running()
    others = [Container(f"c{n}", f"web-{n}", "web", "running") for n in (8, 9)]
    world.see("web", world.container("web"), *others)
    saved("src/a.py", world=world)
    assert len(only(world).branches) == 3
    world.settle()
    assert len(world.history) == 2


@row(64, also=(f"{SESSION}a_failed_run_step_is_the_users_error_and_the_files_stay[sandbox]",))
def _() -> None:
    world = saved("src/a.py")
    world.finish("web", ev.Ok(user_error="command 'touch' failed with exit code: 1"))
    assert world.lanes() == []
    assert (world.last("web").lane, world.last("web").result) == ("live", "error")
    assert world.track("web").broken == ""


@row(65, better="Tilt forgets the triggered command that failed, we run it again")
def _() -> None:
    world = saved("src/setup.py")
    missed = (("sh", "-c", "pip check"), ("sh", "-c", "touch /app/reload"))
    unmet = ((world.container("web").id, missed),)
    world.finish("web", ev.Ok(user_error="command 'pip check' failed with exit code: 1", unmet=unmet))
    saved("src/b.py", world=world)
    assert [local for local, _ in sent(world)] == ["src/b.py"]
    assert commands(world) == ["pip check", "touch /app/reload"]


@row(
    66,
    better="Tilt waits for the next change; what the container lacks is sent at once, a full update follows if need be",
)
def _() -> None:
    world = saved("src/a.py")
    world.finish("web", failed("killed", "broke", world.container("web").id))
    assert world.last("web").result == "error"
    (catch_up,) = only(world).branches[0]
    assert isinstance(catch_up, CatchUp)
    assert catch_up.changed == (f"{HERE}/src/a.py",)
    world.finish("web", failed("killed", "broke", world.container("web").id))
    assert world.lanes() == [("web", "full")]
    assert applied(only(world)).recreate
    world.settle()
    assert targets(saved("src/b.py", world=world)) == ["/app/src/b.py"]


@row(69, better="all of them at the same time")
def _() -> None:
    world = running()
    world.see("web", world.container("web"), Container("c9", "web-2", "web", "running"))
    saved("src/a.py", world=world)
    assert [[type(step) for step in branch] for branch in only(world).branches] == [[SyncFiles, ExecIn]] * 2
    world.finish("web", ev.Ok(user_error="command 'touch' failed with exit code: 1"))
    assert world.last("web").error == "command 'touch' failed with exit code: 1"
    assert world.lanes() == []


@row(70, also=(f"{SESSION}what_was_synced_survives_a_replaced_container[sandbox]",))
def _() -> None:
    world = running()
    for name in ("a", "b", "c"):
        saved(f"src/{name}.py", world=world).settle()
    world.see("web", Container("new", "web-1", "web", "running"))
    assert [local for local, _ in sent(world)] == ["src/a.py", "src/b.py", "src/c.py"]


@row(71)
def _() -> None:
    world = saved("api/x.c", world=running(FX_B))
    assert [type(step) for step in only(world).branches[0]] == [SyncFiles, ExecIn, RestartContainer]
    assert commands(world) == ["make"]


@row(73, better="the container is not at fault: the same files are sent again, by themselves, once the daemon answers")
def _() -> None:
    world = saved("src/a.py")
    world.finish("web", failed("Updating container c1: no answer", "unavailable", world.container("web").id))
    assert held(world, "web") == "retrying"
    assert world.plan.wake_at is not None
    world.now = world.plan.wake_at
    world.turn()
    assert targets(world) == ["/app/src/a.py"]


@row(74, also=(f"{SESSION}a_service_that_dies_is_an_error_and_the_next_change_brings_it_back[sandbox]",))
def _() -> None:
    world = saved("api/x.c", world=in_state("exited", 1, running(FX_B)))
    assert built(only(world)) == ["web"]
    assert applied(only(world)).resource.name == "web"


@row(75)
def _() -> None:
    world = saved("src/a.py", world=running(trigger_mode=MANUAL))
    assert world.lanes() == []
    assert held(world, "web") == "Trigger"


@row(76)
def _() -> None:
    world = saved("src/a.py", world=running(trigger_mode=MANUAL))
    world.trigger("web")
    assert world.lanes() == [("web", "live")]
    world.settle()
    assert world.track("web").asked is None
    assert world.lanes() == []


@row(77)
def _() -> None:
    world = running(trigger_mode=MANUAL)
    world.trigger("web")
    assert built(only(world)) == ["web"]
    assert applied(only(world)).force


@row(78)
def _() -> None:
    world = in_state("created")
    saved("src/a.py", world=world).trigger("web")
    assert built(only(world)) == ["web"]
    assert applied(only(world)).force


def based(*syncs: tuple[str, str]) -> World:
    """An image on another one, with these syncs."""
    images = (FX_D[0], image("web", "web", live=rules(*syncs), bases=("base",)))
    return at_rest(service("web", "base", "web"), images=images)


@row(79)
def _() -> None:
    assert sent(saved("web/x", world=based(("web", "/web"), ("base", "/base")))) == [("web/x", "/web/x")]


@row(80)
def _() -> None:
    world = saved("base/x", world=based(("web", "/web"), ("base", "/base")))
    assert sent(world) == [("base/x", "/base/x")]
    world.settle()
    assert [built(u) for u in world.history] == [["base", "web"], []]


@row(81)
def _() -> None:
    world = saved("base/x", world=based(("web", "/web")))
    assert built(only(world)) == ["base", "web"]


@row(82, better="not sent to the container that is about to go, only to the one that will live")
def _() -> None:
    world = running()
    world.trigger("web")
    saved("src/a.py", world=world)
    assert world.lanes() == [("web", "full")]
    world.finish("web")
    assert targets(world) == ["/app/src/a.py"]
    world.settle()
    assert len([u for u in world.history if u.lane == "full"]) == 2


@row(83)
def _() -> None:
    world = running()
    world.load(spec(service("web", "web"), images=[image("web", live=rules(("src", "/elsewhere")))]))
    assert (only(world).lane, only(world).cause.flags) == ("full", (CONFIG,))
    assert built(only(world)) == ["web"]


@row(84)
def _() -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: main, image: web}]}"
    text = "k8s_yaml('pod.yaml')\ndocker_build('web', '.', live_update=[sync('src', '/src'), restart_container()])"
    assert "restart_process" in refusal(text, {"pod.yaml": pod})


@row(85)
def _() -> None:
    build = WEB + "docker_build('web', '.', live_update=["
    assert "all sync steps must precede all run steps" in refusal(build + "run('x'), sync('src', '/app')])")
    assert "created but not used" in refusal(WEB + "docker_build('web', '.')\nsync('src', '/app')")
    assert "is not a child of any watched" in refusal(build + "sync('../x', '/app')])")


def refusal(text: str, files: dict[str, str] | None = None) -> str:
    """How a Tiltfile fails, and what to try."""
    with pytest.raises(LoadError) as caught:
        asked_for(text, files)
    return f"{caught.value.message} {caught.value.hint}"


FILLING = replace(rules(("src", "/app/src"), runs=[("touch /app/reload", ())]), initial_sync=True)


def fills(world: World) -> list[type]:
    """How each live update so far began."""
    return [type(u.branches[0][0]) for u in world.history if u.lane == "live"]


@row(86, also=(f"{SESSION}89_90_91_an_initial_sync_fills_a_new_container[sandbox]",))
def _() -> None:
    world = running(FILLING)
    assert fills(world) == [SyncAll]


@row(87)
def _() -> None:
    world = running(FILLING)
    world.turn()
    world.see("web", replace(world.container("web"), health="healthy"))
    saved("src/a.py", world=world).settle()
    assert fills(world) == [SyncAll, SyncFiles]


@row(88)
def _() -> None:
    world = running(FILLING)
    world.see("web", Container("new", "web-1", "web", "running"))
    assert fills(world) == [SyncAll, SyncAll]
