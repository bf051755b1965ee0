"""Grids as Markdown, CSV and HTML."""

from __future__ import annotations

import csv
import io

import pytest

from segzoo.errors import OptionError
from segzoo.tables.grid import ABSENT, Grid, figure, render, signed

PUBLISHED = Grid(
    ["Model", "mIoU", "Files"],
    [
        ["`a`<br>`b`", "**79.10**", "[weights](https://host/a.pth) [log](https://host/a.json)"],
        ["`c|d`", ABSENT, "in the package"],
    ],
    figures=["mIoU"],
    heading="### Net on <Data>\n",
    context={"Data set": "streets"},
    notes=["- `a`: less than 80"],
)


def test_markdown_has_heading_rows_and_notes() -> None:
    lines = render([PUBLISHED], "markdown").splitlines()
    assert lines[0] == "### Net on <Data>"
    assert lines[2:4] == ["| Model | mIoU | Files |", "| --- | ---: | --- |"]
    assert lines[5].startswith("| `c\\|d` | – |")  # noqa: RUF001
    assert lines[-1] == "- `a`: less than 80"


def test_csv_of_several_grids_is_one_table_of_plain_cells() -> None:
    other = Grid(["Model", "Dice"], [["`e`", "80.79"]], context={"Data set": "vessels"})
    rows = list(csv.DictReader(io.StringIO(render([PUBLISHED, other], "csv"))))
    assert rows[0] == {
        "Data set": "streets",
        "Model": "a b",
        "mIoU": "79.10",
        "Files": "https://host/a.pth https://host/a.json",
        "Dice": "",
    }
    assert (rows[1]["Model"], rows[1]["mIoU"]) == ("c|d", "")
    assert (rows[2]["Data set"], rows[2]["mIoU"], rows[2]["Dice"]) == ("vessels", "", "80.79")


def test_html_escapes_and_keeps_links() -> None:
    text = render([PUBLISHED], "html")
    assert "<h3>Net on &lt;Data&gt;</h3>" in text
    assert '<td><code>a</code><br><code>b</code></td><td align="right"><strong>79.10</strong></td>' in text
    assert '<a href="https://host/a.pth">weights</a>' in text
    assert "<li><code>a</code>: less than 80</li>" in text


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(OptionError, match="markdown, csv, html, not 'pdf'"):
        render([PUBLISHED], "pdf")  # type: ignore[arg-type]


def test_figures_and_differences() -> None:
    assert (figure(1.005, ".1f"), figure(None)) == ("1.0", ABSENT)
    assert [signed(value) for value in (0.14, -0.136, 0.004, -0.004)] == ["+0.14", "−0.14", "±0.00", "±0.00"]  # noqa: RUF001
