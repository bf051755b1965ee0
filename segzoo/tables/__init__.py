"""The zoo's tables and plots, generated from the index and the logs, never typed.

Published figures come from ``model_index/``, measured ones only from ``benchmarks/logs/*.jsonl``; a figure that no log
holds is shown as a dash. :mod:`segzoo.tables.documents` puts tables and plots where documents mark them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from segzoo.errors import OptionError
from segzoo.tables import documents, measured, zoo
from segzoo.tables.documents import TableError
from segzoo.tables.grid import ABSENT, FORMATS, Format, Grid
from segzoo.tables.grid import render as render_grids
from segzoo.tables.logs import Logs, default_logs, read_logs
from segzoo.tables.plots import PLOTS

__all__ = [
    "ABSENT",
    "FORMATS",
    "PLOTS",
    "TABLES",
    "Logs",
    "TableError",
    "check",
    "default_logs",
    "plot",
    "read_logs",
    "render",
    "write",
]

TABLES: Mapping[str, Callable[[Logs], list[Grid]]] = {
    "methods": zoo.methods_table,
    "zoo": zoo.zoo_table,
    "embedded": measured.embedded_table,
    "drawn-streets": measured.drawn_streets_table,
    "training-speed": measured.training_speed_table,
    "peers": measured.peers_table,
}


def render(name: str, logs: Logs, form: Format = "markdown") -> str:
    """One table, in Markdown, CSV or HTML.

    Raises:
        OptionError: there is no table of that name, or no such format.
    """
    if name not in TABLES:
        raise OptionError(f"no table is named {name!r}; there are {', '.join(TABLES)}")
    return render_grids(TABLES[name](logs), form)


def plot(name: str, logs: Logs) -> str:
    """One plot, as SVG.

    Raises:
        OptionError: there is no plot of that name.
    """
    if name not in PLOTS:
        raise OptionError(f"no plot is named {name!r}; there are {', '.join(PLOTS)}")
    return PLOTS[name](logs)


def write(paths: Iterable[Path], logs: Logs) -> list[Path]:
    """Bring the tables of documents, and the plots that they show, up to date; returns the files that changed.

    Raises:
        TableError: a document cannot be read, holds nothing to fill, or a marker is not closed.
        OptionError: a marker names no table, or a link no plot.
    """
    return documents.update(paths, lambda name: render(name, logs), lambda name: plot(name, logs))


def check(paths: Iterable[Path], logs: Logs) -> str:
    """The unified diff that :func:`write` would make; empty when every table and plot is up to date."""
    return documents.diff(paths, lambda name: render(name, logs), lambda name: plot(name, logs))
