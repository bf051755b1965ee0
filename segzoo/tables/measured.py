"""The tables of what was measured: the models of the drawn streets, and training speed."""

from __future__ import annotations

import statistics

from segzoo.index import datasets as index_datasets
from segzoo.index import default_index, find
from segzoo.tables.grid import ABSENT, Grid, figure
from segzoo.tables.logs import Logs, Record
from segzoo.tables.zoo import circumstances, entries_grid

__all__ = ["drawn_streets_table", "embedded_table", "peers_table", "training_speed_table"]

_DRAWN = "drawn_streets"


def embedded_table(logs: Logs) -> list[Grid]:
    """The models of the drawn streets, in the zoo's columns, and what engineers ask of them besides."""
    entries = [entry for entry in default_index().entries.values() if entry.dataset == _DRAWN]
    return [entries_grid(entries, logs)]


def drawn_streets_table(logs: Logs) -> list[Grid]:
    """What was measured of the models of the drawn streets: one column each, per class and on the whole."""
    entries = [entry for entry in default_index().entries.values() if entry.dataset == _DRAWN]
    records: list[Record] = [logs.accuracy.get((entry.name, "single-scale"), {}) for entry in entries]
    rows = [["**mIoU**", *(figure(record.get("metrics", {}).get("mIoU")) for record in records)]]
    for name in index_datasets()[_DRAWN].classes:
        rows.append([name, *(figure(record.get("iou", {}).get(name)) for record in records)])
    rows.append(["unseen pictures", *(figure(record.get("pictures"), "d") for record in records)])
    names = [f"`{entry.name}`" for entry in entries]
    return [Grid(["IoU", *names], rows, names)]


def training_speed_table(logs: Logs) -> list[Grid]:
    """Seconds an iteration of the published set-up, by implementation; published rows say so."""
    published = logs.published_training_speed
    entries = list(dict.fromkeys(record["entry"] for record in published))
    methods = [find(name).method for name in entries]
    implementations = list(dict.fromkeys(record["implementation"] for record in published))
    rows = []
    for implementation in implementations:
        own = {record["entry"]: record for record in published if record["implementation"] == implementation}
        first = next(iter(own.values()))
        figures = [figure(own[name]["seconds_per_iteration"] if name in own else None) for name in entries]
        rows.append([implementation, *figures, first["hardware"], f"published ([source]({first['source']}))"])
    measured = [logs.training_speed.get(name) for name in entries]
    taken = [record for record in measured if record]
    if taken:
        figures = [figure(record["seconds_per_iteration"] if record else None) for record in measured]
        about = circumstances(taken[-1])
        rows.append(["segzoo", *figures, about, "measured"])
    note = (
        "Seconds an iteration, lower is better: ResNet-101 V1c, input 1024 x 512, two pictures a GPU, output stride 8."
    )
    return [Grid(["Implementation", *methods, "Hardware", "Source"], rows, methods, notes=[note])]


def peers_table(logs: Logs) -> list[Grid]:
    """Time and memory of prediction, and time of a training step, beside another implementation.

    The cases that have a bar, one a row, then the geometric mean over the methods; a training step is a table of its
    own. Ratios are the other's figure over ours, but for training steps, whose bar is ours over the other's.
    """
    found = sorted(logs.comparison.values(), key=lambda record: str(record["subject"]))
    predicted = [record for record in found if "time_ratio" in record]
    trained = [record for record in found if "ours_over_theirs" in record]
    barred = [record for record in predicted if record["bar"]]
    rows = [_beside(record) for record in barred]
    methods = {record["method"]: record for record in predicted if not record["bar"]}
    if methods:
        time, memory = (
            figure(statistics.geometric_mean([record[key] for record in methods.values()]))
            for key in ("time_ratio", "memory_ratio")
        )
        name = f"{len(methods)} methods at their crop sizes, geometric mean"
        rows.append([name, ABSENT, ABSENT, time, ABSENT, ABSENT, memory, ABSENT, ABSENT])
    ratios = ("time, peer / segzoo", "time's bar", "MiB", "memory, peer / segzoo", "memory's bar")
    header = ["Case", "ms", "peer's ms", *ratios, "same labels"]
    notes = [f"Beside {barred[-1]['peer']}: {circumstances(barred[-1])}."] if barred else []
    grids = [Grid(header, rows, header[1:], notes=notes)]
    if trained:
        steps = [
            [f"{r['subject']}", *(figure(r[key]) for key in ("ours", "theirs", "ours_over_theirs", "bar"))]
            for r in trained
        ]
        header = ["Case", "s a step", "peer's s a step", "segzoo / peer", "bar"]
        grids.append(Grid(header, steps, header[1:], heading="A training step:\n"))
    return grids


def _beside(record: Record) -> list[str]:
    bar = record["bar"]
    return [
        f"`{record['subject']}`",
        figure(1000 * record["ours"], ".0f"),
        figure(1000 * record["theirs"], ".0f"),
        figure(record["time_ratio"]),
        figure(bar["time"], "g"),
        figure(record["peak_above_loaded"]["ours"] / 2**20, ".0f"),
        figure(record["memory_ratio"]),
        figure(bar["memory"], "g"),
        figure(100 * record["same_labels"], ".4f") + " %",
    ]
