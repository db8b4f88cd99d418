"""`make bench`: measure, print a table, write test-artifacts/bench.json. Words choose: `make bench ARGS="planning"`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import evaluator, load_ext, local_commands, planning, pods, save_to_container, watching
from benchmarks.figures import Report
from tools.rig import cluster, docker

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
    measures = {**MEASURES, "docker": _on_docker, "pods": _in_pods}
    for name in sys.argv[1:] or measures:
        measures[name](report)
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


def _in_pods(report: Report) -> None:
    try:
        with cluster.in_use() as found:
            os.environ.update(found.env)
            pods.measure(report, found.context)
    except cluster.NoClusterError as error:
        print(f"no figures of pods: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
