"""Kubernetes documents as the Kubernetes client reads them: only the fields a kind has, each of its type.

Pure functions, called by `kube_yaml` on the evaluating thread. What fields there are is known to the models of the
`kubernetes` package, which is imported with the first document of a built-in kind. Where the models say less than Go's
types do (quantities, ports that have a number or a name, the width of integers), the tables here say the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from ipytilt.core import manifests
from ipytilt.core.manifests import Identity, identity, is_typed, makes_pods

_QUANTITY_MAPS = frozenset(
    (
        *("limits", "requests", "capacity", "hard", "overhead", "podFixed"),
        *("default", "defaultRequest", "max", "min", "maxLimitRequestRatio"),
    )
)
_QUANTITIES = frozenset(("sizeLimit", "divisor", "averageValue", "maximumVolumeSize"))
_PORTS_AND_SHARES = frozenset(("port", "targetPort", "maxSurge", "maxUnavailable", "minAvailable"))
_LONG = frozenset(
    (
        *("terminationGracePeriodSeconds", "activeDeadlineSeconds", "startingDeadlineSeconds", "tolerationSeconds"),
        *("expirationSeconds", "deletionGracePeriodSeconds", "runAsUser", "runAsGroup", "fsGroup", "generation"),
    )
)
# Old versions whose fields are not those of the first stable one; nothing but their common fields is known.
_DIFFERENT_BEFORE = ("Ingress", "HorizontalPodAutoscaler")

_QUANTITY = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?\d+)?")
_LIST = re.compile(r"list\[(.+)\]", re.IGNORECASE)
_MAP = re.compile(r"dict[\[(]str, (.+)[\])]", re.IGNORECASE)
_MODEL = re.compile(r"(?:[A-Z][a-z]+)?V(\d+(?:(?:alpha|beta)\d+)?)([A-Z]\w*)")


def decoded(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without unknown fields, nulls and its status; one of a custom kind as it is.

    ValueError, in the words of Kubernetes' own decoder, if a field has the wrong type.
    """
    who = identity(document)
    if not who.is_built_in:
        return dict(document)
    written = {name: value for name, value in document.items() if name != "status"}
    if model := _model(who, document):
        return _structure(written, model, ())
    _structure({"metadata": written.get("metadata")}, "V1Pod", ())
    return written


