"""Rows of the behaviour table live in modules of their own; their asserts explain themselves like those of tests."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite(*(f"tests.core.{path.stem}" for path in Path(__file__).parent.glob("rows*.py")))
