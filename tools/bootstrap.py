"""Set up everything in the checkout: ``.venv`` with the package and its extras, and the built labextension.

``python tools/bootstrap.py [EXTRA ...]``, on a bare machine: standard library only. Runs again in an instant when
nothing has changed. Without node the labextension is left out, and everything else works.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LABEXTENSION = ROOT / "labextension"
BUILT = ROOT / "ipytilt" / "labextension"
_STAMPS = VENV / "ipytilt-stamps"
_OLDEST = (3, 11)
_NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")


def main(extras: Sequence[str]) -> None:
    """Bring ``.venv`` and the labextension up to date. Raises SystemExit with what to do about a failure."""
    if sys.version_info[:2] < _OLDEST:
        _restart_with_newer_python()
    if not (VENV / "bin" / "pip").exists():
        _say("making .venv")
        _make_venv()
    _install(extras)
    if shutil.which("npm") is None:
        _say("no npm here: JupyterLab goes without the ipytilt side panel")
    else:
        _build_labextension()


def _restart_with_newer_python() -> None:
    for name in _NEWER:
        newer = shutil.which(name)
        if newer:
            os.execv(newer, [newer, *sys.argv])  # noqa: S606 - replaces this process by the same script
    raise SystemExit("Python 3.11 or newer is needed: install it, or name it with `make PYTHON=...`")


def _make_venv() -> None:
    if importlib.util.find_spec("ensurepip") is None:
        # Debian keeps the part of venv that installs pip in a package of its own.
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise SystemExit("Python's venv cannot install pip here; on Debian: apt-get install python3-venv")
        _run(["apt-get", "update"])
        _run(["apt-get", "install", "-y", "--no-install-recommends", "python3-venv"])
    # A process of its own: this one has looked for ensurepip already.
    _run([sys.executable, "-m", "venv", str(VENV)])


def _install(extras: Sequence[str]) -> None:
    """Install the package in editable form. Its dependencies are what the stamp is about."""
    wanted = f"{_digest([ROOT / 'pyproject.toml'])} {' '.join(sorted(extras))}"
    if _stamp("install") == wanted:
        return
    _say("installing ipytilt and what it needs")
    _unlink_labextension()
    target = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _run([*pip, "--editable", target], SKIP_JUPYTER_BUILDER="1")
    _set_stamp("install", wanted)


def _build_labextension() -> None:
    lock = _digest([LABEXTENSION / "package-lock.json"])
    path = f"{PYTHON.parent}{os.pathsep}{os.environ['PATH']}"
    if _stamp("npm") != lock or not (LABEXTENSION / "node_modules").is_dir():
        _say("installing what the labextension needs")
        _run(["npm", "ci", "--no-progress"], cwd=LABEXTENSION, PATH=path)
        _set_stamp("npm", lock)
    sources = [path for folder in ("src", "style", "schema") for path in (LABEXTENSION / folder).rglob("*")]
    digest = _digest([*sources, *LABEXTENSION.glob("*.json")])
    if _stamp("labextension") != digest or not (BUILT / "package.json").exists():
        _say("building the labextension")
        _run(["npm", "run", "build:prod"], cwd=LABEXTENSION, PATH=path)
        _set_stamp("labextension", digest)
    _unlink_labextension()
    link = _labextension_link()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(BUILT)


def _labextension_link() -> Path:
    return VENV / "share" / "jupyter" / "labextensions" / "ipytilt-labextension"


def _unlink_labextension() -> None:
    # pip must not find the link: it would remove the built files behind it.
    link = _labextension_link()
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        shutil.rmtree(link)


def _digest(files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in sorted(files):
        if path.is_file():
            found.update(str(path).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def _stamp(name: str) -> str:
    path = _STAMPS / name
    return path.read_text() if path.exists() else ""


def _set_stamp(name: str, text: str) -> None:
    _STAMPS.mkdir(exist_ok=True)
    (_STAMPS / name).write_text(text)


def _run(command: Sequence[str], cwd: Path = ROOT, **extra: str) -> None:
    """Run a command; show what it says only when it fails."""
    environment: Mapping[str, str] = {**os.environ, **extra}
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise SystemExit(f"bootstrap: `{' '.join(command)}` failed with {done.returncode}")


def _say(text: str) -> None:
    print(f"bootstrap: {text}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
