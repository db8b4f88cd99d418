"""The notebook about Kubernetes in a real JupyterLab, on a real cluster: what a reader sees."""

from __future__ import annotations

import os
import shutil

import pytest
from playwright.sync_api import expect

from tests.support.cluster import KubernetesCluster
from tests.support.lab import LabPage
from tools.notebooks import KUBERNETES, NOTEBOOKS

pytestmark = [pytest.mark.browser, pytest.mark.kubernetes, pytest.mark.timeout(300)]

_EXECUTE = """code => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
    .requestExecute({ code, silent: true }).done"""


def cell(beginning: str) -> int:
    """The number of the cell that begins so."""
    return next(index for index, (_, text) in enumerate(KUBERNETES) if text.strip().startswith(beginning))


def test_a_reader_sees_the_pod_and_the_change(lab_page: LabPage, cluster: KubernetesCluster) -> None:
    lab = lab_page
    shutil.copytree(NOTEBOOKS, lab.server.root, dirs_exist_ok=True)
    lab.page.set_viewport_size({"width": 1280, "height": 1040})
    lab.open("kubernetes.ipynb")
    variables = {name: os.environ[name] for name in cluster.env} | {"IPYTILT_ENGINE": "docker"}
    lab.page.evaluate(_EXECUTE, f"import os; os.environ.update({variables!r})")
    row = lab.page.locator(".it-row").filter(has=lab.page.get_by_role("button", name="hello", exact=True))
    try:
        for beginning in ("!kubectl", "%load_ext", "%%tiltfile", "%tilt wait", "from pathlib", "greeting = "):
            lab.run(cell(beginning), timeout=120)
        expect(lab.output(cell("greeting = "))).to_contain_text("Hello again, changed while running")
        expect(row.locator(".it-runtime")).to_contain_text("Running")
        expect(row.locator(".it-update")).to_contain_text("live update", timeout=10_000)
        lab.command("application:toggle-left-area")
        lab.cell(cell("%%tiltfile")).locator(".jp-InputPrompt").click()
        lab.screenshot("kubernetes")
        assert lab.errors == []
    finally:
        lab.run(cell("greeting.write_text"), timeout=120)
        expect(lab.output(cell("greeting.write_text"))).to_contain_text("Everything is down", timeout=60_000)
