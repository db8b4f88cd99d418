"""What tests share: waiting for conditions, leak checks, Docker images, JupyterLab in a browser."""

from __future__ import annotations

from tests.support.waiting import eventually

__all__ = ["eventually"]
