"""A project that another session holds: the panel says whose it is, and has the button to take it over."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.test_widget_basics import row
from tests.support.lab import LabPage

pytestmark = pytest.mark.browser

TEXT = "Compose project shop is held by notebook a.ipynb (kernel 7) since noon"
SHOW = f"""import time
from dataclasses import replace
from ipytilt.views.wire import ClaimView
from tests.browser import fake
shell = get_ipython()
s = fake.shown(shell, shell.kernel, replace(fake.demo(time.time()), claims=(ClaimView('shop', {TEXT!r}),)))
s.panel"""


TOLD = """end = time.monotonic() + 20
while not s.commands and time.monotonic() < end: time.sleep(0.05)
print([type(c).__name__ for c in s.commands])"""


def test_the_panel_says_whose_the_project_is_and_takes_it_over(lab_page: LabPage) -> None:
    lab_page.server.write_notebook("held.ipynb", SHOW, TOLD)
    lab_page.open("held.ipynb")
    lab_page.run(0)
    expect(row(lab_page, "api")).to_be_visible(timeout=30_000)
    banner = lab_page.page.locator(".it-banner").filter(has_text="Held by another session")
    expect(banner).to_contain_text(TEXT)
    banner.get_by_role("button", name="Take over", exact=True).click()
    lab_page.run(1)
    expect(lab_page.output(1)).to_contain_text("TakeOver", timeout=30_000)
