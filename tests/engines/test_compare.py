"""What of the files here a container lacks, without a container."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from ipytilt.core.steps import Copy
from ipytilt.engines.compare import Seen, differing


class Emptied:
    """A container that has a directory at /app/b with a file in it, and nothing else."""

    def statuses(self, paths: Sequence[str]) -> Mapping[str, Seen]:
        there = {"/app/b": Seen(stat.S_IFDIR | 0o755, 0), "/app/b/a": Seen(stat.S_IFREG | 0o644, 1)}
        return {path: seen for path, seen in there.items() if path in paths}

    def digests(self, paths: Sequence[str]) -> Mapping[str, str]:
        return dict.fromkeys(paths, "")

    def links(self, paths: Sequence[str]) -> Mapping[str, str]:
        return dict.fromkeys(paths, "")


def test_what_is_below_a_link_that_leads_in_a_circle_is_gone(tmp_path: Path) -> None:
    (tmp_path / "b").symlink_to("b")
    copies = [Copy(str(tmp_path / name), f"/app/{name}", str(tmp_path)) for name in ("b", "b/a", "b/c")]
    found = differing(copies, Emptied(), engine="docker")
    assert [copy.container for copy in found] == ["/app/b", "/app/b/a"]
