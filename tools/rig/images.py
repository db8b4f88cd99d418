"""Base images that need no registry, made from this machine's static busybox.

``ipytilt-base:test`` has a shell, every applet, /tmp and the users root, app and nobody. ``ipytilt-bare:test`` has
one program that sleeps and no shell at all. Runs the docker client as a child process, in the caller's thread.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tools.rig import python_image
from tools.rig.apt import find

BASE = "ipytilt-base:test"
BARE = "ipytilt-bare:test"
# What a Dockerfile may say for a small image; ours stands in where no registry can be reached.
STAND_IN = "busybox:latest"

_PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n"  # noqa: S105
_GROUP = "root:x:0:\napp:x:1000:\nnobody:x:65534:\n"
_PATH = "ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def make(env: Mapping[str, str], *, stand_in: bool) -> None:
    """Make the base images in the daemon that ``env`` leads to; with ``stand_in`` also as the public busybox."""
    _import(env, BASE, _base(), [_PATH, 'CMD ["/bin/sh"]'])
    _import(env, BARE, _bare(), ['ENTRYPOINT ["/sleep", "1000000"]'])
    if stand_in:
        _docker(env, "tag", BASE, STAND_IN)
        _import(env, python_image.STAND_IN, python_image.tree(_base()), [_PATH, 'CMD ["python3"]'])


def make_pause(env: Mapping[str, str], name: str) -> None:
    """Make the image that holds a pod's sandbox open: it does nothing, and ends as soon as it is told to."""
    wait = "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done"
    _import(env, name, _base(), [_PATH, f"CMD {json.dumps(['/bin/sh', '-c', wait])}"])


def _import(env: Mapping[str, str], name: str, tree: bytes, changes: list[str]) -> None:
    flags = [word for change in changes for word in ("--change", change)]
    _docker(env, "import", *flags, "-", name, data=tree)


def _docker(env: Mapping[str, str], *words: str, data: bytes = b"") -> None:
    command = ["docker", *words]
    done = subprocess.run(command, env={**os.environ, **env}, input=data, check=False, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"`docker {words[0]}` failed for the base images: {done.stderr.decode(errors='replace')}")


def _base() -> bytes:
    busybox = _busybox()
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tree:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("usr/bin", 0o755)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tree.addfile(entry)
        _add(tree, "bin/busybox", busybox.read_bytes())
        for applet in applets:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            if applet != "busybox":
                tree.addfile(link)
        link = tarfile.TarInfo("usr/bin/env")
        link.type, link.linkname = tarfile.SYMTYPE, "/bin/busybox"
        tree.addfile(link)
        _add(tree, "etc/passwd", _PASSWD.encode(), mode=0o644)
        _add(tree, "etc/group", _GROUP.encode(), mode=0o644)
    return buffer.getvalue()


def _bare() -> bytes:
    # busybox looks at its own name: as /sleep it can do nothing but sleep.
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tree:
        _add(tree, "sleep", _busybox().read_bytes())
    return buffer.getvalue()


def _add(tree: tarfile.TarFile, name: str, data: bytes, *, mode: int = 0o755) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tree.addfile(entry, io.BytesIO(data))


def _busybox() -> Path:
    found = find("busybox")
    if found is None:
        raise FileNotFoundError("the base images are made from a static busybox: install the package busybox-static")
    return Path(found)
