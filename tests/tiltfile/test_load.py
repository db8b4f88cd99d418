"""Evaluation as a whole: several sources, files that load each other, errors and what travels with them."""

from __future__ import annotations

import pytest

from ipytilt.core.events import Source
from ipytilt.core.spec import Local, Origin, TriggerMode
from ipytilt.errors import Cancelled
from ipytilt.tiltfile.load import Loaded, LoadError, load
from tests.support.dict_host import DictHost
from tests.tiltfile.evaluated import ROOT, cell, evaluate, host, tiltfile


def cells(*texts: str, world: DictHost | None = None) -> Loaded:
    return load([cell(f"cell-{n}", text) for n, text in enumerate(texts, 1)], (), world or host())


def failing(text: str, files: dict[str, str] | None = None) -> LoadError:
    with pytest.raises(LoadError) as caught:
        evaluate(text, files)
    return caught.value


def test_nothing_to_evaluate() -> None:
    loaded = load([], (), host())
    assert (loaded.spec.resources, loaded.reads, loaded.log) == ((), (), ())


def test_sources_add_up_in_one_namespace() -> None:
    loaded = cells(
        "names = ['a']\ndef make(n):\n  local_resource(n, 'x')",
        "names.append('b')\nfor n in names: make(n)",
        "print(names)\ntrigger_mode(TRIGGER_MODE_MANUAL)",
    )
    assert [(resource.name, resource.source) for resource in loaded.spec.resources] == [
        ("a", "cell-2"),
        ("b", "cell-2"),
    ]
    assert loaded.log == ('["a", "b"]',)
    assert {resource.trigger_mode for resource in loaded.spec.resources} == {TriggerMode.MANUAL}


def test_sources_have_directories_of_their_own() -> None:
    world = host({"sub/Tiltfile": "local_resource('b', 'x', deps='d')\nprint(__file__)"})
    sources = [cell("one", "local_resource('a', 'x', deps='d')", "/elsewhere"), tiltfile("sub/Tiltfile")]
    loaded = load(sources, (), world)
    deps = [resource.target.deps for resource in loaded.spec.resources if isinstance(resource.target, Local)]
    assert deps == [("/elsewhere/d",), (f"{ROOT}/sub/d",)]
    assert loaded.log == (f"{ROOT}/sub/Tiltfile",)
    assert loaded.reads == ("/elsewhere/.tiltignore", f"{ROOT}/sub/.tiltignore", f"{ROOT}/sub/Tiltfile")