def with_empty_parts(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document with an empty list or map in place of each that a kind could have: what JSON paths are followed in.

    So a path through the init containers of a Deployment that has none finds nothing, and that is no error.
    """
    who = identity(document)
    model = _model(who, document) if who.is_built_in else ""
    return _with_empty_parts(document, model) if model else document


def _with_empty_parts(value: Any, kind: str) -> Any:
    if match := _LIST.fullmatch(kind):
        return [_with_empty_parts(item, match[1]) for item in value]
    if not _MODEL.fullmatch(kind):
        return value
    fields = _fields(kind)
    empty: dict[str, Any] = {
        name: [] if _LIST.fullmatch(of) else {} for name, of in fields.items() if "[" in of or "(" in of
    }
    return empty | {name: _with_empty_parts(item, fields.get(name, "")) for name, item in value.items()}


def _model(who: Identity, document: Mapping[str, Any]) -> str:
    """The model of a kind, "" if there is none."""
    from kubernetes.client import models

    if makes_pods(who.kind) and not is_typed(document):
        return ""
    for name in _names(who):
        if "kind" in getattr(getattr(models, name, None), "attribute_map", ()):
            return name
    return ""


def _names(who: Identity) -> Iterator[str]:
    version = who.api_version.rpartition("/")[2]
    yield version.capitalize() + who.kind
    if who.api_version == "autoscaling/v2beta2":
        yield f"V2{who.kind}"
    elif version != "v1" and who.kind not in _DIFFERENT_BEFORE:
        yield f"V1{who.kind}"


@cache
def _fields(model: str) -> Mapping[str, str]:
    """The type of each field of a structure, by its name in YAML."""
    from kubernetes.client import models

    found = getattr(models, model)
    names: dict[str, str] = found.attribute_map
    return {names[field]: _go_kind(model, names[field], kind) for field, kind in found.openapi_types.items()}


def _go_kind(model: str, name: str, kind: str) -> str:
    if kind == "int":
        return "int64" if name in _LONG else "int32"
    if kind == "object" and name in _PORTS_AND_SHARES:
        return "port"
    if kind == "str" and (name in _QUANTITIES or (model == "V2MetricTarget" and name == "value")):
        return "quantity"
    if _MAP.fullmatch(kind) and name in _QUANTITY_MAPS:
        return "dict[str, quantity]"
    if (model, name) in (("V1Secret", "data"), ("V1ConfigMap", "binaryData")):
        return "dict[str, bytes]"
    return "bytes" if name == "caBundle" else kind


# ---------------------------------------------------------------------------------------------- reading

_Path = tuple[str, ...]


def _structure(value: Any, model: str, path: _Path) -> dict[str, Any]:
    fields = _fields(model)
    read: dict[str, Any] = {}
    for name in sorted(value.keys() & fields.keys()):
        if value[name] is not None:
            kind, place = fields[name], (*path, name)
            read[name] = _read(value[name], kind, model, place)
    return read


def _read(value: Any, kind: str, model: str, path: _Path) -> Any:
    if match := _LIST.fullmatch(kind):
        if not isinstance(value, list):
            raise _misfit(value, kind, model, path)
        return [_item(item, match[1], model, path) for item in value]
    if match := _MAP.fullmatch(kind):
        if not isinstance(value, dict):
            raise _misfit(value, kind, model, path)
        return {name: _item(item, match[1], model, path) for name, item in sorted(value.items())}
    if _MODEL.fullmatch(kind):
        if not isinstance(value, dict):
            raise _misfit(value, kind, model, path)
        return _structure(value, kind, path)
    return _scalar(value, kind, model, path)


def _item(value: Any, kind: str, model: str, path: _Path) -> Any:
    """What stands in a list or map, where null is an empty value of the kind."""
    if value is None:
        return {} if _MODEL.fullmatch(kind) else _EMPTY.get(kind)
    return _read(value, kind, model, path)


def _scalar(value: Any, kind: str, model: str, path: _Path) -> Any:
    classes, _ = _SCALARS.get(kind, ((type(value),), ""))  # an `object` may be anything
    if type(value) not in classes or (kind == "int32" and not -(2**31) <= value < 2**31):
        raise _misfit(value, kind, model, path)
    if kind == "quantity":
        return _quantity(str(value).strip())
    if kind == "bytes":
        manifests.decoded(value)
    return value


def _quantity(text: str) -> str:
    if not _QUANTITY.fullmatch(text):
        raise ValueError(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$': "
            f"{text!r} does not"
        )
    return text


_SCALARS: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "string"),
    "bool": ((bool,), "bool"),
    "int32": ((int,), "int32"),
    "int64": ((int,), "int64"),
    "float": ((int, float), "float64"),
    "bytes": ((str,), "[]uint8"),
    "datetime": ((str,), "v1.Time"),
    "port": ((int, str), "intstr.IntOrString"),
    "quantity": ((str, int, float), "resource.Quantity"),
}
_EMPTY: dict[str, Any] = {"str": "", "bytes": "", "quantity": "0", "int32": 0, "bool": False}
_JSON_TYPES = {bool: "bool", int: "number", str: "string", list: "array", dict: "object"}


def _misfit(value: Any, kind: str, model: str, path: _Path) -> ValueError:
    is_number = isinstance(value, float) or (kind == "int32" and type(value) is int)  # of a kind, but not a fitting one
    found = f"number {value}" if is_number else _JSON_TYPES[type(value)]
    place = ".".join((_MODEL.sub(r"\2", model), *path))
    return ValueError(f"json: cannot unmarshal {found} into Go struct field {place} of type {_go_type(kind)}")


def _go_type(kind: str) -> str:
    if match := _LIST.fullmatch(kind):
        return f"[]{_go_type(match[1])}"
    if match := _MAP.fullmatch(kind):
        return "v1.ResourceList" if match[1] == "quantity" else f"map[string]{_go_type(match[1])}"
    return _SCALARS[kind][1] if kind in _SCALARS else _MODEL.sub(r"v\1.\2", kind)
