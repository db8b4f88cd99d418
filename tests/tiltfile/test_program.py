"""A Python function as a Tiltfile: the same words, the same checks, its own lines."""

from __future__ import annotations

import inspect
import os
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ipytilt
from ipytilt.core.events import Source
from ipytilt.core.spec import Local, Resource
from ipytilt.errors import TiltfileError, UsageError
from ipytilt.tiltfile import manual, program
from ipytilt.tiltfile.builtin import registered
from ipytilt.tiltfile.load import Loaded, load
from tests.support.dict_host import DictHost

HERE = __file__


def loaded(function: Callable[[], object], **files: str) -> Loaded:
    """Evaluate a function in a folder /p with files."""
    host = DictHost({f"/p/{name.replace('__', '.')}": text for name, text in files.items()})
    return load([Source("k", HERE, "/p", "", program=function)], (), host)


def line_of(function: Callable[[], object], text: str) -> int:
    """The line of this file on which a function says something."""
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if text in line)


def refused(function: Callable[[], object], text: str) -> TiltfileError:
    """The error of a function, which must name the line that says `text`."""
    with pytest.raises(TiltfileError) as caught:
        loaded(function)
    assert caught.value.where == f"{HERE}:{line_of(function, text)}"
    assert text in caught.value.excerpt
    return caught.value


def one(spec: Loaded) -> Resource:
    """The only resource."""
    (resource,) = spec.spec.resources
    return resource


def test_words_register_what_the_tiltfile_s_do() -> None:
    def dev() -> None:
        for name in ("a", "b"):
            ipytilt.local_resource(
                name,
                ["echo", name],
                deps=[Path("src"), "lib"],
                trigger_mode=ipytilt.TRIGGER_MODE_MANUAL,
                links=[ipytilt.link("example.org", "it")],
                readiness_probe=None,
            )

    first, second = loaded(dev).spec.resources
    assert (first.name, second.name) == ("a", "b")
    assert isinstance(first.target, Local)
    assert first.target.cmd is not None
    assert (first.target.cmd.argv, first.target.deps) == (("echo", "a"), ("/p/src", "/p/lib"))
    assert (first.links[0].url, first.source) == ("http://example.org", "k")
    assert (first.origin.file, first.origin.line) == (HERE, line_of(dev, "ipytilt.local_resource("))


def test_values_come_back_as_python_s_and_reads_count() -> None:
    seen: dict[str, Any] = {}

    def dev() -> None:
        seen["text"] = ipytilt.read_file("greeting.txt")
        seen["data"] = ipytilt.decode_json('{"a": [1, {"b": true}]}')
        seen["dir"] = ipytilt.config.main_dir
        seen["cwd"] = ipytilt.os.getcwd()
        ipytilt.local_resource(str(seen["text"]).strip(), "true")

    done = loaded(dev, greeting__txt="hello\n")
    assert one(done).name == "hello"
    assert "/p/greeting.txt" in done.reads
    assert seen["data"] == {"a": [1, {"b": True}]}
    assert [type(seen["data"]), type(seen["data"]["a"])] == [dict, list]
    assert (seen["dir"], seen["cwd"], bool(seen["text"])) == ("/p", "/p", True)


def test_a_tiltfile_can_be_included_and_loaded() -> None:
    def dev() -> None:
        ipytilt.include("more.tilt")
        assert ipytilt.load_dynamic("lib.tilt")["twice"] == 4

    assert one(loaded(dev, more__tilt="local_resource('more', 'true')", lib__tilt="twice = 2 + 2")).name == "more"


def test_wrong_arguments_are_refused_in_the_same_words_with_the_line_in_python() -> None:
    def dev() -> None:
        ipytilt.local_resource("a", "true")
        ipytilt.local_resource("b", "true", dep=["src"])

    assert 'unexpected keyword argument "dep" (did you mean deps?)' in refused(dev, '"b"').message


def test_a_step_nobody_uses_is_found_by_its_column() -> None:
    def dev() -> None:
        ipytilt.sync("b", "/b") and ipytilt.docker_build("web", ".", live_update=[ipytilt.sync("a", "/a")])

    with pytest.raises(TiltfileError, match=r"steps that were created but not used"):
        loaded(dev, Dockerfile="FROM scratch")


def test_other_exceptions_are_errors_of_the_tiltfile() -> None:
    def dev() -> None:
        ipytilt.local_resource("a", "true")
        os.environ["IPYTILT_MISSING"]

    assert refused(dev, "os.environ[").message == "KeyError: 'IPYTILT_MISSING'"


def test_an_error_in_an_included_file_names_that_file() -> None:
    def dev() -> None:
        ipytilt.include("broken.tilt")

    with pytest.raises(TiltfileError) as caught:
        loaded(dev, broken__tilt="x = 1\nfail('on purpose')")
    assert caught.value.where == "/p/broken.tilt:2"
    assert f"{HERE}:{line_of(dev, 'include')}" in caught.value.traceback


def test_exit_ends_it_and_what_was_said_counts() -> None:
    def dev() -> None:
        ipytilt.local_resource("a", "true")
        ipytilt.exit()
        ipytilt.local_resource("b", "true")

    assert one(loaded(dev)).name == "a"


@pytest.mark.parametrize("call", [lambda: ipytilt.local_resource("a", "true"), ipytilt.config.parse])
def test_a_word_outside_says_where_it_belongs(call: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match="counts only while a Tiltfile is evaluated") as caught:
        call()
    assert "@session.tiltfile" in caught.value.hint


def test_a_value_that_depends_on_the_evaluation_has_none_outside() -> None:
    with pytest.raises(UsageError, match=r"config\.main_dir has a value only while"):
        ipytilt.config.main_dir  # noqa: B018 - read for its refusal


def test_unknown_words_are_no_attributes() -> None:
    for name, thing in (("docker_built", ipytilt), ("pars", ipytilt.config)):
        with pytest.raises(AttributeError, match="did you mean"):
            getattr(thing, name)
    with pytest.raises(ImportError):
        exec("from ipytilt import docker_built")  # noqa: S102 - what a user writes


def test_words_say_what_they_take() -> None:
    assert list(inspect.signature(ipytilt.sync).parameters) == ["local_path", "remote_path"]
    assert inspect.getdoc(ipytilt.sync) == manual.text("sync")
    assert "parse" in dir(ipytilt.config)


def test_every_word_is_offered_and_none_hides_a_module_of_ours() -> None:
    tops = {name.partition(".")[0] for name in registered()}
    assert tops <= set(dir(ipytilt))
    assert tops <= set(program.words())
    assert not {module.name for module in pkgutil.iter_modules(ipytilt.__path__)} & tops
