"""``python -m tools.rig [cluster] install | up | down | env | status``: the rig by hand.

install  fetch what the tests need and this machine lacks (packages, Compose, buildx, a browser)
up       start a private Docker daemon that stays until ``down``, unless one answers already
down     end it
env      print the variables that lead to it, for ``eval "$(python -m tools.rig env)"``
status   say what is there

With ``cluster`` before it, the same for a Kubernetes cluster of one node with a Docker daemon of its own; ``install``
builds Kubernetes once, in ten minutes, and ``up`` prints the path of the kubeconfig.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping

from tools.rig import apt, browser, cluster, daemon, docker, images, kube_build


def main(arguments: list[str]) -> int:
    """Run one of the commands; return the exit code."""
    commands = {
        "install": install,
        "up": up,
        "down": down,
        "env": env,
        "status": status,
        "cluster install": cluster.install,
        "cluster up": cluster_up,
        "cluster down": cluster_down,
        "cluster env": cluster_env,
        "cluster status": cluster_status,
    }
    command = commands.get(" ".join(arguments))
    if command is None:
        print(__doc__)
        return 2
    try:
        command()
    except (apt.CannotInstallError, docker.NoDockerError, cluster.NoClusterError) as error:
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
    _export(docker.existing() or {})


def status() -> None:
    """Print one line each for Docker, Compose, buildx and the browser."""
    found = docker.existing()
    reach = {"DOCKER_CONFIG": str(daemon.CONFIG)} if found is None else found
    print("docker:", "none answers" if found is None else reach.get("DOCKER_HOST", "the one of this environment"))
    print("compose:", docker.plugin_version("compose", reach) or "none")
    print("buildx:", docker.plugin_version("buildx", reach) or "none")
    print("browser:", browser.find() or "none")


def cluster_up() -> None:
    """Start a cluster to keep, or what has stopped of one that runs; print the path of its kubeconfig."""
    found = cluster.running()
    if found is None:
        cluster.install()
        found = cluster.start(detached=True)
    else:
        found.mend()
    print(f'context {found.context}; eval "$(python -m tools.rig cluster env)" leads to it', file=sys.stderr)
    print(found.kubeconfig)


def cluster_down() -> None:
    """End the kept cluster and sweep leftovers; no other cluster is touched."""
    print("ended" if cluster.end_running() else "no cluster of the rig was running")
    cluster.sweep()


def cluster_env() -> None:
    """Print shell exports for the kept cluster and its Docker daemon."""
    found = cluster.running()
    _export({} if found is None else found.env)


def cluster_status() -> None:
    """Print the kubeconfig of the kept cluster, and whether Kubernetes is built."""
    found = cluster.running()
    print("cluster:", "none runs" if found is None else f"{found.context} ({found.kubeconfig})")
    print("programs:", kube_build.find() or "not built: python -m tools.rig cluster install")


def _export(variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
