"""Ignore sets and path mapping; numbers are rows of the behaviour cases."""

from __future__ import annotations

import fnmatch
import itertools

import pytest
from docker.utils.build import PatternMatcher
from hypothesis import given
from hypothesis import strategies as st

from ipytilt.core.paths import (
    TEMP_FILES,
    Matcher,
    container_path,
    is_below,
    only_patterns,
    parse_ignore_file,
    selects,
)
from ipytilt.core.spec import Ignore, Selection

BASE = "/p/web"


def ignored(patterns: tuple[str, ...], paths: str) -> list[str]:
    """Those of the blank-separated paths, relative to the base, that a set of patterns ignores."""
    matcher = Matcher([Ignore(BASE, patterns)])
    return [path for path in paths.split() if matcher.ignores(f"{BASE}/{path}")]


def prunable(patterns: tuple[str, ...], directories: str) -> list[str]:
    matcher = Matcher([Ignore(BASE, patterns)])
    return [path for path in directories.split() if matcher.can_prune(f"{BASE}/{path}")]


# patterns, paths asked about, those ignored
IGNORED = {
    "case 6: at any depth": (
        ("**/ignored.txt",),
        "sub/ignored.txt ignored.txt other.txt",
        "sub/ignored.txt ignored.txt",
    ),
    "case 8: a directory covers its content": (("docs",), "docs docs/x.md docs/a/b docsx", "docs docs/x.md docs/a/b"),
    "case 11: re-included below an ignored directory": (
        ("docs", "!docs/README.md"),
        "docs/README.md docs/x.md",
        "docs/x.md",
    ),
    "case 12: ignored, re-included, ignored": (("a", "!a/b", "a/b/c"), "a/x a/b/x a/b/c/x", "a/x a/b/c/x"),
    "case 14: everything but": (
        ("*", "!pkg/**/*.go", "!go.mod"),
        "pkg/i/m.go pkg/h.txt go.mod x.go",
        "pkg/h.txt x.go",
    ),
    "case 15: any number of directories between": (
        ("a/**/temp*",),
        "a/temporary a/b/c/temporary b/c/temporary",
        "a/temporary a/b/c/temporary",
    ),
    "case 16: one character, in the base only": (("temp?",), "tempa temp tempeh s/tempa", "tempa"),
    "exactly one level": (("*/temp*",), "s/tempa tempa s/t/tempa", "s/tempa"),
    "a star stays within its component": (("*.py",), "a.py s/a.py", "a.py"),
    "a star alone ignores everything": (("*",), "a s/a", "a s/a"),
    "what is below, not the directory": (("sub/**",), "sub sub/a sub/b/c", "sub/a sub/b/c"),
    "a trailing slash means nothing": (("sub/",), "sub sub/a", "sub sub/a"),
    "cleaned": (("./x//../a/b/",), "a/b a/b/c x a", "a/b a/b/c"),
    "the base itself": ((".",), "a b/c", "a b/c"),
    "blanks are trimmed, blank patterns skipped": ((" a ", "", "  "), "a b", "a"),
    "the last match decides": (("!a", "a", "!a", "b"), "a b", "b"),
    "re-included, then ignored again": (("a", "!a", "a/b"), "a a/c a/b", "a/b"),
    "classes": (("[ab]1", "[^ab]2", "[c-e]3"), "a1 c1 a2 c2 d3 f3", "a1 c2 d3"),
    "a quoted character stands for itself": ((r"\*", r"[\]]x", r"a\?"), "* b ]x a? ab", "* ]x a?"),
    "what a regex would take for itself": (
        ("a.b", "c+d", "(e)", "{f}", "g|h", "$i", "^j"),
        "axb a.b ccd c+d (e) {f} g h g|h $i ^j",
        "a.b c+d (e) {f} g|h $i ^j",
    ),
    "two stars within a component": (("a**b",), "ab axb ax/b a/b", "ab ax/b a/b"),
    "an absolute pattern stays absolute": ((f"{BASE}/a", "/elsewhere/b"), "a b elsewhere/b", "a"),
    "a number sign in a pattern argument is a letter": (("#a",), "#a a", "#a"),
    "an unclosed class drops the whole set": (("a", "[b"), "a b [b", ""),
    "so does an empty class": (("a", "[]"), "a", ""),
    "and a class in the wrong order": (("a", "[z-a]"), "a", ""),
    "and a quote of nothing": (("a", "b\\"), "a", ""),
    "and a lone exclamation mark": (("a", "!"), "a", ""),
    "case is told apart": (("Docs",), "docs Docs", "Docs"),
    "only blank patterns ignore nothing": ((" ",), "a", ""),
}


