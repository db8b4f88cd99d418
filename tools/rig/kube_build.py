"""The programs of the test cluster: Kubernetes built once from Debian's source, kept outside the checkout.

They are in ``${XDG_CACHE_HOME:-~/.cache}/ipytilt/kubernetes-VERSION``: the control plane, the node's kubelet (the last
that takes Docker as its runtime) and proxy, built; etcd, kubectl and the image registry as the distribution has them,
unpacked only, so that no service of theirs starts. A folder is complete when it is there: it is made elsewhere and
moved into place. Runs apt and make as child processes, in the caller's thread.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.rig import apt

RELEASE = "bookworm"
BUILT = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
# package -> the program in it that is wanted
UNPACKED = {
    "etcd-server": "usr/bin/etcd",
    "kubernetes-client": "usr/bin/kubectl",
    "docker-registry": "usr/bin/docker-registry",
}
_BUILD_PROGRAMS = ("go", "jq", "make", "rsync")
_REFLECT = "github.com/modern-go/reflect2"
_BUILD_PACKAGES = ("dpkg-dev", "gcc", "libc6-dev", "golang-github-modern-go-reflect2-dev")
_PREFIX = "kubernetes-"
_UNFINISHED = ".building-"


def find() -> Path | None:
    """Return the folder that has all programs, the newest when there are several, or None."""
    found = sorted(_cache().glob(f"{_PREFIX}*"), key=lambda folder: folder.stat().st_mtime)
    return found[-1] if found else None


def install() -> None:
    """Build the programs, unless they are there: ten minutes of two processors. Raises apt.CannotInstallError."""
    if find() is not None:
        return
    with _alone():
        if find() is not None:  # built by another meanwhile
            return
        print("building Kubernetes from Debian's source: ten minutes, once", file=sys.stderr)
        apt.install_missing(_BUILD_PROGRAMS, _BUILD_PACKAGES)
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=_cache()) as work:
            folder, version = _make(Path(work))
            folder.rename(_cache() / f"{_PREFIX}{version}")


def _make(work: Path) -> tuple[Path, str]:
    """Make the folder of programs inside ``work``; return it and the version of Kubernetes in it."""
    folder = work / "programs"
    folder.mkdir()
    apt.fetch([*UNPACKED], release=RELEASE, work=work / "packages")
    tree, version = apt.fetch_source("kubernetes", release=RELEASE, work=work / "source")
    _mend(tree)
    unpacked = (work / "packages" / "tree" / program for program in UNPACKED.values())
    for program in (*_compile(tree, home=work), *unpacked):
        shutil.copy2(program, folder)
    return folder, version


def _mend(tree: Path) -> None:
    # The vendored release crashes an API server that Go >= 1.18 compiled when a custom resource is written.
    vendored = tree / "vendor" / _REFLECT
    for pattern in ("*.go", "*.s"):
        for old in vendored.glob(pattern):
            old.unlink()
        for new in (Path("/usr/share/gocode/src") / _REFLECT).glob(pattern):
            if not new.name.endswith("_test.go"):
                shutil.copy2(new, vendored)


def _compile(tree: Path, *, home: Path) -> Iterator[Path]:
    """Compile what is ``BUILT`` with the source's own make; yield the programs."""
    place = tree / ".go" / "src" / "k8s.io" / "kubernetes"
    place.parent.mkdir(parents=True)
    place.symlink_to(tree)
    targets = " ".join(f"cmd/{name}" for name in BUILT)
    paths = {"HOME": home, "TMPDIR": home, "GOPATH": tree / ".go"}
    env = {**os.environ, "GOFLAGS": "", **{name: str(path) for name, path in paths.items()}}
    apt.run(["nice", "-n", "10", "make", f"WHAT={targets}"], env=env, cwd=tree)
    for name in BUILT:
        yield tree / "_output" / "bin" / name


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other builds waiting, and remove what a killed one left."""
    _cache().mkdir(parents=True, exist_ok=True)
    with (_cache() / "kubernetes.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in _cache().glob(f"{_UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "ipytilt"
