"""The zoo's tables in Markdown, generated from the index and the logs, never typed.

A document holds ``<!-- segzoo:table NAME -->`` ... ``<!-- /segzoo:table -->``; what stands between the two is
replaced. Published figures come from ``model_index/``, measured ones only from ``benchmarks/logs/*.jsonl``; a
figure that no log holds is shown as a dash.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segzoo import records
from segzoo.describe import size_text
from segzoo.errors import OptionError, SegzooError
from segzoo.index import Entry, datasets, default_index

__all__ = ["TABLES", "Logs", "TableError", "check", "default_logs", "read_logs", "render", "write"]

ABSENT = "–"  # noqa: RUF001 (an en dash is what a table shows for "no figure")

_BLOCK = re.compile(r"(<!-- segzoo:table (?P<name>[\w-]+) -->\n)(?P<body>.*?)(<!-- /segzoo:table -->)", re.DOTALL)
_OPENING = re.compile(r"<!-- segzoo:table\b")


class TableError(SegzooError, ValueError):
    """A document's markers cannot be read; names the file."""


@dataclass(frozen=True)
class Logs:
    """The newest record of each kind of measurement.

    ``parity``: by (method, architecture), the record of the comparison with the reference logits.
    ``accuracy``: by entry name, the record of an evaluation.
    """

    parity: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    accuracy: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def default_logs() -> Path:
    """``benchmarks/logs`` of the checkout that this package lies in; an installed wheel has none."""
    return Path(__file__).resolve().parent.parent / "benchmarks" / "logs"


def read_logs(directory: Path) -> Logs:
    """Read every ``*.jsonl`` of a folder; of two records about one thing the later in the file counts.

    Records of other kinds than ``parity`` and ``accuracy`` are left to those who want them.

    Raises:
        RecordError: a line is not a sound record; names file and line.
    """
    parity: dict[tuple[str, str], Mapping[str, Any]] = {}
    accuracy: dict[str, Mapping[str, Any]] = {}
    for record in records.read([directory]):
        if record["kind"] == "parity":
            parity[record["method"], record["architecture"]] = record
        elif record["kind"] == "accuracy":
            accuracy[record["entry"]] = record
    return Logs(parity, accuracy)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = ()) -> str:
    """A Markdown table; the columns named in ``right`` are aligned right, as figures are."""
    right = set(right)
    rule = ["---:" if name in right else "---" for name in header]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def figure(value: float | None, form: str = ".2f") -> str:
    """A number as a table shows it; a dash for None."""
    return ABSENT if value is None else format(value, form)


def fps_text(entry: Entry) -> str:
    """Published images a second; what differs from the common V100 in FP32 is added in brackets."""
    inference = entry.reported.inference
    if inference is None:
        return ABSENT
    usual = {"hardware": "V100", "precision": "FP32"}
    other = [getattr(inference, key) for key, value in usual.items() if getattr(inference, key) != value]
    return figure(inference.fps) + (f" ({', '.join(other)})" if other else "")


def _methods() -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in default_index().entries.values():
        groups.setdefault(entry.method, []).append(entry)
    return dict(sorted(groups.items(), key=lambda item: item[0].lower()))


def _anchor(method: str) -> str:
    """An anchor of our own: those made from headings are the same for DeepLabV3 and DeepLabV3+."""
    return re.sub(r"[^a-z0-9]+", "-", method.lower().replace("+", "plus"))


def _best(entries: Iterable[Entry], dataset: str) -> str:
    found = [e.reported.metrics["mIoU"] for e in entries if e.dataset == dataset and "mIoU" in e.reported.metrics]
    return figure(max(found, default=None))


def _fidelity(method: str, logs: Logs) -> str:
    """The largest error of the method's networks, and how many of those compared agree."""
    records = [record for (owner, _), record in logs.parity.items() if owner == method]
    if not records:
        return ABSENT
    worst = max(float(record["max_error_over_std"]) for record in records)
    agreeing = sum(record.get("verdict") == "agrees" for record in records)
    return f"{worst:.1e} ({agreeing} of {len(records)})"


def methods_table(logs: Logs) -> str:
    """One row per method: what there is of it, its best published figures, its largest error."""
    header = ("Method", "Models", "Networks", "Cityscapes", "ADE20K", "Error")
    rows = []
    for method, entries in _methods().items():
        networks = {repr(dataclasses.replace(entry.architecture, name="")) for entry in entries}
        rows.append(
            (
                f"[{method}](ZOO.md#{_anchor(method)}) ([paper]({entries[0].paper.url}))",
                str(len(entries)),
                str(len(networks)),
                _best(entries, "cityscapes"),
                _best(entries, "ade20k"),
                _fidelity(method, logs),
            )
        )
    total = sum(len(entries) for entries in _methods().values())
    notes = (
        f"\n{total} models. Cityscapes, ADE20K: the best published mIoU, single scale. Error: the largest "
        "difference between a method's logits and the reference's, in standard deviations of the reference's "
        "logits, and how many of the networks compared agree.\n"
    )
    return table(header, rows, right=header[1:]) + notes


