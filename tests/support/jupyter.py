"""A private JupyterLab as a child process.

Owned by the session fixture ``jupyter_server``; used on the test's thread. All its folders are private, so that the
user's settings play no part and are not touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
_PRIVATE = (
    "IPYTHONDIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
)
_START_SECONDS = 60
_STOP_SECONDS = 15


class JupyterServer:
    """A running JupyterLab. ``root`` is the folder it shows, ``url`` its address, ``token`` the key to it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir(parents=True)
        self.token = secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{_free_port()}"
        self.log = folder / "jupyter.log"
        self._process = self._start(folder)
        try:
            eventually(self._answers, timeout=_START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def write_notebook(self, name: str, *cells: str) -> None:
        """Write a notebook of code cells below the root; it names its kernel, so that nobody is asked for one."""
        (self.root / name).write_text(json.dumps(notebook(*cells)))

    def request(self, path: str, method: str = "GET") -> Any:
        """Return the parsed answer of the server's REST API, or None when it has no body."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def end_sessions(self) -> None:
        """Shut down every kernel."""
        for session in self.request("/api/sessions"):
            with contextlib.suppress(urllib.error.HTTPError):  # it may have gone by itself
                self.request(f"/api/sessions/{session['id']}", method="DELETE")

    def stop(self) -> None:
        """End the server and whatever is left of its process group."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _start(self, folder: Path) -> subprocess.Popen[bytes]:
        port = self.url.rpartition(":")[2]
        flags = [
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.root}",
            f"--IdentityProvider.token={self.token}",
            "--LabApp.expose_app_in_browser=True",
        ]
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", *flags],
                env={**os.environ, **_private_folders(folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        log = self.log.read_text(errors="replace")[-3000:]
        if self._process.poll() is not None:
            raise RuntimeError(f"JupyterLab ended at once:\n{log}")
        try:
            self.request("/api/status")
        except OSError as error:
            raise AssertionError(f"JupyterLab does not answer ({error}):\n{log}") from error
        return True


def notebook(*cells: str) -> dict[str, Any]:
    """Return a notebook of code cells as the document that a file holds."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": kernel},
        "cells": [
            {
                "id": f"cell-{number}",
                "cell_type": "code",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": source,
            }
            for number, source in enumerate(cells)
        ],
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _private_folders(folder: Path) -> dict[str, str]:
    folders = {name: folder / name.lower() for name in _PRIVATE}
    for path in folders.values():
        path.mkdir()
    quiet = folders["JUPYTERLAB_SETTINGS_DIR"] / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    news = {"fetchNews": "false", "checkForUpdates": False}
    (quiet / "notification.jupyterlab-settings").write_text(json.dumps(news))
    built = ROOT / "ipytilt" / "labextension"
    if built.is_dir():  # the plug-in as it was built last, not as it was installed last
        extensions = folders["JUPYTER_DATA_DIR"] / "labextensions"
        extensions.mkdir()
        (extensions / "ipytilt-labextension").symlink_to(built)
    return {**{name: str(path) for name, path in folders.items()}, "PYTHONPATH": str(ROOT)}
