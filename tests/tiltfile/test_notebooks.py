"""Notebooks and Tiltfiles on disk: out of one, into the other, and nothing overwritten by accident."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import v4

from ipytilt.core.events import Source
from ipytilt.core.spec import Spec
from ipytilt.errors import TiltError, TiltfileError, UsageError
from ipytilt.tiltfile.cells import ARGUMENTS, HEADER
from ipytilt.tiltfile.host import DiskHost
from ipytilt.tiltfile.load import load
from ipytilt.tiltfile.notebooks import as_one_cell, export_notebook, export_sources, import_tiltfile

TILTFILE = """\
# What there is to run
config.define_string('who')
who = config.parse().get('who', 'nobody')

# --- Helpers ---

def name(n): return who + '-' + n

# --- Resources: <all> of them ---
local_resource(name('a'), 'echo a', deps=['src'])
local_resource(name('b'), 'echo b', resource_deps=[name('a')])
print(read_file('data.txt'), os.getcwd())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "data.txt").write_text("data")
    (tmp_path / "app" / "Tiltfile").write_text(TILTFILE)
    return tmp_path


def sources_of(notebook: Path) -> tuple[list[str], list[Any]]:
    """The texts of the code cells and all cells of a notebook, which must be valid."""
    read: Any = nbformat.read
    validate: Any = nbformat.validate
    document = read(notebook, as_version=4)
    validate(document)
    return [cell.source for cell in document.cells if cell.cell_type == "code"], document.cells


def write(path: Path, *cells: str, **metadata: Any) -> str:
    """A notebook of code cells ("# ..." becomes text)."""
    made: list[Any] = []
    for text in cells:
        new: Any = v4.new_markdown_cell if text.startswith("# ") else v4.new_code_cell
        made.append(new(text))
    new_notebook: Any = v4.new_notebook
    writes: Any = nbformat.writes
    path.write_text(writes(new_notebook(cells=made, metadata=metadata)))
    return str(path)


def spec_of(path: Path, *args: str) -> Spec:
    return load([Source("f", "f", "", path=str(path))], args, DiskHost()).spec


# ---------------------------------------------------------------------------------------------- import


def test_a_tiltfile_becomes_a_notebook_and_comes_back_as_the_same(folder: Path) -> None:
    tiltfile, notebook = folder / "app" / "Tiltfile", folder / "app" / "app.ipynb"
    before = spec_of(tiltfile, "--who", "me")
    assert import_tiltfile(str(tiltfile), str(notebook), ("--who", "me")) == f"Wrote {notebook}: 3 cells"
    code, cells = sources_of(notebook)
    assert code[0] == "%load_ext ipytilt"
    assert [text.split("\n")[0] for text in code[1:]] == ["%%tiltfile -- --who me", "%%tiltfile", "%%tiltfile"]
    assert code[1].endswith("get('who', 'nobody')")
    titles = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert titles == ["## Helpers", r"## Resources: \<all\> of them"]
    assert [cell.cell_type for cell in cells] == ["code", "code", "markdown", "code", "markdown", "code"]
    with pytest.raises(UsageError, match="exists already"):
        export_notebook(str(notebook), "", force=False)
    export_notebook(str(notebook), "", force=True)
    lines = tiltfile.read_text().splitlines()
    assert lines[:2] == [HEADER, f"{ARGUMENTS}--who me"]
    assert lines[3:] == TILTFILE.splitlines()
    assert spec_of(tiltfile, "--who", "me") == before
    again = folder / "app" / "again.ipynb"
    import_tiltfile(str(tiltfile), str(again), None)
    assert again.read_text() == notebook.read_text()


def test_a_notebook_elsewhere_says_where_paths_start(folder: Path) -> None:
    notebook = folder / "here.ipynb"
    import_tiltfile(str(folder / "app" / "Tiltfile"), str(notebook), None)
    code, _ = sources_of(notebook)
    assert code[0] == "%load_ext ipytilt\n%config IpyTilt.directory = 'app'"
    exported = folder / "app" / "Tiltfile.new"
    assert export_notebook(str(notebook), str(exported), force=False) == f"Wrote {exported}: 3 cells"
    assert {r.name for r in spec_of(exported).resources} == {"nobody-a", "nobody-b"}


