"""What `%load_ext ipytilt` costs a fresh kernel, beyond IPython itself."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.figures import Figure, Report

COUNT = 9
GOAL = 0.120
_SCRIPT = """
import time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "storemagic")
began = time.perf_counter()
shell.run_line_magic("load_ext", {name!r})
print(time.perf_counter() - began)
"""


def measure(report: Report) -> None:
    """Add the figure of this file."""
    floor = report.add(Figure("floor: load_ext autoreload", [_once("autoreload") for _ in range(COUNT)]))
    report.add(Figure("load_ext ipytilt", [_once("ipytilt") for _ in range(COUNT)], floor.name, GOAL))


def _once(name: str) -> float:
    command = [sys.executable, "-c", _SCRIPT.format(name=name)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
