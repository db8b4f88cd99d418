"""JSON paths: what they find in a document, and what is wrong with a text or a document."""

from __future__ import annotations

import pytest

from ipytilt.core.jsonpath import JsonPath

DOCUMENT = {
    "spec": {"image": "img", "n": 3, "app.io/name": "dotted"},
    "items": [
        {"name": "a", "image": "x", "size": 1, "on": True},
        {"name": "b", "image": "y", "size": 2},
        {"name": "c", "image": "z", "size": 3},
    ],
    "map": {"p": {"image": "m1"}, "q": {"image": "m2"}},
}


@pytest.mark.parametrize(
    "path, found",
    [
        ("", []),
        ("spec.image", ["spec.image"]),
        ("{.spec.image}", ["img"]),
        ("{$.spec.image}", ["img"]),
        ("{ .spec.n }", [3]),
        ("{.spec['image']}", ["img"]),
        ('{["spec"]["image"]}', ["img"]),
        (r"{.spec.app\.io/name}", ["dotted"]),
        ("{.spec.image}{.spec.n}", ["img", 3]),
        ("a{.spec.image}b", ["a", "img", "b"]),
        ('{.spec.image}{"\\n"}', ["img", "\n"]),
        ("{'quoted'}", ["quoted"]),
        ("{.items[0].name}", ["a"]),
        ("{.items[-1].name}", ["c"]),
        ("{.items[*].name}", ["a", "b", "c"]),
        ("{.items[1:].name}", ["b", "c"]),
        ("{.items[0:3:2].name}", ["a", "c"]),
        ("{.items[:-1].name}", ["a", "b"]),
        ("{.items[0,2].name}", ["a", "c"]),
        ("{.items[0]['name','image']}", ["a", "x"]),
        ("{.map.*.image}", ["m1", "m2"]),
        ("{.map[*].image}", ["m1", "m2"]),
        ("{..image}", ["img", "x", "y", "z", "m1", "m2"]),
        ("{.map..image}", ["m1", "m2"]),
        ("{.items[?(@.name=='b')].image}", ["y"]),
        ('{.items[?(@.name != "b")].image}', ["x", "z"]),
        ("{.items[?(@.size>=2)].image}", ["y", "z"]),
        ("{.items[?(@.size<2)].image}", ["x"]),
        ("{.items[?(@.size>2)].image}", ["z"]),
        ("{.items[?(@.size<=1)].image}", ["x"]),
        ("{.items[?(@.on)].image}", ["x"]),
        ("{.items[?(2==@.size)].image}", ["y"]),
        ("{.items[?(@.name=='none')].image}", []),
        ("{.items[?(@.name=='a]')].image}", []),
        ("{range .items[*]}{.name}{.image}{end}!", ["a", "x", "b", "y", "c", "z", "!"]),
        ("{range .map.*}{range .image}{@}{end}{end}", ["m1", "m2"]),
        ("{.}", [DOCUMENT]),
    ],
)
def test_finds(path: str, found: list[object]) -> None:
    assert JsonPath(path).find(DOCUMENT) == found


@pytest.mark.parametrize(
    "path, problem",
    [
        ("{.nope}", "nope is not found"),
        ("{.spec.nope.deeper}", "nope is not found"),
        ("{.spec.image.deeper}", "deeper is not found"),
        ("{.items[3]}", "array index out of bounds: index 3, length 3"),
        ("{.spec[0]}", "is not array or slice"),
        ("{.spec[?(@.x)]}", "is not array or slice"),
        ("{.items[?(@.on==true)]}", "on is not found"),
        ("{.items[?(@.name<3)]}", "incompatible types"),
        ("{.items[?(@.*=='a')]}", "one element at a time"),
    ],
)
def test_says_what_is_missing(path: str, problem: str) -> None:
    with pytest.raises(LookupError, match=problem.replace("?", ".")):
        JsonPath(path).find(DOCUMENT)


@pytest.mark.parametrize(
    "path, problem",
    [
        ("{.a", "unclosed action"),
        ("{.a[0}", "unterminated array"),
        ("{.a[x]}", "invalid array index x"),
        ("{.a[?@.b]}", "unterminated filter"),
        ("{.a[?(@.b=~1)]}", "unrecognized"),
        ("{.a[?(@.b=!1)]}", "unrecognized filter operator"),
        ("{range .a}{.b}", "unclosed range"),
        ("{end}", "not in range"),
        ("{abc}", "unrecognized identifier abc"),
    ],
)
def test_texts_that_are_no_path(path: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        JsonPath(path)
