"""`make soak`: five saves a second for an hour; what the session's process holds at the start and at the end.

`make soak ARGS=300` runs for 300 seconds. Prints a line every minute, then the growth of memory, threads and
descriptors after the first tenth of the run, when caches and rings are filled; writes test-artifacts/soak.json.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.bench_app import App, running_app
from tools.rig import docker

SECONDS = 3600.0
SAVES_PER_SECOND = 5
_SAMPLES = 60
_ARRIVAL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process holds at a moment: seconds since the start, updates done, kB of memory, threads, descriptors."""

    at: float
    updates: int
    memory_kb: int
    threads: int
    descriptors: int


def main() -> int:
    """Run; returns 1 if an update was lost or something grew that should not."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with docker.in_use() as environment:
        os.environ.update(environment)
        with running_app() as app:
            samples = _run(app, seconds)
    settled, last = samples[len(samples) // 10], samples[-1]
    hours = (last.at - settled.at) / 3600
    growth = (last.memory_kb - settled.memory_kb) / 1024
    print(f"memory {growth:+.1f} MB in {hours:.2f} h ({settled.memory_kb // 1024} -> {last.memory_kb // 1024} MB)")
    print(f"threads {settled.threads} -> {last.threads}, descriptors {settled.descriptors} -> {last.descriptors}")
    path = Path("test-artifacts/soak.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(sample) for sample in samples], indent=2) + "\n")
    return int(last.threads > settled.threads + 2 or last.descriptors > settled.descriptors + 8)


def _run(app: App, seconds: float) -> list[Sample]:
    """Save and sample; raises TimeoutError if the last save does not arrive."""
    began = time.monotonic()
    samples: list[Sample] = []
    file, seen = app.sources / "file.txt", app.root / "app/file.txt"
    count = 0
    while (at := time.monotonic() - began) < seconds:
        if at >= seconds * len(samples) / _SAMPLES:
            samples.append(_sample(at, app))
            print(samples[-1], flush=True)
        count += 1
        file.write_text(f"save {count}\n")
        time.sleep(max(0.0, began + count / SAVES_PER_SECOND - time.monotonic()))
    deadline = time.monotonic() + _ARRIVAL_SECONDS
    while seen.read_text() != f"save {count}\n":
        if time.monotonic() > deadline:
            raise TimeoutError(f"save {count} did not arrive")
        time.sleep(0.05)
    samples.append(_sample(time.monotonic() - began, app))
    return samples


def _sample(at: float, app: App) -> Sample:
    status = Path("/proc/self/status").read_text().splitlines()
    memory = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    record = app.session.state.tracks["app"].last
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return Sample(round(at, 1), record.run if record else 0, memory, threading.active_count(), descriptors)


if __name__ == "__main__":
    sys.exit(main())
