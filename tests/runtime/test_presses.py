"""Buttons are pressed: their commands run, one run at a time, with what the inputs say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipytilt.core.buttons import Button, Press
from ipytilt.core.spec import Command
from ipytilt.core.state import TILTFILE
from ipytilt.runtime.logs import Logs
from ipytilt.runtime.presses import Presses
from tests.support.waiting import eventually


@pytest.fixture
def logs() -> Logs:
    return Logs()


@pytest.fixture
def told() -> list[Press]:
    """What was said of the button's runs."""
    return []


@pytest.fixture
def presses(logs: Logs, told: list[Press]) -> Iterator[Presses]:
    presses = Presses(logs, lambda _name, press: told.append(press))
    yield presses
    assert presses.stop(time.monotonic() + 10) == []


def button(script: str, folder: Path, resource: str = "") -> Button:
    return Button("b", "B", Command(("sh", "-c", script), str(folder), ("A=1",)), resource)


def texts(logs: Logs, stream: str) -> list[str]:
    return [line.text for line in logs.tail(stream, 100)]


def test_a_command_runs_in_its_folder_with_its_inputs(presses: Presses, logs: Logs, tmp_path: Path) -> None:
    presses.press(button('echo "$A $B"; touch here', tmp_path, "web"), {"B": "2"})
    eventually(lambda: not presses.running("b"))
    assert texts(logs, "web") == ['Running cmd: echo "$A $B"; touch here', "1 2"]
    assert (tmp_path / "here").exists()


@pytest.mark.parametrize(
    "argv, said", [(("sh", "-c", "exit 3"), "failed: exit status 3"), (("/no/such",), "/no/such failed to start")]
)
def test_a_command_that_fails(
    argv: tuple[str, ...], said: str, *, presses: Presses, logs: Logs, told: list[Press]
) -> None:
    presses.press(Button("b", "B", Command(argv, "/")), {})
    eventually(lambda: len(told) == 2)
    assert told[0] == Press(running=True)
    assert said in told[1].problem
    assert said in "\n".join(texts(logs, TILTFILE))


def test_what_is_told_of_a_run_has_no_secrets(presses: Presses, logs: Logs, told: list[Press]) -> None:
    logs.redact({"hunter2-hunter2": "[redacted]"})
    presses.press(Button("b", "B", Command(("sh", "-c", "exit 3 # hunter2-hunter2"), "/")), {})
    eventually(lambda: len(told) == 2)
    assert told[1] == Press(problem='Command "exit 3 # [redacted]" failed: exit status 3')


def test_a_second_press_stops_the_first_run(presses: Presses, logs: Logs, told: list[Press], tmp_path: Path) -> None:
    presses.press(button("touch first; exec sleep 6402", tmp_path), {})
    eventually((tmp_path / "first").exists)
    presses.press(button("touch second", tmp_path), {})
    eventually((tmp_path / "second").exists)
    eventually(lambda: not presses.running("b"))
    assert texts(logs, TILTFILE)[1] == "Stopped: touch first; exec sleep 6402"
    assert told == [Press(running=True), Press(running=True), Press()]


def test_stopping_ends_what_runs(presses: Presses, tmp_path: Path) -> None:
    presses.press(button("touch first; exec sleep 6403", tmp_path), {})
    eventually((tmp_path / "first").exists)
    assert presses.stop(time.monotonic() + 10) == []
    assert not presses.running("b")
