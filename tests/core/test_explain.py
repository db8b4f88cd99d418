"""What a change would do and why the last update happened, with the rule and its line; nothing is touched by asking."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipytilt.core import events as ev
from ipytilt.core.explain import what_if, why
from ipytilt.core.spec import Ignore, Image
from ipytilt.views import answers
from tests.support.core import MANUAL, ROOT, World, at, image, local, rules, service, spec, synced

NODE_STOP = rules((".", "/app"), stop=["package.json"])
NODE_RUN = rules((".", "/app"), runs=[("yarn", ("package.json", "yarn.lock"))])
TUTORIAL = rules(("api", "/app"), runs=[("pip install -r requirements.txt", ("api/requirements.txt",))])


def effects(world: World, path: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Resource -> action and steps."""
    before = world.state
    answer = what_if(before, f"{ROOT}/{path}")
    assert world.state is before
    return {e.resource: (e.action, e.steps) for e in answer.effects}


def one_service(live_rules: object, **options: object) -> World:
    """A deployed service whose image has these rules."""
    world = World(spec(service("web", "web", **options), images=[image("web", live=live_rules)]))  # type: ignore[arg-type]
    world.settle()
    return world


def test_187_a_compile_step_feeding_an_image() -> None:
    built = image("web", "build", live=rules(("build", "/app")))
    world = World(spec(local("compile", deps=("src",)), service("web", "web"), images=[built]))
    world.settle()
    assert effects(world, "src/a.c") == {"compile": ("command", ("run the command",))}
    assert effects(world, "build/a.o") == {
        "web": ("live update", ("copy /p/build/a.o to /app/a.o (or remove it there)",))
    }


def test_188_a_generated_file() -> None:
    base = image("web", live=rules((".", "/app")))
    ignoring: Image = replace(base, watch_ignores=(Ignore(ROOT, ("x.proto",), at(4)),))
    world = World(spec(local("protogen", deps=("x.proto",)), service("web", "web"), images=[ignoring]))
    world.settle()
    assert set(effects(world, "x.proto")) == {"protogen"}
    assert effects(world, "gen/x_pb2.py")["web"][0] == "live update"


@pytest.mark.parametrize(
    "live_rules, path, action, last_step",
    [
        pytest.param(NODE_STOP, "package.json", "full update", "deploy", id="189-fall-back"),
        pytest.param(NODE_RUN, "package.json", "live update", "run in the container: yarn", id="189-run"),
        pytest.param(TUTORIAL, "api/app.py", "live update", "copy /p/api/app.py to /app/app.py", id="190-copy"),
        pytest.param(
            TUTORIAL,
            "api/requirements.txt",
            "live update",
            "run in the container: pip install -r requirements.txt",
            id="190-run",
        ),
    ],
)
def test_189_190_the_guides(live_rules: object, path: str, action: str, last_step: str) -> None:
    found = effects(one_service(live_rules), path)
    assert found["web"][0] == action
    assert found["web"][1][-1].startswith(last_step)


def test_192_a_renamed_directory_is_copied_and_removed() -> None:
    world = one_service(rules(("src", "/app")))
    world.save("src/a/x.py", "src/b/x.py")
    (update,) = world.started.values()
    assert [c.container for c in synced(update).copies] == ["/app/a/x.py", "/app/b/x.py"]


def test_manual_mode_says_that_the_change_is_only_recorded() -> None:
    answer = what_if(one_service(TUTORIAL, trigger_mode=MANUAL).state, f"{ROOT}/api/app.py")
    (effect,) = answer.effects
    assert effect.action == "nothing"
    assert "manual" in effect.because[0].text


def test_every_answer_names_the_rule_and_its_line() -> None:
    world = one_service(NODE_STOP)
    (effect,) = what_if(world.state, f"{ROOT}/package.json").effects
    assert any(b.origin.line == 10 and "fall_back_on" in b.text for b in effect.because)


@pytest.mark.parametrize(
    "path, expected",
    [(f"{ROOT}/logs/x", "pattern 'logs'"), ("/elsewhere/x", "none of the watched paths")],
)
def test_nothing_says_why(path: str, expected: str) -> None:
    ignoring = replace(image("web"), watch_ignores=(Ignore(ROOT, ("logs",), at(5)),))
    world = World(spec(service("web", "web"), images=[ignoring]))
    answer = what_if(world.state, path)
    assert answer.effects == ()
    assert expected in answer.because[0].text
    assert "would do nothing" in answers.explain_text(answer, base=ROOT)


def test_asking_while_everything_is_busy_still_answers() -> None:
    world = World(spec(local("slow"), service("web", "web"), images=[image("web", live=TUTORIAL)]))
    assert world.lanes() == [("slow", "full")]
    assert effects(world, "api/app.py")["web"][0] == "live update"


def test_what_the_tiltfile_read_reloads_it() -> None:
    assert effects(one_service(TUTORIAL), "Tiltfile")["(Tiltfile)"] == ("reload", ("evaluate the Tiltfile",))


def test_why_keeps_cause_rule_and_wait() -> None:
    world = one_service(TUTORIAL)
    world.save("api/app.py")
    world.finish("web")
    answer = why(world.state, "web")
    assert answer is not None
    text = answers.why_text(answer, base=ROOT, now=world.now)
    assert "last update: live update, ok" in text
    assert "files: api/app.py" in text
    assert "sync('api', '/app') puts it at /app/app.py  [Tiltfile:10]" in text
    world.post(ev.EngineChanged("compose", "Docker does not answer", world.now))
    world.save("api/app.py")
    waiting = why(world.state, "web")
    assert waiting is not None
    assert "waits (waiting-for-cluster): Docker does not answer" in answers.why_text(waiting, base=ROOT, now=world.now)


def test_why_of_a_refused_live_update_names_the_file_and_the_rules() -> None:
    world = one_service(TUTORIAL)
    world.save("README.md")
    world.settle()
    answer = why(world.state, "web")
    assert answer is not None
    text = answers.why_text(answer, base=ROOT, now=world.now)
    assert "no live update: found file(s) not matching any sync (files: README.md)" in text


def test_why_of_nobody() -> None:
    assert why(one_service(TUTORIAL).state, "nobody") is None
