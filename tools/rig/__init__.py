"""The test rig: Docker, Compose, Kubernetes and a browser on a machine that has none of them.

What is already there is used first: a daemon that answers, Compose and buildx beside it, an installed Chromium. The
rest is brought up privately, under ``.cache/rig`` and a folder in the system's temporary directory, and goes away
with whoever asked for it. Used by ``python -m tools.rig``, by the tests' fixtures and by the benchmarks.
"""

from __future__ import annotations
