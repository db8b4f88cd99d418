"""Fixtures and options for all tests: what needs Docker, Compose, a cluster or a browser, and the check for leaks.

A test that needs something which is not here skips with a reason; ``--require docker,compose,browser,kubernetes`` (or
TILT_REQUIRE, or CI=true) turns such skips into failures. Everything runs on pytest's thread.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cluster import (
    CONTEXT_VARIABLE,
    KubernetesCluster,
    cluster_of_the_rig,
    kubeconfig_of,
    named_cluster,
)
from tests.support.jupyter import JupyterServer
from tests.support.leaks import no_leaks
from tools.rig import browser as rig_browser
from tools.rig import cluster as rig_cluster
from tools.rig import docker as rig_docker
from tools.rig import registry as rig_registry
from tools.rig.daemon import Daemon

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.support.kernels import Kernel
    from tests.support.lab import LabPage

_IN_CI = "docker,compose,browser,kubernetes"
_LEAK_CHECKED = ("runtime", "engines", "views")
_FAILED = pytest.StashKey[bool]()
_WITHOUT_CLUSTER = pytest.StashKey[dict[str, list[str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--require``."""
    default = os.environ.get("TILT_REQUIRE", _IN_CI if os.environ.get("CI") == "true" else "")
    parser.addoption("--require", default=default, help="markers whose tests fail instead of skipping, with commas")


def pytest_configure() -> None:
    """Undo what nohup and a shell's background do: a signal that is ignored here is ignored by every child, too."""
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a required test into a failure, and remember failures for their screenshots."""
    report = yield
    marks = {mark.name for mark in item.iter_markers()}
    required = set(item.config.getoption("--require").split(",")) & marks
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if required:
            report.outcome = "failed"
            report.longrepr = f"{', '.join(sorted(required))} is required here: {reason}"
        elif "kubernetes" in marks:
            item.config.stash.setdefault(_WITHOUT_CLUSTER, {}).setdefault(reason, []).append(item.nodeid)
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Say in the last line, below pytest's own, which tests had no cluster and why."""
    yield
    terminal: pytest.TerminalReporter | None = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None:
        return
    for reason, names in session.config.stash.get(_WITHOUT_CLUSTER, {}).items():
        text = f"{len(names)} Kubernetes tests skipped: {reason.removeprefix('Skipped: ')}: {', '.join(names)}"
        terminal.write_line(text.replace("\n", " "), yellow=True)


@pytest.fixture(autouse=True)
def _environment(request: pytest.FixtureRequest) -> None:
    """Lead tests that are marked so to Docker, and skip those whose needs are not met."""
    marks = {mark.name for mark in request.node.iter_markers()}
    env: dict[str, str] = {}
    if "kubernetes" in marks:
        env = request.getfixturevalue("cluster").env
    elif marks & {"docker", "compose"}:
        env = request.getfixturevalue("docker_host")
    if "compose" in marks and rig_docker.plugin_version("compose", env) is None:
        pytest.skip("no docker compose v2 here: python -m tools.rig install")


@pytest.fixture(autouse=True)
def _leak_check(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test of a layer that starts things: no thread of ours, no child, no descriptor is left."""
    place = request.path.relative_to(Path(__file__).parent).parts
    if place[0] in _LEAK_CHECKED or place[0].startswith("test_processes"):
        with no_leaks():
            yield
    else:
        yield


@pytest.fixture(scope="session")
def docker_daemon() -> Iterator[dict[str, str]]:
    """Give the environment that leads to a Docker daemon with the rig's base images."""
    try:
        with rig_docker.in_use() as env:
            yield env
    except rig_docker.NoDockerError as error:
        pytest.skip(str(error))


@pytest.fixture
def docker_host(docker_daemon: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set DOCKER_HOST and DOCKER_CONFIG for one test and return them; marked tests get this by themselves."""
    for name, value in docker_daemon.items():
        monkeypatch.setenv(name, value)
    return docker_daemon


@pytest.fixture
def own_docker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """Give a daemon that this test may halt and resume; its published ports are out of reach."""
    try:
        daemon = rig_docker.private(isolated=True)
    except rig_docker.NoDockerError as error:
        pytest.skip(str(error))
    for name, value in daemon.env.items():
        monkeypatch.setenv(name, value)
    yield daemon
    daemon.stop()


@pytest.fixture(scope="session")
def kubernetes_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KubernetesCluster]:
    """Give the cluster of all tests: the one left running, one of the rig's own, or the one that the user named."""
    context = os.environ.get(CONTEXT_VARIABLE)
    try:
        if context:
            kubeconfig = kubeconfig_of(context, tmp_path_factory.mktemp("kube"))
            yield named_cluster(context, kubeconfig=kubeconfig, docker=request.getfixturevalue("docker_daemon"))
        else:
            with cluster_of_the_rig() as found:
                yield found
    except rig_cluster.NoClusterError as error:
        pytest.skip(str(error))


@pytest.fixture
def cluster(kubernetes_cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesCluster]:
    """Set KUBECONFIG, DOCKER_HOST and DOCKER_CONFIG for one test; marked tests get this by themselves.

    Afterwards its namespaces are deleted, and what it stopped is started again.
    """
    for name, value in kubernetes_cluster.env.items():
        monkeypatch.setenv(name, value)
    yield kubernetes_cluster
    kubernetes_cluster.clean_up()


@pytest.fixture
def registry(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give HOST:PORT of an empty registry that the test's Docker daemon pushes to, and its cluster pulls from."""
    address = "127.0.0.1"
    if request.node.get_closest_marker("kubernetes"):
        found: KubernetesCluster = request.getfixturevalue("cluster")
        found.of_the_rig()  # no other would take images from an address without TLS
        address = found.machine
    try:
        with rig_registry.serve(address) as host:
            yield host
    except rig_registry.NoRegistryError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def jupyter_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """Give a running JupyterLab with private folders; put notebooks below its ``root``."""
    server = JupyterServer(tmp_path_factory.mktemp("jupyter"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def module_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """Give a kernel that the tests of a module share."""
    from tests.support.kernels import kernel_in

    with kernel_in(tmp_path_factory.mktemp("kernel")) as kernel:
        yield kernel


@pytest.fixture
def kernel(module_kernel: Kernel, tmp_path: Path) -> Kernel:
    """Give the module's kernel in a folder of the test's own, with the extension just loaded and `ip` for its shell."""
    module_kernel.good(f"%reload_ext ipytilt\nimport os\nip = get_ipython()\nos.chdir({str(tmp_path)!r})")
    return module_kernel


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Give a running Chromium.

    Not for the whole session: while Playwright runs, no other event loop can on this thread, and tests that execute
    notebooks need one.
    """
    path = rig_browser.find()
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(rig_browser.FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def lab_page(request: pytest.FixtureRequest, chromium: Browser, jupyter_server: JupyterServer) -> Iterator[LabPage]:
    """Give a fresh page for JupyterLab; afterwards its kernels are ended, and a failure leaves a screenshot."""
    from tests.support.lab import LabPage

    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = LabPage(context.new_page(), jupyter_server)
    yield page
    if request.node.stash.get(_FAILED, False):
        page.screenshot(f"failed-{request.node.name}")
    context.close()
    jupyter_server.end_sessions()