def _files(entry: Entry) -> str:
    links = [
        f"[{'weights' if number == 0 else 'mirror'}]({address})"
        for number, address in enumerate(entry.weights.addresses)
        if address.startswith("https://")
    ]
    if entry.reported.log:
        links.append(f"[log]({entry.reported.log})")
    return " ".join(links) or "in the package"


def _entry_rows(entries: Sequence[Entry], logs: Logs) -> str:
    metrics = list(dict.fromkeys(name for entry in entries for name in entry.reported.metrics)) or ["mIoU"]
    measured = any(entry.name in logs.accuracy for entry in entries)
    figures = ["Iterations", "Mem (GB)", "fps", *metrics, *(["mIoU, measured"] if measured else [])]
    header = ["Model", "Backbone", "Crop", *figures, "Files"]
    rows = []
    for entry in entries:
        reported = entry.reported
        names = [f"`{name}`" for name in (entry.name, entry.short_name) if name]
        row = ["<br>".join(names), entry.backbone, size_text(entry.crop_size) or ABSENT]
        row += [figure(entry.iterations, "d"), figure(reported.train_memory_gb, "g"), fps_text(entry)]
        row += [figure(reported.metrics.get(name)) for name in metrics]
        if measured:
            record = logs.accuracy.get(entry.name)
            row.append(figure(float(record["metrics"]["mIoU"]) if record else None))
        rows.append([*row, _files(entry)])
    notes = [f"- `{entry.name}`: {entry.note}\n" for entry in entries if entry.note]
    return table(header, rows, right=figures) + ("\n" + "".join(notes) if notes else "")


def zoo_table(logs: Logs) -> str:
    """Every model, by method and data set: published figures and, where a log holds them, measured ones."""
    parts = []
    for method, entries in _methods().items():
        parts.append(f'<a id="{_anchor(method)}"></a>\n\n## {method}\n')
        parts.append(f"[{entries[0].paper.title}]({entries[0].paper.url})\n")
        for key, data in datasets().items():
            chosen = sorted((entry for entry in entries if entry.dataset == key), key=lambda entry: entry.name)
            if chosen:
                parts.append(f"### {method} on {data.title}\n\n{_entry_rows(chosen, logs)}")
    return "\n" + "\n".join(parts) + "\n"


def drawn_streets_table(logs: Logs) -> str:
    """What was measured of the models of the drawn streets: one column each, per class and on the whole."""
    entries = [entry for entry in default_index().entries.values() if entry.dataset == "drawn_streets"]
    records = [logs.accuracy.get(entry.name, {}) for entry in entries]
    rows = [["**mIoU**", *(figure(record.get("metrics", {}).get("mIoU")) for record in records)]]
    for name in datasets()["drawn_streets"].classes:
        rows.append([name, *(figure(record.get("iou", {}).get(name)) for record in records)])
    rows.append(["unseen pictures", *(figure(record.get("pictures"), "d") for record in records)])
    names = [f"`{entry.name}`" for entry in entries]
    return table(["IoU", *names], rows, right=names)


TABLES: Mapping[str, Callable[[Logs], str]] = {
    "methods": methods_table,
    "zoo": zoo_table,
    "drawn-streets": drawn_streets_table,
}


def render(name: str, logs: Logs) -> str:
    """The Markdown of one table.

    Raises:
        OptionError: there is no table of that name.
    """
    if name not in TABLES:
        raise OptionError(f"no table is named {name!r}; there are {', '.join(TABLES)}")
    return TABLES[name](logs)


def fill(path: Path, logs: Logs) -> tuple[str, str]:
    """A document's text as it is and as it should be.

    Raises:
        TableError: the file cannot be read, holds no marker, or a marker is not closed or names no table.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror})") from error
    blocks = list(_BLOCK.finditer(text))
    if not blocks:
        raise TableError(f"{path}: no table to fill; mark one by <!-- segzoo:table NAME --> ... <!-- /segzoo:table -->")
    if len(blocks) != len(_OPENING.findall(text)):
        raise TableError(f"{path}: a table marker is not closed by <!-- /segzoo:table -->, or not on a line of its own")
    return text, _BLOCK.sub(lambda block: block[1] + render(block["name"], logs) + block[4], text)


def write(paths: Iterable[Path], logs: Logs) -> list[Path]:
    """Bring the tables of the documents up to date; returns those that changed."""
    changed = []
    for path in paths:
        old, new = fill(path, logs)
        if old != new:
            path.write_text(new, encoding="utf-8", newline="\n")
            changed.append(path)
    return changed


def check(paths: Iterable[Path], logs: Logs) -> str:
    """The unified diff that :func:`write` would make; empty when every table is up to date."""
    out: list[str] = []
    for path in paths:
        old, new = fill(path, logs)
        lines = difflib.unified_diff(
            old.splitlines(keepends=True),
            new.splitlines(keepends=True),
            f"{path} (as it is)",
            f"{path} (generated)",
            n=1,
        )
        out.extend(lines)
    return "".join(out)
