"""`make bench`: measure, print a table, write test-artifacts/bench.json. Words choose: `make bench ARGS="planning"`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import evaluator, load_ext, local_commands, planning, save_to_container, watching
from benchmarks.figures import Report
from tools.rig import docker

MEASURES: dict[str, Callable[[Report], None]] = {
    "load_ext": load_ext.measure,
    "evaluator": evaluator.measure,
    "planning": planning.measure,
    "watching": watching.measure,
    "local": local_commands.measure,
}


def main() -> int:
    """Run what was asked for, or all; says what this machine cannot."""
    report = Report()
    for name in sys.argv[1:] or (*MEASURES, "docker"):
        if name == "docker":
            _on_docker(report)
        else:
            MEASURES[name](report)
    print(report.table())
    report.save(Path("test-artifacts/bench.json"))
    return 0


def _on_docker(report: Report) -> None:
    try:
        with docker.in_use() as environment:
            os.environ.update(environment)
            save_to_container.measure(report)
    except docker.NoDockerError as error:
        print(f"no Docker figures: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
