"""The quickstart in a real JupyterLab, on every engine: what a newcomer sees, clicks and breaks.

README's picture is the screenshot this takes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.support.lab import LabPage
from tools.notebooks import NOTEBOOKS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ENGINES = [
    pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.compose]),
    pytest.param("sandbox"),
]
TILTFILE, WAIT, PAGE, CHANGE, WHY = 3, 4, 6, 8, 10


_EXECUTE = """code => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
    .requestExecute({ code, silent: true }).done"""


@pytest.fixture(params=ENGINES)
def quickstart(request: pytest.FixtureRequest, lab_page: LabPage) -> Iterator[LabPage]:
    """JupyterLab on a fresh copy of the quickstart, its first cells run."""
    root = lab_page.server.root
    shutil.copytree(NOTEBOOKS, root, dirs_exist_ok=True)
    lab_page.page.set_viewport_size({"width": 1280, "height": 1040})
    lab_page.open("quickstart.ipynb")
    # The server may have been started before this test's Docker was known.
    variables = _variables(request.param)
    lab_page.page.evaluate(_EXECUTE, f"import os; os.environ.update({variables!r})")
    lab_page.run(1)
    lab_page.run(TILTFILE)
    lab_page.run(WAIT, timeout=120)
    try:
        expect(lab_page.output(WAIT)).to_contain_text("Ready: web, check")
        yield lab_page
    finally:
        if request.param == "docker":
            _remove_containers("quickstart")


def _variables(engine: str) -> dict[str, str]:
    return {"IPYTILT_ENGINE": engine, **{n: v for n, v in os.environ.items() if n.startswith("DOCKER_")}}


def _remove_containers(project: str) -> None:
    """A kernel that ends leaves containers running, as it should; they hold the port."""
    listed = ["docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={project}"]
    containers = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["docker", "rm", "-f", *containers], capture_output=True, check=False)


def row(page: LabPage, name: str) -> Locator:
    """A row of the panel."""
    return page.page.locator(".it-row").filter(has=page.page.get_by_role("button", name=name, exact=True))


def greet(page: LabPage, text: str) -> None:
    """Save the file as an editor does, from outside the kernel."""
    path: Path = page.server.root / "quickstart/web/greeting.txt"
    temporary = path.with_suffix(".tmp~")
    temporary.write_text(text + "\n")
    temporary.replace(path)


def test_a_newcomer_sees_the_change_and_why(quickstart: LabPage, request: pytest.FixtureRequest) -> None:
    lab = quickstart
    expect(row(lab, "web").locator(".it-runtime")).to_contain_text("Ready", timeout=30_000)
    lab.run(PAGE)
    expect(lab.output(PAGE)).to_contain_text("<h1>Hello from a container</h1>")
    lab.run(CHANGE)
    expect(lab.output(CHANGE)).to_contain_text("<h1>Hello again, changed while running</h1>")
    expect(row(lab, "web").locator(".it-update")).to_contain_text("live update", timeout=10_000)
    expect(row(lab, "web").locator(".it-cause")).to_contain_text("greeting.txt")
    lab.run(WHY)
    expect(lab.output(WHY)).to_contain_text("puts it at /app/greeting.txt")
    expect(lab.page.locator(".it-log-line:visible").first).to_be_visible()
    lab.command("application:toggle-left-area")
    lab.cell(TILTFILE).locator(".jp-InputPrompt").click()
    lab.cell(TILTFILE).locator(".it-log-line:visible .it-log-text", has_text="updated!").first.wait_for()
    lab.screenshot(f"quickstart-{request.node.callspec.params['quickstart']}")
    assert lab.errors == []


def test_a_file_saved_while_a_cell_is_busy_reaches_the_container_and_buttons_work(quickstart: LabPage) -> None:
    lab = quickstart
    lab.command("notebook:insert-cell-below")
    last = lab.cell(WAIT + 1)
    last.locator(".jp-InputArea-editor").click()
    lab.page.keyboard.insert_text("import time\nwhile True:\n    time.sleep(0.05)")
    lab.page.keyboard.press("Control+Enter")
    expect(last.locator(".jp-InputPrompt")).to_have_text("[*]:")
    greet(lab, "saved while busy")
    expect(row(lab, "web").locator(".it-update")).to_contain_text("live update", timeout=10_000)
    before = row(lab, "check").locator(".it-update").inner_text()
    row(lab, "check").locator(".it-trigger").click()
    expect(row(lab, "check").locator(".it-cause")).to_contain_text("Web Trigger", timeout=10_000)
    expect(last.locator(".jp-InputPrompt")).to_have_text("[*]:")
    assert before
    lab.page.evaluate("() => window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
    expect(last.locator(".jp-InputPrompt")).not_to_have_text("[*]:", timeout=10_000)


def test_a_mistake_in_the_tiltfile_shows_its_line_and_changes_nothing(quickstart: LabPage) -> None:
    lab = quickstart
    cell = lab.cell(TILTFILE)
    cell.locator(".jp-InputArea-editor").click()
    lab.page.keyboard.press("Control+End")
    lab.page.keyboard.insert_text("\nlocal_resource('x', cmds='true')")
    lab.run(TILTFILE)
    expect(lab.output(TILTFILE)).to_contain_text('unexpected keyword argument "cmds"')
    expect(lab.output(TILTFILE)).to_contain_text("^")
    expect(lab.output(TILTFILE)).not_to_contain_text("site-packages")
    greet(lab, "still in force")
    expect(row(lab, "web").locator(".it-update")).to_contain_text("live update", timeout=10_000)


def test_a_restarted_kernel_takes_over(quickstart: LabPage, request: pytest.FixtureRequest) -> None:
    lab = quickstart
    variables = _variables(request.node.callspec.params["quickstart"])
    lab.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    lab.page.evaluate(_EXECUTE, f"import os; os.environ.update({variables!r})")
    lab.run(1)
    lab.run(TILTFILE)
    lab.run(WAIT, timeout=120)
    greet(lab, "after the restart")
    expect(row(lab, "web").locator(".it-update").last).to_contain_text("live update", timeout=15_000)
