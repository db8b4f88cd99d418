"""A short fuzzing run with fixed seeds, every text that once ended badly, and that the tool sees what is bad."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ipytilt.starlark import List
from ipytilt.starlark.calls import METHODS
from tests.fuzz.__main__ import KEPT, faults
from tests.fuzz.evaluate import evaluate
from tests.fuzz.mutate import MAX_LENGTH, program
from tests.fuzz.seeds import seeds, tokens
from tests.fuzz.shrink import shrink
from tests.fuzz.watch import Evaluator


@pytest.mark.parametrize("seed", ["one", "two"])
def test_mutated_tiltfiles_end_in_a_spec_or_a_tiltfile_error(seed: str) -> None:
    assert [(case, fault.kind) for case, _, fault in faults(seed, range(200))] == []


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.tilt")), ids=lambda path: path.stem)
def test_what_once_ended_badly(path: Path) -> None:
    fault = evaluate(path.read_bytes().decode("utf-8", "surrogateescape"))
    assert fault is None, fault.detail


def test_the_same_seed_gives_the_same_program() -> None:
    programs = [program(f"s:{number}") for number in range(50)]
    assert programs == [program(f"s:{number}") for number in range(50)]
    assert len(set(programs)) > 40
    assert all(len(text) <= MAX_LENGTH for text in programs)


def test_tokens_join_to_the_text() -> None:
    assert all("".join(tokens(text)) == text for text in seeds())


def test_a_bug_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_items: List) -> None:
        raise KeyError("k")

    monkeypatch.setitem(METHODS[List], "clear", broken)
    fault = evaluate("x = [1]\nx.clear()")
    assert fault is not None
    assert fault.kind.startswith("KeyError in ")
    assert "KeyError" in fault.detail


def spin() -> None:
    """Use the processor until somebody ends it, in C code that never looks at signals."""
    sum(iter(int, 1))


def crash() -> None:
    """End at once."""
    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.parametrize("does, kind", [(spin, "hang"), (crash, "crash: SIGSEGV")], ids=["hang", "crash"])
def test_what_ends_the_process_is_a_fault_and_the_next_text_has_another(does: Callable[[], None], kind: str) -> None:
    code = (
        "import tests.fuzz.evaluate as child, tests.fuzz.test_fuzz as t\n"
        "fine = child.evaluate\n"
        f"child.evaluate = lambda text: t.{does.__name__}() if text == 'bad' else fine(text)\n"
        "child.SECONDS = 2\n"
        "child.main()"
    )
    with Evaluator(command=(sys.executable, "-c", code)) as evaluator:
        assert evaluator.fault("x = 1") is None
        fault = evaluator.fault("bad")
        assert fault is not None
        assert fault.kind == kind
        assert does.__name__ in fault.detail
        assert evaluator.fault("x = 1") is None


def test_texts_are_shrunk_while_they_show_it() -> None:
    text = "\n".join(f"x = {number}" for number in range(60)) + "\nprint(bad)\n"
    assert shrink(text, lambda candidate: "bad" in candidate) == "bad"
