"""What the operators of the language do; code lowered by `check` calls these functions.

Each has a fast path for what Tiltfiles mostly do (ASCII strings, small ints) before the rules in full. All run on the
evaluating thread and raise EvalError.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

from ipytilt.starlark.control import MAX_ITEMS, MAX_TEXT, charge, check_int, check_items, check_text
from ipytilt.starlark.errors import EvalError
from ipytilt.starlark.text import decode, encode, interpolate, length, to_float, to_repr, whole
from ipytilt.starlark.values import MISSING, Dict, List, Set, Value, equal, key, type_name

_BLOCK = 256  # loop turns charged at once
_MAX_SHIFT = 512
_NUMBERS = (int, float)


def unknown(op: str, left: Any, right: Any) -> Any:
    """Let host values try the operator, and refuse it otherwise."""
    for value, other, is_left in ((left, right, True), (right, left, False)):
        if isinstance(value, Value):
            result = value.binary(op, other, left=is_left)
            if result is not NotImplemented:
                return result
    raise EvalError(f"unknown binary op: {type_name(left)} {op} {type_name(right)}")


def add(left: Any, right: Any) -> Any:
    """`left + right`."""
    kind = type(left)
    if kind is type(right):
        if kind is str:
            text = left + right
            return text if text.isascii() and len(text) < MAX_TEXT else whole(text)
        if kind is int:
            return check_int(left + right)
        if kind is List or kind is tuple:
            check_items(len(left) + len(right))
            return List(left + right) if kind is List else left + right
        if kind is bytes:
            check_text(len(left) + len(right))
            return left + right
    if kind in _NUMBERS and type(right) in _NUMBERS:
        return to_float(left) + to_float(right)
    return unknown("+", left, right)


def sub(left: Any, right: Any) -> Any:
    """`left - right`."""
    kinds = type(left), type(right)
    if kinds == (int, int):
        return check_int(left - right)
    if kinds[0] in _NUMBERS and kinds[1] in _NUMBERS:
        return to_float(left) - to_float(right)
    if kinds == (Set, Set):
        return Set(item for item in left if item not in right)
    return unknown("-", left, right)


def mul(left: Any, right: Any) -> Any:
    """`left * right`: numbers, or a sequence repeated."""
    kinds = type(left), type(right)
    if kinds == (int, int):
        if left.bit_length() + right.bit_length() > 20_000:  # do not even compute what check_int will refuse
            raise EvalError(f"integer too large ({left.bit_length() + right.bit_length()} bits)")
        return check_int(left * right)
    if kinds[0] in _NUMBERS and kinds[1] in _NUMBERS:
        return to_float(left) * to_float(right)
    if kinds[0] is int:
        left, right, kinds = right, left, (kinds[1], kinds[0])
    if kinds[1] is int and kinds[0] in (str, bytes, tuple, List):
        size = length(left) if kinds[0] is str else len(left)
        limit = MAX_TEXT if kinds[0] in (str, bytes) else MAX_ITEMS
        if size * right > limit:
            raise EvalError(f"excessive repeat ({size} * {right} elements)")
        right = right if size and right > 0 else 0  # Python refuses huge counts even where nothing is repeated
        return whole(left * right) if kinds[0] is str else kinds[0](left * right)
    return unknown("*", left, right)


def divide(left: Any, right: Any) -> Any:
    """`left / right`, always a float."""
    if type(left) in _NUMBERS and type(right) in _NUMBERS:
        if not right:
            raise EvalError("floating-point division by zero")
        return to_float(left) / to_float(right)
    return unknown("/", left, right)


def floor_divide(left: Any, right: Any) -> Any:
    """`left // right`, rounding towards negative infinity."""
    kinds = type(left), type(right)
    if kinds[0] not in _NUMBERS or kinds[1] not in _NUMBERS:
        return unknown("//", left, right)
    if not right:
        raise EvalError("floored division by zero")
    if kinds == (int, int):
        return left // right
    quotient = to_float(left) / to_float(right)
    return float(math.floor(quotient)) if quotient and math.isfinite(quotient) else quotient


def modulo(left: Any, right: Any) -> Any:
    """`left % right`: the sign is the divisor's; or string formatting."""
    kinds = type(left), type(right)
    if kinds[0] is str:
        return interpolate(left, right)
    if kinds[0] not in _NUMBERS or kinds[1] not in _NUMBERS:
        return unknown("%", left, right)
    if not right:
        raise EvalError("integer modulo by zero" if kinds == (int, int) else "floating-point modulo by zero")
    return left % right if kinds == (int, int) else to_float(left) % to_float(right)


