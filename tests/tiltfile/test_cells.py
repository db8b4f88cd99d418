"""A Tiltfile as cells and cells as a Tiltfile: both mean the same, whatever is in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipytilt.core.spec import Origin
from ipytilt.errors import TiltfileError, UsageError
from ipytilt.tiltfile.cells import ARGUMENTS, HEADER, SECOND_NAMES, Cell, join, merged, runs, split
from ipytilt.tiltfile.load import Loaded, LoadError, complete_after, load
from tests.tiltfile.cases import CASES, Case
from tests.tiltfile.cases_k8s import CASES as KUBERNETES_CASES
from tests.tiltfile.evaluated import cell, host

PLACE = re.compile(r"\(?<[^>]*>(?::\d+)*\)?")
ALL = [*CASES, *KUBERNETES_CASES]


def evaluated(texts: Sequence[str], files: Mapping[str, str], args: tuple[str, ...] = ()) -> Loaded:
    """What a session has that runs these cells."""
    return load([cell(f"cell-{n}", text) for n, text in enumerate(texts)], args, host(files))


def meaning(loaded: Loaded) -> Any:
    """Spec, log and files of an evaluation, without the places that differ between a file and cells."""
    return plain((loaded.spec, loaded.log, loaded.reads))


def plain(value: Any) -> Any:
    if isinstance(value, Origin):
        return None
    if is_dataclass(value):
        compared = [each.name for each in fields(value) if each.compare and each.name != "source"]
        return {name: plain(getattr(value, name)) for name in compared}
    if isinstance(value, str):
        return PLACE.sub("", value)
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, tuple | list) else value


def as_cells(text: str, files: Mapping[str, str], args: tuple[str, ...]) -> list[str]:
    """A Tiltfile as it is imported."""
    cells, _ = split(text, "Tiltfile")
    sources = [cell(f"cell-{n}", one.text) for n, one in enumerate(cells)]
    return [one.text for one in merged(cells, complete_after(sources, args, host(files)))]


def exported(texts: Sequence[str], args: tuple[str, ...] = ()) -> str:
    return join([Cell(f"Cell {n}", text) for n, text in enumerate(texts, 1)], args)


# ---------------------------------------------------------------------------------------------- round trips


def is_good(case: Case) -> bool:
    try:
        evaluated([case.text], case.files, case.args)
    except LoadError:
        return False
    return True


@pytest.mark.parametrize("case", [case for case in ALL if is_good(case)], ids=str)
def test_every_good_case_goes_to_cells_and_back(case: Case) -> None:
    whole = meaning(evaluated([case.text], case.files, case.args))
    texts = as_cells(case.text, case.files, case.args)
    assert meaning(evaluated(texts, case.files, case.args)) == whole
    back = exported(texts, case.args)
    assert meaning(evaluated([back], case.files, case.args)) == whole
    again, args = split(back, "Tiltfile")
    assert args == case.args
    assert exported([one.text for one in again], args) == back


@pytest.mark.parametrize("case", [case for case in ALL if not is_good(case)], ids=str)
def test_every_bad_case_stays_as_bad(case: Case) -> None:
    with pytest.raises(LoadError) as before:
        evaluated([case.text], case.files, case.args)
    with pytest.raises(TiltfileError) as after:
        evaluated([exported([one.text for one in split(case.text, "Tiltfile")[0]], case.args)], case.files, case.args)
    assert PLACE.sub("", after.value.message) == PLACE.sub("", before.value.message)


def test_a_file_in_place_of_the_cells_has_their_paths() -> None:
    files = {"lib/Tiltfile": "def f(): return os.getcwd()", "web/Dockerfile": "FROM x", "c.yml": "services: {w: {}}"}
    texts = [
        "load('lib/Tiltfile', 'f')\nprint(f(), __file__, config.main_dir)",
        "local_resource('a', 'x', deps=['web'])\nwatch_file('data')",
    ]
    in_cells = evaluated(texts, files)
    as_file = load([cell("f", exported(texts))], (), host(files))
    assert meaning(as_file) == meaning(in_cells)


NAMES = st.sampled_from(["x", "y", "f", "g", "len", "str", "local"])
VALUE = st.one_of(
    st.integers(0, 3).map(str),
    NAMES,
    NAMES.map(lambda name: f"[{name} for i in [1]]"),
    NAMES.map(lambda name: f"(lambda: {name})()"),
)
STATEMENT = st.one_of(
    st.builds("{} = {}".format, NAMES, VALUE),
    st.builds("def {}(a=1):\n    return {}".format, NAMES, VALUE),
    st.builds("def {}(): return {}\n    # inside".format, NAMES, VALUE),
    st.builds("if {}:\n  {} = {}".format, st.sampled_from(["True", "False"]), NAMES, VALUE),
    st.builds("for {} in [{}]:\n\tprint('turn')".format, NAMES, VALUE),
    st.builds("{} += {}".format, NAMES, VALUE),
    st.builds("load('lib', {}='v')".format, NAMES),
    st.builds("print({}, {})".format, VALUE, VALUE),
    st.builds("if type({0}) == 'function': print({0}())".format, NAMES),
    st.builds("x = '''a\n\n# no comment'''; y = {}".format, VALUE),
    st.builds("local_resource('r-%s' % {}, 'x')".format, VALUE),
    st.builds("y = [sync('a', {})]".format, st.just("'/a'")),
    st.just("docker_build('img', '.', live_update=y)"),
    st.just("config.set_enabled_resources(['r-1'])"),
    st.just("exit()"),
)
GAP = st.sampled_from(["\n", "\n\n", "\n# about it\n", "\n\n# --- Part ---\n", "\n  \n\n# far\n\n", "\r\n\r\n"])
BEGINNING = st.sampled_from(["", "x = 1\ny = 2\ndef f(): return 1\ndef g(): return 2"])
LIB = {"lib": "v = 'loaded'"}
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@RELAXED
@given(st.lists(st.tuples(STATEMENT, GAP), min_size=1, max_size=7), BEGINNING)
def test_any_tiltfile_means_the_same_in_cells(parts: list[tuple[str, str]], beginning: str) -> None:
    text = f"{beginning}\n\n" + "".join(statement + gap for statement, gap in parts)
    try:
        whole = evaluated([text], LIB)
    except LoadError:
        return
    texts = as_cells(text, LIB, ())
    assert meaning(evaluated(texts, LIB)) == meaning(whole)
    for count in range(1, len(texts)):
        evaluated(texts[:count], LIB)  # run one after the other, each is good


@RELAXED
@given(st.lists(st.lists(STATEMENT, min_size=1, max_size=3).map("\n".join), min_size=1, max_size=5), BEGINNING)
def test_any_cells_mean_the_same_in_one_file(texts: list[str], beginning: str) -> None:
    texts = [beginning, *texts]
    try:
        in_cells = evaluated(texts, LIB)
    except LoadError:
        return
    try:
        back = exported(texts)
    except UsageError:
        return
    except TiltfileError:
        if any("exit()" in text for text in texts):
            return
        raise
    assert meaning(evaluated([back], LIB)) == meaning(in_cells)
    assert exported([one.text for one in split(back, "Tiltfile")[0]]) == back


@given(st.lists(st.text(st.characters(exclude_characters="\0\n\r", codec="utf-8"), max_size=5), max_size=3))
def test_arguments_come_back(args: list[str]) -> None:
    assert split(exported(["x = 1"], tuple(args)), "Tiltfile")[1] == tuple(args)


# ---------------------------------------------------------------------------------------------- splitting


def parts(text: str) -> list[str]:
    return [one.text for one in split(text, "Tiltfile")[0]]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", []),
        ("\n  \n", []),
        ("# only\n\n# words", ["# only\n\n# words"]),
        ("a = 1\nb = 2", ["a = 1\nb = 2"]),
        ("a = 1\n\n\nb = 2\n\n", ["a = 1", "b = 2"]),
        ("a = 1\r\n\r\nb = 2\r\n", ["a = 1", "b = 2"]),
        ("a = 1; b = 2\n\nc = 3", ["a = 1; b = 2", "c = 3"]),
        (
            "# license\n\n# a is\na = 1\n\n# b is\n\nb = 2\n# end",
            ["# license\n\n# a is\na = 1", "# b is\n\nb = 2\n# end"],
        ),
        (
            "def f():\n  x = 1\n\n  return x\n  # still f\n\nb = 2",
            ["def f():\n  x = 1\n\n  return x\n  # still f", "b = 2"],
        ),
        ("a = '''\n\n# no comment\n\n'''\n\nb = [\n\n1]", ["a = '''\n\n# no comment\n\n'''", "b = [\n\n1]"]),
        ("a = 1 \\\n\nb = 2", ["a = 1 \\\n\nb = 2"]),
        ("a = 1\n# === Two ===\nb = 2", ["a = 1", "# === Two ===\nb = 2"]),
        # names that bind
        ("def f(): return g()\n\na = 1\n\ndef g(): return 1", ["def f(): return g()\n\na = 1\n\ndef g(): return 1"]),
        ("def g(): return 1\n\ndef f(): return g()", ["def g(): return 1", "def f(): return g()"]),
        ("def f(): return f()\n\na = 1", ["def f(): return f()", "a = 1"]),
        ("if x:\n  a = 1\n\nb = 2\n\nprint(a)\n\nc = 3", ["if x:\n  a = 1\n\nb = 2\n\nprint(a)", "c = 3"]),
        ("a = 0\n\nif x:\n  a = 1\n\nprint(a)", ["a = 0", "if x:\n  a = 1", "print(a)"]),
        ("x = [len(a) for a in b]\n\nlen = 1\n\nc = 2", ["x = [len(a) for a in b]\n\nlen = 1", "c = 2"]),
        ("x = len(a)\n\nlen = 1", ["x = len(a)", "len = 1"]),
    ],
)
def test_borders(text: str, expected: list[str]) -> None:
    assert parts(text) == expected


@pytest.mark.parametrize(
    "comment, title",
    [
        ("# --- Web ---", "Web"),
        ("#### The API ####", "The API"),
        ("## Web", "Web"),
        ("# =====\n# Data base\n# =====\n# explained", "Data base"),
        ("##########\n# Data base", "Data base"),
        ("# Data base\n# ---------", "Data base"),
        ("# just a remark", None),
        ("# two lines\n# of remarks", None),
        ("# -----", None),
        ("# -- not so --", None),
        ("##local_resource('off', 'x')", None),
    ],
)
def test_titles_are_those_of_the_tiltfile(comment: str, title: str | None) -> None:
    cells, _ = split(f"a = 1\n\n{comment}\nb = 2", "Tiltfile")
    assert cells[-1].titles == (() if title is None else (title,))
    assert cells[-1].text.startswith(comment)


def test_what_is_only_good_together_stays_together() -> None:
    text = (
        "steps = [sync('a', '/a')]\n\nx = 1\n\ndocker_build('img', '.', live_update=steps)\n\nlocal_resource('a', 'x')"
    )
    assert len(parts(text)) == 4
    first, last = as_cells(text, {}, ())
    assert last == "local_resource('a', 'x')"
    assert "steps =" in first
    assert "docker_build" in first


def test_a_syntax_error_shows_its_line() -> None:
    with pytest.raises(TiltfileError) as caught:
        split(f"{HEADER}\nx = 1\n\ny = = 2", "Tiltfile")
    assert caught.value.where == "Tiltfile:4"
    assert caught.value.excerpt.startswith("   4 | y = = 2")


# ---------------------------------------------------------------------------------------------- joining


def test_the_file_begins_with_where_it_comes_from_and_how_to_run_it() -> None:
    lines = exported(["\n\nx = 1  \n\n", "y = 2"], ("--who", "me and you")).splitlines()
    assert lines == [HEADER, ARGUMENTS + "--who 'me and you'", "", "x = 1  ", "", "y = 2"]
    assert shlex.split(lines[1])[-2:] == ["--who", "me and you"]


def test_an_argument_of_two_lines_cannot_become_code() -> None:
    with pytest.raises(UsageError, match="more than one line"):
        exported(["x = 1"], ("a\nfail('code')",))


def test_a_builtin_that_a_later_cell_redefines_keeps_its_meaning() -> None:
    texts = [
        "builtin_len = 0\ndef f(v): return len(v) + [len(w) for w in v][0]",
        "if False:\n  str = 1",
        "len = str(5)",
    ]
    back = exported([*texts, "print(f(['ab']), len, str)"])
    assert f"{SECOND_NAMES}\nbuiltin_len_ = len\nstr = str\n" in back
    assert "return builtin_len_(v) + [builtin_len_(w) for w in v][0]" in back
    assert evaluated([back], {}).log == ("3 5 <built-in function str>",)


def test_a_name_that_is_loaded_below_its_use_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        exported(["v = 1\ndef f(): return v", "f()", "load('lib', 'v')"])
    assert "Cell 1 has a function that uses its own v, and Cell 3 loads another v" in caught.value.message
    exported(["load('lib', 'v')\ndef f(): return v", "load('lib', 'v')"])


def test_an_error_names_the_cell() -> None:
    with pytest.raises(TiltfileError) as caught:
        exported(["x = 1", "\nclass A: pass"])
    assert caught.value.where == "Cell 2:2"


def test_what_stands_after_an_exit_must_be_good_too() -> None:
    texts = ["exit()", "x = nope"]
    assert evaluated(texts, {}).log == ()
    with pytest.raises(TiltfileError, match="undefined: nope"):
        exported(texts)


def test_files_that_are_run_by_name() -> None:
    texts = ["load('a', 'x')\ninclude( \"b/c\" )", "load_dynamic(path)\npreload('z')\nread_file('y')"]
    assert runs([Cell("", text) for text in texts]) == {"a", "b/c"}
