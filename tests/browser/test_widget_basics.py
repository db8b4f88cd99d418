"""The widget in JupyterLab, fed by a fake session: what it shows, what its buttons do, what it never does."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.support.jupyter import JupyterServer
from tests.support.lab import LabPage

pytestmark = pytest.mark.browser

SHOW = "from tests.browser import fake\nshell = get_ipython()\ns = fake.shown(shell, shell.kernel)\ns.panel"
OVERFLOW = "element => element.scrollWidth - element.clientWidth"


def opened(lab_page: LabPage, *cells: str) -> LabPage:
    """A page with a notebook of the given cells, SHOW first and run."""
    lab_page.server.write_notebook("widget.ipynb", SHOW, *cells)
    lab_page.open("widget.ipynb")
    lab_page.run(0)
    expect(row(lab_page, "api")).to_be_visible(timeout=30_000)
    return lab_page


def row(lab_page: LabPage, name: str) -> Locator:
    return lab_page.page.locator(".it-row").filter(has=lab_page.page.get_by_role("button", name=name, exact=True))


def lines(lab_page: LabPage) -> Locator:
    return lab_page.page.locator(".it-log-line:visible .it-log-text")


def test_rows_say_what_happens_and_why(lab_page: LabPage) -> None:
    opened(lab_page)
    expect(row(lab_page, "api").locator(".it-update")).to_contain_text("live update 6 ms")
    expect(row(lab_page, "api").locator(".it-cause")).to_have_text("api/app.py")
    expect(row(lab_page, "api").locator(".it-runtime")).to_contain_text(re.compile(r"Running\s*6 m"))
    expect(row(lab_page, "web").locator(".it-update")).to_contain_text("Updating: build image 3/7")
    expect(row(lab_page, "migrate").locator(".it-note")).to_contain_text("waiting on resource: db")
    expect(row(lab_page, "codegen").locator(".it-note")).to_contain_text("2 changed, not applied: proto/api.proto")
    expect(row(lab_page, "worker").locator(".it-note")).to_contain_text("RUN pip install -r requirements.txt")
    expect(lab_page.page.locator(".it-summary")).to_have_text("2 failing1 with warnings1 updating1 pending2 ok")
    row(lab_page, "worker").get_by_role("button", name="worker", exact=True).press("Enter")
    details = row(lab_page, "worker").locator(".it-details")
    expect(details.locator("pre")).to_contain_text("celery==99")
    expect(details).to_contain_text("Tiltfile:31")
    assert lab_page.errors == []


def test_buttons_are_possible_when_the_kernel_says_so_and_show_what_was_sent(lab_page: LabPage) -> None:
    opened(lab_page, "print(s.commands)")
    stop = row(lab_page, "api").locator(".it-stop")
    expect(stop).to_have_attribute("aria-disabled", "true")
    expect(stop).to_have_attribute("title", "Nothing to stop")
    stop.click(force=True)
    row(lab_page, "web").locator(".it-stop").click()
    row(lab_page, "api").locator(".it-trigger").press("Enter")
    expect(lab_page.page.locator("[aria-busy]")).to_have_count(0)
    row(lab_page, "loadtest").get_by_role("button", name="loadtest", exact=True).click()
    row(lab_page, "loadtest").get_by_role("button", name="Enable", exact=True).click()
    lab_page.run(1)
    said = lab_page.output(1).inner_text()
    assert re.findall(r"(\w+)\(id='\w+', resource='(\w+)'\)", said) == [
        ("StopUpdate", "web"),
        ("Trigger", "api"),
        ("Enable", "loadtest"),
    ]


def test_a_refused_command_says_why(lab_page: LabPage) -> None:
    opened(lab_page)
    row(lab_page, "db").locator(".it-trigger").click()
    notice = lab_page.page.locator(".it-notice")
    expect(notice).to_contain_text("trigger db: db is switched off")
    notice.get_by_role("button", name="Dismiss").click()
    expect(notice).to_have_count(0)


def test_a_path_is_explained(lab_page: LabPage) -> None:
    opened(lab_page)
    path = lab_page.page.get_by_label("Path")
    path.fill("api/app.py")
    path.press("Enter")
    expect(lab_page.page.locator(".it-answer")).to_contain_text("sync at Tiltfile:12")
    path.fill("missing")
    path.press("Enter")
    expect(lab_page.page.locator(".it-answer")).to_contain_text("Try: name a file below a build context")


def test_the_log_can_be_narrowed_by_resource_level_and_text(lab_page: LabPage) -> None:
    opened(lab_page)
    expect(lines(lab_page)).to_have_count(11)
    lab_page.page.get_by_role("tab", name="web").click()
    expect(lines(lab_page)).to_have_count(3)
    lab_page.page.keyboard.press("ArrowLeft")
    expect(lines(lab_page)).to_have_text([re.compile("Uvicorn"), re.compile("live update")])
    row(lab_page, "worker").locator(".it-log").click()
    lab_page.page.get_by_role("tab", name="All").click()
    lab_page.page.get_by_label("Level").select_option("Errors")
    expect(lines(lab_page)).to_have_count(4)
    search = lab_page.page.get_by_label("Filter log lines")
    search.fill("/exited .* 137$/")
    expect(lines(lab_page)).to_have_text(["Container exited with 137"])
    search.fill("no such thing (")
    expect(lab_page.page.locator(".it-logbody .it-empty")).to_have_text("No line matches")


def test_changes_reach_the_page_as_patches(lab_page: LabPage) -> None:
    opened(
        lab_page,
        "from ipytilt.views.wire import *\n"
        "s.change('api', update=UpdateView('error', 'Update error'), error='exit status 2')",
        "s.store.publish(SessionView(tiltfile=TiltfileView('error', 'Tiltfile error', fake.CARET_BLOCK)))",
    )
    lab_page.run(1)
    expect(row(lab_page, "api")).to_have_attribute("data-status", "error")
    expect(row(lab_page, "api").locator(".it-note")).to_have_text("exit status 2")
    lab_page.run(2)
    expect(lab_page.page.locator(".it-row")).to_have_count(0)
    banner = lab_page.page.locator(".it-banner pre")
    expect(banner).to_contain_text("did you mean docker_build?")
    assert "mono" in banner.evaluate("element => getComputedStyle(element).fontFamily").lower()


EVIL = """
from ipytilt.views.wire import *
evil = '<img src=x onerror="window.broken=1"><script>window.broken=1</script>'
kinds = InputView(evil, 'text', evil, evil, (), evil), InputView('c', 'choice', evil, evil, (evil,))
button = ButtonView(evil, evil, inputs=kinds, problem=evil)
s.store.publish(SessionView(
    engine=EngineView(evil, ok=False, problem=evil), tiltfile=TiltfileView('error', evil, evil), problem=evil,
    buttons=(button,),
    rows=(RowView(evil, evil, labels=(evil,), update=UpdateView('error', evil, 1.0), runtime=RuntimeView('ok', evil),
        waiting=WaitingView(evil, evil, (evil,)), last=LastUpdateView(evil, (evil,), 'command', 1.0, evil, evil),
        pending=(evil,), error=evil, trigger_tip=evil, buttons=(button,),
        endpoints=(EndpointView('javascript:window.broken=1', 'one'), EndpointView(evil, 'two'),
                   EndpointView('data:text/html,x', 'three'), EndpointView('https://example.org/?a=b', evil, evil)),
        pod=PodView(evil, evil)),)))
