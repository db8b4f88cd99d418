"""The shell command, as a process: what it prints, how it ends, what it leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ipytilt

COMMAND = [sys.executable, "-m", "ipytilt.cli"]


def ran(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    return subprocess.run([*COMMAND, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_version(tmp_path: Path) -> None:
    assert ran(tmp_path, "--version").stdout == f"ipytilt {ipytilt.__version__}\n"


def test_a_good_tiltfile_is_printed_as_json(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text(
        "config.define_string('x', args=True)\nlocal_resource(config.parse()['x'], 'ls')"
    )
    done = ran(tmp_path, "tiltfile-result", "--", "named")
    document = json.loads(done.stdout)
    assert (done.returncode, document["error"]) == (0, None)
    assert [r["name"] for r in document["resources"]] == ["named"]


def test_a_bad_tiltfile_is_printed_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("\nfail('on purpose')")
    done = ran(tmp_path, "tiltfile-result")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["line"]) == (5, 2)
    assert "on purpose" in error["message"]


@pytest.mark.parametrize("words", [("tiltfile-result",), ("up",), ("up", "--engine", "moon"), ("dance",), ()])
def test_wrong_words_are_answered_without_a_traceback(words: tuple[str, ...], tmp_path: Path) -> None:
    done = ran(tmp_path, *words)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_up_prints_the_log_until_it_is_interrupted(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("local_resource('hello', 'echo it runs', serve_cmd='sleep 1234.5')")
    child = subprocess.Popen(
        [*COMMAND, "up", "--engine", "sandbox"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout
    assert child.stderr
    assert any("it runs" in line for line in child.stdout)
    child.send_signal(signal.SIGINT)
    assert "Containers go on" in child.communicate(timeout=30)[1]
    assert child.returncode == 0
