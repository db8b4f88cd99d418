"""The one plain document every view shows, patches of it, and the commands that come back.

Pure functions and values. The session fills a frozen `SessionView` (`core.status` has the words); `document` turns it
into JSON-ready dictionaries, `patch` says what changed row by row, `apply_patch` is its inverse and what the browser
does too. `parse_command` is the only way in for what a front end sends, on whatever thread it arrives.

All times are seconds since the epoch, durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, Literal, TypeAlias, TypedDict, cast

from ipytilt.errors import UsageError

VERSION: Final = 1

Status: TypeAlias = Literal["none", "pending", "in_progress", "ok", "warning", "error", "not_applicable", "disabled"]
Mode: TypeAlias = Literal["auto", "manual"]
How: TypeAlias = Literal["live update", "full update", "command", ""]


# ------------------------------------------------------------------------------------- what the session fills in


@dataclass(frozen=True, slots=True)
class UpdateView:
    """The update column: words, since when, and how long the last one took."""

    status: Status = "none"
    text: str = ""
    since: float | None = None
    took: float | None = None


@dataclass(frozen=True, slots=True)
class RuntimeView:
    """The runtime column."""

    status: Status = "none"
    text: str = ""
    since: float | None = None


@dataclass(frozen=True, slots=True)
class WaitingView:
    """Why a wanted update does not run: the reason's value, its sentence, who holds it up, since when."""

    reason: str
    text: str
    on: tuple[str, ...] = ()
    since: float | None = None


@dataclass(frozen=True, slots=True)
class LastUpdateView:
    """The last finished update: why it ran, which files, how, how long, and the rule that decided ("file:line")."""

    cause: str
    files: tuple[str, ...] = ()
    how: How = ""
    took: float | None = None
    error: str = ""
    rule: str = ""
    at: float | None = None


@dataclass(frozen=True, slots=True)
class EndpointView:
    """A link beside a resource; `problem` keeps a forwarded port from leading there."""

    url: str
    name: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PodView:
    """The pod that speaks for a resource: its state in kubectl's word, and how often it was started again."""

    name: str
    status: str = ""
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class InputView:
    """A value to ask for; what is left at its `default` is not sent back, because secrets are taken out of it."""

    name: str
    kind: Literal["text", "bool", "choice"]
    label: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()
    placeholder: str = ""


@dataclass(frozen=True, slots=True)
class ButtonView:
    """A button of the Tiltfile; `confirm` wants a second click, `problem` is what was wrong with its last run."""

    name: str
    text: str
    disabled: bool = False
    confirm: bool = False
    inputs: tuple[InputView, ...] = ()
    running: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RowView:
    """One resource. `trigger_tip` and `stop_tip` say what the button does, or why it cannot."""

    name: str
    kind: str
    labels: tuple[str, ...] = ()
    update: UpdateView = UpdateView()
    runtime: RuntimeView = RuntimeView()
    waiting: WaitingView | None = None
    last: LastUpdateView | None = None
    pending: tuple[str, ...] = ()
    endpoints: tuple[EndpointView, ...] = ()
    pod: PodView | None = None
    trigger_mode: Mode = "auto"
    disabled: bool = False
    can_trigger: bool = True
    trigger_tip: str = "Trigger update"
    can_stop: bool = False
    stop_tip: str = "Nothing to stop"
    error: str = ""
    buttons: tuple[ButtonView, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineView:
    """Which engine updates run on, and what is wrong with it ("" when nothing is)."""

    text: str = ""
    ok: bool = True
    problem: str = ""


@dataclass(frozen=True, slots=True)
class TiltfileView:
    """The state of the Tiltfile; `error` is the text with the caret block."""

    status: Literal["none", "loading", "ok", "error"] = "none"
    text: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class ClaimView:
    """Something that another session holds; it was `taken` from this one, or this one never had it."""

    scope: str
    text: str
    taken: bool = False


@dataclass(frozen=True, slots=True)
class SessionView:
    """All a view shows, rows in display order; `buttons` are those that stand beside no row.

    `handled` are the newest few hundred commands dealt with: (id, "" or what was wrong with it).
    `problem` is a crash of the session itself.
    """

    engine: EngineView = EngineView()
    tiltfile: TiltfileView = TiltfileView()
    rows: tuple[RowView, ...] = ()
    buttons: tuple[ButtonView, ...] = ()
    claims: tuple[ClaimView, ...] = ()
    handled: tuple[tuple[str, str], ...] = ()
    problem: str = ""


# -------------------------------------------------------------------------------------------- the plain document


Row: TypeAlias = dict[str, Any]
"""The fields of a `RowView` by their names; nested values likewise, tuples as lists."""


class Document(TypedDict):
    """A `SessionView`; `order` are the names of the rows, `handled` maps a command's id to its problem or ""."""

    version: int
    engine: dict[str, Any]
    tiltfile: dict[str, Any]
    order: list[str]
    rows: dict[str, Row]
    buttons: list[dict[str, Any]]
    claims: list[dict[str, Any]]
    handled: dict[str, str]
    problem: str


class Patch(TypedDict, total=False):
    """What changed: `fields` replaces top-level values, `rows` replaces rows, None removes one."""

    fields: dict[str, Any]
    rows: dict[str, Row | None]


def document(view: SessionView) -> Document:
    """The plain, JSON-ready form of `view`."""
    return {
        "version": VERSION,
        "engine": _plain(view.engine),
        "tiltfile": _plain(view.tiltfile),
        "order": [_plain(row.name) for row in view.rows],
        "rows": {_plain(row.name): _plain(row) for row in view.rows},
        "buttons": _plain(view.buttons),
        "claims": _plain(view.claims),
        "handled": dict(view.handled),
        "problem": _plain(view.problem),
    }


def empty() -> Document:
    """The document of a session that has not said anything yet."""
    return document(SessionView())


def patch(old: Document, new: Document) -> Patch:
    """What turns `old` into `new`; empty when they are equal."""
    changed: Patch = {}
    before, after = cast("dict[str, Any]", old), cast("dict[str, Any]", new)
    values = {key: after[key] for key in after if key != "rows" and before.get(key) != after[key]}
    rows: dict[str, Row | None] = {name: row for name, row in new["rows"].items() if old["rows"].get(name) != row}
    rows.update({name: None for name in old["rows"] if name not in new["rows"]})
    if values:
        changed["fields"] = values
    if rows:
        changed["rows"] = rows
    return changed


def apply_patch(old: Document, changes: Patch) -> Document:
    """`old` with `changes` applied; neither is touched."""
    rows = {**old["rows"], **changes.get("rows", {})}
    kept = {name: row for name, row in rows.items() if row is not None}
    return cast("Document", {**old, **changes.get("fields", {}), "rows": kept})


def _plain(value: Any) -> Any:
    match value:
        case str():
            # A file name that is no valid UTF-8 carries lone surrogates, which no front end can be sent.
            return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
        case tuple():
            return [_plain(each) for each in value]
        case None | bool() | int() | float():
            return value
        case _:
            return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}


