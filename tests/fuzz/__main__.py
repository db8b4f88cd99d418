"""`make fuzz`: evaluate mutated Tiltfiles; keep the smallest text of each fault. Exits 1 if there is any."""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.evaluate import Fault
from tests.fuzz.mutate import program
from tests.fuzz.shrink import shrink
from tests.fuzz.watch import Evaluator

KEPT = Path(__file__).parent / "kept"
_REPORT_EVERY = 1_000


def faults(seed: str, numbers: range) -> Iterator[tuple[str, str, Fault]]:
    """The case, the text and the fault of all programs of a seed that end badly."""
    with Evaluator() as evaluator:
        for number in numbers:
            case = f"{seed}:{number}"
            text = program(case)
            fault = evaluator.fault(text)
            if fault is not None:
                yield case, text, fault
            if (number + 1) % _REPORT_EVERY == 0:
                print(f"{number + 1} of {numbers.stop} evaluated", file=sys.stderr, flush=True)


def smallest(text: str, fault: Fault) -> str:
    """The text without what does not matter to the fault."""
    with Evaluator() as evaluator:

        def shows_it(candidate: str) -> bool:
            found = evaluator.fault(candidate)
            return found is not None and found.kind == fault.kind

        return shrink(text, shows_it)


def keep(text: str) -> Path:
    """Store a text among those every test run evaluates."""
    data = text.encode("utf-8", "surrogateescape")
    path = KEPT / f"{hashlib.sha256(data).hexdigest()[:12]}.tilt"
    path.write_bytes(data)
    return path


def main() -> int:
    """Run, and print each new kind of fault with where its text was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="how many programs")
    parser.add_argument("--seed", default=str(random.randrange(10**9)), help="the same seed gives the same programs")
    parser.add_argument("--first", type=int, default=0, help="the number of the first program")
    options = parser.parse_args()
    print(f"seed {options.seed}: {options.count} programs", flush=True)
    seen: dict[str, int] = {}
    for case, text, fault in faults(options.seed, range(options.first, options.first + options.count)):
        seen[fault.kind] = seen.get(fault.kind, 0) + 1
        if seen[fault.kind] == 1:
            path = keep(smallest(text, fault))
            print(f"--- {case}: {fault.kind}, kept as {path.name}\n{fault.detail}", flush=True)
    for kind, count in seen.items():
        print(f"{count} x {kind}")
    print(f"{sum(seen.values())} faults in {options.count} programs")
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(main())
