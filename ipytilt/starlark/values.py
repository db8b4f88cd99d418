"""What Starlark values are: their classes, freezing, equality, hashing, and the way to and from plain Python data.

Python's None, bool, int, float, str, bytes, tuple and range are used as they are. Lists and dicts are subclasses of
Python's, so that hosts can read them as such; writing goes through the operators, which refuse frozen values and
values being iterated. Values are confined to the evaluating thread until frozen, and may be shared afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import is_
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar

from ipytilt.starlark.control import CURRENT, tick
from ipytilt.starlark.errors import EvalError

if TYPE_CHECKING:
    from ipytilt.starlark.evaluate import Thread

MISSING: Any = type(
    "_Missing", (), {"__repr__": lambda _self: "MISSING"}
)()  # "no such attribute", where None is a value


class List(list[Any]):
    """A Starlark list. It may be changed while `iterating` is 0, which it never is again once frozen."""

    frozen: bool = False
    iterating: int = 0

    def writable(self, verb: str) -> None:
        """Raise EvalError unless the list may be changed; `verb` as in "append to"."""
        if self.frozen:
            raise EvalError(f"cannot {verb} frozen list")
        if self.iterating:
            raise EvalError(f"cannot {verb} list during iteration")


class Key:
    """Stands in a dict for a key that Python would take for another one: a bool (not 1), NaN (equals itself)."""

    __slots__ = ("canonical", "value")

    def __init__(self, canonical: object, value: Any) -> None:
        self.canonical = canonical
        self.value = value

    def __hash__(self) -> int:
        return hash(self.canonical)

    def __eq__(self, other: object) -> bool:
        return type(other) is Key and self.canonical == other.canonical


_BOOLS = (Key("False", False), Key("True", True))
_NAN = Key("nan", float("nan"))


def key(value: Any) -> Any:
    """The Python dict key that stands for a Starlark value. Raises EvalError if it is unhashable."""
    kind = type(value)
    if kind is str or kind is int or kind is bytes or value is None:
        return value
    if kind is bool:
        return _BOOLS[value]
    if kind is float:
        return _NAN if math.isnan(value) else value
    if kind is tuple:
        inner = tuple([key(item) for item in value])
        return value if all(map(is_, inner, value)) else Key(inner, value)
    if kind is FunctionType or kind is Builtin or (isinstance(value, Value) and value.hashable):
        return value
    raise EvalError(f"unhashable type: {type_name(value)}")


class Dict(dict[Any, Any]):
    """A Starlark dict. Read as a Python dict, bool keys look odd: use `names` and `pairs` where those may occur."""

    frozen: bool = False
    iterating: int = 0
    keyed: bool = False  # whether some keys are represented by a Key

    def writable(self, verb: str) -> None:
        """Raise EvalError unless the dict may be changed; `verb` as in "insert into"."""
        if self.frozen:
            raise EvalError(f"cannot {verb} frozen hash table")
        if self.iterating:
            raise EvalError(f"cannot {verb} hash table during iteration")

    def store(self, name: Any, value: Any) -> None:
        """Set one entry, by the rules of the language."""
        if self.iterating:
            self.writable("insert into")
        if type(name) is not str:
            name = key(name)
            self.keyed = self.keyed or type(name) is Key
        self[name] = value

    def names(self) -> list[Any]:
        """The keys as Starlark values, in insertion order."""
        return [name.value if type(name) is Key else name for name in self] if self.keyed else list(self)

    def pairs(self) -> list[tuple[Any, Any]]:
        """The entries, in insertion order."""
        return list(zip(self.names(), self.values(), strict=True))


class Set:
    """A Starlark set: insertion order, unhashable, frozen with its module. `table` holds the elements as keys."""

    __slots__ = ("table",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self.table = Dict()
        for item in items:
            self.table.store(item, None)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.table.names())

    def __len__(self) -> int:
        return len(self.table)

    def __contains__(self, item: object) -> bool:
        return key(item) in self.table

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Set) and self.table.keys() == other.table.keys()


class Value:
    """Base of the values a host adds to the language. What is not overridden is refused with Starlark's wording.

    `type_name` is what `type(x)` says. Text, truth, equality and (where `hashable`) hash follow Python's `__str__` (for
    both str and repr), `__bool__`, `__eq__`, `__hash__`; `__iter__`, `__len__`, `__contains__`, `__getitem__`,
    `__setitem__` (raise KeyError for a missing key) and `__call__` are used if defined, and `pairs()` by `dict(x)`.
    """

    type_name: str = "value"
    hashable: ClassVar[bool] = False

    def attr(self, name: str) -> Any:
        """The value of `x.name`, or MISSING."""
        del name
        return MISSING

    def attr_names(self) -> list[str]:
        """What `dir(x)` lists."""
        return []

    def set_attr(self, name: str, value: Any) -> None:
        """`x.name = value`."""
        del value
        raise EvalError(f"can't assign to .{name} field of {self.type_name}")

    def binary(self, op: str, other: Any, *, left: bool) -> Any:
        """`x op other`, or `other op x` if not left; NotImplemented if the operator does not apply."""
        del op, other, left
        return NotImplemented

    def freeze(self) -> Iterable[Any]:
        """Become immutable; returns the values inside that must be frozen too."""
        return ()


class Struct(Value):
    """An immutable record, shown as `constructor(a = 1, b = "x")` with its fields sorted."""

    hashable = True

    def __init__(self, fields: Mapping[str, Any], *, constructor: str = "struct", type_name: str = "struct") -> None:
        self.fields = dict(fields)
        self.constructor = constructor
        self.type_name = type_name

    def attr(self, name: str) -> Any:
        """The field, or MISSING."""
        return self.fields.get(name, MISSING)

    def attr_names(self) -> list[str]:
        """The fields, sorted."""
        return sorted(self.fields)

    def binary(self, op: str, other: Any, *, left: bool) -> Any:
        """`+` merges two structs of one constructor; the right one's fields win."""
        if op != "+" or not left or not isinstance(other, Struct):
            return NotImplemented
        if other.constructor != self.constructor:
            raise EvalError(f"cannot add structs of different constructors: {self.constructor} + {other.constructor}")
        merged = self.fields | other.fields
        return Struct(merged, constructor=self.constructor, type_name=self.type_name)

    def freeze(self) -> Iterable[Any]:
        """The fields' values."""
        return self.fields.values()

    def __str__(self) -> str:
        from ipytilt.starlark.text import to_repr

        return (
            f"{self.constructor}({', '.join(f'{name} = {to_repr(self.fields[name])}' for name in self.attr_names())})"
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Struct)
            and self.constructor == other.constructor
            and self.fields.keys() == other.fields.keys()
            and all(equal(value, other.fields[name]) for name, value in self.fields.items())
        )

    def __hash__(self) -> int:
        return hash((self.constructor, *((name, key(self.fields[name])) for name in self.attr_names())))