@pytest.mark.parametrize("patterns, paths, expected", IGNORED.values(), ids=IGNORED)
def test_ignored(patterns: tuple[str, ...], paths: str, expected: str) -> None:
    assert ignored(patterns, paths) == expected.split()


# patterns, directories asked about, those that need no look inside
PRUNABLE = {
    "case 11: an exception is below": (("docs", "!docs/README.md"), "docs docs/a", "docs/a"),
    "case 12": (("a", "!a/b", "a/b/c"), "a a/x a/b a/b/c a/b/c/d", "a/x a/b/c a/b/c/d"),
    "case 13": (("a", "b", "!b/README.md"), "a b b/c c", "a b/c"),
    "case 14": (("*", "!pkg/**/*.go", "!go.mod"), "pkg pkg/a/b other go.mod.d", "other go.mod.d"),
    "case 25: without exceptions": (("out",), "out out/a outer", "out out/a"),
    "an exception at any depth": (("out", "!**/keep"), "out out/a", ""),
    "an exception that came first is overruled": (("!out/keep", "out"), "out", "out"),
    "an exception by name pattern": (("out", "!out/*/keep"), "out out/a out/a/b out/a/keep", "out/a/b"),
    "an exception through a class that spans components": (("out", "!out/[a/b]/c"), "out", ""),
    "an exception for the parent": (("out/gen", "!out"), "out out/gen", ""),
    "only": (only_patterns(["src/api"]), "src src/api src/web docs", "src/web docs"),
}


@pytest.mark.parametrize("patterns, directories, expected", PRUNABLE.values(), ids=PRUNABLE)
def test_prunable(patterns: tuple[str, ...], directories: str, expected: str) -> None:
    assert prunable(patterns, directories) == expected.split()


def test_case_4_and_5_a_base_without_patterns_covers_itself_and_what_is_below_and_nothing_beside() -> None:
    matcher = Matcher([Ignore("/p/.git"), Ignore("/p/Tiltfile")])
    paths = [
        "/p/.git",
        "/p/.git/index",
        "/p/.gitignore",
        "/.git/index",
        "/p/Tiltfile",
        "/p/Tiltfile.py",
        "/p/a/Tiltfile",
    ]
    assert [path for path in paths if matcher.ignores(path)] == ["/p/.git", "/p/.git/index", "/p/Tiltfile"]
    assert matcher.can_prune("/p/.git")
    assert not matcher.can_prune("/p")


TEMP_NAMES = """
    a.py___jb_old___ a.py___jb_tmp___ .idea/workspace.xml .idea/a/b .#main.py #main.py# flymake_a.py 4913 main.py~
    .main.py.swp .main.py.swx .main.py.swo .main.py.swn .main.py.kate-swp a-go-tmp-umask
"""


@pytest.mark.parametrize("name", TEMP_NAMES.split())
def test_case_7_temp_files_at_any_depth(name: str) -> None:
    matcher = Matcher([TEMP_FILES])
    assert matcher.ignores(f"/{name}")
    assert matcher.ignores(f"/p/web/deep/{name}")


@pytest.mark.parametrize("name", ["main.py", "main.swp", "idea", "49130", "~main", "flymake_a", "#main", ".env"])
def test_case_7_what_looks_alike_is_kept(name: str) -> None:
    assert not Matcher([TEMP_FILES]).ignores(f"/p/{name}")


def test_case_17_a_pattern_may_leave_its_base() -> None:
    matcher = Matcher([Ignore(BASE, ("../a/b.txt", "../../c", "../../../../d"))])
    paths = ["/p/a/b.txt", "/p/web/a/b.txt", "/c/x", "/p/c", "/d"]
    assert [path for path in paths if matcher.ignores(path)] == ["/p/a/b.txt", "/c/x", "/d"]


def test_case_18_only() -> None:
    assert ignored(only_patterns(["src", "go.mod"]), "src/x src/a/b go.mod README srcx") == ["README", "srcx"]
    assert not Matcher([Ignore(BASE, only_patterns(["src"]))]).ignores(BASE)


