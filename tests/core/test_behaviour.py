"""The behaviour table, row by row."""

from __future__ import annotations

import pytest

from tests.core import (  # noqa: F401
    rows_deploy,
    rows_live,
    rows_local,
    rows_mapping,
    rows_reload,
    rows_scheduling,
    rows_watching,
)
from tests.core.rows import ROWS, Row


@pytest.mark.parametrize("row", [pytest.param(row, id=number) for number, row in ROWS.items()])
def test_row(row: Row) -> None:
    row.play()
