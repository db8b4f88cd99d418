"""The owner's side of a private Docker daemon: start it, reach it, halt and resume it, end it.

Runs on the caller's thread; the daemon itself is a child of ``tools.rig.supervisor``, which ends it when this
process is gone.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.processes import command_line
from tools.rig import supervisor

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "rig"
# Taken as DOCKER_CONFIG: the client finds its plug-ins in it, and none of the user's contexts.
CONFIG = CACHE / "docker-config"
PLUGIN_FOLDER = CONFIG / "cli-plugins"
_ANSWER_SECONDS = 90


class Daemon:
    """A running private daemon. Make one with ``start``; it ends with ``stop`` or with this process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.folder = supervisor.folder_of(process.pid)
        self.env = environment(self.folder)

    @classmethod
    def start(cls, *, isolated: bool = False, detached: bool = False) -> Daemon:
        """Start a daemon and return when it answers. Raises RuntimeError with what it said."""
        flags = [flag for flag, wanted in (("--isolated", isolated), ("--detached", detached)) if wanted]
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.rig.supervisor", *flags],
            cwd=ROOT,
            stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
            stdout=subprocess.PIPE,
            # One that stays must not hold open what its caller waits for the end of.
            stderr=subprocess.DEVNULL if detached else None,
            text=True,
            start_new_session=True,
        )
        daemon = cls(process)
        try:
            daemon._expect("ready")
        except BaseException:
            daemon.stop()
            raise
        return daemon

    def halt(self) -> None:
        """Stop dockerd as an operator would; its data stay for ``resume``."""
        self._ask("halt")

    def resume(self) -> None:
        """Start dockerd again after ``halt``."""
        self._ask("resume")

    def stop(self) -> None:
        """End the daemon and everything in it."""
        self._process.terminate()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def let_go(self) -> None:
        """Leave a detached daemon running after this process; ``running`` finds it again."""
        CACHE.mkdir(parents=True, exist_ok=True)
        _STATE.write_text(str(self._process.pid))
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ask(self, word: str) -> None:
        if self._process.stdin is None:
            raise RuntimeError("a detached daemon takes no commands")
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        self._expect(word)

    def _expect(self, word: str) -> None:
        out = self._process.stdout
        if out is None:
            raise RuntimeError("the supervisor has no output to read")
        readable, _, _ = select.select([out], [], [], _ANSWER_SECONDS)
        answer = out.readline().strip() if readable else f"no answer in {_ANSWER_SECONDS} s"
        if answer != word:
            raise RuntimeError(f"the private Docker daemon did not {word}: {answer or 'its supervisor ended'}")


_STATE = CACHE / "supervisor.pid"


def environment(folder: Path) -> dict[str, str]:
    """Return the variables that lead the docker client, the SDK and Compose to the daemon in ``folder``."""
    return {"DOCKER_HOST": supervisor.host_of(folder), "DOCKER_CONFIG": str(CONFIG)}


def running() -> dict[str, str] | None:
    """Return the environment of the daemon left running by ``let_go``, or None."""
    if not _STATE.exists():
        return None
    pid = int(_STATE.read_text())
    return environment(supervisor.folder_of(pid)) if _is_supervisor(pid) else None


def end_running() -> bool:
    """End the daemon left running by ``let_go``; return whether there was one."""
    if running() is None:
        return False
    pid = int(_STATE.read_text())
    ending = os.pidfd_open(pid)
    signal.pidfd_send_signal(ending, signal.SIGTERM)
    select.select([ending], [], [], _ANSWER_SECONDS)
    os.close(ending)
    _STATE.unlink()
    return True


def sweep() -> None:
    """Take away what supervisors left that were killed outright."""
    for folder in Path(tempfile.gettempdir()).glob(f"{supervisor.PREFIX}*"):
        if not _is_supervisor(int(folder.name.removeprefix(supervisor.PREFIX))):
            supervisor.tear_down(folder)


def _is_supervisor(pid: int) -> bool:
    return "tools.rig.supervisor" in command_line(pid)
