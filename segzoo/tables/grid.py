"""A table as data, and as Markdown, CSV or HTML."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from segzoo.errors import OptionError

__all__ = ["ABSENT", "FORMATS", "Format", "Grid", "figure", "render", "signed"]

ABSENT = "–"  # noqa: RUF001 (an en dash is what a table shows for "no figure")

Format = Literal["markdown", "csv", "html"]
FORMATS: tuple[Format, ...] = get_args(Format)

_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")


@dataclass(frozen=True)
class Grid:
    """Rows of cells that are Markdown, under headings; figures stand on the right of their columns.

    ``heading``: Markdown that stands above. ``context``: columns that the heading says for people and that only CSV
    repeats in every row. ``notes``: lines of Markdown below.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Sequence[str] = ()
    heading: str = ""
    context: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


def figure(value: float | None, form: str = ".2f") -> str:
    """A number as a table shows it; a dash for None."""
    return ABSENT if value is None else format(value, form)


def signed(value: float, form: str = ".2f") -> str:
    """A difference with its sign; none for what rounds to zero."""
    text = format(abs(value), form)
    if not float(text):
        return f"±{text}"
    return f"+{text}" if value > 0 else f"−{text}"  # noqa: RUF001 (a minus as wide as the plus)


def render(grids: Sequence[Grid], form: Format) -> str:
    """All of ``grids`` in one format; as CSV they are one table with the columns of all.

    Raises:
        OptionError: there is no such format.
    """
    if form == "markdown":
        return "\n".join(map(_markdown, grids))
    if form == "csv":
        return _csv(grids)
    if form == "html":
        return "\n".join(map(_html, grids))
    raise OptionError(f"a table's format is one of {', '.join(FORMATS)}, not {form!r}")


def _markdown(grid: Grid) -> str:
    rule = ["---:" if name in grid.figures else "---" for name in grid.header]
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (grid.header, rule, *grid.rows)
    ]
    parts = [grid.heading.rstrip("\n")] if grid.heading else []
    parts.append("\n".join(lines))
    if grid.notes:
        parts.append("\n".join(grid.notes))
    return "\n\n".join(parts) + "\n"


def _csv(grids: Sequence[Grid]) -> str:
    columns = list(dict.fromkeys(name for grid in grids for name in (*grid.context, *grid.header)))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for grid in grids:
        for row in grid.rows:
            cells = {name: _plain(cell) for name, cell in zip(grid.header, row, strict=True)}
            writer.writerow({**grid.context, **cells})
    return out.getvalue()


def _plain(cell: str) -> str:
    """A cell without marks: addresses in place of links, nothing in place of a dash."""
    text = _LINK.sub(lambda link: link[2] if link[1] in ("weights", "mirror", "log") else link[1], cell)
    text = _BOLD.sub(r"\1", _CODE.sub(r"\1", text)).replace("<br>", " ").replace("−", "-")  # noqa: RUF001
    return "" if text == ABSENT else text


def _html(grid: Grid) -> str:
    right = [' align="right"' if name in grid.figures else "" for name in grid.header]
    lines = [_html_heading(line) for line in grid.heading.splitlines() if line.strip()]
    lines += ["<table>", "<thead><tr>"]
    lines += [f"<th{side}>{_marked(name)}</th>" for name, side in zip(grid.header, right, strict=True)]
    lines.append("</tr></thead>")
    lines.append("<tbody>")
    for row in grid.rows:
        cells = (f"<td{side}>{_marked(cell)}</td>" for cell, side in zip(row, right, strict=True))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    lines += ["</tbody>", "</table>"]
    if any(note.startswith("- ") for note in grid.notes):
        lines += ["<ul>", *(f"<li>{_marked(note[2:])}</li>" for note in grid.notes if note.startswith("- ")), "</ul>"]
    lines += [f"<p>{_marked(note)}</p>" for note in grid.notes if note and not note.startswith("- ")]
    return "\n".join(lines) + "\n"


def _html_heading(line: str) -> str:
    if line.startswith("<a id="):
        return line
    level = len(line) - len(line.lstrip("#"))
    return f"<h{level}>{_marked(line[level:].strip())}</h{level}>" if level else f"<p>{_marked(line)}</p>"


def _marked(text: str) -> str:
    """Markdown of a cell as HTML; ``<br>`` stays a line break."""
    text = html.escape(text, quote=True).replace("&lt;br&gt;", "<br>")
    text = _LINK.sub(r'<a href="\2">\1</a>', text)
    return _BOLD.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", text))
