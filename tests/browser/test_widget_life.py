"""The widget through a kernel's life: busy, reloaded, twice on screen, flooded, restarted, read without a kernel."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_widget_basics import SHOW, lines, opened, row
from tests.support import eventually
from tests.support.jupyter import JupyterServer
from tests.support.lab import LabPage

pytestmark = pytest.mark.browser


def waiting_for(gate: Path) -> str:
    """A cell that runs until `gate` exists."""
    return f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.02)"


def running(lab_page: LabPage, index: int) -> None:
    """Run a cell that will not end by itself, and see that it runs."""
    lab_page.start(index)
    expect(lab_page.cell(index).locator(".jp-InputPrompt")).to_have_text("[*]:")


def ready(page: Page) -> None:
    page.wait_for_selector(".jp-NotebookPanel:visible .jp-Cell", timeout=60_000)


def saved(lab_page: LabPage) -> list[dict[str, object]]:
    """The outputs of the first cell in the notebook's file, once there are any."""
    lab_page.command("docmanager:save")
    path = lab_page.server.root / "widget.ipynb"
    return eventually(lambda: list(json.loads(path.read_text())["cells"][0]["outputs"]))


def test_a_click_gets_through_while_a_cell_is_busy(lab_page: LabPage, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    opened(lab_page, waiting_for(gate), "print(s.commands)")
    running(lab_page, 1)
    trigger = row(lab_page, "api").locator(".it-trigger")
    trigger.click()
    expect(trigger).not_to_have_attribute("aria-busy", "true")
    lab_page.page.get_by_label("Path").fill("api/app.py")
    lab_page.page.get_by_label("Path").press("Enter")
    expect(lab_page.page.locator(".it-answer")).to_contain_text("sync at Tiltfile:12")
    expect(lab_page.cell(1).locator(".jp-InputPrompt")).to_have_text("[*]:")
    gate.touch()
    lab_page.wait_finished(1)
    lab_page.run(2)
    assert "Trigger(" in lab_page.output(2).inner_text()


def test_after_a_reload_the_panel_is_there_again_and_current(lab_page: LabPage) -> None:
    opened(lab_page, "s.change('api', error='after the reload')")
    saved(lab_page)
    lab_page.page.reload()
    ready(lab_page.page)
    expect(row(lab_page, "api")).to_be_visible(timeout=30_000)
    expect(lines(lab_page)).to_have_count(11)
    lab_page.run(1)
    expect(row(lab_page, "api").locator(".it-note")).to_have_text("after the reload")
    row(lab_page, "api").locator(".it-trigger").click()
    expect(lab_page.page.locator("[aria-busy]")).to_have_count(0)
    expect(lab_page.page.locator(".ipytilt-static")).to_be_hidden()


def test_after_a_reload_while_a_cell_is_busy_the_table_shows_until_the_panel_is_back(
    lab_page: LabPage, tmp_path: Path
) -> None:
    gate = tmp_path / "open"
    opened(lab_page, waiting_for(gate))
    saved(lab_page)
    running(lab_page, 1)
    lab_page.page.reload()
    ready(lab_page.page)
    expect(lab_page.page.locator(".ipytilt-static")).to_be_visible(timeout=30_000)
    expect(lab_page.page.locator(".ipytilt")).to_have_count(0)
    gate.touch()
    expect(row(lab_page, "api")).to_be_visible(timeout=30_000)
    expect(lab_page.page.locator(".ipytilt-static")).to_be_hidden()
    row(lab_page, "api").locator(".it-trigger").click()
    expect(lab_page.page.locator("[aria-busy]")).to_have_count(0)


def test_two_displays_of_one_panel_show_the_same_and_scroll_apart(lab_page: LabPage) -> None:
    opened(lab_page, "s.panel", "s.change('api', error='seen twice')")
    lab_page.run(1)
    expect(lab_page.page.locator(".ipytilt")).to_have_count(2)
    lab_page.run(2)
    notes = lab_page.page.locator(".it-row .it-note", has_text="seen twice")
    expect(notes).to_have_count(2)
    lab_page.output(1).get_by_role("tab", name="web").click()
    expect(lab_page.output(1).locator(".it-log-line:visible")).to_have_count(3)
    lab_page.output(0).scroll_into_view_if_needed()
    expect(lab_page.output(0).get_by_role("tab", name="All")).to_have_attribute("aria-selected", "true")
    expect(lab_page.output(0).locator(".it-log-line:visible")).to_have_count(11)


FLOOD = "for n in range(50_000): s.logs.append('api', f'line {n} ' + 'x' * 110)"


def test_fifty_thousand_lines_are_all_there_and_few_in_the_page(lab_page: LabPage) -> None:
    opened(lab_page, FLOOD)
    lab_page.run(1)
    expect(lines(lab_page).last).to_contain_text("line 49999 ")
    assert lab_page.page.locator(".it-log-line").count() < 40
    scroller = lab_page.page.locator(".it-scroller")
    scroller.evaluate("element => { element.scrollTop = 0; }")

    def at_the_oldest() -> bool:
        """The ring has let go of the lines before."""
        return any(
            30_000 < int(number) < 45_000 for number in re.findall(r"^line (\d+) x", lines(lab_page).first.inner_text())
        )

    eventually(at_the_oldest)
    lab_page.page.get_by_label("Filter log lines").fill("line 45123 ")
    expect(lines(lab_page)).to_have_count(1)
    lab_page.page.get_by_label("Filter log lines").fill("")
    expect(lines(lab_page).last).to_contain_text("line 49999 ")
    assert lab_page.errors == []


def test_reading_up_in_the_log_is_not_disturbed_by_new_lines(lab_page: LabPage) -> None:
    opened(
        lab_page,
        "for n in range(2_000): s.logs.append('api', f'line {n}')",
        "for n in range(2_000, 2_500): s.logs.append('api', f'line {n}')",
    )
    lab_page.run(1)
    expect(lines(lab_page).last).to_have_text("line 1999")
    scroller = lab_page.page.locator(".it-scroller")
    scroller.evaluate("element => { element.scrollTop = 18000; }")
    newest = lab_page.page.get_by_role("button", name="↓ Newest")
    expect(newest).to_be_visible()
    expect(lines(lab_page).first).to_have_text(re.compile(r"line \d+"))
    before = lines(lab_page).first.inner_text()
    lab_page.run(2)
    height = "element => element.firstChild.getBoundingClientRect().height"
    eventually(lambda: scroller.evaluate(height) == 2_511 * 18)
    assert lines(lab_page).first.inner_text() == before
    newest.click()
    expect(lines(lab_page).last).to_have_text("line 2499")


def test_a_restarted_kernel_leaves_a_panel_that_says_so(lab_page: LabPage) -> None:
    opened(lab_page)
    lab_page.page.evaluate(
        "async () => { await window.jupyterapp.shell.currentWidget.sessionContext.restartKernel(); }"
    )
    expect(lab_page.page.locator(".it-stale")).to_contain_text("The kernel was restarted: this is the state of")
    expect(row(lab_page, "api").locator(".it-trigger")).to_have_attribute("aria-disabled", "true")
    lab_page.run(0)
    expect(lab_page.page.locator(".ipytilt")).to_have_count(1)
    expect(lab_page.page.locator(".it-stale")).to_be_hidden()


@pytest.mark.slow
def test_commands_find_another_way_where_control_requests_are_not_known(lab_page: LabPage) -> None:
    opened(lab_page, "shell.kernel.control_handlers.pop('ipytilt_request')", "s.panel", "print(len(s.commands))")
    lab_page.run(1)
    kernel = lab_page.kernel()
    lab_page.page.reload()
    ready(lab_page.page)
    lab_page.attach(kernel)
    lab_page.run(2)
    trigger = lab_page.output(2).locator(".it-row").first.locator(".it-trigger")
    trigger.click()
    expect(trigger).to_have_attribute("aria-busy", "true")
    expect(trigger).not_to_have_attribute("aria-busy", "true", timeout=30_000)
    lab_page.run(3)
    expect(lab_page.output(3)).to_have_text("1")


def test_two_tabs_show_the_same_session(lab_page: LabPage) -> None:
    opened(lab_page, "s.change('api', error='in both tabs')")
    saved(lab_page)
    other = LabPage(lab_page.page.context.new_page(), lab_page.server)
    other.open("widget.ipynb")
    expect(row(other, "api")).to_be_visible(timeout=30_000)
    lab_page.page.bring_to_front()
    lab_page.run(1)
    expect(row(lab_page, "api").locator(".it-note")).to_have_text("in both tabs")
    other.page.bring_to_front()
    expect(row(other, "api").locator(".it-note")).to_have_text("in both tabs")
    row(other, "api").locator(".it-trigger").click()
    expect(other.page.locator("[aria-busy]")).to_have_count(0)


def test_closing_leaves_the_static_table(lab_page: LabPage) -> None:
    opened(lab_page, "s.change('api', error='the last word')\ns.close()")
    lab_page.run(1)
    expect(lab_page.page.locator(".ipytilt")).to_have_count(0)
    expect(lab_page.page.locator(".ipytilt-static")).to_be_visible()
    expect(lab_page.page.locator(".ipytilt-static")).to_contain_text("the last word")


def test_a_saved_notebook_without_its_kernel_shows_the_static_table(
    lab_page: LabPage, jupyter_server: JupyterServer
) -> None:
    opened(lab_page)
    outputs = saved(lab_page)
    assert [sorted(output["data"]) for output in outputs] == [  # type: ignore[call-overload]
        ["application/vnd.jupyter.widget-view+json"],
        ["text/html", "text/plain"],
    ]
    assert len((jupyter_server.root / "widget.ipynb").read_bytes()) < 20_000
    jupyter_server.end_sessions()
    lab_page.open("widget.ipynb")
    table = lab_page.page.locator(".ipytilt-static")
    expect(table).to_be_visible()
    expect(table).to_contain_text("live update 6 ms · 1 file changed · api/app.py")
    expect(table).to_contain_text("Container exited with 137")
    expect(lab_page.page.get_by_text("Error displaying widget: model not found")).to_be_attached(timeout=30_000)
    expect(lab_page.page.get_by_text("Error displaying widget: model not found")).to_be_hidden()
    lab_page.screenshot("widget-saved")


@pytest.mark.slow
def test_a_panel_saved_with_the_notebook_knows_that_it_is_old(lab_page: LabPage, jupyter_server: JupyterServer) -> None:
    opened(lab_page)
    lab_page.command("@jupyter-widgets/jupyterlab-manager:saveWidgetState")
    saved(lab_page)
    eventually(lambda: "widgets" in json.loads((jupyter_server.root / "widget.ipynb").read_text())["metadata"])
    jupyter_server.end_sessions()
    lab_page.open("widget.ipynb")
    expect(row(lab_page, "api")).to_be_visible(timeout=30_000)
    expect(lab_page.page.locator(".it-stale")).to_contain_text("this is the state of", timeout=30_000)
    expect(row(lab_page, "api").locator(".it-trigger")).to_have_attribute("aria-disabled", "true")


def test_a_notebook_of_somebody_else_shows_the_static_table(lab_page: LabPage, jupyter_server: JupyterServer) -> None:
    opened(lab_page)
    saved(lab_page)
    jupyter_server.end_sessions()
    theirs = json.loads((jupyter_server.root / "widget.ipynb").read_text())
    theirs["cells"][0]["source"] = SHOW + "\n# changed elsewhere, so that no signature fits"
    (jupyter_server.root / "theirs.ipynb").write_text(json.dumps(theirs))
    lab_page.open("theirs.ipynb")
    expect(lab_page.page.locator(".ipytilt-static")).to_be_visible()
    expect(lab_page.page.locator(".ipytilt-static table")).to_contain_text("waiting on resource: db")
    lab_page.screenshot("widget-untrusted")
