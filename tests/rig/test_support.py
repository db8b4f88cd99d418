"""What the tests rely on: waiting gives up with the last value, leaks are found, required skips fail."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support import eventually, leaks
from tools.rig.daemon import ROOT

_SKIPS = """
import pytest

@pytest.mark.browser
def test_it():
    pytest.skip("none here")
"""


def test_eventually_returns_the_first_true_value() -> None:
    values = iter([0, "", 42])
    assert eventually(lambda: next(values)) == 42


def test_eventually_fails_with_the_last_value() -> None:
    with pytest.raises(AssertionError, match=r"still \[\] after 0\.05 s"):
        eventually(list, timeout=0.05)


def test_eventually_passes_on_the_condition_s_own_words() -> None:
    def never() -> bool:
        raise AssertionError("too early")

    with pytest.raises(AssertionError, match="too early"):
        eventually(never, timeout=0.05)


def test_a_thread_left_behind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_GRACE_SECONDS", 0.05)
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name="ipytilt-left", daemon=True)
    with pytest.raises(AssertionError, match="thread ipytilt-left"), leaks.no_leaks():
        thread.start()
    done.set()
    thread.join()


def test_a_child_left_behind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_GRACE_SECONDS", 0.05)
    with pytest.raises(AssertionError, match=r"child \d+ \(sleep 1000\)"), leaks.no_leaks():
        child = subprocess.Popen(["sleep", "1000"])
    child.kill()
    child.wait()


def test_a_descriptor_left_behind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_GRACE_SECONDS", 0.05)
    with pytest.raises(AssertionError, match=r"descriptor \d+ \(/dev/null\)"), leaks.no_leaks():
        descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)


def _pytest(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the tests in a folder under our own conftest."""
    (folder / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-o", f"cache_dir={folder}"]
    command = [sys.executable, "-m", "pytest", *options, *words, str(folder)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("required, outcome", [("browser", "1 failed"), ("docker", "1 skipped")])
def test_require_turns_skips_into_failures(tmp_path: Path, required: str, outcome: str) -> None:
    (tmp_path / "test_it.py").write_text(_SKIPS)
    done = _pytest(tmp_path, "--require", required)
    assert outcome in done.stdout
    assert "none here" in done.stdout


def test_the_last_line_counts_and_names_the_tests_without_a_cluster(tmp_path: Path) -> None:
    names = ("test_one", "test_two")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        + "".join(f"@pytest.mark.kubernetes\ndef {name}(): raise AssertionError('it ran')\n" for name in names)
    )
    done = _pytest(tmp_path, "--require=docker", TILT_TEST_CONTEXT="no-such-context", KUBECONFIG=str(tmp_path / "none"))
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("2 Kubernetes tests skipped: "), done.stdout
    assert all(f"test_it.py::{name}" in last for name in names)
