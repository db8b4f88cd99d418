"""A session as one JSON document, for whoever looks at it later: what every view shows, and all log lines held.

Runs on the caller's thread; reads a snapshot and the logs, posts nothing. Secrets are left out, as in every view.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from ipytilt.errors import TiltError
from ipytilt.runtime.logs import ALL
from ipytilt.runtime.session import Session
from ipytilt.views import wire
from ipytilt.views.rows import session_view


def snapshot(session: Session) -> dict[str, Any]:
    """`createdAt`, the `view` (the document of `wire`), and the `log`, oldest line first."""
    lines = session.logs.since(ALL, 0)[1]
    return {
        "createdAt": datetime.fromtimestamp(session.clock(), UTC).isoformat(timespec="milliseconds"),
        "view": wire.document(session_view(session.state, session.engine_line, scrub=session.logs.scrub)),
        "log": [line._asdict() for line in lines],
    }


def write(session: Session, path: str) -> None:
    """Save the snapshot in a file. Raises TiltError if that cannot be written."""
    text = json.dumps(snapshot(session), indent=1)
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise TiltError(f"The snapshot cannot be written to {path}: {error.strerror}") from None
