"""Tiltfiles and notebooks on disk: what `import` and `export` read, check and write.

Runs on the caller's thread; blocks for as long as the commands of an imported Tiltfile take, which is evaluated once to
see where it can be cut. `cells` has the rules; `verbs` and the command line find the paths.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import stat
import tempfile
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ipytilt.core.events import Source
from ipytilt.errors import TiltError, TiltfileError, UsageError
from ipytilt.tiltfile.cells import Cell, join, merged, runs, split
from ipytilt.tiltfile.host import DiskHost
from ipytilt.tiltfile.load import complete_after

MAGIC = "%%tiltfile"
_LOAD = "%load_ext ipytilt"
_DIRECTORY = re.compile(r"""^%config\s+IpyTilt\.directory\s*=\s*(["'].*["'])\s*$""", re.MULTILINE)
_MARKUP = re.compile(r"([\\`*_<>\[\]#])")
_ARGS = re.compile(r"^%tilt[ \t]+args[ \t]+(--.*)$", re.MULTILINE)


def export_sources(sources: Sequence[Source], args: Sequence[str], target: str, *, force: bool) -> str:
    """Write the sources of a session as the Tiltfile `target`; what was done, in words. Raises TiltError."""
    if not any(source.text is not None for source in sources):
        raise UsageError("There are no %%tiltfile cells to export", hint="run one, and it is part of the Tiltfile")
    for source in sources:
        if source.program is not None:
            raise UsageError(f"{source.name} is a Python function, which no Tiltfile can hold", hint="say it in a cell")
    if any(source.text is None and os.path.realpath(source.path) == os.path.realpath(target) for source in sources):
        raise UsageError(f"The session reads {target} itself", hint="export to another name in the same folder")
    cells = [Cell(source.name, source.text if source.text is not None else _read(source.path)) for source in sources]
    return _export(cells, args, target, bases={source.base for source in sources}, force=force)


def export_notebook(notebook: str, target: str, *, force: bool) -> str:
    """Write the `%%tiltfile` cells of a notebook as a Tiltfile, which "" puts into the folder where their paths start.

    Returns what was done, in words. Raises TiltError.
    """
    found = _Found.in_notebook(notebook)
    if not found.cells:
        raise UsageError(f"{notebook} has no {MAGIC} cells", hint=f"a cell counts if its first line is {MAGIC}")
    target = target or os.path.join(found.base, "Tiltfile")
    return _export(list(found.cells.values()), found.args, target, bases={found.base}, force=force)


def import_tiltfile(
    tiltfile: str, notebook: str, args: Sequence[str] | None, *, force: bool = False, whole: bool = False
) -> str:
    """Write a notebook whose cells mean what the Tiltfile means; what was done, in words. Raises TiltError.

    The Tiltfile is evaluated once, with `args` (None: those it says to be given), because a cell must be good without
    those below it. Where that fails, and if it is wanted `whole`, it becomes one cell.
    """
    _nbformat()
    cells, told = _split(tiltfile)
    args, note = tuple(told if args is None else args), ""
    base = os.path.dirname(os.path.realpath(tiltfile))
    if not whole and len(cells) > 1:
        try:
            cells = _able_to_run(cells, args, base)
        except TiltfileError as error:
            whole, note = True, f"; in one cell, because it cannot be evaluated here: {error.message}"
    if whole:
        cells = merged(cells, [False] * len(cells))
    _save(notebook, _notebook(cells, args, os.path.relpath(base, os.path.dirname(os.path.realpath(notebook)))), force)
    return f"Wrote {notebook}: {_count(cells)}{note}"


def as_one_cell(tiltfile: str, directory: str, args: Sequence[str] | None = None) -> str:
    """The Tiltfile as the text of one cell of a session whose paths start in `directory`. Raises TiltError."""
    cells, told = _split(tiltfile)
    base = os.path.dirname(os.path.realpath(tiltfile))
    if base != os.path.realpath(directory):
        raise UsageError(
            f"Paths in {tiltfile} start in {base}, those of cells in {directory}",
            hint="%tilt up runs it where it stands; %tilt import ... --to NOTEBOOK says so in the notebook",
        )
    return _cell_text(merged(cells, [False] * len(cells))[0], told if args is None else args)


# ---------------------------------------------------------------------------------------------- out of a notebook


@dataclass(slots=True)
class _Found:
    """The Tiltfile cells of a notebook by name or number, their arguments, and where their paths start."""

    base: str
    cells: dict[str, Cell] = field(default_factory=dict)
    args: tuple[str, ...] = ()

    @classmethod
    def in_notebook(cls, path: str) -> _Found:
        """Look at every code cell, in order, as if they were run."""
        found = cls(os.path.dirname(os.path.realpath(path)))
        for number, cell in enumerate(_cells_of(path), 1):
            if cell.get("cell_type") == "code":
                found.add(str(cell.get("source", "")), f"Cell {number}")
        return found

    def add(self, text: str, name: str) -> None:
        """Run one cell, as far as it concerns Tiltfiles."""
        lines = text.split("\n")
        at = next((n for n, line in enumerate(lines) if line.strip() and not _is_around(line)), len(lines))
        if at < len(lines) and lines[at].split(maxsplit=1)[:1] == [MAGIC]:
            words = _words(lines[at].strip().removeprefix(MAGIC), name)
            if "--" in words:
                self.args, words = tuple(words[words.index("--") + 1 :]), words[: words.index("--")]
            if "--engine" in words:
                del words[words.index("--engine") : words.index("--engine") + 2]
            if len(words) > 1:
                raise UsageError(f"{name}: {MAGIC} takes one name, not {shlex.join(words)!r}", hint="quote the name")
            shown = f"Cell {words[0]!r}" if words else name
            self.cells[words[0] if words else name] = Cell(shown, "\n" * (at + 1) + "\n".join(lines[at + 1 :]))
            return
        for match in _ARGS.finditer(text):
            words = _words(match[1], name)
            self.args = tuple(words[1:]) if words[0] == "--" else ()
        for match in _DIRECTORY.finditer(text):
            with suppress(ValueError, SyntaxError):  # more than a literal: nobody knows without running it
                self.base = os.path.realpath(os.path.join(self.base, str(ast.literal_eval(match[1]))))


def _is_around(line: str) -> bool:
    """A cell magic that runs another, such as %%time."""
    return line.startswith("%%") and not line.startswith(MAGIC)


def _words(line: str, name: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{name}: cannot read {line.strip()!r}: {error}", hint="close the quotes") from None


def _cells_of(path: str) -> list[Any]:
    """The cells of a notebook of any format. Raises UsageError."""
    nbformat = _nbformat()
    text = _read(path)
    try:
        document = json.loads(text)
        if "nbformat" not in document:
            raise KeyError("nbformat")
        return list(nbformat.convert(nbformat.reader.reads(text), 4)["cells"])
    except (AttributeError, KeyError, TypeError, ValueError, nbformat.ValidationError) as error:
        raise UsageError(f"{path} is no notebook: {error}", hint="name a file that JupyterLab can open") from None


def _export(cells: Sequence[Cell], args: Sequence[str], target: str, *, bases: Collection[str], force: bool) -> str:
    folder = os.path.realpath(os.path.dirname(os.path.abspath(target)))
    for base in bases:
        if os.path.realpath(base) != folder:
            raise UsageError(
                f"Paths of the cells start in {base}; those of {target} would start in {folder}",
                hint=f"export to {os.path.join(base, os.path.basename(target))}",
            )
    if os.path.realpath(target) in {os.path.realpath(os.path.join(folder, path)) for path in runs(cells)}:
        raise UsageError(f"The cells load {target} themselves", hint="export to another name in the same folder")
    text = join(cells, args)
    _save(target, text, force)
    return f"Wrote {target}: {_count(cells)}"


# ---------------------------------------------------------------------------------------------- into a notebook


def _split(tiltfile: str) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    cells, args = split(_read(tiltfile), tiltfile)
    if not cells:
        raise UsageError(f"{tiltfile} is empty", hint="name a Tiltfile that says something")
    return cells, args


def _able_to_run(cells: Sequence[Cell], args: tuple[str, ...], base: str) -> tuple[Cell, ...]:
    """The cells, those together that are only good together. Raises TiltfileError if all of them are not."""
    host = DiskHost()
    host.environ = dict(host.environ)  # what the Tiltfile sets is for itself
    sources = [Source(f"cell:{number}", cell.name, base, cell.text) for number, cell in enumerate(cells)]
    return merged(cells, complete_after(sources, args, host))


def _notebook(cells: Sequence[Cell], args: Sequence[str], directory: str) -> str:
    """The text of a notebook, the same for the same cells."""
    v4: Any = _nbformat().v4
    first = _LOAD if directory == "." else f"{_LOAD}\n%config IpyTilt.directory = {directory!r}"
    made = [v4.new_code_cell(first)]
    for number, cell in enumerate(cells):
        made += [v4.new_markdown_cell("## " + _MARKUP.sub(r"\\\1", title)) for title in cell.titles]
        made.append(v4.new_code_cell(_cell_text(cell, () if number else args)))
    for number, cell in enumerate(made):
        cell["id"] = f"cell-{number:02}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    document = v4.new_notebook(cells=made, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})
    return f"{_nbformat().writes(document)}\n"


def _cell_text(cell: Cell, args: Sequence[str]) -> str:
    first = f"{MAGIC} -- {shlex.join(args)}" if args else MAGIC
    return f"{first}\n{cell.text}"


def _nbformat() -> Any:
    try:
        import nbformat
    except ImportError:
        raise UsageError("Notebooks need the package nbformat", hint="pip install nbformat") from None
    return nbformat


# ---------------------------------------------------------------------------------------------- files


def _count(cells: Sequence[Cell]) -> str:
    return f"{len(cells)} cells" if len(cells) > 1 else "1 cell"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(f"Cannot read {path}: {reason}", hint="name a file that exists and can be read") from None


def _save(path: str, text: str, force: bool) -> None:  # noqa: FBT001 - the last of three plain values
    """Write a file all at once; nobody sees half of it, and an existing one is replaced only by `force`."""
    target = os.path.realpath(path)
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", newline="", dir=os.path.dirname(target), prefix=".ipytilt-", delete=False
        ) as file:
            temporary = file.name
            file.write(text)
        # made or opened here already, for the right mode and so that nobody else's file is replaced by accident
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | (0 if force else os.O_EXCL), 0o666))
        os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(temporary, target)
    except FileExistsError:
        raise UsageError(f"{path} exists already", hint="--force replaces it") from None
    except (OSError, UnicodeEncodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its text is no UTF-8"
        raise TiltError(f"Cannot write {path}: {reason}", hint="choose a folder that can be written") from None
    finally:
        with suppress(OSError):
            os.unlink(temporary)
