"""Who may import whom: every contract of pyproject.toml holds, and a contract that is broken is noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Who imports what, and the words of the contract that must notice. The package is a copy of the real contracts' world:
# empty modules under the real names.
PLANTED = [
    ("core/plan.py", "import threading", "ipytilt.core.plan imports threading (line 1)"),
    ("core/plan.py", "import yaml", "ipytilt.core.plan imports yaml"),
    ("starlark/values.py", "def f():\n    import os", "ipytilt.starlark.values imports os (line 2)"),
    ("core/plan.py", "from ipytilt import verbs", "ipytilt.core is not allowed to import ipytilt.verbs"),
    (
        "views/text.py",
        "def f():\n    from ipytilt import verbs",
        "ipytilt.views is not allowed to import ipytilt.verbs",
    ),
    ("engines/docker.py", "import ipytilt.tiltfile.load", "ipytilt.engines is not allowed to import ipytilt.tiltfile"),
    ("runtime/session.py", "def f():\n    import docker", "ipytilt.runtime.session imports docker (line 2)"),
    ("engines/compose.py", "from kubernetes import client", "ipytilt.engines.compose imports kubernetes"),
    ("runtime/session.py", "import watchdog.events", "ipytilt.runtime.session imports watchdog"),
    ("views/text.py", "def f():\n    import anywidget", "ipytilt.views.text imports anywidget"),
    ("verbs.py", "from IPython.core import magic", "ipytilt.verbs imports IPython"),
    ("tiltfile/load.py", "import yaml", "ipytilt.tiltfile.load imports yaml"),
    ("surprise.py", "", "surprise"),
]
ALLOWED = {
    "engines/docker.py": "import docker, ipytilt.core.plan",
    "engines/kubernetes.py": "def f():\n    import kubernetes",
    "runtime/watcher.py": "import watchdog.events",
    "views/widget.py": "import anywidget",
    "magics.py": "import IPython, ipytilt.verbs",
    "tiltfile/builtins/files.py": "import yaml",
    "core/plan.py": "import dataclasses",
}


def _lint(folder: Path) -> tuple[int, str]:
    """Check the package in ``folder`` against the project's contracts; return exit code and report."""
    command = [sys.executable, "-m", "tools.contracts", str(ROOT / "pyproject.toml")]
    path = {"PYTHONPATH": f"{folder}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=path, capture_output=True, text=True, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def _package(folder: Path, modules: dict[str, str]) -> None:
    everything = dict.fromkeys([*ALLOWED, "views/text.py", "tiltfile/load.py", "verbs.py", "starlark/values.py"], "")
    for name, text in {**everything, **modules}.items():
        path = folder / "ipytilt" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for parent in (*path.parents,):
            (parent / "__init__.py").touch()
            if parent.name == "ipytilt":
                break


def test_the_package_keeps_every_contract() -> None:
    code, report = _lint(ROOT)
    assert code == 0, report
    assert "0 broken" in report


def test_what_the_contracts_allow(tmp_path: Path) -> None:
    _package(tmp_path, ALLOWED)
    code, report = _lint(tmp_path)
    assert code == 0, report


@pytest.mark.parametrize("module, text, words", PLANTED)
def test_a_broken_contract_is_noticed(tmp_path: Path, module: str, text: str, words: str) -> None:
    _package(tmp_path, {module: text})
    code, report = _lint(tmp_path)
    assert code != 0
    assert words in report
