"""A real kernel without a front end: cells are run, interrupted and killed as JupyterLab would do it.

Used on the test's thread. Every process a kernel starts is told apart by a token in its environment or by its parents.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.support.jupyter import ROOT
from tests.support.processes import alive
from tests.support.waiting import eventually
from tools.processes import command_line, parents

PATIENCE = 60.0
_TOKEN = "IPYTILT_TEST_KERNEL"


@dataclass(slots=True)
class Output:
    """What came back for one cell; `results` and `displays` are MIME bundles, `error` is None or what was raised.

    `payload` is what the front end is asked to do, such as to add a cell.
    """

    stdout: str = ""
    stderr: str = ""
    results: list[dict[str, Any]] = field(default_factory=list)
    displays: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    payload: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The cell's value as text, "" if it has none."""
        return "\n".join(str(data.get("text/plain", "")) for data in self.results)

    @property
    def shown_error(self) -> str:
        """The error as the notebook shows it, "" if there was none."""
        return "\n".join(self.error["traceback"]) if self.error else ""


class Kernel:
    """A running kernel in `folder`, with `env` on top of this process's environment."""

    def __init__(self, folder: Path, *, arguments: tuple[str, ...] = (), **env: str) -> None:
        self._mark = f"{_TOKEN}={secrets.token_hex(8)}"
        private = {"IPYTHONDIR": str(folder / ".ipython"), "XDG_RUNTIME_DIR": str(folder), "PYTHONPATH": str(ROOT)}
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(
            cwd=str(folder),
            env={**os.environ, **private, "IPYTILT_ENGINE": "sandbox", _TOKEN: self._mark.partition("=")[2], **env},
            extra_arguments=list(arguments),
        )
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    @property
    def pid(self) -> int:
        """The kernel's process."""
        assert self.manager.provisioner is not None
        pid = self.manager.provisioner.process.pid  # type: ignore[attr-defined]
        assert isinstance(pid, int)
        return pid

    def run(self, code: str, *, cell: str = "") -> Output:
        """Run a cell to its end; `cell` is the id JupyterLab would send with it."""
        return self.finish(self.begin(code, cell=cell))

    def good(self, code: str, *, cell: str = "") -> Output:
        """Run a cell that must not fail."""
        output = self.run(code, cell=cell)
        assert output.error is None, output.shown_error
        return output

    def begin(self, code: str, *, cell: str = "") -> str:
        """Send a cell off; the id of the request."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell} if cell else {})
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def finish(self, request: str) -> Output:
        """Collect what a cell brings until it is over."""
        output = Output()
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    name = content["name"]
                    setattr(output, name, getattr(output, name) + content["text"])
                case "execute_result":
                    output.results.append(content["data"])
                case "display_data":
                    output.displays.append(content["data"])
                case "error":
                    output.error = content
                case "status" if content["execution_state"] == "idle":
                    break
        reply = self.client.get_shell_msg(timeout=PATIENCE)
        while reply["parent_header"].get("msg_id") != request:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
        output.payload = reply["content"].get("payload", [])
        return output

    def complete(self, code: str) -> list[str]:
        """What TAB offers at the end of the code."""
        return [str(match) for match in self.completion(code)["matches"]]

    def completion(self, code: str, at: int | None = None) -> dict[str, Any]:
        """The whole reply to TAB, at the end of the code or at an offset."""
        reply = self.client.complete(code, at, reply=True, timeout=PATIENCE)
        content: dict[str, Any] = reply["content"]
        return content

    def inspect(self, code: str, at: int | None = None) -> str:
        """What Shift-Tab shows as plain text, "" if nothing was found."""
        content = self.client.inspect(code, at, reply=True, timeout=PATIENCE)["content"]
        assert content["status"] == "ok", content
        return str(content["data"]["text/plain"]) if content["found"] else ""

    def interrupt(self) -> None:
        """As the stop button."""
        self.manager.interrupt_kernel()

    def restart(self) -> None:
        """As the restart button: a fresh kernel on the same connection."""
        self.manager.restart_kernel()
        self.client.wait_for_ready(timeout=PATIENCE)

    def stop(self) -> None:
        """Shut down and forget."""
        self.client.stop_channels()
        self.manager.shutdown_kernel()
        self.manager.cleanup_resources()

    def family(self) -> set[int]:
        """Every process below the kernel, however deep, and whatever else carries its token; not the kernel itself."""
        table = parents()
        found = {pid for pid in table if _carries(pid, self._mark)}
        todo = [self.pid]
        while todo:
            parent = todo.pop()
            below = {pid for pid, of in table.items() if of == parent} - found
            found |= below
            todo.extend(below)
        return {pid for pid in found - {self.pid} if alive(pid)}

    def runs(self, words: str) -> bool:
        """Whether a process of the kernel's has these words in its command line."""
        return any(words in " ".join(command_line(pid)) for pid in self.family())


def all_gone(family: set[int]) -> None:
    """Wait until none of these processes is left."""

    def gone() -> bool:
        left = [f"{pid} {' '.join(command_line(pid))}" for pid in sorted(family) if alive(pid)]
        assert not left, "; ".join(left)
        return True

    eventually(gone, timeout=20)


def _carries(pid: int, mark: str) -> bool:
    try:
        return mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


@contextmanager
def kernel_in(folder: Path, *, arguments: tuple[str, ...] = (), **env: str) -> Iterator[Kernel]:
    """A kernel for the block."""
    kernel = Kernel(folder, arguments=arguments, **env)
    try:
        yield kernel
    finally:
        kernel.stop()
