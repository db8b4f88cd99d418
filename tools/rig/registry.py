"""A registry of images for tests that push: Debian's, on one address, with nothing on disk.

Runs on the caller's thread; the registry is a child process that ends with this one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.rig import kube_build
from tools.rig.service import until

_LISTENING = re.compile(r"listening on ([\d.]+:\d+)")
_READY_SECONDS = 30


class NoRegistryError(Exception):
    """No registry can be had here; the message says why."""


@contextmanager
def serve(address: str = "127.0.0.1") -> Iterator[str]:
    """Give ``HOST:PORT`` of an empty registry on an address of this machine. Raises NoRegistryError.

    Docker takes registries on the loopback without TLS; the daemon of the test cluster also those on the machine's end
    of its cable.
    """
    program = _program()
    with tempfile.TemporaryDirectory(prefix="ipytilt-registry-") as name:
        config, log = Path(name) / "config.yml", Path(name) / "log"
        # JSON is YAML, too. Port 0: a free one, which the log tells.
        config.write_text(f'{{"version": 0.1, "storage": {{"inmemory": {{}}}}, "http": {{"addr": "{address}:0"}}}}')
        with log.open("wb") as out:
            command = ["setpriv", "--pdeathsig", "KILL", program, "serve", str(config)]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            until(lambda: _LISTENING.search(log.read_text()) or process.poll() is not None, _READY_SECONDS)
            found = _LISTENING.search(log.read_text())
            if found is None:
                raise NoRegistryError(f"the registry did not come up; it said:\n{log.read_text()[-2000:]}")
            yield found.group(1)
        finally:
            process.kill()
            process.wait()


def _program() -> str:
    built = kube_build.find()
    program = shutil.which("docker-registry") or (built and str(built / "docker-registry"))
    if not program or shutil.which("setpriv") is None:
        raise NoRegistryError("docker-registry is missing: python -m tools.rig cluster install")
    return program