class Builtin:
    """A function of the host: `fn(thread, args, kwargs)` returns a Starlark value or raises EvalError.

    Plain lists, dicts and sets that it returns become Starlark's. `receiver` is set for methods of built-in types.
    """

    __slots__ = ("doc", "fn", "name", "receiver")

    def __init__(
        self,
        name: str,
        fn: Callable[[Thread, tuple[Any, ...], dict[str, Any]], Any],
        *,
        doc: str = "",
        receiver: Any = MISSING,
    ) -> None:
        self.name = name
        self.fn = fn
        self.doc = doc
        self.receiver = receiver

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the host."""
        result = self.fn(CURRENT.get(), args, kwargs)  # type: ignore[arg-type]
        return from_python(result) if type(result) in _PLAIN else result

    def __str__(self) -> str:
        if self.receiver is MISSING:
            return f"<built-in function {self.name}>"
        return f"<built-in method {self.name} of {type_name(self.receiver)} value>"


_PLAIN = {list, dict, set, frozenset}
_TYPE_NAMES: dict[type, str] = {
    type(None): "NoneType",
    bool: "bool",
    int: "int",
    float: "float",
    str: "string",
    bytes: "bytes",
    List: "list",
    Dict: "dict",
    Set: "set",
    tuple: "tuple",
    range: "range",
    FunctionType: "function",
    Builtin: "builtin_function_or_method",
}


def type_name(value: Any) -> str:
    """What `type(value)` says."""
    name = _TYPE_NAMES.get(type(value))
    return name if name is not None else getattr(value, "type_name", type(value).__name__)


def truth(value: Any) -> bool:
    """Whether the value counts as true."""
    return bool(value)


def equal(left: Any, right: Any) -> bool:
    """Starlark's `==`: a bool is no number, NaN equals itself, host values decide for themselves."""
    kind = type(left)
    if kind is not type(right):
        if kind in (int, float) and type(right) in (int, float):
            return bool(left == right)
        return (isinstance(left, Value) or isinstance(right, Value)) and bool(left == right)
    if kind is str or kind is int:
        return bool(left == right)
    if left is right:
        return True
    if kind is List or kind is tuple:
        tick()
        return len(left) == len(right) and all(map(equal, left, right))
    if kind is Dict:
        tick()
        return len(left) == len(right) and all(
            name in right and equal(value, right[name]) for name, value in left.items()
        )
    if kind is float:
        return bool(left == right or (math.isnan(left) and math.isnan(right)))
    return bool(left == right)


def freeze(value: Any) -> None:
    """Make a value and everything reachable from it immutable."""
    pending, seen = [value], set()
    while pending:
        item = pending.pop()
        kind = type(item)
        if kind in (str, int, float, bool, bytes, range) or item is None or id(item) in seen:
            continue
        seen.add(id(item))
        if kind is List or kind is Dict:
            if item.frozen:
                continue
            item.frozen = True
            item.iterating += 1
            pending.extend(item if kind is List else item.values())
        if kind is Dict:
            pending.extend(item.names() if any(type(name) is not str for name in item) else ())
        elif kind is tuple:
            pending.extend(item)
        elif kind is Set:
            pending.append(item.table)
        elif kind is FunctionType:
            pending.extend(item.__defaults__ or ())
            pending.extend((item.__kwdefaults__ or {}).values())
            pending.extend(cell.cell_contents for cell in item.__closure__ or () if not _is_empty(cell))
        elif kind is Builtin:
            pending.append(item.receiver)
        elif isinstance(item, Value):
            pending.extend(item.freeze())


def _is_empty(cell: Any) -> bool:
    try:
        return cell.cell_contents is MISSING
    except ValueError:
        return True


def from_python(data: Any) -> Any:
    """Plain data as Starlark values: list, tuple, dict, set are converted throughout, the rest is kept as it is."""
    if isinstance(data, dict):
        result = Dict()
        for name, value in data.items():
            result.store(from_python(name), from_python(value))
        return result
    if isinstance(data, list):
        return List([from_python(item) for item in data])
    if isinstance(data, (set, frozenset)):
        return Set(from_python(item) for item in data)
    return tuple(from_python(item) for item in data) if type(data) is tuple else data


def to_python(value: Any) -> Any:
    """Starlark values as plain data: List to list, Dict to dict, Set to list; the rest is kept as it is."""
    tick()
    if isinstance(value, List | Set):
        return [to_python(item) for item in value]
    if isinstance(value, Dict):
        return {to_python(name): to_python(item) for name, item in value.pairs()}
    return tuple(to_python(item) for item in value) if type(value) is tuple else value
