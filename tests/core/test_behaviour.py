"""The behaviour table, row by row."""

from __future__ import annotations

import pytest

from tests.core import rows_live, rows_mapping, rows_reload, rows_scheduling, rows_watching  # noqa: F401
from tests.core.rows import ROWS, Row


@pytest.mark.parametrize("row", [pytest.param(row, id=number) for number, row in ROWS.items()])
def test_row(row: Row) -> None:
    row.play()
