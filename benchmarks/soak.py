"""`make soak`: five saves a second for an hour; what the session's process holds at the start and at the end.

`make soak ARGS=300` runs for 300 seconds. Prints a line every minute, then the growth of memory, threads and
descriptors after the first tenth of the run, when caches and rings are filled; writes test-artifacts/soak.json.

`make soak ARGS="--idle 600"` leaves the session alone instead: what it costs, and who wakes up how often.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.bench_app import App, running_app
from ipytilt.core.events import Source
from tools.rig import docker

SECONDS = 3600.0
SAVES_PER_SECOND = 5
_SAMPLES = 60
_ARRIVAL_SECONDS = 30.0
_SETTLE_SECONDS = 5.0
_SHOWN_THREADS = 8


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
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("seconds", nargs="?", type=float, default=SECONDS)
    parser.add_argument("--idle", type=float, metavar="SECONDS", help="leave the session alone for so long")
    parser.add_argument("--resources", type=int, default=20, help="local resources beside the service, when idle")
    options = parser.parse_args()
    with docker.in_use() as environment:
        os.environ.update(environment)
        with running_app() as app:
            if options.idle is not None:
                return _idle(app, options.idle, options.resources)
            samples = _run(app, options.seconds)
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


def _idle(app: App, seconds: float, resources: int) -> int:
    """Leave a session alone that watches, follows and observes; returns 1 if threads or descriptors grew."""
    text = f"for i in range({resources}): local_resource('r%d' % i, 'true', deps=['r%d' % i], allow_parallel=True)"
    app.session.wait_loaded(app.session.put(Source("cell:2", "Cell 2", str(app.sources.parent), text)), 60)
    app.session.wait((), timeout=300, up_to_date=True)
    time.sleep(_SETTLE_SECONDS)
    before, cpu, woken = _sample(0.0, app), time.process_time(), _wakeups()
    time.sleep(seconds)
    after, cpu, now = _sample(seconds, app), time.process_time() - cpu, _wakeups()
    rates = {name: (count - woken.get(name, 0)) / seconds for name, count in now.items()}
    print(f"idle for {seconds:g} s with {resources + 1} resources: CPU {100 * cpu / seconds:.2f} % of a core")
    print(f"wakeups {sum(rates.values()):.1f}/s, most of them:")
    for name in sorted(rates, key=lambda each: -rates[each])[:_SHOWN_THREADS]:
        print(f"  {rates[name]:5.2f}/s {name}")
    print(f"threads {before.threads} -> {after.threads}, descriptors {before.descriptors} -> {after.descriptors}")
    print(
        f"memory {before.memory_kb // 1024} -> {after.memory_kb // 1024} MB, updates {after.updates - before.updates}"
    )
    return int(after.threads > before.threads or after.descriptors > before.descriptors)


def _wakeups() -> dict[str, int]:
    """How often each thread gave up the processor to wait, so far, by the thread's name."""
    found: dict[str, int] = {}
    for thread in threading.enumerate():
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text().splitlines()
        count = next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))
        found[thread.name] = found.get(thread.name, 0) + count
    return found


def _sample(at: float, app: App) -> Sample:
    status = Path("/proc/self/status").read_text().splitlines()
    memory = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    record = app.session.state.tracks["app"].last
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return Sample(round(at, 1), record.run if record else 0, memory, threading.active_count(), descriptors)


if __name__ == "__main__":
    sys.exit(main())
