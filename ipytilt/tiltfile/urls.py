"""URLs by Go's rules: which texts are none, and how one is written again. Pure; used for links."""

from __future__ import annotations

import json
import re
from urllib.parse import quote, unquote

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
_HOST = re.compile(r"(?:\[[^\]]*\]|[^:\]\[]*)(:.*)?")
_NOT_IN_HOST = re.compile(r'[\x00-\x20"#%/<>?@\\^`{|}\x7f]')
_AS_IT_STANDS = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@\[\]/-]|%[0-9A-Fa-f]{2})*")
_SAFE = "$&+,/:;=@-_.~"


def normal(url: str, *, scheme: str) -> str:
    """The URL written as Go writes it, with this scheme if it has none; ValueError says why it is none."""
    try:
        return _normal(url, scheme)
    except ValueError as error:
        raise ValueError(f"parse {json.dumps(url, ensure_ascii=False)}: {error}") from None


def _normal(url: str, scheme: str) -> str:
    if any(ord(letter) < 32 or letter == "\x7f" for letter in url):
        raise ValueError("net/url: invalid control character in URL")
    rest, _hash, fragment = url.partition("#")
    match = _SCHEME.match(rest)
    if match:
        scheme, rest = match[1].lower(), rest[match.end() :]
    elif rest.startswith(":"):
        raise ValueError("missing protocol scheme")
    _check_escapes(fragment)
    end = f"#{quote(unquote(fragment), safe=_SAFE + '?!()*')}" if fragment else ""
    rest, question, query = rest.partition("?")
    query = question + query
    if not rest.startswith("/"):
        if match:
            return f"{scheme}:{rest}{query}{end}"
        if ":" in rest.partition("/")[0]:
            raise ValueError("first path segment in URL cannot contain colon")
    authority = ""
    if rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        _check_host(authority.rpartition("@")[2])
        rest = slash + path
    return f"{scheme}://{authority}{_path(rest)}{query}{end}"


def _check_escapes(text: str) -> None:
    wrong = _ESCAPE.search(text)
    if wrong:
        raise ValueError(f"invalid URL escape {json.dumps(wrong[0], ensure_ascii=False)}")


def _check_host(host: str) -> None:
    match = _HOST.fullmatch(host)
    if match is None or (match[1] and not match[1][1:].isdigit() and match[1] != ":"):
        port = match[1] if match else host
        raise ValueError(f"invalid port {json.dumps(port)} after host")
    wrong = _NOT_IN_HOST.search(host)
    if wrong:
        raise ValueError(f"invalid character {json.dumps(wrong[0])} in host name")


def _path(path: str) -> str:
    _check_escapes(path)
    return path if _AS_IT_STANDS.fullmatch(path) else quote(unquote(path), safe=_SAFE)
