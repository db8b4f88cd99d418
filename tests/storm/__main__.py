"""`python -m tests.storm [OPERATIONS] [SEED]`: the long storm, on every engine there is, with its report.

A round that loses something is made smaller and kept in `tests/storm/kept`, and the exit code is 1. A fifth of the
operations comes on top with a disk that fills and is freed, where one can be mounted.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.storm import storm as storms
from tests.storm import weather
from tests.storm.storm import Lost, Storm
from tests.support.disks import small_disk
from tools.rig import docker
from tools.rig.daemon import Daemon

PER_ROUND = 250


def main(operations: int, seed: int, engines: tuple[str, ...]) -> int:
    """Run it; 1 if something was lost."""
    lost = 0
    for engine in engines:
        with ExitStack() as stack:
            try:
                daemon = _docker(stack) if engine == "docker" else None
            except docker.NoDockerError as error:
                print(f"docker: left out, {error}")
                continue
            lost += run(engine, operations, seed, daemon=daemon)
            lost += run_on_a_small_disk(engine, operations // 5, seed)
    return 1 if lost else 0


def _docker(stack: ExitStack) -> Daemon | None:
    """Lead the engine to a daemon of our own, which may be halted, or else to the one that is there."""
    try:
        daemon = docker.private(isolated=True)
    except docker.NoDockerError:
        os.environ.update(stack.enter_context(docker.in_use()))
        return None
    stack.callback(daemon.stop)
    os.environ.update(daemon.env)
    return daemon


def run(engine: str, operations: int, seed: int, *, daemon: Daemon | None) -> int:
    """The storm on one engine; how many rounds lost something."""
    print(f"{engine}: {operations} operations from seed {seed}", flush=True)
    began, lost, done = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory(prefix="ipytilt-storm-", ignore_cleanup_errors=True) as folder:
        storm = Storm(Path(folder), engine, daemon)
        try:
            storm.up()
            while done < operations:
                script = weather.script(seed + storm.tally.rounds, PER_ROUND, faults=True)
                try:
                    storm.round(script)
                except Lost as error:
                    lost += 1
                    name = f"{engine}-{seed + storm.tally.rounds - 1}"
                    print(f"{name}: LOST\n{error}", flush=True)
                    _examine(script, name, engine=engine, daemon=daemon)
                done = sum(storm.tally.operations.values())
        finally:
            took = time.monotonic() - began
            print(f"{engine}: {storm.tally}; {lost} rounds lost something; {took:.0f} s", flush=True)
            storm.close()
    return lost


def run_on_a_small_disk(engine: str, operations: int, seed: int) -> int:
    """The storm with a disk that fills and is freed; how many rounds lost something."""
    lost = done = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ipytilt-storm-")))
        try:
            disk = stack.enter_context(small_disk(folder / "disk", weather.DISK_KB))
        except subprocess.CalledProcessError:
            print(f"{engine}: no small disk can be mounted here")
            return 0
        (folder / "project").mkdir()
        storm = Storm(folder / "project", engine, disk=disk, rules="initial_sync(), ")
        stack.callback(storm.close)
        storm.up()
        while done < operations:
            this = seed + storm.tally.rounds
            try:
                storm.round(weather.script(this, PER_ROUND, faults=True, kinds=weather.DISK_FAULTS))
            except Lost as error:
                lost += 1
                print(f"{engine}, small disk, seed {this}: LOST\n{error}", flush=True)
            done = sum(storm.tally.operations.values())
        print(f"{engine}, small disk: {storm.tally}; {lost} rounds lost something", flush=True)
    return lost


def _examine(script: weather.Script, name: str, *, engine: str, daemon: Daemon | None) -> None:
    if not storms.fails(script, engine, daemon):
        print(f"{name}: did not fail again by itself; kept whole", flush=True)
    else:
        script = storms.smaller(script, engine, daemon)
    print(f"{name}: kept as {storms.keep(script, name)}, {sum(map(len, script))} operations", flush=True)


if __name__ == "__main__":
    words = sys.argv[1:]
    chosen = tuple(word for word in words if word in {"docker", "sandbox"}) or ("sandbox", "docker")
    numbers = [int(word) for word in words if word.isdecimal()]
    sys.exit(
        main(
            numbers[0] if numbers else 10_000,
            numbers[1] if len(numbers) > 1 else random.randrange(10**6),  # noqa: S311 - it is printed
            chosen,
        )
    )