def bit_or(left: Any, right: Any) -> Any:
    """`left | right`: ints, union of dicts or sets."""
    kinds = type(left), type(right)
    if kinds == (int, int):
        return left | right
    if kinds == (Dict, Dict):
        union = Dict(left)
        union.update(right)
        union.keyed = left.keyed or right.keyed
        return union
    if kinds == (Set, Set):
        return Set([*left, *right])
    return unknown("|", left, right)


def bit_and(left: Any, right: Any) -> Any:
    """`left & right`: ints, intersection of sets."""
    kinds = type(left), type(right)
    if kinds == (int, int):
        return left & right
    return Set(item for item in left if item in right) if kinds == (Set, Set) else unknown("&", left, right)


def bit_xor(left: Any, right: Any) -> Any:
    """`left ^ right`: ints, symmetric difference of sets."""
    kinds = type(left), type(right)
    if kinds == (int, int):
        return left ^ right
    if kinds == (Set, Set):
        return Set([*(item for item in left if item not in right), *(item for item in right if item not in left)])
    return unknown("^", left, right)


def shift_left(left: Any, right: Any) -> Any:
    """`left << right`."""
    if type(left) is not int:
        return unknown("<<", left, right)
    if _shift(right) >= _MAX_SHIFT:
        raise EvalError(f"shift count too large: {right}")
    return check_int(left << right)


def shift_right(left: Any, right: Any) -> Any:
    """`left >> right`."""
    return left >> _shift(right) if type(left) is int else unknown(">>", left, right)


def _shift(count: Any) -> int:
    if type(count) is not int:
        raise EvalError(f"got {type_name(count)}, want int")
    if count < 0:
        raise EvalError(f"negative shift count: {count}")
    return count


def unary(op: str, value: Any) -> Any:
    """`-value`, `+value` or `~value`."""
    if type(value) is int and op == "~":
        return ~value
    if type(value) in _NUMBERS and op != "~":
        return -value if op == "-" else value
    raise EvalError(f"unknown unary op: {op} {type_name(value)}")


def _is_nan(number: float) -> bool:
    return type(number) is float and math.isnan(number)


def _order(left: Any, right: Any, op: str) -> int:
    """Negative, zero or positive as left sorts before, with or after right. NaN is the greatest number."""
    kind = type(left)
    if kind in _NUMBERS and type(right) in _NUMBERS:
        nan = _is_nan(left) - _is_nan(right)
        return nan or (left > right) - (left < right)
    if kind is type(right):
        if kind is str and not (left.isascii() and right.isascii()):
            left, right = encode(left), encode(right)
        if kind in (str, bytes, bool):
            return int(left > right) - int(left < right)
        if kind is List or kind is tuple:
            for one, other in zip(left, right):  # noqa: B905 - the shorter decides
                if not equal(one, other):
                    return _order(one, other, op)
            return len(left) - len(right)
    raise EvalError(f"{type_name(left)} {op} {type_name(right)} not implemented")


def less(left: Any, right: Any) -> bool:
    """`left < right`; for sets, whether left is a proper subset."""
    if type(left) is int is type(right):
        return left < right
    if type(left) is Set is type(right):
        return len(left) < len(right) and less_equal(left, right)
    return _order(left, right, "<") < 0


