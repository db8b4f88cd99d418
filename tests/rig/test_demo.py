"""``make demo``: it serves the quickstart, and ends with everything it started."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support import eventually
from tools.processes import command_line, parents

ROOT = Path(__file__).resolve().parents[2]
_MARK = "IPYTILT_TEST_OF_THE_DEMO"


def _marked(value: str) -> list[str]:
    """Return the command lines of all processes that carry this test's mark in their environment."""
    found = []
    for pid in parents():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if f"{_MARK}={value}".encode() in environment:
            found.append(" ".join(command_line(pid)))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_serves_and_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    mark = f"{os.getpid()}-{number}"
    env = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    env |= {_MARK: mark, "PYTHONPATH": str(ROOT), "JUPYTER_CONFIG_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    log = tmp_path / "log"
    with log.open("wb") as out:
        demo = subprocess.Popen([sys.executable, "-m", "tools.demo"], cwd=ROOT, env=env, stdout=out, stderr=out)
    try:
        url = eventually(lambda: _url_in(demo, log), timeout=60)
        assert "/lab/tree/quickstart.ipynb?token=" in url
        _start_kernel(url)
        assert any("ipykernel" in line for line in _marked(mark))
        demo.send_signal(number)
        assert demo.wait(30) == 0, log.read_text()
        assert _marked(mark) == []
    finally:
        demo.kill()
        demo.wait()


def _url_in(demo: subprocess.Popen[bytes], log: Path) -> str:
    if demo.poll() is not None:
        raise RuntimeError(f"the demo ended at once:\n{log.read_text()}")
    found = re.search(r"http://\S+", log.read_text())
    return found.group() if found else ""


def _start_kernel(url: str) -> None:
    address = urlsplit(url)
    request = urllib.request.Request(
        f"http://{address.netloc}/api/kernels?{address.query}", data=json.dumps({"name": "python3"}).encode()
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 201
