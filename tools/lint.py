"""``python -m tools.lint``: style, types and import contracts, all of them even when one fails."""

from __future__ import annotations

import subprocess
import sys

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("tools.contracts", "pyproject.toml"),
)


def main() -> int:
    """Run every check; return 1 if any failed."""
    failed = [
        " ".join(check) for check in CHECKS if subprocess.run([sys.executable, "-m", *check], check=False).returncode
    ]
    for check in failed:
        print(f"lint: {check} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
