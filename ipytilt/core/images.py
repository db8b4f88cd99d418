"""Image references and what a Dockerfile refers to: parse, normalise, match, scan.

Pure functions over strings, called by the Tiltfile layer while it assembles and by engines when they name what they
build. A reference is `[domain/]path[:tag][@digest]`; the *normal* form always has a domain (`docker.io`, with
`library/` before a single-part path), the *familiar* form drops both again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ipytilt.core.spec import Registry

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PATH_PART}(?:/{_PATH_PART})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")

_DEFAULT_DOMAIN = "docker.io"
_DEFAULT_PREFIX = "library/"


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalised image reference."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Domain and path, without tag and digest."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as people write it: without `docker.io/` and `library/`."""
        if self.domain != _DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_DEFAULT_PREFIX)
        return self.path if "/" in short else short

    @property
    def familiar(self) -> str:
        """The whole reference as people write it."""
        return self.familiar_name + self._suffix

    @property
    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag

    def __str__(self) -> str:
        return self.name + self._suffix


def parse(text: str) -> Reference:
    """The normalised form of `text`; ValueError says in Docker's words what is wrong with it."""
    if _IDENTIFIER.fullmatch(text):
        raise ValueError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, rest = _split_domain(text)
    rest, at, digest = rest.partition("@")
    slash = rest.rfind("/")
    colon = rest.find(":", slash + 1)
    path, tag = (rest[:colon], rest[colon + 1 :]) if colon >= 0 else (rest, "")
    if path != path.lower():
        raise ValueError(f"invalid reference format: repository name ({path}) must be lowercase")
    well_formed = (
        _DOMAIN.fullmatch(domain)
        and _PATH.fullmatch(path)
        and (colon < 0 or _TAG.fullmatch(tag))
        and (not at or _DIGEST.fullmatch(digest))
    )
    if not well_formed:
        raise ValueError("invalid reference format")
    if len(domain) + 1 + len(path) > 255:
        raise ValueError("repository name must not be more than 255 characters")
    return Reference(domain, path, tag, digest)


def _split_domain(text: str) -> tuple[str, str]:
    head, slash, rest = text.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost" or head.lower() != head):
        domain = _DEFAULT_DOMAIN if head == "index.docker.io" else head
    else:
        domain, rest = _DEFAULT_DOMAIN, text
    if domain == _DEFAULT_DOMAIN and "/" not in rest:
        rest = _DEFAULT_PREFIX + rest
    return domain, rest


def familiar(text: str) -> str:
    """`text` as people write it, or unchanged if it is no image reference."""
    try:
        return parse(text).familiar
    except ValueError:
        return text


def in_registry(text: str, registry: Registry | None) -> Reference:
    """What an image is called on this machine once it is to go through a registry: a name, and a tag to begin with.

    Its own name, with `_` for what separates, below the registry's host; one that starts with the host stays. Where
    the registry knows a single name only, the image's own becomes the beginning of the tag.
    """
    own = parse(text)
    if registry is None or not registry.host or own.familiar_name.startswith(registry.host):
        return Reference(own.domain, own.path)
    escaped = re.sub(r"[/:@]", "_", own.familiar_name)
    if registry.single_name:
        found = parse(f"{registry.host}/{registry.single_name}")
        return Reference(found.domain, found.path, escaped)
    return parse(f"{registry.host}/{escaped}")


def seen_from_cluster(local: str, registry: Registry | None) -> str:
    """What the cluster calls an image that is called `local` here: the registry may go by another host there."""
    if registry is None or not registry.host_from_cluster or not local.startswith(f"{registry.host}/"):
        return local
    return registry.host_from_cluster + local.removeprefix(registry.host)


def image_id(familiar_reference: str) -> str:
    """The reference as a name without `/` and `%`."""
    return re.sub(r"[/%]", "_", familiar_reference)


