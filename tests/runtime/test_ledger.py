"""What sessions leave to each other about what they brought into containers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ipytilt.runtime import ledger
from ipytilt.runtime.ledger import Ledger


@pytest.fixture
def here(tmp_path: Path) -> list[str]:
    """Three files, one with a name that is no text."""
    paths = [str(tmp_path / name) for name in ("a", "b c", "odd\udcff\nname")]
    for path in paths:
        Path(path).write_text("x")
    return paths


def test_another_session_knows_what_was_brought_and_not_removed(tmp_path: Path, here: list[str]) -> None:
    one, folder = Ledger(str(tmp_path / "kept")), tmp_path / "kept"
    one.later("web", "c1", here)
    one.later("web", "c2", here[:1])
    assert one.brought("c1") == frozenset()
    one.write()
    Path(here[1]).unlink()
    one.later("web", "c1", here[:2])
    one.write()
    one.later("web", "c1", here)
    one.write()
    other = Ledger(str(folder))
    assert other.brought("c1") == one.brought("c1") == frozenset([here[0], here[2]])
    assert other.brought("c2") == frozenset(here[:1])
    assert other.brought("unknown") == frozenset()
    other.later("web", "c2", here[2:])
    other.write()
    assert one.brought("c2") == frozenset([here[0], here[2]])
    assert len((folder / "c1").read_text().split("\n")) == 3  # the third update brought nothing new


def test_a_line_cut_off_by_the_end_of_a_kernel_is_passed_over(tmp_path: Path, here: list[str]) -> None:
    one = Ledger(str(tmp_path / "kept"))
    one.later("web", "c1", here[:1])
    one.write()
    with Path(tmp_path / "kept/c1").open("a") as file:
        file.write('\n[["/cut')
    again = Ledger(str(tmp_path / "kept"))
    again.later("web", "c1", here[1:])
    again.write()
    assert Ledger(str(tmp_path / "kept")).brought("c1") == frozenset(here)


def test_what_is_gone_is_forgotten(tmp_path: Path, here: list[str]) -> None:
    one = Ledger(str(tmp_path / "kept"))
    for resource, container in (("web", "c1"), ("web", "c2"), ("api", "c3")):
        one.later(resource, container, here)
    one.write()
    one.forget("web", but=["c2"])
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["c2", "c3"]
    one.forget("web")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["c3"]
    assert one.brought("c1") == frozenset()


def test_a_ledger_is_bounded(tmp_path: Path, here: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "KEPT_RECORDS", 3)
    monkeypatch.setattr(ledger, "KEPT_PATHS", 2)
    one = Ledger(str(tmp_path / "kept"))
    for number in range(5):
        one.later("web", f"c{number}", here[:1])
        one.write()
        os.utime(tmp_path / f"kept/c{number}", (number + 1, number + 1))
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["c2", "c3", "c4"]
    assert set(one._known) == {"c2", "c3", "c4"}
    one.later("web", "c4", here[1:])
    one.write()
    assert one.brought("c4") == frozenset(here[:1])


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, here: list[str]) -> None:
    (tmp_path / "kept").write_text("no folder")
    one = Ledger(str(tmp_path / "kept"))
    one.later("web", "c1", here)
    with pytest.raises(OSError, match="kept"):
        one.write()
