"""``make demo``: JupyterLab on the quickstart notebook, and nothing left running when it ends.

Runs in the terminal until Ctrl-C or SIGTERM. JupyterLab has a session of its own, so a Ctrl-C reaches only this
process, which then ends the server, its kernels and whatever the notebook had started, Compose projects included.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Callable
from pathlib import Path

from tools.processes import parents

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOK = "quickstart.ipynb"
_PR_SET_CHILD_SUBREAPER = 36
_START_SECONDS = 60
_STOP_SECONDS = 10
_ORPHAN_SECONDS = 3
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LABEL = "com.docker.compose.project"


def main() -> None:
    """Serve until asked to end. Raises SystemExit with the exit code or a message."""
    for number in _ENDING:
        signal.signal(number, _leave)
    _adopt_orphans()
    before = _compose_projects()
    port, token = _free_port(), secrets.token_hex(16)
    server = _start(port, token)
    try:
        status = f"http://127.0.0.1:{port}/api/status?token={token}"
        if not _until(lambda: server.poll() is not None or _answers(status), _START_SECONDS):
            raise SystemExit("demo: JupyterLab does not answer; what it said is above")
        if server.poll() is None:
            _invite(f"http://127.0.0.1:{port}/lab/tree/{NOTEBOOK}?token={token}")
        raise SystemExit(server.wait())
    finally:
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        _stop(server)
        for project in _compose_projects() - before:
            subprocess.run(["docker", "compose", "--project-name", project, "down"], check=False)


def _start(port: int, token: str) -> subprocess.Popen[bytes]:
    flags = [
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={NOTEBOOKS}",
        f"--IdentityProvider.token={token}",
        "--Application.log_level=WARN",
    ]
    if os.geteuid() == 0:
        flags.append("--allow-root")
    command = [sys.executable, "-m", "jupyterlab", *flags]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)


def _invite(url: str) -> None:
    print(f"\n  ipytilt in JupyterLab: {url}\n  Ctrl-C ends it.\n", flush=True)
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform == "darwin":
        webbrowser.open(url)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server, which ends its kernels; then whatever either of them has left to us."""
    server.terminate()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    if not _until(lambda: not _orphans(), _ORPHAN_SECONDS):
        for pid in _orphans():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _until(lambda: not _orphans(), _ORPHAN_SECONDS)


def _orphans() -> list[int]:
    """Reap what has ended; return the children that are still there."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    return [pid for pid, parent in parents().items() if parent == os.getpid()]


def _adopt_orphans() -> None:
    # On Linux, what outlives a killed server or kernel becomes our child and can be ended.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _compose_projects() -> set[str]:
    """Return the Compose projects that run from the notebooks' folder."""
    columns = f'{{{{.Label "{_LABEL}"}}}}\t{{{{.Label "{_LABEL}.working_dir"}}}}'
    command = ["docker", "ps", "--all", "--filter", f"label={_LABEL}", "--format", columns]
    try:
        listing = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return set()  # no Docker, no projects
    rows = (line.split("\t") for line in listing.splitlines())
    return {name for name, folder in rows if Path(folder).is_relative_to(NOTEBOOKS)}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own server
            return bool(answer.status == 200)
    except OSError:
        return False


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _leave(*_: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main()