# -------------------------------------------------------------------------------------------------- what comes back


@dataclass(frozen=True, slots=True)
class Trigger:
    """Update a resource now."""

    id: str
    resource: str


@dataclass(frozen=True, slots=True)
class StopUpdate:
    """End the running update of a resource."""

    id: str
    resource: str


@dataclass(frozen=True, slots=True)
class Enable:
    """Switch a resource on."""

    id: str
    resource: str


@dataclass(frozen=True, slots=True)
class Disable:
    """Switch a resource off."""

    id: str
    resource: str


@dataclass(frozen=True, slots=True)
class Press:
    """Run the command of a button with these values of its inputs; `confirmed` says that the user was asked."""

    id: str
    button: str
    values: Mapping[str, str]
    confirmed: bool


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Take over what another session holds."""

    id: str


@dataclass(frozen=True, slots=True)
class Explain:
    """Say what a change of `path` would do; answered to the asking view."""

    id: str
    view: str
    path: str


@dataclass(frozen=True, slots=True)
class GetPage:
    """Send one page of the log of `stream` ("" is all of them) to the asking view."""

    id: str
    view: str
    stream: str
    page: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    """`reader` (one browser page) shows the ends of these log streams from now on; none means it shows no log."""

    id: str
    view: str
    reader: str
    streams: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GetDocument:
    """Send the whole document to the asking view: it has just come, or missed a patch."""

    id: str
    view: str


SessionCommand: TypeAlias = Trigger | StopUpdate | Enable | Disable | Press | TakeOver
"""For the session."""

ViewRequest: TypeAlias = Explain | GetPage | Subscribe | GetDocument
"""For the view it names, answered from what is already known."""

Command: TypeAlias = SessionCommand | ViewRequest

COMMANDS: Final[Mapping[str, type[Command]]] = {
    "trigger": Trigger,
    "stop": StopUpdate,
    "enable": Enable,
    "disable": Disable,
    "press": Press,
    "takeover": TakeOver,
    "explain": Explain,
    "page": GetPage,
    "subscribe": Subscribe,
    "document": GetDocument,
}

_LONGEST_TEXT = 4_096
_MOST_ITEMS = 64


def parse_command(raw: object) -> Command:
    """The command in a message such as `{"do": "trigger", "id": "a1", "resource": "api"}`.

    Raises UsageError naming what is wrong; nothing a front end sends gets further unchecked.
    """
    if not isinstance(raw, dict):
        raise UsageError(f"A command is an object, not {type(raw).__name__}")
    words = {str(key): value for key, value in raw.items()}
    do = words.pop("do", None)
    kind = COMMANDS.get(do) if isinstance(do, str) else None
    if kind is None:
        raise UsageError(f"Unknown command {str(do)[:80]!r}", hint=f"one of {', '.join(COMMANDS)}")
    known = {each.name: each for each in fields(kind)}
    for name in words.keys() - known.keys():
        raise UsageError(f"{do}: unknown field {name[:80]!r}", hint=f"it takes {', '.join(known)}")
    missing = [name for name, each in known.items() if each.default is MISSING and name not in words]
    if missing:
        raise UsageError(f"{do}: {missing[0]!r} is missing")
    return kind(**{name: _checked(f"{do}: {name}", value, str(known[name].type)) for name, value in words.items()})


def _checked(what: str, value: object, kind: str) -> Any:
    match kind, value:
        case "str", str() if len(value) <= _LONGEST_TEXT:
            return value
        case "int", int() if not isinstance(value, bool) and value >= 0:
            return value
        case "bool", bool():
            return value
        case "tuple[str, ...]", list() if len(value) <= _MOST_ITEMS:
            return tuple(_checked(what, each, "str") for each in value)
        case "Mapping[str, str]", dict() if len(value) <= _MOST_ITEMS:
            return {_checked(what, name, "str"): _checked(what, each, "str") for name, each in value.items()}
    raise UsageError(f"{what} must be {_KINDS[kind]}")


_KINDS = {
    "str": f"a text of at most {_LONGEST_TEXT} characters",
    "int": "a number from 0",
    "bool": "true or false",
    "tuple[str, ...]": f"a list of at most {_MOST_ITEMS} texts",
    "Mapping[str, str]": f"an object of at most {_MOST_ITEMS} texts",
}
