"""The JupyterLab plug-in: built, loaded, and its panel opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.jupyter import ROOT

if TYPE_CHECKING:
    from tests.support.lab import LabPage

pytestmark = pytest.mark.browser


def test_the_side_panel_opens(lab_page: LabPage) -> None:
    if not (ROOT / "ipytilt" / "labextension" / "package.json").exists():
        pytest.skip("the labextension is not built: it takes node and npm")
    lab_page.open_lab()
    lab_page.page.locator('.lm-TabBar-tab[data-id="ipytilt-panel"]').click()
    panel = lab_page.page.locator("#ipytilt-panel")
    panel.wait_for(state="visible")
    assert "ipytilt" in panel.inner_text()
    lab_page.screenshot("side-panel")
    assert lab_page.errors == []