def test_what_cannot_be_evaluated_stays_in_one_cell(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiltfile, notebook = folder / "Tiltfile", folder / "n.ipynb"
    tiltfile.write_text("x = 1\n\nfail('not here')\n")
    assert "in one cell, because it cannot be evaluated here: not here" in import_tiltfile(
        str(tiltfile), str(notebook), None
    )
    assert sources_of(notebook)[0] == ["%load_ext ipytilt", "%%tiltfile\nx = 1\n\nfail('not here')"]
    tiltfile.write_text("os.putenv('IPYTILT_TEST', 'set')\n\nlocal('echo ran >>ran')\n\nx = 1\n\ny = 2")
    monkeypatch.delenv("IPYTILT_TEST", raising=False)
    assert import_tiltfile(str(tiltfile), str(notebook), None, force=True).endswith(": 4 cells")
    assert (folder / "ran").read_text() == "ran\n"
    import_tiltfile(str(tiltfile), str(notebook), None, force=True, whole=True)
    assert (folder / "ran").read_text() == "ran\n"
    assert len(sources_of(notebook)[0]) == 2


def test_one_cell_for_a_notebook_that_is_open(folder: Path) -> None:
    tiltfile = folder / "app" / "Tiltfile"
    assert as_one_cell(str(tiltfile), str(folder / "app")) == f"%%tiltfile\n{TILTFILE}".rstrip()
    tiltfile.write_text(f"{HEADER}\n{ARGUMENTS}'a b' c\n\nx = 1")
    assert as_one_cell(str(tiltfile), str(folder / "app")) == "%%tiltfile -- 'a b' c\nx = 1"
    with pytest.raises(UsageError, match="start in") as caught:
        as_one_cell(str(tiltfile), str(folder))
    assert "--to" in caught.value.hint


@pytest.mark.parametrize(
    "content, expected",
    [
        (None, "Cannot read"),
        (b"\xff", "it is no UTF-8 text"),
        (b"\n \n", "is empty"),
    ],
)
def test_what_cannot_be_imported(content: bytes | None, expected: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "Tiltfile").write_bytes(content)
    calls: list[Callable[[], str]] = [
        lambda: import_tiltfile(str(tmp_path / "Tiltfile"), str(tmp_path / "n.ipynb"), None),
        lambda: as_one_cell(str(tmp_path / "Tiltfile"), str(tmp_path)),
    ]
    for call in calls:
        with pytest.raises(UsageError, match=expected) as caught:
            call()
        assert caught.value.hint
    assert not (tmp_path / "n.ipynb").exists()


def test_a_syntax_error_is_shown_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("x = 1\nclass A: pass")
    with pytest.raises(TiltfileError) as caught:
        import_tiltfile(str(tmp_path / "Tiltfile"), str(tmp_path / "n.ipynb"), None)
    assert caught.value.where == f"{tmp_path}/Tiltfile:2"
    assert list(tmp_path.iterdir()) == [tmp_path / "Tiltfile"]


# ---------------------------------------------------------------------------------------------- export


def exported(notebook: str, tmp_path: Path) -> list[str]:
    export_notebook(notebook, str(tmp_path / "Tiltfile"), force=True)
    text = (tmp_path / "Tiltfile").read_text()
    return [line for line in text.splitlines() if line and line != HEADER]


@pytest.mark.parametrize(
    "cells, expected",
    [
        (["%load_ext ipytilt", "# words", "%%tiltfile\nx = 1", "print(1)", "%%tiltfile\ny = 2"], ["x = 1", "y = 2"]),
        (["%%tiltfile a\nx = 1", "%%tiltfile\ny = 2", "%%tiltfile a\nx = 3"], ["x = 3", "y = 2"]),
        (["\n%%time\n\n%%tiltfile --engine sandbox 'a b'\nx = 1"], ["x = 1"]),
        (["%%tiltfile -- a\nx = 1", "%%tiltfile b -- c 'd e'\ny = 2"], [f"{ARGUMENTS}c 'd e'", "x = 1", "y = 2"]),
        (["%%tiltfile -- a\nx = 1", "%tilt args -- b"], [f"{ARGUMENTS}b", "x = 1"]),
        (["%%tiltfile -- a\nx = 1", "%tilt args --clear"], ["x = 1"]),
        (["%%tiltfile -- a\nx = 1", "%%tiltfile --\ny = 2"], ["x = 1", "y = 2"]),
        (["%%tiltfiles\nx = 0", "%%tiltfile\r\nx = 1\r\n"], ["x = 1"]),
    ],
)
def test_the_cells_of_a_notebook(cells: list[str], expected: list[str], tmp_path: Path) -> None:
    assert exported(write(tmp_path / "n.ipynb", *cells), tmp_path) == expected


def test_a_notebook_of_an_older_format(tmp_path: Path) -> None:
    cell = {
        "cell_type": "code",
        "language": "python",
        "input": ["%%tiltfile\n", "x = 1"],
        "outputs": [],
        "metadata": {},
    }
    document = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": [cell]}]}
    (tmp_path / "n.ipynb").write_text(json.dumps(document))
    assert exported(str(tmp_path / "n.ipynb"), tmp_path) == ["x = 1"]


def test_an_error_names_the_cell_and_its_line(tmp_path: Path) -> None:
    notebook = write(tmp_path / "n.ipynb", "1", "%%time\n%%tiltfile\nx = 1\nclass A: pass")
    with pytest.raises(TiltfileError) as caught:
        exported(notebook, tmp_path)
    assert caught.value.where == "Cell 2:4"


@pytest.mark.parametrize(
    "content, expected",
    [
        (None, "Cannot read"),
        ("no JSON", "is no notebook"),
        ("[]", "is no notebook"),
        ("{}", "is no notebook"),
        ('{"nbformat": 4}', "is no notebook"),
        ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}', "has no %%tiltfile cells"),
    ],
)
def test_what_cannot_be_exported(content: str | None, expected: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "n.ipynb").write_text(content)
    with pytest.raises(UsageError, match=expected) as caught:
        export_notebook(str(tmp_path / "n.ipynb"), "", force=False)
    assert caught.value.hint
    assert not (tmp_path / "Tiltfile").exists()


