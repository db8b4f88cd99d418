"""Tilt in a notebook. This module holds the version and imports nothing."""

from __future__ import annotations

__version__ = "0.1.0"
