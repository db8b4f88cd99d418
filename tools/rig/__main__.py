"""``python -m tools.rig install | up | down | env | status``: the rig by hand.

install  fetch what the tests need and this machine lacks (packages, Compose, buildx, a browser)
up       start a private Docker daemon that stays until ``down``, unless one answers already
down     end it
env      print the variables that lead to it, for ``eval "$(python -m tools.rig env)"``
status   say what is there
"""

from __future__ import annotations

import shlex
import sys

from tools.rig import apt, browser, daemon, docker, images


def main(arguments: list[str]) -> int:
    """Run one of the commands; return the exit code."""
    commands = {"install": install, "up": up, "down": down, "env": env, "status": status}
    if len(arguments) != 1 or arguments[0] not in commands:
        print(__doc__)
        return 2
    try:
        commands[arguments[0]]()
    except (apt.CannotInstallError, docker.NoDockerError) as error:
        print(f"rig: {error}", file=sys.stderr)
        return 1
    return 0


def install() -> None:
    """Install whatever is missing for Docker, Compose, the sandbox and the browser."""
    docker.install()
    browser.install()
    apt.install_missing(["proot"])


def up() -> None:
    """Start a daemon to keep, or make the base images in the one that answers; print its environment."""
    docker.install()
    found = docker.existing()
    if found is None:
        docker.private(detached=True).let_go()
    else:
        images.make(found, stand_in=False)
    env()


def down() -> None:
    """End the kept daemon and sweep leftovers."""
    print("ended" if daemon.end_running() else "no daemon of the rig was running")
    daemon.sweep()


def env() -> None:
    """Print shell exports for the daemon in use; nothing when the environment already leads to one."""
    for name, value in (docker.existing() or {}).items():
        print(f"export {name}={shlex.quote(value)}")


def status() -> None:
    """Print one line each for Docker, Compose, buildx and the browser."""
    found = docker.existing()
    reach = {"DOCKER_CONFIG": str(daemon.CONFIG)} if found is None else found
    print("docker:", "none answers" if found is None else reach.get("DOCKER_HOST", "the one of this environment"))
    print("compose:", docker.plugin_version("compose", reach) or "none")
    print("buildx:", docker.plugin_version("buildx", reach) or "none")
    print("browser:", browser.find() or "none")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
