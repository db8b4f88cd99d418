"""The Tiltfile's buttons in JupyterLab: how they look, what they ask for, and that a press runs the command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.test_widget_basics import OVERFLOW, row
from tests.support import eventually
from tests.support.lab import LabPage

pytestmark = pytest.mark.browser

SHOW = """import time
from tests.browser import fake
shell = get_ipython()
s = fake.shown(shell, shell.kernel, fake.with_buttons(fake.demo(time.time())))
s.panel"""

TILTFILE = """%%tiltfile
load('ext://uibutton', 'cmd_button', 'location', 'text_input', 'bool_input', 'choice_input', 'hidden_input')
local_resource('api', 'true')
cmd_button('seed', 'api', ['sh', '-c', 'echo "$ROWS $FORCE $SIZE $KEY" > seeded'], text='Seed', inputs=[
    text_input('ROWS', 'Rows', default='10'),
    bool_input('FORCE', 'Force', true_string='yes', false_string='no'),
    choice_input('SIZE', 'Size', ['small', 'big']),
    hidden_input('KEY', 'kept'),
])
cmd_button('check', 'api', ['sh', '-c', 'until test -e go; do sleep 0.05; done; exit 3'], text='Check')
cmd_button('prune', argv=['touch', 'pruned'], location=location.NAV, requires_confirmation=True, text='Prune')
"""


def opened(lab_page: LabPage, *cells: str) -> LabPage:
    """A notebook with a panel of buttons in all their states, and these cells below."""
    lab_page.server.write_notebook("buttons.ipynb", SHOW, *cells)
    lab_page.open("buttons.ipynb")
    lab_page.run(0)
    expect(row(lab_page, "api")).to_be_visible(timeout=30_000)
    return lab_page


def head(lab_page: LabPage) -> Locator:
    return lab_page.page.locator(".it-header")


def press(place: Locator, name: str) -> Locator:
    return place.get_by_role("button", name=name, exact=True)


def form(place: Locator) -> Locator:
    """The one that is open."""
    return place.locator(".it-form:visible")


def test_buttons_stand_in_the_head_and_beside_their_resource(lab_page: LabPage) -> None:
    opened(lab_page)
    expect(head(lab_page).locator(".it-press:visible")).to_have_text(["Prune volumes", "Open the tunnel", "Not yet"])
    expect(press(head(lab_page), "Open the tunnel")).to_have_attribute("data-status", "in_progress")
    expect(press(head(lab_page), "Not yet")).to_have_attribute("aria-disabled", "true")
    api = row(lab_page, "api")
    expect(api.locator(".it-press:visible")).to_have_text(["Seed the database", "Reset", "Check"])
    expect(api.get_by_role("status")).to_contain_text(['Check: Command "make check" failed: exit status 2'])
    expect(row(lab_page, "web").locator(".it-presses")).to_be_hidden()
    assert lab_page.errors == []


def test_a_press_sends_what_was_asked_for_and_confirmed(lab_page: LabPage) -> None:
    opened(lab_page, "for one in s.commands: print(one.button, dict(one.values), one.confirmed)")
    api = row(lab_page, "api")
    press(head(lab_page), "Not yet").click(force=True)
    press(head(lab_page), "Prune volumes").click()
    press(head(lab_page), "Confirm?").press("Enter")
    press(api, "Seed the database").click()
    form(api).get_by_label("Rows").fill("12")
    form(api).get_by_label("Drop what is there").check()
    press(api, "Run").click()
    expect(form(api)).to_have_count(0)
    press(api, "Reset").click()
    form(api).get_by_label("Rows").press("Enter")
    press(api, "Confirm?").click()
    press(api, "Seed the database").click()
    expect(form(api).get_by_label("Rows")).to_have_value("12")
    form(api).get_by_label("Rows").press("Escape")
    expect(press(api, "Seed the database")).to_be_focused()
    expect(lab_page.page.locator("[aria-busy]")).to_have_count(0)
    lab_page.run(1)
    assert lab_page.output(1).inner_text().splitlines() == [
        "prune {} True",
        "seed {'ROWS': '12', 'FORCE': 'true'} True",
        "reset {} True",
    ]


def test_who_does_not_confirm_sends_nothing(lab_page: LabPage) -> None:
    opened(lab_page, "print(s.commands)")
    press(head(lab_page), "Prune volumes").click()
    expect(press(head(lab_page), "Confirm?")).to_be_visible()
    lab_page.page.get_by_label("Path").focus()
    expect(press(head(lab_page), "Prune volumes")).to_be_visible()
    lab_page.run(1)
    assert lab_page.output(1).inner_text().strip() == "[]"


def test_a_press_runs_its_command_while_a_cell_is_busy(lab_page: LabPage) -> None:
    root: Path = lab_page.server.root
    busy = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)"
    lab_page.server.write_notebook("buttons.ipynb", "%load_ext ipytilt", TILTFILE, busy)
    lab_page.open("buttons.ipynb")
    lab_page.run(0)
    lab_page.run(1)
    api = row(lab_page, "api")
    expect(press(api, "Check")).to_be_visible(timeout=30_000)
    lab_page.start(2)
    expect(lab_page.cell(2).locator(".jp-InputPrompt")).to_have_text("[*]:")
    press(api, "Seed").click()
    form(api).get_by_label("Force").check()
    form(api).get_by_label("Size").select_option("big")
    press(api, "Run").click()
    eventually(lambda: (root / "seeded").exists() and (root / "seeded").read_text() == "10 yes big kept\n")
    press(head(lab_page), "Prune").click()
    press(head(lab_page), "Confirm?").click()
    eventually((root / "pruned").exists)
    press(api, "Check").click()
    expect(press(api, "Check")).to_have_attribute("data-status", "in_progress", timeout=30_000)
    expect(lab_page.cell(2).locator(".jp-InputPrompt")).to_have_text("[*]:")
    (root / "go").touch()
    expect(api.locator(".it-press-problem:visible")).to_have_text(
        re.compile("^Check: Command .* failed: exit status 3$"), timeout=30_000
    )
    expect(press(api, "Check")).to_have_attribute("data-status", "error")


@pytest.mark.parametrize("width", [1280, 520])
def test_an_open_form_is_not_wider_than_the_notebook(lab_page: LabPage, width: int) -> None:
    lab_page.page.set_viewport_size({"width": width, "height": 900})
    opened(lab_page)
    press(row(lab_page, "api"), "Seed the database").click()
    expect(form(row(lab_page, "api"))).to_have_count(1)
    assert lab_page.page.locator(".ipytilt").evaluate(OVERFLOW) <= 0
    assert lab_page.page.locator(".jp-Cell-outputArea").first.evaluate(OVERFLOW) <= 0


def test_buttons_as_pictures_in_both_themes(lab_page: LabPage) -> None:
    opened(lab_page)
    press(row(lab_page, "api"), "Seed the database").click()
    press(head(lab_page), "Prune volumes").click()
    for theme in ("Dark", "Light"):  # the server keeps the last one for the tests to come
        lab_page.page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {theme}"
        )
        expect(lab_page.page.locator("body")).to_have_attribute("data-jp-theme-light", str(theme == "Light").lower())
        expect(lab_page.page.locator("#jupyterlab-splash")).to_have_count(0)
        assert lab_page.screenshot(f"buttons-{theme.lower()}").stat().st_size > 10_000
