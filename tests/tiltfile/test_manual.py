"""The page that lists every builtin is the one that would be written now."""

from __future__ import annotations

from ipytilt.tiltfile.manual import entries, takes
from tools.builtins_page import PAGE, page


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make docs"


def test_the_page_has_every_name_with_its_docstring_and_every_parameter() -> None:
    text = page()
    for entry in entries().values():
        assert f"`{entry.name}`" in text or f"`{entry.signature}`" in text
        assert entry.doc in text
        assert all(f"| `{one.name}` | {takes(one)} |" in text for one in entry.parameters)


def test_what_is_not_supported_is_listed() -> None:
    listed = page().partition("## What is not supported")[2].partition("## The language")[0]
    for entry in entries().values():
        assert (f"- `{entry.name}`: " in listed) == bool(entry.limits)
    assert "- `analytics_settings`: nothing is reported anywhere." in listed
