"""What fuzzing starts from: the Tiltfiles of the language's own tests, and the world they are evaluated in."""

from __future__ import annotations

import re
from functools import cache
from keyword import iskeyword
from pathlib import Path

from ipytilt.starlark import UNIVERSE
from ipytilt.starlark.calls import METHODS
from ipytilt.tiltfile.builtin import registered
from tests.tiltfile.cases import CASES, COMPOSE
from tests.tiltfile.cases_k8s import CASES as KUBERNETES_CASES
from tests.tiltfile.test_chunks import WORLD as CHUNK_WORLD

_TESTS = Path(__file__).parents[1]
_CUT = re.compile(r"(?m)^---\n")
_TOKEN = re.compile(
    r"'''.*?'''|\"{3}.*?\"{3}|'[^'\n]*'|\"[^\"\n]*\"|\#[^\n]*|\d[\w.]*|\w+|[ \t]+|\n|[^\w\s]", re.DOTALL
)

# What the programs of tests/starlark are given by their own tests.
PRELUDE = """
def assert_eq(got, want): return got == want
def assert_fails(function, regex): return type(function)
def freeze(value): return value
def position(): return __file__
def stack(): return []
box = struct
"""

WORLD = {
    **{name: text for case in (*CASES, *KUBERNETES_CASES) for name, text in case.files.items()},
    **COMPOSE,
    **CHUNK_WORLD,
    "lib": "value = [1]\nother = {'k': [1]}\ndef double(x): return 2 * x\ndef push(x): value.append(x)\n",
    "src/.dockerignore": "a\n!b\n",
    "app/Dockerfile": "FROM base AS b\nCOPY --from=b a b\n",
    "data.yaml": "a: &x [1, 2.5]\nb: *x\n",
}


@cache
def seeds() -> tuple[str, ...]:
    """All programs without their comments, in a fixed order."""
    texts = [case.text for case in (*CASES, *KUBERNETES_CASES)]
    for pattern in ("tiltfile/chunks/*.tilt", "starlark/*.star"):
        for path in sorted(_TESTS.glob(pattern)):
            texts += _CUT.split(path.read_text(encoding="utf-8"))
    bare = ("".join(token for token in tokens(text) if kind(token) != "comment") for text in texts)
    return tuple(dict.fromkeys(bare))


def tokens(text: str) -> list[str]:
    """The text in pieces that join to it again, blanks included."""
    return _TOKEN.findall(text)


def kind(token: str) -> str:
    """What sort of token this is, so that one may stand for another."""
    if token[0] in "'\"":
        return "string"
    if token[0].isdigit():
        return "number"
    if token[0].isspace():
        return "blank"
    if token[0] == "#":
        return "comment"
    if iskeyword(token):
        return "keyword"
    return "name" if token[0].isalpha() or token[0] == "_" else "operator"


@cache
def names() -> tuple[str, ...]:
    """What every Tiltfile may use, modules without their members."""
    return tuple(sorted({*UNIVERSE, *(name.partition(".")[0] for name in registered())} - {"True", "False", "None"}))


@cache
def functions() -> tuple[str, ...]:
    """Every function, those of modules included."""
    return tuple(sorted({*UNIVERSE, *registered()} - {"True", "False", "None", "exit"}))


@cache
def methods() -> tuple[str, ...]:
    """The methods of all kinds of values of the language."""
    return tuple(sorted({name for known in METHODS.values() for name in known}))


@cache
def vocabulary() -> dict[str, tuple[str, ...]]:
    """The tokens of all seeds, by kind."""
    known: dict[str, dict[str, None]] = {}
    for text in seeds():
        for token in tokens(text):
            known.setdefault(kind(token), {})[token] = None
    return {name: tuple(found) for name, found in known.items()}
