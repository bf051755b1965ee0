"""The tables over the whole zoo: published figures with measured ones beside them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from segzoo.describe import size_text
from segzoo.index import Entry, datasets, default_index
from segzoo.tables.grid import ABSENT, Grid, figure, signed
from segzoo.tables.logs import Logs, Record

__all__ = ["busy", "circumstances", "entries_grid", "methods_table", "zoo_table"]

_PROTOCOLS = {"mIoU": "single-scale", "Dice": "single-scale", "mIoU(ms+flip)": "ms+flip 0.x"}
_FAILED = "failed"
_BUSY = 1.5  # load a core, from which on others slow a measurement down


@dataclass(frozen=True)
class _Column:
    """A figure of each entry: as published, and as logs hold it."""

    title: str
    published: Sequence[float | None]
    measured: Sequence[Record | None]  # the records
    values: Sequence[float | None]  # what the records say
    form: str = ".2f"
    cells: Sequence[str] | None = None  # the published figures, where they need more than a number
    work: str = "accuracy"


def methods() -> dict[str, list[Entry]]:
    """Entries by method, in the order of the alphabet."""
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
    agreeing = sum(record["verdict"] == "agrees" for record in records)
    return f"{worst:.1e} ({agreeing} of {len(records)})"


def methods_table(logs: Logs) -> list[Grid]:
    """One row per method: what there is of it, its best published figures, its largest error."""
    header = ("Method", "Models", "Networks", "Cityscapes", "ADE20K", "Error")
    rows = []
    for method, entries in methods().items():
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
    total = sum(len(entries) for entries in methods().values())
    note = (
        f"{total} models. Cityscapes, ADE20K: the best published mIoU, single scale. Error: the largest "
        "difference between a method's logits and the reference's, in standard deviations of the reference's "
        "logits, and how many of the networks compared agree."
    )
    return [Grid(header, rows, header[1:], notes=[note])]


def zoo_table(logs: Logs) -> list[Grid]:
    """Every model, by method and data set: published figures and, where a log holds them, measured ones."""
    grids = []
    for method, entries in methods().items():
        paper = entries[0].paper
        above = f'<a id="{_anchor(method)}"></a>\n\n## {method}\n\n[{paper.title}]({paper.url})\n\n'
        for key, data in datasets().items():
            chosen = sorted((entry for entry in entries if entry.dataset == key), key=lambda entry: entry.name)
            if chosen:
                grid = entries_grid(chosen, logs)
                heading = f"{above}### {method} on {data.title}\n"
                grids.append(dataclasses.replace(grid, heading=heading, context={"Data set": key}))
                above = ""
    return grids


def entries_grid(entries: Sequence[Entry], logs: Logs) -> Grid:
    """One row an entry, in the columns of the published tables; measured figures with their difference beside."""
    figures: list[str] = []
    cells: list[Sequence[str]] = []
    for column in _columns(entries, logs):
        measured = any(record is not None for record in column.measured)
        failed = [(entry.name, column.work) in logs.failures for entry in entries]
        if not measured or any(value is not None for value in column.published):
            figures.append(column.title)
            cells.append(column.cells or [figure(value, column.form) for value in column.published])
        if measured or (any(failed) and column.title in ("mIoU", "Inf time (fps)")):
            figures.append(f"{column.title}, measured")
            cells.append([_FAILED if no else text for text, no in zip(_measured(column), failed, strict=True)])
    header = ["Method", "Model", "Backbone", "Crop Size", "Lr schd", *figures, "Files"]
    rows = []
    for number, entry in enumerate(entries):
        names = "<br>".join(f"`{name}`" for name in (entry.name, entry.short_name) if name)
        about = [entry.method, names, entry.backbone, size_text(entry.crop_size) or ABSENT]
        rows.append([*about, figure(entry.iterations, "d"), *(column[number] for column in cells), files(entry)])
    return Grid(header, rows, ["Lr schd", *figures], notes=_notes(entries, logs))


def _columns(entries: Sequence[Entry], logs: Logs) -> list[_Column]:
    names = [entry.name for entry in entries]
    memory = [logs.memory.get((name, "training")) for name in names]
    memory = [record if record and record["measure"] == "max_memory_allocated" else None for record in memory]
    columns = [
        _Column(
            "Mem (GB)",
            [entry.reported.train_memory_gb for entry in entries],
            memory,
            [record["bytes"] / 2**30 if record else None for record in memory],
            work="training",
            cells=[figure(entry.reported.train_memory_gb, "g") for entry in entries],
        )
    ]
    speed = [logs.speed.get((name, "model-zoo")) for name in names]
    inference = [entry.reported.inference for entry in entries]
    columns.append(
        _Column(
            "Inf time (fps)",
            [about.fps if about else None for about in inference],
            speed,
            [record["fps"] if record else None for record in speed],
            cells=[fps_text(entry) for entry in entries],
            work="inference",
        )
    )
    metrics = list(dict.fromkeys(name for entry in entries for name in entry.reported.metrics))
    if "mIoU" not in metrics and "Dice" not in metrics:
        metrics.insert(0, "mIoU")
    for metric in metrics:
        found = [logs.accuracy.get((name, _PROTOCOLS.get(metric, ""))) for name in names]
        key = metric.partition("(")[0]
        values = [record["metrics"].get(key) if record else None for record in found]
        columns.append(_Column(metric, [entry.reported.metrics.get(metric) for entry in entries], found, values))
    return columns


def _measured(column: _Column) -> list[str]:
    """Measured figures, each with its difference to the published one in brackets."""
    cells = []
    for published, value in zip(column.published, column.values, strict=True):
        text = figure(value, column.form)
        if published is not None and value is not None:
            text += f" ({signed(value - published, column.form)})"
        cells.append(text)
    return cells


def fps_text(entry: Entry) -> str:
    """Published images a second; what differs from the common V100 in FP32 is added in brackets."""
    inference = entry.reported.inference
    if inference is None:
        return ABSENT
    usual = {"hardware": "V100", "precision": "FP32"}
    other = [getattr(inference, key) for key, value in usual.items() if getattr(inference, key) != value]
    return figure(inference.fps) + (f" ({', '.join(other)})" if other else "")


def files(entry: Entry) -> str:
    """Links to the weights, their mirrors and the published training log."""
    links = [
        f"[{'weights' if number == 0 else 'mirror'}]({address})"
        for number, address in enumerate(entry.weights.addresses)
        if address.startswith("https://")
    ]
    if entry.reported.log:
        links.append(f"[log]({entry.reported.log})")
    return " ".join(links) or "in the package"


def _notes(entries: Sequence[Entry], logs: Logs) -> list[str]:
    """What is known to be wrong with published figures, and where measured ones were taken."""
    notes = [f"- `{entry.name}`: {entry.note}" for entry in entries if entry.note]
    for entry in entries:
        for protocol in ("single-scale", "ms+flip 0.x"):
            if record := logs.accuracy.get((entry.name, protocol)):
                notes.append(
                    f"- `{entry.name}`, accuracy measured, {protocol}: {record['pictures']} pictures of "
                    f"`{record['split']}`, {circumstances(record)}"
                )
        if record := logs.speed.get((entry.name, "model-zoo")):
            other = logs.speed.get((entry.name, "with-transfer"))
            beside = f"; with transfer {figure(other['fps'])} fps" if other else ""
            notes.append(
                f"- `{entry.name}`, speed measured: {size_text(tuple(record['input_size']))}, {record['images']} "
                f"pictures, {circumstances(record)}{beside}"
            )
        if record := logs.published_training.get(entry.name):
            notes.append(f"- `{entry.name}`, published training log: {training_log(record)}")
        for work in ("accuracy", "inference", "training"):
            if record := logs.failures.get((entry.name, work)):
                notes.append(f"- `{entry.name}`, {work} failed: {record['reason']}, {circumstances(record)}")
    return notes


def training_log(record: Record) -> str:
    """What a published training log says, in words."""
    parts = []
    if record["seconds_per_iteration"] is not None:
        parts.append(f"{record['seconds_per_iteration']:.3f} s an iteration")
    if record["memory_mb"] is not None:
        parts.append(f"{record['memory_mb'] / 1024:.2f} GB")
    if "mIoU" in record["metrics"]:
        parts.append(f"mIoU {record['metrics']['mIoU']:.2f} after {record['metrics']['iteration']} iterations")
    return ", ".join(parts) or "no figures"


def busy(record: Record) -> str | None:
    """The load of a machine that others used during a measurement, in words; None where it is not known or low."""
    about = record["environment"]
    load, cores = (about.get("load_average") or [0])[0], (about.get("hardware") or {}).get("cores")
    return f"{load:g} on {cores} cores" if cores and load > _BUSY * cores else None


def circumstances(record: Record) -> str:
    """Device, threads, software, day and log of a record, in words."""
    about = record["environment"]
    device = about.get("device_name") or about.get("device") or "an unknown device"
    parts = [device]
    if about.get("threads") is not None and str(about.get("device")).startswith("cpu"):
        parts.append(f"{about['threads']} thread{'s' if about['threads'] != 1 else ''}")
    torch = str(about.get("versions", {}).get("torch", "")).partition("+")[0]
    if torch:
        parts.append(f"PyTorch {torch}")
    if about.get("time"):
        parts.append(about["time"][:10])
    if record["kind"] not in ("accuracy", "failure") and (load := busy(record)):
        parts.append(f"on a busy machine (load {load})")
    if record.get("log"):
        parts.append(f"[log](benchmarks/logs/{record['log']})")
    return ", ".join(parts)
