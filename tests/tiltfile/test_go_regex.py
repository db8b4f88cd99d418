"""Go's regular expressions, by tables of what they find."""

from __future__ import annotations

import re

import pytest

from ipytilt.tiltfile.go_regex import compiled


@pytest.mark.parametrize(
    "text, found, passed_over",
    [
        ("^web-[0-9]+$", ["web-1"], ["web-", "aweb-1"]),
        ("^[[:alpha:]_]+$", ["ab_", "A"], ["a1", ":"]),
        ("^[^[:digit:]]$", ["a"], ["1"]),
        ("^[[:punct:]]$", ["]", "[", "-"], ["a"]),
        ("^[[]$", ["["], ["a"]),
        ("^[]a]$", ["]", "a"], ["b"]),
        ("^[^]a]$", ["b"], ["]", "a"]),
        ("^[--/]$", ["-", ".", "/"], ["a"]),
        ("^[+--]$", ["+", ",", "-"], ["."]),
        ("^[a&&b]$", ["a", "&", "b"], ["c"]),
        (r"^[\]\[]$", ["]", "["], ["a"]),
        (r"\[a\]$", ["[a]"], ["a"]),
        (r"^a\z", ["a"], ["a\n"]),
        ("", ["", "a"], []),
    ],
)
def test_what_an_expression_finds(text: str, found: list[str], passed_over: list[str]) -> None:
    pattern = compiled(text)
    assert [each for each in found + passed_over if pattern.search(each)] == found


@pytest.mark.parametrize("text", ["(?=a)", "(?<!a)b", r"(a)\1", "[", "[a", "(", "a**", "[[:alpha:]"])
def test_what_is_refused(text: str) -> None:
    with pytest.raises(re.error):
        compiled(text)
