"""Writing a Tiltfile cell in JupyterLab: what TAB puts in and offers, what Shift-Tab shows."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.support.lab import LabPage

pytestmark = pytest.mark.browser

CELL = "%%tiltfile\nos.path.jo"


def written(lab_page: LabPage) -> Locator:
    """A notebook with the extension loaded and a Tiltfile cell, whose editor has the cursor at its end."""
    lab_page.server.write_notebook("editing.ipynb", "%load_ext ipytilt", CELL)
    lab_page.open("editing.ipynb")
    lab_page.run(0)
    editor = lab_page.cell(1).locator(".jp-InputArea-editor")
    editor.click()
    lab_page.page.keyboard.press("Control+End")
    return editor


def test_tab_completes_and_shift_tab_explains(lab_page: LabPage) -> None:
    editor, page = written(lab_page), lab_page.page
    offered, tooltip = page.locator(".jp-Completer-item:visible"), page.locator(".jp-Tooltip")
    page.keyboard.press("Tab")
    expect(offered.filter(has_text="join")).to_be_visible(timeout=30_000)
    page.keyboard.press("Enter")
    expect(editor).to_contain_text("os.path.join")
    page.keyboard.type("('a')")
    page.keyboard.press("Enter")
    page.keyboard.type("docker_build('img', dockerfile")
    page.keyboard.press("Tab")
    expect(offered.filter(has_text="dockerfile_contents=")).to_be_visible(timeout=30_000)
    lab_page.screenshot("editing")
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Tab")
    expect(tooltip).to_contain_text("docker_build(ref, context,", timeout=30_000)
    expect(tooltip).to_contain_text("Build an image from a Dockerfile whenever")
