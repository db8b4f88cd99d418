"""The cluster's programs: where they are kept, and what is said when they cannot be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.rig import apt, kube_build


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ipytilt"


def test_without_a_build_nothing_is_found(cache: Path) -> None:
    assert kube_build.find() is None


def test_the_newest_build_is_found(cache: Path) -> None:
    for age, version in ((2, "1.9"), (1, "1.10"), (3, "1.2")):
        folder = cache / f"kubernetes-{version}"
        folder.mkdir(parents=True)
        os.utime(folder, (1000 - age, 1000 - age))
    found = kube_build.find()
    assert found is not None
    assert found.name == "kubernetes-1.10"


def test_what_is_built_is_not_built_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "kubernetes-1").mkdir(parents=True)
    monkeypatch.setenv("PATH", "")
    kube_build.install()
    assert [path.name for path in cache.iterdir()] == ["kubernetes-1"]


def test_where_it_cannot_be_built_the_reason_is_named_and_leftovers_go(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (cache / ".building-killed" / "source").mkdir(parents=True)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(apt.CannotInstallError, match=r"missing here: .*golang-go"):
        kube_build.install()
    assert kube_build.find() is None
    assert not [path for path in cache.iterdir() if path.is_dir()]
    assert "ten minutes" in capsys.readouterr().err
