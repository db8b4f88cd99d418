"""One Tiltfile as cells, cells as one Tiltfile: `split` and `join`.

Cells are evaluated one after the other in one namespace, a file is checked as a whole. What differs is how names are
looked up: a function in a file may use what stands below it, a cell only what stands above; and a builtin's name that
gets another meaning has it for every function of a file, but only for later cells. So `split` keeps together what
needs each other, and `join` gives the builtin a second name where that is needed. Comments stay with the statement
below them. Pure functions; any thread. `notebooks` reads and writes the files.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ipytilt.errors import TiltfileError, UsageError
from ipytilt.starlark import UNIVERSE, StarlarkSyntaxError, check
from ipytilt.starlark.outline import Outline, Statement, Use, outline
from ipytilt.tiltfile.builtin import constants, registered
from ipytilt.tiltfile.load import excerpt

HEADER = "# Written by ipytilt: the %%tiltfile cells of a notebook, in the order in which they are evaluated."
ARGUMENTS = "# The cells were given arguments. So that this file gets the same: tilt up -- "
SECOND_NAMES = "# A cell further down gives the builtin's name another meaning, which those above it did not have."
_NEVER = 1 << 30
_RULE = re.compile(r"#[\s#=*~_+-]{3,}")
_TITLE = re.compile(r"(?:#{2,}|#\s*[-=*~_+]{3,})\s*(?P<text>[^\W_][^(=\[{]*?)[\s#=*~_+-]*")


@dataclass(frozen=True, slots=True)
class Cell:
    """The text of a cell without its `%%tiltfile` line; `name` is how errors call it, `titles` are headings above."""

    name: str
    text: str
    titles: tuple[str, ...] = ()


def join(cells: Sequence[Cell], args: Sequence[str]) -> str:
    """The text of a Tiltfile that means what the cells mean in this order when they are given `args`.

    Raises TiltfileError for a cell that is no Tiltfile or an undefined name, UsageError for what one file cannot say.
    """
    head = [HEADER]
    if args:
        told = shlex.join(args)
        if "\n" in told or "\r" in told:
            raise UsageError(
                "An argument of the Tiltfile has more than one line, which no comment can tell",
                hint="%tilt args -- ... sets others; tilt_config.json can hold such a value",
            )
        head.append(ARGUMENTS + told)
    joined = _Joined([(cell, _outline(cell.text, cell.name)) for cell in cells])
    texts = ["\n".join(head), joined.first_lines(), *joined.texts()]
    text = "\n\n".join(filter(None, texts)) + "\n"
    _check(text, "The Tiltfile of all cells")  # a cell after an exit() may never have been looked at
    return text


def split(text: str, file: str) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    """The cells that mean what the Tiltfile `file` with this text means, and the arguments it says to be given.

    Every blank line and every title above a top-level statement is a border, unless a name binds both sides together.
    Raises TiltfileError for a text that cannot be parsed.
    """
    body, args = _without_head(text)
    parsed = _outline(body, file)
    blocks = list(_blocks(parsed))
    borders = sorted({0, *range(len(blocks))} - _bound_together(blocks))
    cells: list[Cell] = []
    for begin, end in zip(borders, [*borders[1:], len(blocks)], strict=True):
        group = blocks[begin:end]
        lines = parsed.lines[group[0].begin : group[-1].end] if group else parsed.lines
        cells.append(Cell(f"{file}, cell {len(cells) + 1}", _trimmed(lines), group[0].titles if group else ()))
    return tuple(cell for cell in cells if cell.text), args


def merged(cells: Sequence[Cell], complete: Sequence[bool]) -> tuple[Cell, ...]:
    """The cells, each that is not `complete` together with those after it, up to one that is."""
    found: list[Cell] = []
    open_ = False
    for cell, ends in zip(cells, complete, strict=True):
        if open_:
            found[-1] = replace(found[-1], text=f"{found[-1].text}\n\n{cell.text}")
        else:
            found.append(cell)
        open_ = not ends
    return tuple(found)


def runs(cells: Sequence[Cell]) -> frozenset[str]:
    """The paths, as written, of the files that the cells load or include by a literal name."""
    return frozenset(match[2] for cell in cells for match in _RUNS.finditer(cell.text))


_RUNS = re.compile(r"""\b(?:load|include|load_dynamic)\s*\(\s*(["'])(.*?)\1""")


def _outline(text: str, file: str) -> Outline:
    with _shown(text):
        return outline(text, file)


def _check(text: str, file: str) -> None:
    with _shown(text):
        check(text, file, predeclared=_builtins() | {"__file__", "__name__"})


@contextmanager
def _shown(text: str) -> Iterator[None]:
    """Errors in the text as TiltfileError."""
    try:
        yield
    except StarlarkSyntaxError as error:
        file, line, column = error.position
        shown = excerpt(text, line, column)
        raise TiltfileError(error.message, file=file, line=line, excerpt=shown) from None


def _trimmed(lines: Sequence[str]) -> str:
    """The lines as a text, without blank ones at either end."""
    filled = [number for number, line in enumerate(lines) if line.strip()]
    return "\n".join(lines[filled[0] : filled[-1] + 1]) if filled else ""


@dataclass(slots=True)
class _Binders:
    """For each global name the number of the first group of statements that may assign, surely assigns, loads it."""

    first: dict[str, int] = field(default_factory=dict)
    certain: dict[str, int] = field(default_factory=dict)
    loaded: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, groups: Iterable[Sequence[Statement]]) -> _Binders:
        """Look through all groups, in order."""
        found = cls()
        for number, statements in enumerate(groups):
            for each in statements:
                found.first |= dict.fromkeys(each.binds - found.first.keys(), number)
                found.certain |= dict.fromkeys(each.certain - found.certain.keys(), number)
                found.loaded |= dict.fromkeys(each.loaded - found.loaded.keys(), number)
        return found


# ---------------------------------------------------------------------------------------------- joining


@dataclass(slots=True)
class _Joined:
    """Cells on their way into one file: which builtins get a second name, and which are made sure of."""

    cells: list[tuple[Cell, Outline]]
    _binders: _Binders = field(init=False)
    _second: dict[str, str] = field(default_factory=dict)
    _kept: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._binders = _Binders.of(parsed.statements for _, parsed in self.cells)
        taken = {use.name for _, parsed in self.cells for use in _uses(parsed)} | self._binders.first.keys()
        for number, (cell, parsed) in enumerate(self.cells):
            for use in _uses(parsed):
                self._look_at(use, number, cell.name, taken=taken)

    def first_lines(self) -> str:
        """What has to stand above all cells, or ""."""
        lines = [f"{second} = {name}" for name, second in sorted(self._second.items())]
        lines += [f"{name} = {name}" for name in sorted(self._kept)]
        return "\n".join([SECOND_NAMES, *lines]) if lines else ""

    def texts(self) -> Iterator[str]:
        """The texts of the cells, each use that needs it by the second name."""
        for number, (_, parsed) in enumerate(self.cells):
            lines = list(parsed.lines)
            for use in sorted(_uses(parsed), key=lambda use: use.place, reverse=True):
                if self._means_the_builtin(use, number):
                    line, column = use.place
                    rest = lines[line - 1][column + len(use.name) :]
                    lines[line - 1] = lines[line - 1][:column] + self._second[use.name] + rest
            yield _trimmed(lines)

    def _means_the_builtin(self, use: Use, number: int) -> bool:
        """It is used in a function while it is the builtin, and later is not."""
        return use.inside and self._binders.first.get(use.name, -1) > number and use.name in _builtins()

    def _look_at(self, use: Use, number: int, cell: str, *, taken: set[str]) -> None:
        name = use.name
        if self._means_the_builtin(use, number) and name not in self._second:
            second = f"builtin_{name}"
            while second in taken:
                second += "_"
            taken.add(second)
            self._second[name] = second
        first, loaded = self._binders.first.get(name, _NEVER), self._binders.loaded.get(name, -1)
        if first < number <= self._binders.certain.get(name, _NEVER) and name in _builtins():
            self._kept.add(name)  # the assignment may not have happened
        if use.inside and first <= number < loaded:
            raise UsageError(
                f"{cell} has a function that uses its own {name}, and {self.cells[loaded][0].name} loads another "
                f"{name}; in one Tiltfile the function would use the loaded one",
                hint=f"give one of them another name: load(..., other_{name}='{name}')",
            )


def _uses(parsed: Outline) -> Iterator[Use]:
    for statement in parsed.statements:
        yield from statement.uses


def _builtins() -> frozenset[str]:
    """Every name that a Tiltfile has without defining it."""
    names = {name.partition(".")[0] for name in (*registered(), *constants())}
    return frozenset(names | UNIVERSE.keys())


# ---------------------------------------------------------------------------------------------- splitting


@dataclass(slots=True)
class _Block:
    """Lines `begin` to `end` (counted from 0, the end left out) with their statements."""

    begin: int
    end: int
    titles: tuple[str, ...]
    statements: list[Statement] = field(default_factory=list)


def _without_head(text: str) -> tuple[str, tuple[str, ...]]:
    """The text with the comment of `join` blanked, so that lines keep their numbers, and the arguments it tells."""
    lines = text.split("\n")
    if lines[0].rstrip("\r") != HEADER:
        return text, ()
    lines[0], args = "", ""
    if len(lines) > 1 and lines[1].startswith(ARGUMENTS):
        lines[1], args = "", lines[1].removeprefix(ARGUMENTS)
    try:
        return "\n".join(lines), tuple(shlex.split(args))
    except ValueError:  # somebody has edited it
        return "\n".join(lines), ()


def _blocks(parsed: Outline) -> Iterator[_Block]:
    """The statements by paragraphs."""
    block: _Block | None = None
    last = 0
    for statement in parsed.statements:
        gap = parsed.lines[last : max(last, statement.first - 1)]
        inner = _belonging_above(gap)
        titles = tuple(_titles(gap[inner:]))
        if block is None:
            block = _Block(0, 0, titles)
        elif statement.first > last and _is_border(parsed.lines[last - 1], gap[inner:], titles):
            block.end = last + inner
            yield block
            block = _Block(last + inner, 0, titles)
        block.statements.append(statement)
        last = max(last, statement.last)
    if block is not None:
        block.end = len(parsed.lines)
        yield block


def _belonging_above(gap: Sequence[str]) -> int:
    """How many lines of the gap are indented comments right below a statement, and so part of its body."""
    count = 0
    while count < len(gap) and gap[count][:1].isspace() and gap[count].strip().startswith("#"):
        count += 1
    return count


def _is_border(above: str, gap: Sequence[str], titles: Sequence[str]) -> bool:
    plain = all(not line.strip() or line.strip().startswith("#") for line in gap)
    return plain and not above.endswith("\\") and bool(titles or any(not line.strip() for line in gap))


def _titles(gap: Sequence[str]) -> Iterator[str]:
    """The block titles among comments: `# --- Web ---`, `## Web`, or a line between rules."""
    for paragraph in "\n".join(line.strip() for line in gap).split("\n\n"):
        comment = [line for line in paragraph.split("\n") if line]
        if not comment:
            continue
        framed = len(comment) > 1 and bool(_RULE.fullmatch(comment[0])) and not _RULE.fullmatch(comment[1])
        underlined = len(comment) == 2 and bool(_RULE.fullmatch(comment[1])) and not _RULE.fullmatch(comment[0])
        match = _TITLE.fullmatch(comment[0])
        if framed and (len(comment) == 2 or _RULE.fullmatch(comment[2])):
            yield comment[1].strip("# \t")
        elif underlined:
            yield comment[0].strip("# \t")
        elif match:
            yield match["text"]


def _bound_together(blocks: Sequence[_Block]) -> set[int]:
    """The borders (by the number of the block below) that some name does not allow."""
    binders = _Binders.of(block.statements for block in blocks)
    closed: set[int] = set()
    for number, block in enumerate(blocks):
        for use in (use for statement in block.statements for use in statement.uses):
            begin = binders.first.get(use.name, number)
            if begin > number and use.inside:
                closed.update(range(number + 1, begin + 1))  # a function uses what stands below it
            elif binders.certain.get(use.name, _NEVER) >= number:
                closed.update(range(begin + 1, number + 1))  # what was perhaps not assigned is unknown to a later cell
    return closed
