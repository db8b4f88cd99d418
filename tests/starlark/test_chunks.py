"""The language files: chunks cut by `---`, each a program of its own.

A chunk passes if its assertions hold. A line that ends in `### "regex"` must be where the program fails, when it is
checked or run, with a message that the regex matches.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ipytilt.starlark import EvalError, Module, StarlarkSyntaxError, Thread, check
from tests.starlark.running import PREDECLARED

_EXPECTED = re.compile(r'### "(.*)"\s*$')
_LIBRARY = """
value = [1]
other = {"k": [1]}
def double(x): return 2 * x
def push(x): value.append(x)
_private = 1
"""


def _load(_path: str, thread: Thread) -> Module:
    module = Module("lib", PREDECLARED)
    module.execute(check(_LIBRARY, "lib", predeclared=PREDECLARED.keys()), thread)
    module.freeze()
    return module


def _chunks() -> list[object]:
    found: list[object] = []
    for path in sorted(Path(__file__).parent.glob("*.star")):
        line = 1
        for chunk in re.split(r"(?m)^---\n", path.read_text(encoding="utf-8")):
            found.append(pytest.param(chunk, id=f"{path.stem}:{line}"))
            line += chunk.count("\n") + 1
    return found


@pytest.mark.parametrize("chunk", _chunks())
def test_chunk(chunk: str) -> None:
    wanted = {
        number: match[1] for number, line in enumerate(chunk.splitlines(), 1) if (match := _EXPECTED.search(line))
    }
    failed: EvalError | StarlarkSyntaxError | None = None
    module = Module("chunk", PREDECLARED)
    try:
        module.execute(check(chunk, "chunk", predeclared=PREDECLARED.keys()), Thread(load=_load))
    except (EvalError, StarlarkSyntaxError) as error:
        failed = error
    if failed is None:
        assert not wanted, f"no error on line {next(iter(wanted))}"
        return
    text = failed.backtrace() if isinstance(failed, EvalError) else str(failed)
    places = [frame.position for frame in failed.stack] if isinstance(failed, EvalError) else [failed.position]
    line = [place.line for place in places if place and place.file == "chunk"][-1]
    assert line in wanted, text
    assert re.search(wanted[line], failed.message), text