@pytest.mark.parametrize("line, expected", [("'a", "cannot read"), ("a b", "takes one name, not 'a b'")])
def test_words_that_the_magic_would_refuse(line: str, expected: str, tmp_path: Path) -> None:
    notebook = write(tmp_path / "n.ipynb", f"%%tiltfile {line}\nx = 1")
    with pytest.raises(UsageError, match=expected) as caught:
        export_notebook(notebook, "", force=False)
    assert "Cell 1" in caught.value.message


def test_another_folder_would_be_another_tiltfile(folder: Path) -> None:
    notebook = write(folder / "n.ipynb", "%%tiltfile\nx = 1")
    for target in (folder / "app" / "Tiltfile", folder / "none" / "Tiltfile"):
        with pytest.raises(UsageError, match="would start in") as caught:
            export_notebook(notebook, str(target), force=True)
        assert caught.value.hint == f"export to {folder}/Tiltfile"
    link = folder / "link"
    link.symlink_to(folder)
    export_notebook(notebook, str(link / "Tiltfile"), force=False)
    assert (folder / "Tiltfile").exists()


def test_a_file_that_the_cells_read_is_not_replaced(folder: Path) -> None:
    notebook = write(folder / "n.ipynb", "%%tiltfile\ninclude('./Tiltfile')")
    (folder / "Tiltfile").write_text("x = 1")
    with pytest.raises(UsageError, match=r"load .*Tiltfile themselves"):
        export_notebook(notebook, "", force=True)
    source = Source("file:1", "Tiltfile", str(folder), path=str(folder / "Tiltfile"))
    cell = Source("cell:1", "Cell In[1]", str(folder), "\ny = 2")
    with pytest.raises(UsageError, match="no %%tiltfile cells"):
        export_sources([source], (), str(folder / "Other"), force=False)
    with pytest.raises(UsageError, match=r"reads .*Tiltfile itself"):
        export_sources([source, cell], (), str(folder / "Tiltfile"), force=True)
    with pytest.raises(UsageError, match="dev is a Python function"):
        export_sources([cell, Source("p", "dev", str(folder), "", program=dict)], (), str(folder / "Other"), force=True)
    export_sources([source, cell], (), str(folder / "Other"), force=False)
    assert (folder / "Other").read_text() == f"{HEADER}\n\nx = 1\n\ny = 2\n"
    assert (folder / "Tiltfile").read_text() == "x = 1"


# ---------------------------------------------------------------------------------------------- files


def test_replacing_keeps_mode_and_link_and_leaves_nothing_else(tmp_path: Path) -> None:
    notebook = write(tmp_path / "n.ipynb", "%%tiltfile\nx = 1")
    real = tmp_path / "real"
    real.write_text("old")
    real.chmod(0o640)
    (tmp_path / "Tiltfile").symlink_to(real)
    export_notebook(notebook, str(tmp_path / "Tiltfile"), force=True)
    assert real.read_text().endswith("x = 1\n")
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert (tmp_path / "Tiltfile").is_symlink()
    (tmp_path / "folder").mkdir()
    for force in (False, True):
        with pytest.raises(TiltError):
            export_notebook(notebook, str(tmp_path / "folder"), force=force)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Tiltfile", "folder", "n.ipynb", "real"]


def test_a_folder_that_is_not_there(folder: Path) -> None:
    with pytest.raises(TiltError, match="No such file or directory"):
        import_tiltfile(str(folder / "app" / "Tiltfile"), str(folder / "none" / "n.ipynb"), None)


def test_without_nbformat_the_error_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = write(folder / "n.ipynb", "%%tiltfile\nx = 1")
    monkeypatch.setitem(sys.modules, "nbformat", None)
    calls: list[Callable[[], str]] = [
        lambda: export_notebook(notebook, "", force=False),
        lambda: import_tiltfile(str(folder / "app" / "Tiltfile"), str(folder / "m.ipynb"), None),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="need the package nbformat") as caught:
            call()
        assert caught.value.hint == "pip install nbformat"
