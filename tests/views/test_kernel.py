"""The transport in a real kernel, without a browser: a command gets through while a cell is busy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.support import eventually
from tests.support.jupyter import ROOT

SETUP = """
from tests.browser import fake
session = fake.shown(get_ipython(), get_ipython().kernel)
"""


class Kernel:
    """A running kernel with the fake session in it."""

    def __init__(self) -> None:
        self.manager = KernelManager()
        self.manager.start_kernel(env={**os.environ, "PYTHONPATH": str(ROOT)})
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.run(SETUP)

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel()
        self.manager.cleanup_resources()

    def run(self, code: str) -> str:
        """Run code and return what it printed."""
        output: list[str] = []

        def note(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                output.append(message["content"]["text"])

        reply = self.client.execute_interactive(code, timeout=60, output_hook=note)
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(output).strip()

    def request(self, content: object) -> dict[str, Any]:
        """Send a control request and return the content of its reply."""
        message = self.client.session.msg("ipytilt_request", content)
        self.client.control_channel.send(message)
        reply = self.client.control_channel.get_msg(timeout=30)
        assert reply["msg_type"] == "ipytilt_reply"
        return dict(reply["content"])


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.stop()


def test_a_control_request_is_answered_while_a_cell_runs(kernel: Kernel, tmp_path_factory: Any) -> None:
    gate = tmp_path_factory.mktemp("gate") / "open"
    busy = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    cell = kernel.client.execute(busy)
    reply = kernel.request({"do": "trigger", "id": "k1", "resource": "api"})
    gate.touch()
    assert reply == {"ok": True}
    assert kernel.client.get_shell_msg(timeout=30)["parent_header"]["msg_id"] == cell
    assert kernel.run("print(session.commands)") == "[Trigger(id='k1', resource='api')]"


def test_junk_is_answered_with_what_is_wrong(kernel: Kernel) -> None:
    assert kernel.request({"do": "dance"})["problem"].startswith("Unknown command 'dance'")


def test_patches_go_out_while_a_cell_runs(kernel: Kernel, tmp_path_factory: Any) -> None:
    gate = tmp_path_factory.mktemp("gate") / "open"
    kernel.client.execute(f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)")
    kernel.request({"do": "trigger", "id": "k2", "resource": "web"})

    def patch() -> bool:
        message = kernel.client.get_iopub_msg(timeout=30)
        content = message["content"].get("data", {}).get("content", {}) if message["msg_type"] == "comm_msg" else {}
        return bool(content.get("kind") == "patch" and "k2" in content["patch"]["fields"]["handled"])

    eventually(patch, timeout=30)
    gate.touch()
    kernel.client.get_shell_msg(timeout=30)


@pytest.mark.parametrize(
    "code, left",
    [
        ("print(sorted(w.comm.target_name for w in widgets.values()))", "[]"),
        ("print('ipytilt_request' in get_ipython().kernel.control_handlers)", "False"),
        ("print('ipytilt.cmd' in get_ipython().kernel.comm_manager.targets)", "False"),
        ("print([t.name for t in threading.enumerate() if t.name.startswith('ipytilt')])", "[]"),
    ],
)
def test_nothing_is_left_after_closing(kernel: Kernel, code: str, left: str) -> None:
    kernel.run("import threading\nfrom ipywidgets.widgets.widget import _instances as widgets\nsession.close()")
    assert kernel.run(code) == left
