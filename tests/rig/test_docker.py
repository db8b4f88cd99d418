"""The rig's own Docker: it answers, runs containers, has Compose and buildx, and is gone afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import eventually
from tools.rig import docker, images, supervisor
from tools.rig.daemon import ROOT, Daemon

_OWNER = """
from tools.rig import docker
daemon = docker.private(isolated=True)
print(daemon.folder, flush=True)
input()
"""


def _docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.docker
def test_a_container_runs_from_the_base_image() -> None:
    assert _docker("run", "--rm", images.BASE, "sh", "-c", "echo $((6*7)); whoami").split() == ["42", "root"]


@pytest.mark.docker
def test_the_base_image_has_an_ordinary_user_who_may_write_to_tmp() -> None:
    assert _docker("run", "--rm", "--user", "app", images.BASE, "sh", "-c", "touch /tmp/it && whoami") == "app"


@pytest.mark.docker
def test_the_bare_image_runs_but_has_no_shell() -> None:
    container = _docker("run", "--detach", images.BARE)
    try:
        assert _docker("inspect", "--format", "{{.State.Running}}", container) == "true"
        shell = subprocess.run(["docker", "exec", container, "sh", "-c", "true"], check=False, capture_output=True)
        assert shell.returncode != 0
    finally:
        _docker("rm", "--force", container)


@pytest.mark.docker
def test_buildx_builds_on_a_local_base_image(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {images.BASE}\nRUN echo built > /note\n")
    image = _docker("buildx", "build", "--quiet", str(tmp_path))
    try:
        assert _docker("run", "--rm", image, "cat", "/note") == "built"
    finally:
        _docker("rmi", "--force", image)


@pytest.mark.compose
def test_compose_runs_a_service_that_answers_on_loopback(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo hello > /tmp/index.html && exec httpd -f -p 80 -h /tmp"]
    service = f"image: {images.BASE}\n    init: true\n    command: {command}\n    ports: ['127.0.0.1::80']"
    (tmp_path / "compose.yaml").write_text(f"services:\n  web:\n    {service}\n")
    project = ["compose", "--project-directory", str(tmp_path), "--project-name", f"rig{os.getpid()}"]
    _docker(*project, "up", "--detach", "--wait")
    try:
        address = _docker(*project, "port", "web", "80")
        fetched = eventually(
            lambda: (
                subprocess.run(
                    [sys.executable, "-c", f"import urllib.request as u; print(u.urlopen('http://{address}').read())"],
                    check=False,
                    capture_output=True,
                    text=True,
                ).stdout
            )
        )
        assert "hello" in fetched
    finally:
        _docker(*project, "down", "--timeout", "1")


@pytest.mark.docker
def test_a_daemon_of_ones_own_can_be_halted_and_resumed(own_docker: Daemon) -> None:
    container = _docker("run", "--detach", "--init", images.BASE, "sleep", "1000")
    own_docker.halt()
    assert subprocess.run(["docker", "version"], check=False, capture_output=True).returncode != 0
    own_docker.resume()
    assert _docker("inspect", "--format", "{{.State.Running}}", container) == "false"


@pytest.mark.docker
@pytest.mark.timeout(240)  # starting, filling and ending a daemon takes a minute on a machine that is busy
def test_a_killed_owner_leaves_no_daemon_behind() -> None:
    if os.geteuid() != 0:
        pytest.skip("starting a daemon takes root")
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        env = {**os.environ, "DOCKER_HOST": supervisor.host_of(folder)}
        subprocess.run(["docker", "run", "--detach", images.BASE, "sleep", "1000"], env=env, check=True)
        owner.kill()
    eventually(lambda: not folder.exists(), timeout=150)
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()


def test_without_root_or_programs_the_reason_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "PROGRAMS", ("no-such-program",))
    with pytest.raises(docker.NoDockerError, match="no-such-program is missing"):
        docker.private()
