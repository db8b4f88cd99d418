"""Rows 1 to 32: what counts as a change, and how many changes are one."""

from __future__ import annotations

import pytest

from ipytilt.core import events as ev
from ipytilt.core.batch import Batch, Pace
from ipytilt.core.orders import orders
from ipytilt.core.paths import Matcher
from ipytilt.core.spec import Ignore
from ipytilt.core.steps import Applied, Watch
from ipytilt.core.unchanged import may_be_dropped
from ipytilt.runtime.workers import headline
from ipytilt.tiltfile.load import LoadError
from tests.core.rows import COMPOSE, WEB, asked_for, at_rest, built, effect, in_context, only, plain, row
from tests.support.core import ROOT as HERE
from tests.support.core import World, applied, image, local, service
from tests.tiltfile.evaluated import ROOT, evaluate

WATCHER = "tests/runtime/test_watcher.py::test_case_"
ROOTS = "tests/runtime/test_watcher_roots.py::test_case_"
BUILD = WEB + "docker_build('web', '.')\n"


def reports(pace: Pace, saves: list[tuple[float, str]]) -> list[tuple[float, tuple[str, ...]]]:
    """When which paths are reported, for complete saves at these times."""
    batch, found = Batch(pace), []
    for at, path in [*saves, (1e9, "")]:
        while batch.wake_at is not None and batch.wake_at <= at:
            when = batch.wake_at
            found.append((round(when, 4), batch.due(when)))
        if path:
            batch.add({path: True}, at)
    return found


TILTS_PACE = Pace(lone=0.2, burst=0.2, storm=0.2)


@row(
    1,
    better="Tilt reports 200 ms after the last save; we report the first at once, and what is saved during the build "
    "makes one more",
    also=(f"{WATCHER}1_and_3_many_saves_are_one_sorted_batch",),
)
def _() -> None:
    saves = [(0.0, "/a.py"), (0.05, "/a.py"), (0.1, "/a.py")]
    assert reports(TILTS_PACE, saves) == [(0.3, ("/a.py",))]
    assert reports(Pace(), saves[:1]) == [(0.003, ("/a.py",))]
    world = plain()
    for _ in range(3):
        world.save("a.py")
    assert headline(only(world).cause, HERE) == "1 File Changed: [a.py]"
    world.settle()
    assert [u.cause.files for u in world.history[1:]] == [(f"{HERE}/a.py",)] * 2


@row(
    2,
    better="a file that is closed after each write is reported each time; builds do not pile up all the same",
    also=(f"{WATCHER}2_a_file_written_all_the_time_is_reported_at_the_cap",),
)
def _() -> None:
    times = [at for at, _ in reports(TILTS_PACE, [(step * 0.05, "/out") for step in range(240)])]
    assert times == [10.0, 12.15]
    world = plain()
    for _ in range(240):
        world.save("out")
    world.settle()
    assert len(world.history) == 1 + 2


@row(3, also=("tests/runtime/test_git.py::test_a_checkout_is_one_change",))
def _() -> None:
    names = [f"/p/{number:03}" for number in range(400)]
    ((_, paths),) = reports(Pace(), [(index * 0.0025, name) for index, name in enumerate(names)])
    world = plain()
    world.save(*(path.removeprefix("/p/") for path in paths))
    assert headline(only(world).cause, HERE) == "400 Files Changed: [000 001 002 003 004 ...]"
    world.settle()
    assert len(world.history) == 2


@row(4, also=(f"{WATCHER}4_7_and_32_git_temp_files_and_outputs",))
def _() -> None:
    assert effect(BUILD, ".git/index", {".git/config": ""}) == {}
    assert effect(BUILD, "index") == {"web": "full update"}


@row(5)
def _() -> None:
    inside = {"web/Dockerfile": "FROM scratch", ".git/config": ""}
    assert effect(WEB + "docker_build('web', './web')", ".git/index", inside) == {}


@row(6, also=("tests/engines/test_contract.py::test_contract[sandbox-ignored_files_are_not_in_the_context]",))
def _() -> None:
    ignoring = {".dockerignore": "**/ignored.txt"}
    assert effect(BUILD, "sub/ignored.txt", ignoring) == {}
    assert not in_context(asked_for(BUILD, ignoring), "sub/ignored.txt")


@row(7)
def _() -> None:
    for name in (".main.py.swp", ".#main.py", "#main.py#", "main.py~", "4913"):
        assert effect(BUILD, name) == {}
        assert in_context(asked_for(BUILD), name)


@row(8)
def _() -> None:
    ignoring = {".tiltignore": "docs"}
    assert effect(BUILD, "docs/x.md", ignoring) == {}
    assert in_context(asked_for(BUILD, ignoring), "docs/x.md")