s.logs.append(evil, evil, level='error')
fake.explain = lambda path: evil
s.panel._pump._explain = lambda path: evil
"""


POD = """
from ipytilt.views.wire import *
ports = EndpointView('http://localhost:8000/', '', 'Address already in use'), EndpointView('http://localhost:9000/')
s.store.publish(SessionView(rows=(RowView('web', 'kubernetes', pod=PodView('web-1', 'Running', 2), endpoints=ports),)))
"""


def test_pods_and_forwarded_ports_are_shown_with_what_is_wrong(lab_page: LabPage) -> None:
    opened(lab_page, POD)
    lab_page.run(1)
    web = row(lab_page, "web")
    expect(web.locator(".it-links a")).to_have_text([":8000", ":9000"])
    expect(web.locator("a.it-lost")).to_have_attribute("title", re.compile("Address already in use"))
    expect(web.locator(".it-note")).to_have_text("http://localhost:8000/ Address already in use")
    web.locator(".it-name").click()
    expect(web.locator(".it-details")).to_contain_text("web-1 · Running · restarts: 2")


def test_text_from_outside_never_becomes_markup(lab_page: LabPage) -> None:
    opened(lab_page, EVIL)
    lab_page.run(1)
    panel = lab_page.page.locator(".ipytilt")
    expect(panel.locator(".it-row")).to_have_count(1)
    panel.locator(".it-name").click()
    for button in panel.locator(".it-pressbar button").all():
        button.click()
    expect(panel.locator(".it-form:visible")).to_have_count(2)
    expect(panel.locator(".it-press-problem").first).to_contain_text("<img src=x")
    panel.get_by_label("Path").fill("x")
    panel.get_by_label("Path").press("Enter")
    expect(panel.locator(".it-answer")).to_contain_text("<script>")
    expect(lines(lab_page).last).to_contain_text("<img src=x")
    expect(panel.locator("img, script, iframe")).to_have_count(0)
    expect(panel.locator("a")).to_have_count(1)
    expect(panel.locator("a")).to_have_attribute("href", "https://example.org/?a=b")
    assert lab_page.page.evaluate("window.broken") is None


@pytest.mark.parametrize("width", [1280, 760, 520])
def test_nothing_is_wider_than_the_notebook(lab_page: LabPage, width: int) -> None:
    lab_page.page.set_viewport_size({"width": width, "height": 900})
    opened(lab_page)
    assert lab_page.page.locator(".ipytilt").evaluate(OVERFLOW) <= 0
    assert lab_page.page.locator(".jp-Cell-outputArea").first.evaluate(OVERFLOW) <= 0


def test_both_themes_as_pictures(lab_page: LabPage) -> None:
    opened(lab_page)
    for theme in ("Dark", "Light"):  # the server keeps the last one for the tests to come
        lab_page.page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {theme}"
        )
        expect(lab_page.page.locator("body")).to_have_attribute("data-jp-theme-light", str(theme == "Light").lower())
        expect(lines(lab_page)).to_have_count(11)
        assert lab_page.screenshot(f"widget-{theme.lower()}").stat().st_size > 10_000


def test_the_keyboard_reaches_every_control(lab_page: LabPage) -> None:
    opened(lab_page)
    lab_page.page.locator(".it-name").first.focus()
    reached = set()
    for _ in range(60):
        reached.add(
            lab_page.page.evaluate(
                "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
            )
        )
        lab_page.page.keyboard.press("Tab")
    assert {"api", "Log of api", ":8000", "Path", "Explain", "All", "Level", "Filter log lines"} <= reached
    assert {"Trigger api: Trigger update", "Stop api: Nothing to stop", "Stop web: Stop update"} <= reached


def test_typing_in_the_panel_does_not_move_the_notebook(lab_page: LabPage, jupyter_server: JupyterServer) -> None:
    opened(lab_page, "1")
    lab_page.page.get_by_label("Filter log lines").press_sequentially("abx")
    lab_page.page.get_by_label("Path").press_sequentially("ddx")
    expect(lab_page.page.locator(".jp-Notebook .jp-Cell")).to_have_count(2)
    expect(lab_page.page.get_by_label("Path")).to_have_value("ddx")