def exact_ones(builds: Sequence[Reference]) -> tuple[bool, ...]:
    """Tell for each declared build whether it matches used references tag and all.

    True for a build with a tag or digest, and for every build of a name that is declared more than once.
    """
    declared = Counter(build.name for build in builds)
    return tuple(bool(build.tag or build.digest) or declared[build.name] > 1 for build in builds)


def matches(build: Reference, used: Reference, *, exact: bool) -> bool:
    """Whether a build declared as `build` provides the used reference."""
    return build == used if exact else build.name == used.name


# ---------------------------------------------------------------------------------------------- Dockerfile scan

_DIRECTIVE = re.compile(r"#\s*(\w+)\s*=\s*(.+?)\s*$")
_HEREDOC = re.compile(r"<<-?\s*([\"']?)([A-Za-z_][A-Za-z0-9_.]*)\1")
_VARIABLE = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})", re.ASCII)
_FLAG = re.compile(r"--([a-z][a-z-]*)(?:=(\S*))?$")


def dockerfile_references(text: str, build_args: Mapping[str, str]) -> tuple[str, ...]:
    """What every `FROM` and `COPY --from` of a Dockerfile names, with `ARG`s substituted, in order.

    Stage aliases and numbers are among them: the caller keeps what matches a build. An `ARG` counts from its line on
    and `build_args` win over its default. An empty text refers to nothing; ValueError if there are lines but no
    instruction.
    """
    if not text:
        return ()
    defaults: dict[str, str] = {}
    found: list[str] = []
    instructions = 0
    for word, rest in _instructions(text):
        instructions += 1
        known = {**defaults, **build_args}
        if word == "ARG":
            for name, value in _arg_defaults(rest):
                defaults.setdefault(name, value)
        elif word == "FROM":
            operands = [part for part in rest.split() if not part.startswith("--")]
            found += [_expand(operands[0], known)] if operands else []
        elif word == "COPY":
            found += [_expand(source, known) for source in _copy_from(rest)]
    if not instructions:
        raise ValueError("file with no instructions")
    return tuple(found)


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction as (upper-case word, the rest on one line); comments and here-documents are left out."""
    lines = iter(text.removeprefix("\ufeff").splitlines())
    escape = _escape_character(text)
    for first in lines:
        line = first.strip()
        if not line or line.startswith("#"):
            continue
        while line.endswith(escape):
            following = next(lines, None)
            if following is None:
                break
            if following.strip() and not following.lstrip().startswith("#"):
                line = line[:-1] + " " + following.strip()
        word, *tail = line.split(None, 1)
        rest = "".join(tail)
        if word.upper() in ("RUN", "COPY", "ADD"):
            for heredoc in _HEREDOC.finditer(rest):
                for body in lines:
                    if body.strip() == heredoc[2]:
                        break
        yield word.upper(), rest.strip()


def _escape_character(text: str) -> str:
    for line in text.splitlines():
        directive = _DIRECTIVE.match(line.strip())
        if not directive:
            break
        if directive[1].lower() == "escape":
            return directive[2]
    return "\\"


def _arg_defaults(rest: str) -> Iterator[tuple[str, str]]:
    for part in rest.split():
        name, equals, value = part.partition("=")
        if equals:
            yield name, value.strip("\"'")


def _copy_from(rest: str) -> Iterator[str]:
    for part in rest.split():
        flag = _FLAG.match(part)
        if not flag:
            return
        if flag[1] == "from" and flag[2]:
            yield flag[2]


def _expand(word: str, values: Mapping[str, str]) -> str:
    def value_of(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name is None:
            return "$"
        value = values.get(name, "")
        operator, alternative = match[3] or "", match[4] or ""
        unset = name not in values or (operator.startswith(":") and not value)
        if operator.endswith("+"):
            return "" if unset else alternative
        return alternative if unset and operator else value

    return _VARIABLE.sub(value_of, word.strip("\"'"))
