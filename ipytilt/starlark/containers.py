"""The methods of lists, dicts and sets, and how dicts come from pairs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ipytilt.starlark.calls import iterable_argument, register
from ipytilt.starlark.control import MAX_ITEMS, check_items
from ipytilt.starlark.errors import EvalError
from ipytilt.starlark.operators import bit_xor, checked_index, elements
from ipytilt.starlark.text import to_repr
from ipytilt.starlark.values import MISSING, Dict, List, Set, Value, equal, key, type_name


def want_int(value: Any) -> int:
    """The value, if it is an int. Raises EvalError."""
    if type(value) is not int:
        raise EvalError(f"got {type_name(value)}, want int")
    return value


def update(target: Dict, pairs: Any, kwargs: dict[str, Any]) -> None:
    """Set entries from another dict, from pairs, or from nothing (None), and from keyword arguments."""
    if type(pairs) is Dict or (isinstance(pairs, Value) and hasattr(pairs, "pairs")):
        for name, value in pairs.pairs():
            target.store(name, value)
    elif pairs is not None:
        for place, pair in enumerate(iterable_argument(pairs)):
            try:
                items = elements(pair)
            except EvalError:
                what = f"dictionary update sequence element #{place} is not iterable ({type_name(pair)})"
                raise EvalError(what) from None
            if len(items) != 2:
                raise EvalError(f"dictionary update sequence element #{place} has length {len(items)}, want 2")
            target.store(*items)
    for name, value in kwargs.items():
        target.store(name, value)
    check_items(len(target))


def dict_from_pairs(pairs: Iterable[tuple[Any, Any]]) -> Dict:
    """The dict that a comprehension makes."""
    result = Dict()
    for name, value in pairs:
        if type(name) is str:
            result[name] = value
        else:
            result.store(name, value)
    return result


def dict_display(pairs: tuple[tuple[Any, Any], ...]) -> Dict:
    """The dict of `{k: v, ...}`, whose keys must differ."""
    result = Dict()
    for number, (name, value) in enumerate(pairs, 1):
        result.store(name, value)
        if len(result) < number:
            raise EvalError(f"duplicate key: {to_repr(name)}")
    return result


def _append(items: List, x: Any, /) -> None:
    if items.iterating:
        items.writable("append to")
    items.append(x)
    if len(items) > MAX_ITEMS:
        check_items(len(items))


def _clear(items: List | Dict, /) -> None:
    items.writable("clear")
    items.clear()


def _extend(items: List, iterable: Any, /) -> None:
    more = iterable_argument(iterable)
    items.writable("extend")
    check_items(len(items) + len(more))
    items.extend(more)


def _place(items: List, value: Any, start: Any, end: Any) -> int:
    bounds = [None if bound is None else want_int(bound) for bound in (start, end)]
    for place in range(*slice(*bounds).indices(len(items))):
        if equal(items[place], value):
            return place
    raise EvalError("value not in list")


def _insert(items: List, place: Any, x: Any, /) -> None:
    items.writable("insert into")
    items.insert(max(-len(items), min(want_int(place), len(items))), x)
    check_items(len(items))


def _pop(items: List, place: Any = -1, /) -> Any:
    place = checked_index(items, place, len(items))
    items.writable("pop from")
    return items.pop(place)


def _remove(items: List, value: Any, /) -> None:
    items.writable("remove from")
    for place, item in enumerate(items):
        if equal(item, value):
            del items[place]
            return
    raise EvalError("element not found")


def _pop_key(entries: Dict, name: Any, default: Any = MISSING, /) -> Any:
    entries.writable("delete from")
    value = entries.pop(key(name), default)
    if value is MISSING:
        raise EvalError("missing key")
    return value


def _pop_first(entries: Dict, what: str) -> tuple[Any, Any]:
    if not entries:
        raise EvalError(f"empty {what}")
    entries.writable("delete from")
    name = entries.names()[0]
    return name, entries.pop(key(name))


def _set_default(entries: Dict, name: Any, default: Any = None, /) -> Any:
    value = entries.get(key(name), MISSING)
    if value is not MISSING:
        return value
    entries.store(name, default)
    return default


def _keys(iterable: Any) -> set[Any]:
    return {key(item) for item in iterable_argument(iterable)}


def _union(items: Set, others: tuple[Any, ...]) -> Set:
    return Set([*items, *(item for other in others for item in iterable_argument(other))])


def _intersection(items: Set, others: tuple[Any, ...]) -> Set:
    kept = [_keys(other) for other in others]
    return Set(item for item in items if all(key(item) in keys for keys in kept))


def _difference(items: Set, others: tuple[Any, ...]) -> Set:
    dropped = set[Any]().union(*map(_keys, others))
    return Set(item for item in items if key(item) not in dropped)


def _become(items: Set, other: Set, verb: str = "delete from") -> None:
    items.table.writable(verb)
    check_items(len(other))
    items.table = other.table


def _discard(items: Set, x: Any, /) -> None:
    items.table.writable("delete from")
    items.table.pop(key(x), None)


register(
    List,
    {
        "append": _append,
        "clear": lambda items, /: _clear(items),
        "extend": _extend,
        "index": lambda items, value, start=None, end=None, /: _place(items, value, start, end),
        "insert": _insert,
        "pop": _pop,
        "remove": _remove,
    },
)
register(
    Dict,
    {
        "clear": lambda entries, /: _clear(entries),
        "get": lambda entries, name, default=None, /: entries.get(name if type(name) is str else key(name), default),
        "items": lambda entries, /: List(entries.pairs() if entries.keyed else entries.items()),
        "keys": lambda entries, /: List(entries.names()),
        "pop": _pop_key,
        "popitem": lambda entries, /: _pop_first(entries, "dict"),
        "setdefault": _set_default,
        "update": lambda entries, pairs=None, /, **kwargs: update(entries, pairs, kwargs),
        "values": lambda entries, /: List(entries.values()),
    },
)
register(
    Set,
    {
        "add": lambda items, x, /: items.table.store(x, None),
        "clear": lambda items, /: _clear(items.table),
        "difference": lambda items, /, *others: _difference(items, others),
        "difference_update": lambda items, /, *others: _become(items, _difference(items, others)),
        "discard": _discard,
        "intersection": lambda items, /, *others: _intersection(items, others),
        "intersection_update": lambda items, /, *others: _become(items, _intersection(items, others)),
        "isdisjoint": lambda items, other, /: not _keys(items) & _keys(other),
        "issubset": lambda items, other, /: _keys(items) <= _keys(other),
        "issuperset": lambda items, other, /: _keys(items) >= _keys(other),
        "pop": lambda items, /: _pop_first(items.table, "set")[0],
        "remove": lambda items, x, /: (_pop_key(items.table, x), None)[1],
        "symmetric_difference": lambda items, other, /: bit_xor(items, Set(iterable_argument(other))),
        "symmetric_difference_update": lambda items, other, /: _become(
            items, bit_xor(items, Set(iterable_argument(other))), "insert into"
        ),
        "union": lambda items, /, *others: _union(items, others),
        "update": lambda items, /, *others: _become(items, _union(items, others), "insert into"),
    },
)