def less_equal(left: Any, right: Any) -> bool:
    """`left <= right`; for sets, whether left is a subset."""
    if type(left) is Set is type(right):
        return all(item in right for item in left)
    return _order(left, right, "<=") <= 0


def greater(left: Any, right: Any) -> bool:
    """`left > right`; for sets, whether left is a proper superset."""
    return less(right, left) if type(left) is Set is type(right) else _order(left, right, ">") > 0


def greater_equal(left: Any, right: Any) -> bool:
    """`left >= right`; for sets, whether left is a superset."""
    return less_equal(right, left) if type(left) is Set is type(right) else _order(left, right, ">=") >= 0


def contains(item: Any, container: Any) -> bool:
    """`item in container`."""
    kind = type(container)
    if kind is List or kind is tuple:
        return any(equal(item, element) for element in container)
    if kind is Dict:
        return (item if type(item) is str else key(item)) in container
    if kind is str:
        if type(item) is not str:
            raise EvalError(f"'in <string>' requires string as left operand, not {type_name(item)}")
        return item in container if container.isascii() else encode(item) in encode(container)
    if kind is bytes:
        if type(item) is int and not 0 <= item <= 255:
            raise EvalError(f"int in bytes: {item} out of range")
        if type(item) not in (bytes, int):
            raise EvalError(f"'in bytes' requires bytes or int as left operand, not {type_name(item)}")
        return item in container
    if kind is range:
        if type(item) not in _NUMBERS:
            raise EvalError(f"'in <range>' requires integer as left operand, not {type_name(item)}")
        return item in container
    if kind is Set or (isinstance(container, Value) and hasattr(container, "__contains__")):
        return item in container
    return bool(unknown("in", item, container))


def index(container: Any, place: Any) -> Any:
    """`container[place]`."""
    kind = type(container)
    if kind is List and type(place) is int:
        try:
            return container[place]
        except IndexError:
            pass  # explained below
    if kind is Dict:
        if type(place) is str and place in container:
            return container[place]
        value = container.get(key(place), MISSING)
        if value is MISSING:
            raise EvalError(f"key {to_repr(place)} not in dict")
        return value
    if kind is List or kind is tuple or kind is range or kind is bytes:
        return container[checked_index(container, place, len(container))]
    if kind is str:
        place = checked_index(container, place, length(container))
        return container[place] if container.isascii() else decode(encode(container)[place : place + 1 or None])
    if isinstance(container, Value) and hasattr(container, "__getitem__"):
        try:
            return container[place]
        except KeyError:
            raise EvalError(f"key {to_repr(place)} not in {type_name(container)}") from None
    raise EvalError(f"unhandled index operation {type_name(container)}[{type_name(place)}]")


def checked_index(container: Any, place: Any, size: int) -> int:
    """The place, if it is an int within a sequence of that size; negative ones count from the end."""
    if type(place) is not int:
        raise EvalError(f"{type_name(container)} index: got {type_name(place)}, want int")
    if -size <= place < size:
        return place
    if not size:
        raise EvalError(f"index {place} out of range: empty {type_name(container)}")
    raise EvalError(f"{type_name(container)} index {place} out of range [{-size}:{size - 1}]")


def cut(container: Any, start: Any, stop: Any, step: Any) -> Any:
    """`container[start:stop:step]`."""
    if type(container) not in (str, bytes, List, tuple, range):
        raise EvalError(f"invalid slice operand {type_name(container)}")
    for what, bound in (("start index", start), ("end index", stop), ("slice step", step)):
        if bound is not None and type(bound) is not int:
            raise EvalError(f"invalid {what}: got {type_name(bound)}, want int")
    if step == 0:
        raise EvalError("zero is not a valid slice step")
    part = slice(start, stop, step)
    if type(container) is str:
        return container[part] if container.isascii() else decode(encode(container)[part])
    return List(container[part]) if type(container) is List else container[part]