def test_case_10_any_set_ignores_and_no_set_re_includes_for_another() -> None:
    matcher = Matcher([Ignore("/p", ("*.txt",)), Ignore("/p", ("!a.txt", "b"))])
    assert matcher.ignores("/p/a.txt")
    assert matcher.ignores("/p/b/c")
    assert not matcher.ignores("/p/c")


def test_a_malformed_set_leaves_the_others_alone() -> None:
    matcher = Matcher([Ignore("/p", ("[",)), Ignore("/p", ("a",))])
    assert matcher.ignores("/p/a")


def test_the_base_is_a_path_and_no_pattern() -> None:
    matcher = Matcher([Ignore("/p/[web]*", ("a", "**/b", ".", "../c?"))])
    paths = ["/p/[web]*/a", "/p/[web]*/x/b", "/p/[web]*", "/p/cx", "/p/w/a", "/p/webx/b"]
    assert [path for path in paths if matcher.ignores(path)] == paths[:4]


def test_the_root_as_base() -> None:
    assert Matcher([Ignore("/", ("a", "**/b"))]).ignores("/a/x")
    assert Matcher([Ignore("/", ("**/b",))]).ignores("/x/b")
    assert Matcher([Ignore("/")]).ignores("/x")
    assert not Matcher([Ignore("/", ("a",))]).ignores("/")


def test_a_very_deep_path() -> None:
    assert ignored(("**/b",), f"{'a/' * 5_000}b {'a/' * 5_000}c") == [f"{'a/' * 5_000}b"]


SELECTIONS = (
    Selection("/p", ignore=("src", "node_modules", "*.md")),
    Selection("/p/src", ignore=("gen",)),
    Selection("/p/web", include=("*.py", "in/deep"), ignore=("no.py",)),
)
WANTED = {
    "/p/x": True,
    "/p/README.md": False,
    "/p/node_modules/x": False,
    "/p/src/a": True,
    "/p/src/gen/a": False,
    "/p/web/a.html": True,  # the first selection takes all of it
    "/q/x": True,  # below none of them
}
NARROW = {
    "/p/web/a.py": True,
    "/p/web/no.py": False,
    "/p/web/a.html": False,
    "/p/web/in/deep/x": True,
    "/p/web/in/x": False,
}


@pytest.mark.parametrize(
    "path, wanted, selections",
    [(path, wanted, SELECTIONS) for path, wanted in WANTED.items()]
    + [(path, wanted, SELECTIONS[2:]) for path, wanted in NARROW.items()],
)
def test_what_no_selection_over_it_wants_is_ignored(
    path: str, *, wanted: bool, selections: tuple[Selection, ...]
) -> None:
    matcher = Matcher([Ignore("/p", unless=selections)])
    assert matcher.ignores(path) is not wanted
    assert (matcher.reason(path) is None) is wanted
    over = [each for each in selections if is_below(path, each.path)]
    assert any(selects(each, path) for each in over) is (wanted and bool(over))


@pytest.mark.parametrize(
    "directory, prunable",
    [
        ("/p", False),
        ("/p/node_modules", True),
        ("/p/src", False),
        ("/p/src/gen", True),
        ("/p/src/other", False),
        ("/q", False),
    ],
)
def test_a_directory_no_selection_wants_anything_of_is_not_looked_into(directory: str, *, prunable: bool) -> None:
    assert Matcher([Ignore("/p", unless=SELECTIONS)]).can_prune(directory) is prunable


def test_reason_names_the_set_and_the_pattern_as_written() -> None:
    whole, patterns = Ignore("/p/.git"), Ignore("/p", ("a", "!a/b", " a/b/c/ ", "**/*.o", "**/x", "**/y"))
    matcher = Matcher([whole, patterns])
    assert matcher.reason("/p/.git/index") == (whole, "")
    assert matcher.reason("/p/a/z") == (patterns, "a")
    assert matcher.reason("/p/a/b/z") is None
    assert matcher.reason("/p/a/b/c/z") == (patterns, " a/b/c/ ")
    assert matcher.reason("/p/z.o") == (patterns, "**/*.o")
    assert matcher.reason("/p/deep/y") == (patterns, "**/y")
    assert matcher.reason("/p/z") is None


# ---------------------------------------------------------------------------------------------- a second reading

LETTERS = st.sampled_from(["a", "b", "ab", "ba"])
PARTS = st.one_of(LETTERS, st.sampled_from(["*", "a*", "*b", "?", "[ab]", "?b"]))
PATHS = st.lists(LETTERS, min_size=1, max_size=4).map("/".join)


