"""JupyterLab in a browser, as a user drives it.

Used on the test's thread. Results are awaited by prompt or content, never by kernel status: a kernel says idle while
a cell runs as soon as it has answered anything else.
"""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Error, Locator, Page, Request, expect

from tests.support.jupyter import ROOT, JupyterServer

ARTIFACTS = ROOT / "test-artifacts"
_READY = """async () => {
    const appears = async find => {
        while (!find()) await new Promise(later => setTimeout(later, 20));
        return find();
    };
    const ready = async () => {
        const panel = await appears(() => {
            const widget = window.jupyterapp?.shell.currentWidget;
            return widget?.sessionContext && widget;
        });
        await panel.context.ready;
        await panel.sessionContext.ready;
        const kernel = await appears(() => panel.sessionContext.session?.kernel);
        await kernel.info;
    };
    const late = new Promise((_, fail) => setTimeout(() => fail(new Error("no kernel after 60 s")), 60000));
    await Promise.race([ready(), late]);
}"""
_ATTACH = "id => window.jupyterapp.shell.currentWidget.sessionContext.changeKernel({ id })"
_NETWORK_CHANGED = "ERR_NETWORK_CHANGED"
_LOADS = 4
_CELLS = ".jp-NotebookPanel:visible .jp-Notebook .jp-Cell"


class LabPage:
    """One page of JupyterLab. ``errors`` collects what the page wrote to the console as errors.

    That requests failed because a network of Docker came or went is not the page's error.
    """

    def __init__(self, page: Page, server: JupyterServer) -> None:
        self.page = page
        self.server = server
        self.errors: list[str] = []
        self._dropped = False
        page.on("console", self._note)
        page.on("requestfailed", self._note_failure)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, notebook: str) -> None:
        """Open a notebook (path below the server's root) in a fresh workspace; return when its kernel is ready."""
        workspace = uuid.uuid4().hex
        self._load(f"{self.server.url}/lab/workspaces/{workspace}/tree/{notebook}", _CELLS)
        self.page.evaluate(_READY)

    def open_lab(self) -> None:
        """Open JupyterLab without a document."""
        self._load(f"{self.server.url}/lab/workspaces/{uuid.uuid4().hex}", "#jp-main-dock-panel")

    def _load(self, address: str, selector: str) -> None:
        """Go there, again if the browser dropped requests because Docker added or removed a network meanwhile."""
        for _ in range(_LOADS):
            self._dropped = False
            self.errors.clear()
            try:
                self.page.goto(f"{address}?token={self.server.token}&reset")
                self.page.wait_for_selector(selector, timeout=60_000)
            except Error as error:
                if _NETWORK_CHANGED not in error.message:
                    raise
            else:
                if not self._dropped:
                    return
        raise AssertionError(f"{_LOADS} times, requests were dropped")

    def kernel(self) -> str:
        """Return the id of the notebook's kernel."""
        return str(self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.id"))

    def attach(self, kernel: str) -> None:
        """Return when the notebook has this kernel; after a reload JupyterLab may have started a new one for it."""
        self.page.evaluate(_READY)
        if self.kernel() != kernel:
            self.page.evaluate(_ATTACH, kernel)
            self.page.evaluate(_READY)

    def cell(self, index: int) -> Locator:
        """Return cell ``index``, counted from 0 over all cells."""
        return self.page.locator(_CELLS).nth(index)

    def start(self, index: int) -> Locator:
        """Run cell ``index`` without waiting for its end; return it."""
        cell = self.cell(index)
        cell.locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Control+Enter")
        return cell

    def run(self, index: int, timeout: float = 60) -> Locator:
        """Run cell ``index`` and return it when it has ended, within ``timeout`` seconds."""
        cell = self.start(index)
        self.wait_finished(index, timeout)
        return cell

    def run_all(self) -> None:
        """Start all cells."""
        self.command("notebook:run-all-cells")

    def wait_finished(self, index: int, timeout: float = 60) -> None:
        """Return when cell ``index`` shows its execution number."""
        expect(self.cell(index).locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]"), timeout=timeout * 1000)

    def output(self, index: int) -> Locator:
        """Return the output area of cell ``index``."""
        return self.cell(index).locator(".jp-Cell-outputArea")

    def command(self, name: str) -> None:
        """Execute a JupyterLab command, such as ``docmanager:save``."""
        self.page.evaluate("name => window.jupyterapp.commands.execute(name)", name)

    def screenshot(self, name: str) -> Path:
        """Keep a picture of the page as ``test-artifacts/NAME.png``; return its path."""
        ARTIFACTS.mkdir(exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error" and _NETWORK_CHANGED not in message.text:
            self.errors.append(message.text)

    def _note_failure(self, request: Request) -> None:
        self._dropped = self._dropped or _NETWORK_CHANGED in (request.failure or "")