@pytest.mark.parametrize(
    "first, second, message",
    [
        (
            "local_resource('a', 'x')",
            "\nlocal_resource('a', 'y')",
            'local_resource named "a" already exists (<cell-1>:1)',
        ),
        (
            "docker_build('i', '.')",
            "\ndocker_build('i', '.')",
            'Image for ref "i" has already been defined (<cell-1>:1)',
        ),
    ],
)
def test_the_same_name_in_two_cells_names_both_places(first: str, second: str, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        cells(first, second)
    assert (caught.value.message, caught.value.where) == (message, "<cell-2>:2")


def test_exit_ends_all_sources() -> None:
    loaded = cells("local_resource('a', 'x')\nexit()", "local_resource('b', 'x')")
    assert [resource.name for resource in loaded.spec.resources] == ["a"]


def test_rules_know_where_they_stand() -> None:
    loaded = cells(
        "docker_compose('c.yml')\ndocker_build('img', '.', live_update=[\n  sync('a', '/a'),\n  run('x'),\n])",
        world=host({"c.yml": "services: {web: {image: img}}"}),
    )
    rules = loaded.spec.images["img"].live_update
    assert rules is not None
    assert (rules.syncs[0].origin, rules.runs[0].origin) == (Origin("<cell-1>", 3, 7), Origin("<cell-1>", 4, 6))
    assert str(loaded.spec.resources[0].origin) == "<cell-1>:1"


def test_files_run_once_and_freeze() -> None:
    files = {"lib": "print('once')\nv = [1]\nlocal_resource('a', 'x')", "other": "load('lib', 'v')\nw = v"}
    loaded = evaluate("include('lib')\nload('lib', 'v')\nload('./other', 'w')\nprint(v == w)", files)
    assert loaded.log == ("once", "True")
    assert loaded.spec.resources[0].source == "Tiltfile"


def test_error_shows_the_line_with_a_caret() -> None:
    error = failing("x = 1\nlocal_resource('a',\n  'x', zz=1)")
    assert error.render().splitlines() == [
        f"Tiltfile error at {ROOT}/Tiltfile:2",
        "   2 | local_resource('a',",
        "                     ^",
        'local_resource: unexpected keyword argument "zz"',
    ]
    assert error.traceback == ""


def test_error_in_another_file_shows_the_call_sites() -> None:
    error = failing("load('lib', 'f')\ndef g():\n  f()\ng()", {"lib": "def f():\n  fail('deep')\n"})
    assert (error.file, error.line, error.message) == (f"{ROOT}/lib", 2, "deep")
    assert error.traceback.splitlines() == [
        "Traceback (most recent call last):",
        f"  {ROOT}/Tiltfile:4:2: in <toplevel>",
        f"  {ROOT}/Tiltfile:3:4: in g",
        f"  {ROOT}/lib:2:7: in f",
        "Error in fail: deep",
    ]
    assert error.excerpt == "   2 |   fail('deep')\n             ^"


def test_syntax_error_in_another_file() -> None:
    error = failing("\ninclude('lib')", {"lib": "x = = 1\n"})
    assert (error.file, error.line) == (f"{ROOT}/lib", 1)


def test_an_error_comes_again_for_who_asks_again() -> None:
    files = {"lib": "fail('first')", "a": "include('lib')"}
    assert "first" in failing("include('lib')", files).message
    error = failing("include('a')", files)
    assert (error.file, error.line) == (f"{ROOT}/lib", 1)


def test_what_was_read_travels_with_the_error() -> None:
    error = failing("print('x')\nread_file('a')\nread_file('b')\ninclude('c')", {"a": "", "b": ""})
    assert error.reads == tuple(f"{ROOT}/{name}" for name in (".tiltignore", "Tiltfile", "a", "b", "c"))
    assert error.log == ("x",)


def test_a_missing_tiltfile() -> None:
    with pytest.raises(LoadError) as caught:
        load([tiltfile("none")], (), host())
    assert "open /root/none: no such file or directory" in caught.value.message
    assert f"{ROOT}/none" in caught.value.reads


def test_assembly_errors_point_at_the_call() -> None:
    error = failing("local_resource('a', 'x')\nlocal_resource('b', 'x', resource_deps=['b'])")
    assert (error.line, error.excerpt.splitlines()[0]) == (2, "   2 | local_resource('b', 'x', resource_deps=['b'])")


def test_unknown_names_offer_a_near_one() -> None:
    error = failing("local_resource('web', 'x')\nconfig.set_enabled_resources(['wed'])")
    assert "(did you mean web?)" in error.message
    assert "undefined: local_resorce" in failing("local_resorce('a')").message


def test_cancelling() -> None:
    with pytest.raises(Cancelled):
        load([cell("c", "while True: pass")], (), host(), cancelled=lambda: True)


def test_tiltignore_belongs_to_the_root_only() -> None:
    files = {".tiltignore": "# no\n*.log\n", "sub/.tiltignore": "b", "sub/Tiltfile": "watch_settings(ignore='c')"}
    loaded = evaluate("include('sub/Tiltfile')\nwatch_settings(['d'])", files)
    found = [(ignore.base, ignore.patterns) for ignore in loaded.spec.watch_ignores]
    assert found == [(ROOT, ("*.log",)), (f"{ROOT}/sub", ("c",)), (ROOT, ("d",))]
    assert f"{ROOT}/.tiltignore" in loaded.reads
    assert f"{ROOT}/sub/.tiltignore" not in loaded.reads


def test_a_cell_without_a_trailing_newline_and_an_empty_one() -> None:
    loaded = cells("", "print('a')  # c")
    assert loaded.log == ("a",)


def test_the_paths_of_a_source_are_cleaned() -> None:
    source = Source(key="k", name="k", base="/root/./sub/..", text="print(os.getcwd(), config.main_dir)")
    assert load([source], (), host()).log == ("/root /root",)
