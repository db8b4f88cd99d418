"""The behaviour table, row by row: 1 to 192, and 155b.

A row is played here (`rows_*`), shown by a test of another layer, or named as waiting with its reason.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.core import (  # noqa: F401
    rows_deploy,
    rows_live,
    rows_local,
    rows_mapping,
    rows_pods,
    rows_reload,
    rows_scheduling,
    rows_verdicts,
    rows_watching,
)
from tests.core.rows import ROWS, Row
from tests.core.rows_elsewhere import BETTER_ELSEWHERE, ELSEWHERE

HERE = Path(__file__).resolve().parents[2]
NUMBERS = [*map(str, range(1, 156)), "155b", *map(str, range(156, 193))]
POINTERS = [(number, test) for number, row in ROWS.items() for test in row.also] + list(ELSEWHERE.items())


@pytest.mark.parametrize("row", [pytest.param(ROWS[number], id=number) for number in NUMBERS if number in ROWS])
def test_row(row: Row) -> None:
    row.play()


@pytest.fixture(scope="module")
def collected() -> frozenset[str]:
    """Every test of the files that rows point to, with and without its parameters."""
    files = sorted({test.partition("::")[0] for _, test in POINTERS})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *files]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [line for line in done.stdout.splitlines() if "::" in line]
    return frozenset([*found, *(line.partition("[")[0] for line in found)])


@pytest.mark.parametrize("number, test", [pytest.param(*pointer, id=pointer[0]) for pointer in POINTERS])
def test_row_is_shown_by(number: str, test: str, collected: frozenset[str]) -> None:
    assert test in collected, f"row {number} points to a test that is not there"


def test_every_row_has_its_place() -> None:
    placed = [*ROWS, *ELSEWHERE]
    assert sorted(placed) == sorted(NUMBERS)
    assert len(NUMBERS) == 193
    assert set(BETTER_ELSEWHERE) <= set(ELSEWHERE)
