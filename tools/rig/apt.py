"""Debian packages for the rig: what apt can install, and what is taken from another release or left uninstalled.

Runs apt as a child process, in the caller's thread. Needs root for installing, not for fetching.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

# program -> the Debian package that has it
PROGRAMS = {
    "busybox": "busybox-static",
    "chromium": "chromium",
    "conntrack": "conntrack",
    "dockerd": "docker.io",
    "ethtool": "ethtool",
    "go": "golang-go",
    "ip": "iproute2",
    "ipset": "ipset",
    "iptables": "iptables",
    "jq": "jq",
    "make": "make",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "proot": "proot",
    "rsync": "rsync",
    "socat": "socat",
    "unshare": "util-linux",
}
PLUGINS = {"docker-compose": "docker-compose", "docker-buildx": "docker-buildx"}

# Debian 12 has neither Compose v2 nor buildx; those of 13 need only its libc and run on 12 as they are.
PLUGIN_RELEASE = "trixie"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PLUGIN_FOLDER = "usr/libexec/docker/cli-plugins"


class CannotInstallError(Exception):
    """Something is missing and cannot be had here; the message says what and how to get it."""


def find(program: str) -> str | None:
    """Return the path of a program, looked up in PATH and in the folders for administrators, or None."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")


def install_missing(programs: Iterable[str], packages: Iterable[str] = ()) -> None:
    """Install the packages of those ``programs`` that are not there, and ``packages``. Raises CannotInstallError."""
    packages = [*(PROGRAMS[program] for program in programs if find(program) is None), *packages]
    if not packages:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or find("apt-get") is None:
        raise CannotInstallError(f"missing here: {', '.join(packages)}; as root on Debian: {' '.join(command)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    lock = ["-o", "DPkg::Lock::Timeout=600"]
    run(["apt-get", *lock, "update"], env=quiet)
    run(["apt-get", *lock, *command[1:]], env=quiet)


def fetch_plugins(into: Path) -> None:
    """Put Compose v2 and buildx into the folder ``into``, unless they are there. Raises CannotInstallError."""
    missing = [package for plugin, package in PLUGINS.items() if not (into / plugin).exists()]
    if not missing:
        return
    if find("apt-get") is None or not _KEYRING.exists():
        raise CannotInstallError("docker compose v2 or docker buildx is missing; install Docker's CLI plug-ins")
    work = into.parent / "apt"
    fetch(missing, release=PLUGIN_RELEASE, work=work)
    into.mkdir(parents=True, exist_ok=True)
    for plugin in PLUGINS:
        shutil.copy2(work / "tree" / _PLUGIN_FOLDER / plugin, into / plugin)
    shutil.rmtree(work)


def fetch(packages: Sequence[str], *, release: str, work: Path) -> None:
    """Unpack packages of a Debian release into ``work/tree`` without installing them: no service of theirs starts.

    ``work`` is emptied first. Raises CannotInstallError.
    """
    options = _private_apt(work, f"deb [signed-by={_KEYRING}] {_mirror()} {release} main")
    run(["apt-get", *options, "update"])
    run(["apt-get", *options, "download", *packages], cwd=work)
    for package in sorted(work.glob("*.deb")):
        run(["dpkg", "-x", str(package), str(work / "tree")])


def fetch_source(package: str, *, release: str, work: Path) -> tuple[Path, str]:
    """Unpack a source package of a Debian release in ``work``, emptied first; return its tree and its version.

    Raises CannotInstallError.
    """
    options = _private_apt(work, f"deb-src [signed-by={_KEYRING}] {_mirror()} {release} main")
    run(["apt-get", *options, "update"])
    run(["apt-get", *options, "--only-source", "source", package], cwd=work)
    version = next(work.glob("*.dsc")).stem.partition("_")[2]
    return next(path for path in work.glob(f"{package}-*") if path.is_dir()), version


def _private_apt(work: Path, source: str) -> list[str]:
    """Lay out an apt configuration of our own in ``work``: one source, and keys that are checked."""
    shutil.rmtree(work, ignore_errors=True)
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    sources = work / "sources.list"
    sources.write_text(f"{source}\n")
    settings = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferencesparts": "-",
        "Dir::State::lists": work / "lists",
        "Dir::Cache": work / "cache",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        # apt's own unprivileged user cannot be expected to reach into a checkout.
        "APT::Sandbox::User": "",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _mirror() -> str:
    """Return the address this machine gets its Debian packages from. Raises CannotInstallError where it has none."""
    if find("apt-get") is None or not _KEYRING.exists():
        raise CannotInstallError("this is not Debian, whose packages it takes")
    listing = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"])
    for address in listing.split():
        if address.rstrip("/").endswith("/debian"):
            return address
    raise CannotInstallError("apt has no source of Debian's main packages here")


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a program to its end and return what it printed. Raises CannotInstallError with the end of its errors."""
    done = subprocess.run(
        command, env=env, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise CannotInstallError(f"`{' '.join(command)}` failed ({done.returncode}):\n{done.stderr.strip()[-2000:]}")
    return done.stdout
