"""Documents with tables between markers and plots beside them: brought up to date, or checked.

``<!-- segzoo:table NAME -->`` ... ``<!-- /segzoo:table -->``: what stands between the two is replaced. A picture whose
link ends in ``plots/NAME.svg`` is drawn anew.
"""

from __future__ import annotations

import difflib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from segzoo.errors import OptionError, SegzooError

__all__ = ["TableError", "contents", "diff", "update"]

_BLOCK = re.compile(r"(<!-- segzoo:table (?P<name>[\w-]+) -->\n)(?P<body>.*?)(<!-- /segzoo:table -->)", re.DOTALL)
_OPENING = re.compile(r"<!-- segzoo:table\b")
_PLOT = re.compile(r"!\[[^\]]*\]\((?P<path>(?:[\w./-]*/)?plots/(?P<name>[\w-]+)\.svg)\)")

Renderer = Callable[[str], str]


class TableError(SegzooError, ValueError):
    """A document cannot be read, or its markers are broken; names the file."""


def contents(path: Path, table: Renderer, plot: Renderer) -> Mapping[Path, tuple[str, str]]:
    """(as it is, as it should be) of a document and of every plot that it shows; a missing plot is empty.

    Raises:
        TableError: the file cannot be read, holds neither marker nor plot, or a marker is not closed.
        OptionError: a marker names no table, or a link no plot.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: cannot be read ({error})") from error
    blocks, plots = list(_BLOCK.finditer(text)), list(_PLOT.finditer(text))
    if len(blocks) != len(_OPENING.findall(text)):
        raise TableError(f"{path}: a table marker is not closed by <!-- /segzoo:table -->, or not on a line of its own")
    if not blocks and not plots:
        raise TableError(f"{path}: no table to fill; mark one by <!-- segzoo:table NAME --> ... <!-- /segzoo:table -->")
    found = {}
    for link in plots:
        target = path.parent / link["path"]
        try:
            found[target] = (target.read_text(encoding="utf-8") if target.exists() else "", plot(link["name"]))
        except OptionError as error:
            raise OptionError(f"{path}: {error}") from error
    found[path] = (text, _BLOCK.sub(lambda block: block[1] + table(block["name"]) + block[4], text))
    return found


def update(paths: Iterable[Path], table: Renderer, plot: Renderer) -> list[Path]:
    """Bring documents and their plots up to date; returns the files that changed.

    Raises:
        TableError: see :func:`contents`; or a file cannot be written, and is left as it was.
    """
    changed = []
    for path in paths:
        for file, (old, new) in contents(path, table, plot).items():
            if old != new:
                _write(file, new)
                changed.append(file)
    return changed


def diff(paths: Iterable[Path], table: Renderer, plot: Renderer) -> str:
    """The unified diff that :func:`update` would make; empty when everything is up to date."""
    out: list[str] = []
    for path in paths:
        for file, (old, new) in contents(path, table, plot).items():
            out += difflib.unified_diff(
                old.splitlines(keepends=True),
                new.splitlines(keepends=True),
                f"{file} (as it is)",
                f"{file} (generated)",
                n=1,
            )
    return "".join(out)


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, path.stat().st_mode if path.exists() else 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise TableError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)  # it is there only if something went wrong
