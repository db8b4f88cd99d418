"""Loading the extension costs nothing worth mentioning: seen in interpreters that have done nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.jupyter import ROOT

HEAVY = {"anywidget", "comm", "docker", "ipykernel", "ipywidgets", "kubernetes", "requests", "watchdog", "yaml"}
LIGHT = {"ipytilt", "ipytilt.errors", "ipytilt.magics"}

REPORT = """
import json, os, sys, threading
print(json.dumps({
    "modules": sorted(set(sys.modules) - known),
    "threads": [thread.name for thread in threading.enumerate()],
    "children": open(f"/proc/self/task/{os.getpid()}/children").read().split(),
}))
"""
SHELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
known = set(sys.modules)
"""


def after(code: str, home: Path) -> dict[str, list[str]]:
    """What a fresh interpreter has after the code, which leaves the modules that do not count in `known`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(home)}
    done = subprocess.run([sys.executable, "-c", code + REPORT], env=env, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import sys; known = set(sys.modules)\nimport ipytilt", id="import"),
        pytest.param(SHELL + "shell.run_line_magic('load_ext', 'ipytilt')", id="load_ext"),
        pytest.param(SHELL + "shell.run_line_magic('load_ext', 'ipytilt')\nshell.run_cell('%tilt?')", id="help"),
        pytest.param(
            SHELL + "for word in ('load_ext', 'unload_ext', 'load_ext'): shell.run_line_magic(word, 'ipytilt')",
            id="load, unload, load",
        ),
    ],
)
def test_nothing_heavy_is_imported_and_nothing_starts(code: str, tmp_path: Path) -> None:
    found = after(code, tmp_path)
    modules = set(found["modules"])
    assert "ipytilt" in modules
    assert {name.partition(".")[0] for name in modules} & HEAVY == set()
    assert {name for name in modules if name.partition(".")[0] == "ipytilt"} <= LIGHT
    assert [name for name in found["threads"] if name.startswith("ipytilt")] == []
    assert found["children"] == []


def test_the_probe_sees_what_a_session_imports_and_starts(tmp_path: Path) -> None:
    found = after(SHELL + "shell.run_line_magic('load_ext', 'ipytilt')\nshell.run_cell('%tilt panel')", tmp_path)
    assert {"anywidget", "ipytilt.runtime.session"} <= set(found["modules"])
    assert "ipytilt-controller" in found["threads"]


def test_the_command_line_imports_no_notebook(tmp_path: Path) -> None:
    found = after("import sys; known = set(sys.modules)\nimport ipytilt.cli", tmp_path)
    assert {name.partition(".")[0] for name in found["modules"]} & (HEAVY | {"IPython"}) == set()
