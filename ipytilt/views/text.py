"""The session without a live view: a one-screen text table, and HTML that a saved notebook keeps.

Pure functions from the wire document, on any thread. Everything that comes from outside is escaped here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from ipytilt.core.status import duration_text
from ipytilt.views.wire import Document, Row

_MARKS = {"ok": "●", "error": "✗", "warning": "▲", "in_progress": "◐", "pending": "◌", "disabled": "-"}
_ANSI = {"ok": "32", "error": "31", "warning": "33", "in_progress": "36", "pending": "33"}
# Middle tones: readable on white and on black alike.
_COLOURS = {"ok": "#2e9e5b", "error": "#e0524a", "warning": "#c98a1b", "in_progress": "#3d8fd9", "pending": "#c98a1b"}
_GREY = "#8a8a8a"


def age(seconds: float) -> str:
    """`now`, `1 s`, `12 s`, `3 m`, ...: as a duration, in whole seconds."""
    return "now" if seconds < 1 else duration_text(int(seconds)).replace(".0", "")


def table(document: Document, *, now: float, colour: bool = False, width: int = 120) -> str:
    """The session as aligned text of at most `width` columns, the error of each failing row below it."""
    cells = [_cells(row, now) for row in _rows(document)]
    heads = ("", "RESOURCE", "UPDATE", "RUNTIME", "LAST UPDATE")
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    widths[-1] = max(width - sum(widths[:-1]) - 2 * (len(widths) - 1), 16)
    lines = [_engine(document), f"Tiltfile: {document['tiltfile']['text'] or document['tiltfile']['status']}"]
    lines += [claim["text"] for claim in document["claims"]]
    lines += _indented(document["tiltfile"]["error"]) + _indented(document["problem"])
    if cells:
        lines += ["", _line(heads, widths)]
    for row, texts in zip(_rows(document), cells, strict=True):
        line, status = _line(texts, widths), overall(row)
        lines.append(f"\x1b[{_ANSI[status]}m{line}\x1b[0m" if colour and status in _ANSI else line)
        lines += _indented("\n".join(filter(None, (row["error"], *_in_cluster(row)))))
    return "\n".join(lines)


def html(document: Document, tails: Mapping[str, Sequence[str]], *, at: float) -> str:
    """The session as a static table; `tails` are the last log lines of the rows that fail, `at` is when this was so."""
    heads = "".join(f'<th style="{_CELL}font-weight:600">{head}</th>' for head in _HEADS)
    body = "".join(_html_row(row, tails.get(row["name"], ()), at) for row in _rows(document))
    problems = "".join(
        f'<pre style="{_PRE}">{escape(text)}</pre>'
        for text in (
            document["problem"],
            document["engine"]["problem"],
            *(claim["text"] for claim in document["claims"]),
            document["tiltfile"]["error"],
        )
        if text
    )
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    return (
        f'<div class="ipytilt-static">{problems}'
        f'<table style="border-collapse:collapse;text-align:left"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
        f'<div style="color:{_GREY};padding:4px 8px">{escape(_engine(document))}; as of {when}</div></div>'
    )


def overall(row: Row) -> str:
    """One status for a row: the update's when it says something, otherwise the runtime's."""
    if row["disabled"]:
        return "disabled"
    update, runtime = str(row["update"]["status"]), str(row["runtime"]["status"])
    if update in ("error", "warning", "in_progress", "pending"):
        return update
    return runtime if runtime not in ("none", "not_applicable") else update


def last_update(row: Row) -> str:
    """`live update 6 ms · 1 file changed · api/app.py`, or "" when there was none."""
    last = row["last"]
    if last is None:
        return ""
    how = " ".join(filter(None, (last["how"], duration_text(last["took"]) if last["took"] is not None else "")))
    files = ", ".join(last["files"][:3]) + (f" and {len(last['files']) - 3} more" if len(last["files"]) > 3 else "")
    return " · ".join(filter(None, (how, last["cause"], files)))


_HEADS = ("Resource", "Update", "Runtime", "Last update")
_CELL = "padding:4px 8px;text-align:left;vertical-align:top;"
_PRE = "white-space:pre-wrap;margin:0;padding:4px 8px;border-left:3px solid #e0524a;"
_QUIET = f"white-space:pre-wrap;margin:0;padding:0 8px;color:{_GREY};"


def _rows(document: Document) -> list[Row]:
    return [document["rows"][name] for name in document["order"]]


def _engine(document: Document) -> str:
    engine = document["engine"]
    return f"Engine: {engine['text'] or 'none'}" + (f" ({engine['problem']})" if engine["problem"] else "")


def _cells(row: Row, now: float) -> tuple[str, ...]:
    return (
        _MARKS.get(overall(row), "○"),
        row["name"],
        row["waiting"]["text"] if row["waiting"] else _aged(row["update"], now),
        _aged(row["runtime"], now),
        last_update(row),
    )


def _aged(column: dict[str, Any], now: float) -> str:
    if column["since"] is None or not column["text"]:
        return str(column["text"])
    return f"{column['text']} ({age(now - column['since'])})"


def _in_cluster(row: Row) -> list[str]:
    """What is said of a row with pods: which one speaks for it, where its ports lead, what is wrong with those."""
    pod = row["pod"]
    if pod is None:
        return []
    restarts = f"{pod['restarts']} restart{'s' if pod['restarts'] != 1 else ''}" if pod["restarts"] else ""
    links = [endpoint["url"] for endpoint in row["endpoints"]]
    facts = " · ".join(filter(None, (f"pod {pod['name']}", pod["status"], restarts, *links)))
    return [facts, *(f"{each['url']} {each['problem']}" for each in row["endpoints"] if each["problem"])]


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    fitted = [
        text if len(text) <= width else text[: width - 1] + "…" for text, width in zip(texts, widths, strict=True)
    ]
    return "  ".join(text.ljust(width) for text, width in zip(fitted, widths, strict=True)).rstrip()


def _indented(text: str) -> list[str]:
    return [f"     {line}" for line in text.splitlines()]


def _html_row(row: Row, tail: Sequence[str], at: float) -> str:
    colour = _COLOURS.get(overall(row), _GREY)
    name = f'<span style="color:{colour}">{_MARKS.get(overall(row), "○")}</span>&nbsp;{escape(row["name"])}'
    texts = [name, *map(escape, _cells(row, at)[2:])]
    cells = "".join(f'<td style="{_CELL}">{text}</td>' for text in texts)
    return f"<tr>{cells}</tr>" + "".join(_html_details(row, tail))


def _html_details(row: Row, tail: Sequence[str]) -> Iterator[str]:
    news = "\n".join(line for line in tail if line not in row["error"])
    for text, style in ((row["error"], _PRE), ("\n".join(_in_cluster(row)), _QUIET), (news, _PRE)):
        if text:
            yield f'<tr><td colspan="{len(_HEADS)}" style="{_CELL}"><pre style="{style}">{escape(text)}</pre></td></tr>'