@row(9, also=(f"{ROOTS}9_a_new_filter_takes_the_place_of_the_old_one",))
def _() -> None:
    assert effect(BUILD, ".tiltignore", {".tiltignore": "a"})["(Tiltfile)"] == "reload"
    world = World(asked_for(BUILD, {".tiltignore": "a"}))
    world.settle()
    before = watches(world)
    world.load(asked_for(BUILD, {".tiltignore": "a\nb"}))
    assert world.lanes() == []
    assert not Matcher(before["image:web"].ignores).ignores(f"{ROOT}/b")
    assert Matcher(watches(world)["image:web"].ignores).ignores(f"{ROOT}/b")


def watches(world: World) -> dict[str, Watch]:
    """What is watched, by name."""
    return {order.name: order for order in orders(world.state) if isinstance(order, Watch)}


@row(10)
def _() -> None:
    files = {**COMPOSE, ".tiltignore": "a.txt", "a.txt": ""}
    with pytest.raises(LoadError) as caught:
        evaluate("read_file('a.txt')\nread_file('b.txt', default='')\nfail('no')", files)
    assert f"{ROOT}/b.txt" in caught.value.reads
    assert f"{ROOT}/a.txt" not in caught.value.reads


@row(11, also=(f"{WATCHER}11_an_exception_is_found_below_an_ignored_directory",))
def _() -> None:
    found = ignoring("docs", "!docs/README.md")
    assert [found.ignores(f"/p/docs/{name}") for name in ("README.md", "x.md")] == [False, True]
    assert not found.can_prune("/p/docs")


@row(12)
def _() -> None:
    found = ignoring("a", "!a/b", "a/b/c")
    assert [found.ignores(f"/p/{path}") for path in ("a/x", "a/b/x", "a/b/c/x")] == [True, False, True]
    assert [found.can_prune(f"/p/{path}") for path in ("a", "a/b", "a/b/c")] == [False, False, True]


@row(13)
def _() -> None:
    found = ignoring("a", "b", "!b/README.md")
    assert [found.can_prune(f"/p/{path}") for path in ("a", "b")] == [True, False]


@row(14)
def _() -> None:
    found = ignoring("*", "!pkg/**/*.go", "!go.mod")
    paths = ("pkg/i/m.go", "pkg/h.txt", "go.mod", "x.go")
    assert [found.ignores(f"/p/{path}") for path in paths] == [False, True, False, True]


@row(15)
def _() -> None:
    found = ignoring("a/**/temp*")
    paths = ("a/temporary", "a/b/c/temporary", "b/c/temporary")
    assert [found.ignores(f"/p/{path}") for path in paths] == [True, True, False]


@row(16)
def _() -> None:
    found = ignoring("temp?")
    assert [found.ignores(f"/p/{path}") for path in ("tempa", "temp", "tempeh", "s/tempa")] == [True] + [False] * 3


@row(17)
def _() -> None:
    found = ignoring("../a/b.txt")
    assert [found.ignores(path) for path in ("/a/b.txt", "/p/a/b.txt")] == [True, False]


def ignoring(*patterns: str) -> Matcher:
    """One set of patterns below the root."""
    return Matcher([Ignore(HERE, patterns)])


@row(18)
def _() -> None:
    text = WEB + "docker_build('web', '.', only=['src'])"
    assert effect(text, "src/x") == {"web": "full update"}
    assert effect(text, "README") == {}
    assert not in_context(asked_for(text), "README")


@row(19, also=(f"{WATCHER}19_a_file_root_survives_a_save_by_rename",))
def _() -> None:
    world = at_rest(local("gen", deps=("dep.txt",)))
    world.save("dep.txt")
    world.settle()
    assert len(world.history) == 2


@row(
    27,
    better="at rest a file whose content is what it was is passed over; Tilt builds to the same tag",
    also=(
        f"{WATCHER}27_a_touched_file_has_changed",
        "tests/runtime/test_contents.py::test_a_touch_and_a_save_of_the_same_are_not_posted",
    ),
)
def _() -> None:
    world = plain()
    assert may_be_dropped(world.state, "image:web", world.now + 60)
    assert not may_be_dropped(world.state, "image:web", world.now)
    before = world.container("web")
    world.save("a.py")
    assert built(only(world)) == ["web"]
    assert not applied(only(world)).recreate
    world.finish("web", ev.Ok(applied=(Applied("web", (before,)),)))
    assert set(world.track("web").containers) == {before.id}


@row(28, better="Tilt keeps 20 batches; ours are counted by number, and none is dropped before it is consumed")
def _() -> None:
    world = plain()
    world.trigger("web")
    for number in range(50):
        world.save(f"{number}.py")
    world.finish("web")
    assert len(only(world).cause.files) == 50


@row(30, also=(f"{WATCHER}30_watches_share_kernel_watches_and_ignore_for_themselves",))
def _() -> None:
    world = at_rest(service("r1", "img"), service("r2", "img"), images=[image("img")])
    world.switch("r1", on=False)
    world.settle()
    assert "image:img" in watches(world)
    world.save("x")
    assert world.lanes() == [("r2", "full")]


@row(32)
def _() -> None:
    text = WEB + "custom_build('web', 'make', ['.'], outputs_image_ref_to='ref.txt')"
    assert effect(text, "ref.txt") == {}
    assert effect(text, "x.c") == {"web": "full update"}