def patterns_of(parts: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    pattern = st.tuples(st.sampled_from(["", "", "!"]), st.lists(parts, min_size=1, max_size=4).map("/".join))
    return st.lists(pattern.map("".join), min_size=1, max_size=5).map(tuple)


@given(patterns_of(PARTS), PATHS)
def test_the_docker_sdk_reads_patterns_alike(patterns: tuple[str, ...], path: str) -> None:
    # Not with `**`: the SDK does not see that `**/a` covers what is below a nested `a`.
    assert Matcher([Ignore(BASE, patterns)]).ignores(f"{BASE}/{path}") == PatternMatcher(list(patterns)).matches(path)


def covers(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Whether a pattern matches a path or a directory above it, worked out component by component."""
    if not pattern:
        return True
    if pattern == ("**",):
        return bool(path)
    if pattern[0] == "**":
        return any(covers(pattern[1:], path[skipped:]) for skipped in range(len(path) + 1))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and covers(pattern[1:], path[1:])


def last_match_ignores(patterns: tuple[str, ...], path: str) -> bool:
    verdict = False
    for pattern in patterns:
        if covers(tuple(pattern.removeprefix("!").split("/")), tuple(path.split("/"))):
            verdict = not pattern.startswith("!")
    return verdict


@given(patterns_of(st.one_of(PARTS, st.just("**"))), PATHS)
def test_a_plain_reading_of_the_rules_agrees(patterns: tuple[str, ...], path: str) -> None:
    assert Matcher([Ignore(BASE, patterns)]).ignores(f"{BASE}/{path}") == last_match_ignores(patterns, path)


@given(patterns_of(st.one_of(PARTS, st.just("**"))), PATHS)
def test_nothing_below_a_prunable_directory_is_kept(patterns: tuple[str, ...], path: str) -> None:
    matcher = Matcher([Ignore(BASE, patterns)])
    if matcher.can_prune(f"{BASE}/{path}"):
        letters = ("a", "b", "ab", "ba")
        below = [*itertools.product(letters), *itertools.product(letters, letters)]
        assert all(last_match_ignores(patterns, "/".join((path, *names))) for names in below)


# ---------------------------------------------------------------------------------------------- pattern files


def test_pattern_file() -> None:
    text = "\ufeff# comment\n\n  a/ \n/b\n!/c/../d\r\n#e\n #f\n./g//h\n! i\n//j\n/\nlast"
    assert parse_ignore_file(text) == ("a", "b", "!d", "#f", "g/h", "!i", "j", ".", "last")


def test_an_empty_pattern_file_has_no_patterns() -> None:
    assert parse_ignore_file("\n# nothing\n") == ()


# ---------------------------------------------------------------------------------------------- mapping


@pytest.mark.parametrize("path, parent", [("/src/a", "/src/a"), ("/src/a/b", "/src/a"), ("/src", "/"), ("/", "/")])
def test_below(path: str, parent: str) -> None:
    assert is_below(path, parent)


@pytest.mark.parametrize("path, parent", [("/src/ab", "/src/a"), ("/src", "/src/a"), ("/b/src", "/src")])
def test_not_below(path: str, parent: str) -> None:
    assert not is_below(path, parent)


@pytest.mark.parametrize(
    "source, target, path, expected",
    [
        pytest.param("/p/src", "/app", "/p/src/a/b.py", "/app/a/b.py", id="case 33: the tree is mirrored"),
        pytest.param("/p/src", "/app/", "/p/src/a/b.py", "/app/a/b.py", id="a trailing slash means nothing"),
        pytest.param("/p/src/", "/app", "/p/src/a", "/app/a", id="on either side"),
        pytest.param("/p/src", "/app/", "/p/src", "/app", id="the directory itself"),
        pytest.param("/p/src", "/", "/p/src/a", "/a", id="onto the root"),
    ],
)
def test_container_path_below_a_directory(source: str, target: str, path: str, expected: str) -> None:
    assert container_path(source, target, path=path, source_is_file=False) == expected


@pytest.mark.parametrize(
    "target, expected",
    [
        pytest.param("/d1/", "/d1/f", id="case 34: into a directory"),
        pytest.param("/d1/g", "/d1/g", id="case 35: under a new name"),
    ],
)
def test_container_path_of_a_file(target: str, expected: str) -> None:
    assert container_path("/p/s1/f", target, path="/p/s1/f", source_is_file=True) == expected
