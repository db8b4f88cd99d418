"""`make bench`: measure, print a table, write test-artifacts/bench.json."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks import load_ext, save_to_container
from benchmarks.figures import Report
from tools.rig import docker


def main() -> int:
    """Run what this machine can; says what it cannot."""
    report = Report()
    load_ext.measure(report)
    try:
        with docker.in_use() as environment:
            os.environ.update(environment)
            save_to_container.measure(report)
    except docker.NoDockerError as error:
        print(f"no Docker figures: {error}", file=sys.stderr)
    print(report.table())
    report.save(Path("test-artifacts/bench.json"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
