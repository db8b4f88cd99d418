"""What the tests of the Docker engine share: its workspaces, and a base image with GNU tools."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ipytilt.engines import docker
from tests.engines.contract import Workspace
from tools.rig import images

GNU = "ipytilt-gnu:hashes"
_PROGRAMS = (
    "dash",
    "bash",
    "cat",
    "chmod",
    "head",
    "id",
    "ls",
    "ln",
    "mkdir",
    "mkfifo",
    "readlink",
    "rm",
    "sha256sum",
    "sleep",
    "stat",
    "tar",
    "touch",
)


@contextmanager
def workspace(directory: Path, environ: Mapping[str, str], *, base: str = images.BASE) -> Iterator[Workspace]:
    """A workspace on the daemon that `environ` leads to; what it deployed is taken down in the end."""
    found = Workspace(docker.connect(environ), directory, base=base)
    try:
        yield found
    finally:
        found.close()
        found.engine.close()


def make_gnu_image() -> None:
    """Import `GNU`, once per daemon: this machine's dash, bash, GNU tar and coreutils, and two users."""
    if subprocess.run(["docker", "inspect", GNU], capture_output=True, check=False).returncode == 0:
        return
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tree:
        for name, mode in (("tmp", 0o1777), ("etc", 0o755)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            tree.addfile(folder)
        passwd = tarfile.TarInfo("etc/passwd")
        text = b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/tmp:/bin/sh\n"
        passwd.size = len(text)
        tree.addfile(passwd, io.BytesIO(text))
        programs = [found for name in _PROGRAMS if (found := shutil.which(name))]
        for path in programs:
            tree.add(path, f"bin/{Path(path).name}")
        tree.add(programs[0], "bin/sh")
        linked = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
        for library in sorted(set(re.findall(r"(/\S+\.so\S*)", linked))):
            tree.add(library, library.lstrip("/"))
    command = ["docker", "import", "--change", "ENV PATH=/bin", "-", GNU]
    subprocess.run(command, input=buffer.getvalue(), check=True, capture_output=True)
