"""URLs by Go's rules, as links are shown."""

from __future__ import annotations

import pytest

from ipytilt.tiltfile.urls import normal


@pytest.mark.parametrize(
    "url, written",
    [
        ("http://example.org", "http://example.org"),
        ("HTTPS://user:pw@example.org:80/a?b={c}#d", "https://user:pw@example.org:80/a?b={c}#d"),
        ("example.org", "http://example.org"),
        ("example.org/a/b?c=d e", "http://example.org/a/b?c=d e"),
        ("localhost:8080", "localhost:8080"),
        ("localhost:8080/a", "localhost:8080/a"),
        ("mailto:a@example.org", "mailto:a@example.org"),
        ("//host/a", "http://host/a"),
        ("/a", "http:///a"),
        ("http://[::1]:80/", "http://[::1]:80/"),
        ("http://host:/x", "http://host:/x"),
        ("http://host/a b/(c)", "http://host/a%20b/%28c%29"),
        ("http://host/(c)'!", "http://host/(c)'!"),
        ("http://host/%C3%BC", "http://host/%C3%BC"),
        ("http://host/\u00fc", "http://host/%C3%BC"),
        ("http://host/#/route?x=1", "http://host/#/route?x=1"),
        ("http://host/#a b", "http://host/#a%20b"),
    ],
)
def test_how_a_url_is_written(url: str, written: str) -> None:
    assert normal(url, scheme="http") == written


@pytest.mark.parametrize(
    "url, problem",
    [
        ("127.0.0.1:8080", 'parse "127.0.0.1:8080": first path segment in URL cannot contain colon'),
        (":80", "missing protocol scheme"),
        ("http://host:80a/", 'invalid port ":80a" after host'),
        ("http://a b/", 'invalid character " " in host name'),
        ("http://host/%zz", 'invalid URL escape "%zz"'),
        ("http://host/%", 'invalid URL escape "%"'),
        ("http://host/a\n", "invalid control character in URL"),
    ],
)
def test_what_is_no_url(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match="parse ") as caught:
        normal(url, scheme="http")
    assert problem in str(caught.value)