def set_index(value: Any, container: Any, place: Any) -> None:
    """`container[place] = value`."""
    kind = type(container)
    if kind is Dict:
        if type(place) is str and not container.iterating:
            container[place] = value
        else:
            container.store(place, value)
        if len(container) > MAX_ITEMS:
            check_items(len(container))
    elif kind is List:
        if type(place) is not int or not -len(container) <= place < len(container):
            checked_index(container, place, len(container))
        if container.iterating:
            container.writable("assign to element of")
        container[place] = value
    elif isinstance(container, Value) and hasattr(container, "__setitem__"):
        container[place] = value
    else:
        raise EvalError(f"{type_name(container)} value does not support item assignment")


def add_in_place(left: Any, right: Any) -> Any:
    """`left += right`: a list is extended."""
    if type(left) is not List:
        return add(left, right)
    try:
        items = elements(right)
    except EvalError:
        return unknown("+", left, right)
    left.writable("apply += to")
    check_items(len(left) + len(items))
    left += items
    return left


def or_in_place(left: Any, right: Any) -> Any:
    """`left |= right`: a dict is updated."""
    if type(left) is not Dict or type(right) is not Dict:
        return bit_or(left, right)
    left.writable("insert into")
    left.update(right)
    left.keyed = left.keyed or right.keyed
    return left


def elements(value: Any) -> Any:
    """What iterating over a value gives, as a list, tuple or range. Raises EvalError if it is not iterable."""
    kind = type(value)
    if kind is List or kind is tuple or kind is range:
        return value
    if kind is Dict:
        return value.names()
    if kind is Set or (isinstance(value, Value) and hasattr(value, "__iter__")):
        return list(value)
    raise EvalError(f"{type_name(value)} value is not iterable")


def iterate(value: Any) -> Iterator[Any]:
    """The turns of a `for` loop, counted as steps; a list, dict or set cannot change meanwhile."""
    if type(value) in (tuple, range) and len(value) <= _BLOCK:
        charge(len(value))
        return iter(value)
    return chain.from_iterable(_blocks(value))


def each(value: Any) -> Any:
    """As `iterate`, where nothing can change the value meanwhile."""
    items = elements(value)
    if len(items) > _BLOCK:
        return iterate(items)
    charge(len(items))
    return items


def iterate_unpacked(value: Any, shape: tuple[Any, ...]) -> Iterator[Any]:
    """As `iterate`, each item fitted to the targets of `for a, (b, c) in ...`."""
    return chain.from_iterable(_fitted(value, shape))


def _blocks(value: Any) -> Iterator[Any]:
    """The items in blocks, so that the loop itself runs at the speed of Python's iterators."""
    items = elements(value)
    guard = value.table if type(value) is Set else value if type(value) in (List, Dict) else None
    if guard is not None and guard.frozen:
        guard = None  # nothing changes it, and other threads may iterate it
    if guard is not None:
        guard.iterating += 1
    try:
        size = len(items)
        if size <= _BLOCK:
            charge(size)
            yield items
        else:
            for start in range(0, size, _BLOCK):
                charge(min(_BLOCK, size - start))
                yield items[start : start + _BLOCK]
    finally:
        if guard is not None:
            guard.iterating -= 1


def _fitted(value: Any, shape: tuple[Any, ...]) -> Iterator[Any]:
    flat, size = not any(shape), len(shape)
    for block in _blocks(value):
        if flat and set(map(type, block)) == {tuple} and set(map(len, block)) == {size}:
            yield block
        else:
            yield map(unpack, block, repeat(shape))


def unpack(value: Any, shape: tuple[Any, ...]) -> Any:
    """A sequence fitted to assignment targets: `shape` has None for a simple target, a tuple for a nested one."""
    try:
        items = elements(value)
    except EvalError:
        raise EvalError(f"got {type_name(value)} in sequence assignment") from None
    if len(items) != len(shape):
        few = "few" if len(items) < len(shape) else "many"
        raise EvalError(f"too {few} values to unpack (got {len(items)}, want {len(shape)})")
    return [item if inner is None else unpack(item, inner) for item, inner in zip(items, shape, strict=True)]
