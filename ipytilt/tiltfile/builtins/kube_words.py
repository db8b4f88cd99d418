"""Words of the type vocabulary that only Kubernetes builtins use: regular expressions, ports, pod selectors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias

from ipytilt.core.spec import PortForward
from ipytilt.starlark import Dict, List, to_repr, type_name
from ipytilt.tiltfile import go_regex
from ipytilt.tiltfile.builtin import Kind
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.evaluation import Eval
from ipytilt.tiltfile.values import PortForwardValue
from ipytilt.tiltfile.vocabulary import go_type, is_sequence, one_or_many

# ---------------------------------------------------------------------------------------------- regular expressions


def _regex(what: str) -> Kind:
    def convert(_ev: Eval, value: Any) -> re.Pattern[str] | None:
        if not isinstance(value, str):
            raise Wrong(f"got {type_name(value)}, want string")
        try:
            return go_regex.compiled(value, re.IGNORECASE) if value else None
        except re.error as error:
            text = str(error) if "`" in str(error) else f"{error}: `{value}`"
            raise Wrong(f"error parsing {what} regexp: {text}") from None

    return Kind("regex", convert)


NameRegex: TypeAlias = Annotated[re.Pattern[str] | None, _regex("name")]
NamespaceRegex: TypeAlias = Annotated[re.Pattern[str] | None, _regex("namespace")]
KindRegex: TypeAlias = Annotated[re.Pattern[str] | None, _regex("kind")]
VersionRegex: TypeAlias = Annotated[re.Pattern[str] | None, _regex("apiVersion")]

# ---------------------------------------------------------------------------------------------- ports

_HOST = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*")
_PORTS = "port_forwards must be an int, a port_forward, or a sequence of those"


def forwards(value: Any, resource: str) -> tuple[PortForward, ...]:
    """Nothing, or one or many of port, "local", "local:container", "host:local:container" and `port_forward(...)`."""
    if value is None:
        return ()
    try:
        return tuple(_forwards(value))
    except Wrong as wrong:
        raise Wrong(f'k8s_resource "{resource}": {wrong.message}') from None


def _forwards(value: Any) -> Iterator[PortForward]:
    for item in value if is_sequence(value) else (value,):
        if type(item) is int:
            yield PortForward(_port(item))
        elif isinstance(item, str):
            yield _from_text(item)
        elif isinstance(item, PortForwardValue):
            yield item.forward
        elif is_sequence(value):
            raise Wrong(f"{_PORTS}; {to_repr(value)} includes element {to_repr(item)} of type {go_type(item)}")
        else:
            raise Wrong(f"{_PORTS}; found a {go_type(value)}")


def _from_text(text: str) -> PortForward:
    parts = text.split(":", 2)
    host = parts.pop(0) if len(parts) == 3 else ""
    if host and not _HOST.fullmatch(host):
        raise Wrong(f'portForward host value "{host}" is not a valid hostname or IP address')
    return PortForward(_port(parts[0]), _port(parts[1]) if len(parts) == 2 else 0, host)


def _port(value: int | str) -> int:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    text = str(value)
    if not (text.isascii() and text.removeprefix("+").isdigit()) or int(text) > 65535:
        raise Wrong(f"portForward port value {shown} is not in the valid range [0-65535]")
    return int(text)


# ---------------------------------------------------------------------------------------------- pods and images


def _pod_selectors(_ev: Eval, value: Any) -> tuple[tuple[tuple[str, str], ...], ...]:
    if isinstance(value, Dict):
        return tuple(filter(None, (_labels(value),)))
    if not isinstance(value, List):
        raise Wrong(f"pod labels must be a dict or a list; got {go_type(value)}")
    return tuple(filter(None, (_labels(item) for item in value)))


def _labels(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Dict):
        raise Wrong(f"pod labels elements must be dicts; got {go_type(value)}")
    for what, items in (("keys", value.names()), ("values", list(value.values()))):
        for item in items:
            if not isinstance(item, str):
                raise Wrong(f"pod label {what} must be strings; got '{to_repr(item)}' of type {go_type(item)}")
    return tuple(sorted(value.items()))


def _path_texts(_ev: Eval, value: Any) -> tuple[str, ...]:
    items = one_or_many(value)
    for item in items:
        if not isinstance(item, str):
            raise Wrong(f"Expected string, got: {to_repr(item)}")
    return items


def _image_fields(_ev: Eval, value: Any) -> tuple[str, str, str]:
    if not isinstance(value, Dict):
        raise Wrong(f"got {type_name(value)}, want dict")
    wanted = ("json_path", "repo_field", "tag_field")
    for name in value.names():
        if name not in wanted:
            raise Wrong(f"unexpected key {to_repr(name)}; image_object has exactly {', '.join(wanted)}")
    for name in wanted:
        if not isinstance(value.get(name), str):
            raise Wrong(f'image_object must have a string "{name}"')
    return value["json_path"], value["repo_field"], value["tag_field"]


PathTexts: TypeAlias = Annotated[tuple[str, ...], Kind("oneormany str", _path_texts)]
PodSelectors: TypeAlias = Annotated[tuple[tuple[tuple[str, str], ...], ...], Kind("pod selectors", _pod_selectors)]
MaybeImageFields: TypeAlias = Annotated[tuple[str, str, str] | None, Kind("image object", _image_fields)]
