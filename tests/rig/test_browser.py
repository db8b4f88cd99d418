"""The rig's browser and JupyterLab: a page opens, a notebook runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.support.jupyter import JupyterServer
    from tests.support.lab import LabPage

pytestmark = pytest.mark.browser


def test_the_browser_opens_a_page(chromium: Browser) -> None:
    page = chromium.new_page()
    page.goto("data:text/html,<title>here</title>")
    assert page.title() == "here"
    page.close()


def test_jupyterlab_serves(jupyter_server: JupyterServer) -> None:
    assert jupyter_server.request("/api/status")["kernels"] == 0


def test_a_notebook_runs_in_the_browser(jupyter_server: JupyterServer, lab_page: LabPage) -> None:
    jupyter_server.write_notebook("rig.ipynb", "print(6 * 7)", "print('after')")
    lab_page.open("rig.ipynb")
    lab_page.run(0)
    assert lab_page.output(0).inner_text().strip() == "42"
    lab_page.run_all()
    lab_page.wait_finished(1)
    assert lab_page.output(1).inner_text().strip() == "after"
    assert lab_page.errors == []
