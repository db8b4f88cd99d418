"""Paths as values: ignore sets, "is it below", and where a synced file lands in a container.

Pure; usable on any thread. Paths are absolute, lexically clean and separated by `/`. The watcher asks a `Matcher` which
directories it need not look into and which files it need not report; build contexts and archives ask it what to leave
out; `explain` asks it which pattern of which set decided.

The pattern language is the dockerignore dialect as Tilt reads it:

- each pattern is trimmed, cleaned and joined to the base of its set; `!` re-includes; the last pattern that matches
  decides; a pattern that matches a directory covers everything below it;
- a set with a malformed pattern is dropped whole and silently;
- a path is ignored as soon as one set ignores it: `!` never reaches into another set.

A `Selection` is the opposite: the files one rule of a Compose file is about. What none of them wants is ignored, too.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ipytilt.core.spec import Ignore, Selection

TEMP_FILES = Ignore(
    "/",
    (
        "**/*___jb_old___",
        "**/*___jb_tmp___",
        "**/.idea",
        "**/.#*",
        "**/#*#",
        "**/flymake_*.*",
        "**/4913",
        "**/*~",
        "**/.*.swp",
        "**/.*.swx",
        "**/.*.swo",
        "**/.*.swn",
        "**/.*.kate-swp",
        "**/*-go-tmp-umask",
    ),
)
"""What editors leave lying about while they save: never worth a reaction, yet part of build contexts."""

_REMEMBERED_DIRECTORIES = 200_000

# One character of a class such as [a-z], possibly quoted.
_CLASS_CHARACTER = r"(?:\\.|[^\\\]\-])"
_CLASS_RANGE = re.compile(rf"({_CLASS_CHARACTER})(?:-({_CLASS_CHARACTER}))?", re.DOTALL)
_TOKEN = re.compile(
    rf"""(?P<deep>\*\*/?)
       | (?P<star>\*)
       | (?P<one>\?)
       | \[(?P<negated>\^?)(?P<ranges>(?:{_CLASS_CHARACTER}(?:-{_CLASS_CHARACTER})?)+)\]
       | \\(?P<quoted>.)
       | (?P<plain>[^\\\[*?])""",
    re.DOTALL | re.VERBOSE,
)


# ---------------------------------------------------------------------------------------------- plain paths


def is_below(path: str, parent: str) -> bool:
    """Whether `path` is `parent` or lies below it, by component (`/src/ab` is not below `/src/a`)."""
    return path == parent or path.startswith(parent if parent.endswith("/") else parent + "/")


def container_path(local_source: str, target: str, *, path: str, source_is_file: bool) -> str:
    """Where `path`, at or below `local_source`, lands in the container when the source is synced to `target`.

    A file keeps its base name only when `target` ends in `/`; below a directory the tree is mirrored, and trailing
    slashes on either side mean nothing.
    """
    if source_is_file:
        return posixpath.join(target, posixpath.basename(local_source)) if target.endswith("/") else target
    return posixpath.normpath(posixpath.join(target, path[len(local_source) :].lstrip("/")))


# ---------------------------------------------------------------------------------------------- writing patterns


def parse_ignore_file(text: str) -> tuple[str, ...]:
    """The patterns of a `.dockerignore` or `.tiltignore`.

    A `#` in column one is a comment, a leading `/` (after `!` too) means the directory of the file. Mind that an
    `Ignore` without patterns ignores everything: an empty result is no ignore set at all.
    """
    patterns = []
    for line in text.removeprefix("\ufeff").split("\n"):
        pattern = line.strip()
        if not pattern or line.startswith("#"):
            continue
        sign = "!" if pattern.startswith("!") else ""
        rest = pattern.removeprefix("!").strip()
        cleaned = posixpath.normpath(rest).lstrip("/") or "." if rest else ""
        patterns.append(sign + cleaned)
    return tuple(patterns)


def only_patterns(paths: Sequence[str]) -> tuple[str, ...]:
    """`only=[...]` as patterns: ignore everything but these paths and what is below them."""
    return ("**", *(f"!{path}" for path in paths))


# ---------------------------------------------------------------------------------------------- matching


class Matcher:
    """Answers for a list of ignore sets, remembering what it worked out per directory.

    What a directory's answer leaves open is kept as the rules that may still match below it; most are out of the
    question after a few levels, so that a path deep in a tree costs about a microsecond.
    """

    def __init__(self, ignores: Iterable[Ignore]) -> None:
        self._sets = tuple(ignores)
        self._leftovers = tuple(ignore.unless for ignore in self._sets if ignore.unless)
        rules = tuple(
            (index, rule) for index, ignore in enumerate(self._sets) if not ignore.unless for rule in _compiled(ignore)
        )
        self._root = _Directory({}, rules, skippable=False)
        self._directories: dict[str, _Directory] = {"": self._root}

    def ignores(self, path: str) -> bool:
        """Whether any set ignores `path`."""
        directory = self._directory(path[: path.rfind("/")])
        if directory.skippable or any(not hit.rule.negated for hit in self._hits(path, directory).values()):
            return True
        return any(_is_left_over(path, selections) for selections in self._leftovers)

    def can_prune(self, directory: str) -> bool:
        """Whether `directory` and everything that could ever be below it is ignored."""
        directory = directory.rstrip("/")
        if self._directory(directory).skippable:
            return True
        return any(_is_left_over_whole(directory, selections) for selections in self._leftovers)

    def reason(self, path: str) -> tuple[Ignore, str] | None:
        """The set that ignores `path` and its deciding pattern as written ("" for a set without patterns), or None."""
        for index, hit in self._hits(path, self._directory(path[: path.rfind("/")])).items():
            if not hit.rule.negated:
                return self._sets[index], hit.pattern
        left_over = (selections for selections in self._leftovers if _is_left_over(path, selections))
        return next((_leaving_out(s).reason(path) for each in left_over for s in each if is_below(path, s.path)), None)

    def _directory(self, path: str) -> _Directory:
        directories = self._directories  # another thread may begin a new table meanwhile
        unknown: list[str] = []
        while path not in directories:
            unknown.append(path)
            path = path[: path.rfind("/")]
        known = directories[path]
        if len(directories) >= _REMEMBERED_DIRECTORIES:
            directories = self._directories = {"": self._root}
        for below in reversed(unknown):
            known = known if known.skippable else self._entered(below, known)
            directories[below] = known
        return known

    def _entered(self, path: str, parent: _Directory) -> _Directory:
        hits = self._hits(path, parent)
        live = tuple(
            (index, rule)
            for index, rule in parent.live
            if (index not in hits or rule.order > hits[index].rule.order) and rule.may_match_below(path)
        )
        if hits is parent.hits and live == parent.live:
            return parent
        reversible = {index for index, rule in live if rule.negated}
        skippable = any(not hit.rule.negated and index not in reversible for index, hit in hits.items())
        return _Directory(hits, live, skippable=skippable)

    @staticmethod
    def _hits(path: str, directory: _Directory) -> dict[int, _Hit]:
        hits = directory.hits
        name = path[path.rfind("/") + 1 :]
        for index, rule in directory.live:
            pattern = rule.matching(path, name)
            if pattern is not None:
                hits = {**hits, index: _Hit(rule, pattern)}
        return hits


def selects(selection: Selection, path: str) -> bool:
    """Whether the file is one of the selection's."""
    return is_below(path, selection.path) and not _leaving_out(selection).ignores(path)


@lru_cache(maxsize=1024)
def _leaving_out(selection: Selection) -> Matcher:
    """Ignores what a selection leaves out below its path."""
    base, origin = selection.path, selection.origin
    sets = [Ignore(base, selection.ignore, origin)] if selection.ignore else []
    if selection.include:
        opposite = (text.removeprefix("!") if text.startswith("!") else f"!{text}" for text in selection.include)
        sets.append(Ignore(base, ("**", *opposite), origin))
    return Matcher(sets)


def _is_left_over(path: str, selections: tuple[Selection, ...]) -> bool:
    over = [selection for selection in selections if is_below(path, selection.path)]
    return bool(over) and all(_leaving_out(selection).ignores(path) for selection in over)


def _is_left_over_whole(directory: str, selections: tuple[Selection, ...]) -> bool:
    over = [selection for selection in selections if is_below(directory, selection.path)]
    if not over or any(is_below(s.path, directory) for s in selections if s not in over):
        return False
    return all(_leaving_out(selection).can_prune(directory) for selection in over)


class _Hit(NamedTuple):
    """The last rule of a set that matches a path or a directory above it, and its pattern as written."""

    rule: _Rule
    pattern: str


@dataclass(frozen=True, slots=True)
class _Directory:
    """What is known about everything below a directory: deciding rule per set so far, and rules still in question."""

    hits: dict[int, _Hit]
    live: tuple[tuple[int, _Rule], ...]
    skippable: bool


@dataclass(frozen=True, slots=True)
class _Rule:
    """One pattern, or a run of `**/name` patterns of one sign, which are matched against the base name at once.

    `head` is the leading part of the pattern without wildcards ("" for the root), `regex` the rest of it. `between`
    matches the directories below `head`, relative to it, that may hold a match; None means `head` alone may.
    """

    order: int
    negated: bool
    head: str
    regex: re.Pattern[str]
    between: re.Pattern[str] | None
    patterns: tuple[str, ...]
    by_name: bool

    def matching(self, path: str, name: str) -> str | None:
        """The pattern that matches `path` itself (not merely a directory above it), as written."""
        if not path.startswith(self.head + "/"):
            return None
        if not self.by_name:
            return self.patterns[0] if self.regex.fullmatch(path, len(self.head)) else None
        found = self.regex.fullmatch(name)
        return self.patterns[found.lastindex - 1] if found is not None and found.lastindex else None

    def may_match_below(self, directory: str) -> bool:
        """Whether some path below `directory` could match."""
        if not directory.startswith(self.head + "/"):
            return is_below(self.head + "/", directory)
        return self.between is not None and self.between.fullmatch(directory, len(self.head)) is not None


# ---------------------------------------------------------------------------------------------- compiling patterns


class _Malformed(ValueError):
    """A pattern is no shell glob."""


class _Pattern(NamedTuple):
    """A parsed pattern: literal `head`, and the components after it."""

    text: str
    negated: bool
    head: str
    rest: tuple[str, ...]

    @property
    def is_name(self) -> bool:
        """Whether it is `**/name`: the base name alone decides, at any depth below `head`."""
        return len(self.rest) == 2 and self.rest[0] == "**" and "**" not in self.rest[1]


@lru_cache(maxsize=4096)
def _compiled(ignore: Ignore) -> tuple[_Rule, ...]:
    """The rules of one set, in order; none if a pattern is malformed."""
    if not ignore.patterns:
        return tuple(_rules([_literal(ignore.base)]))
    try:
        patterns = [_parsed(ignore.base, text) for text in ignore.patterns if text.strip()]
        return tuple(_rules(patterns))
    except (_Malformed, re.error):
        return ()


def _rules(patterns: list[_Pattern]) -> Iterator[_Rule]:
    run: list[_Pattern] = []
    for order, pattern in enumerate(patterns):
        if run and not (pattern.is_name and pattern[1:3] == run[0][1:3]):
            yield _name_rule(order - 1, run)
            run = []
        if pattern.is_name:
            run.append(pattern)
        else:
            yield _path_rule(order, pattern)
    if run:
        yield _name_rule(len(patterns) - 1, run)


def _name_rule(order: int, run: list[_Pattern]) -> _Rule:
    regex = _regex("|".join(f"({_translated(pattern.rest[1])})" for pattern in run))
    texts = tuple(pattern.text for pattern in run)
    return _Rule(order, run[0].negated, run[0].head, regex=regex, between=_regex(".*"), patterns=texts, by_name=True)


def _path_rule(order: int, pattern: _Pattern) -> _Rule:
    regex = _regex(_translated("/" + "/".join(pattern.rest)))
    between = _regex(_directories_above(pattern.rest)) if len(pattern.rest) > 1 or "**" in pattern.rest[0] else None
    return _Rule(
        order, pattern.negated, pattern.head, regex=regex, between=between, patterns=(pattern.text,), by_name=False
    )


def _parsed(base: str, text: str) -> _Pattern:
    pattern = text.strip()
    negated = pattern.startswith("!")
    pattern = pattern.removeprefix("!")
    if not pattern:
        raise _Malformed(text)
    _translated(pattern)
    cleaned = posixpath.normpath(pattern)
    # The base is a path, not a glob: it is kept apart from the pattern, and `..` climbs out of it here.
    head = "" if cleaned.startswith("/") else base
    components = [component for component in cleaned.split("/") if component not in {"", "."}]
    while components and components[0] == "..":
        head = posixpath.dirname(head)
        components.pop(0)
    if not components:
        return _literal(head, text=text, negated=negated)
    literal = 0
    while literal < len(components) - 1 and not re.search(r"[*?\[\\]", components[literal]):
        literal += 1
    head = "/".join((head.rstrip("/"), *components[:literal]))
    return _Pattern(text, negated, head, tuple(components[literal:]))


def _literal(path: str, text: str = "", *, negated: bool = False) -> _Pattern:
    directory, _, name = path.rstrip("/").rpartition("/")
    # Only the root has no name; what it covers is everything.
    return _Pattern(text, negated, directory, (re.sub(r"([*?\[\\])", r"\\\1", name) or "**",))


def _directories_above(components: tuple[str, ...]) -> str:
    """A regex for the directories, relative to the head, below which `components` could match."""
    anything = "(?:/.*)?"
    regex = ""
    try:
        for component in reversed(components if "**" in components[-1] else components[:-1]):
            regex = anything if "**" in component else f"(?:/{_translated(component)}{regex})?"
    except _Malformed:
        return anything  # a class such as [a/b] spans components: better to look than to miss
    return regex


@lru_cache(maxsize=4096)
def _regex(text: str) -> re.Pattern[str]:
    return re.compile(text, re.DOTALL)


def _translated(glob: str) -> str:
    """The glob as a regex source.

    Raises:
        _Malformed: it is no glob: an open class, a quote of nothing.
    """
    parts = []
    position = 0
    while position < len(glob):
        token = _TOKEN.match(glob, position)
        if token is None:
            raise _Malformed(glob)
        position = token.end()
        match token.lastgroup:
            case "deep":
                parts.append("(?:.*/)?" if position < len(glob) else ".*")
            case "star":
                parts.append("[^/]*")
            case "one":
                parts.append("[^/]")
            case "ranges":
                parts.append(f"[{token['negated']}{_class_body(token['ranges'])}]")
            case group:
                parts.append(re.escape(token[group or 0]))
    return "".join(parts)


def _class_body(ranges: str) -> str:
    # A character is one letter, or a backslash and one letter: the last one counts.
    pairs = ((re.escape(low[-1]), re.escape(high[-1:])) for low, high in _CLASS_RANGE.findall(ranges))
    return "".join(f"{low}-{high}" if high else low for low, high in pairs)
