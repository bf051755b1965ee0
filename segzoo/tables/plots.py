"""The zoo's plots: mIoU against speed, parameters and memory, and the embedded model's classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from segzoo.describe import size_text
from segzoo.index import Entry, datasets, default_index
from segzoo.tables.grid import ABSENT, figure
from segzoo.tables.logs import Logs
from segzoo.tables.svg import Axis, Bar, Point, bars, scatter
from segzoo.tables.zoo import busy

__all__ = ["PLOTS"]

_MIOU = Axis("mIoU (%), single scale")
_USUAL = ("V100", "FP32")
_DRAWN = "drawn_streets"


def _entries(dataset: str) -> Iterable[Entry]:
    return (e for e in default_index().entries.values() if e.dataset == dataset and "mIoU" in e.reported.metrics)


def _label(entry: Entry) -> str:
    return f"{entry.method} {entry.backbone}" if entry.backbone != entry.method else entry.method


def _speed(dataset: str, logs: Logs) -> str:
    points: list[Point] = []
    devices: dict[str, None] = {}
    for entry in _entries(dataset):
        measured, accuracy = logs.speed.get((entry.name, "model-zoo")), logs.accuracy.get((entry.name, "single-scale"))
        if measured and accuracy:
            points.append(Point(measured["fps"], accuracy["metrics"]["mIoU"], _label(entry), measured=True))
            devices[str(measured["environment"].get("device_name") or measured["environment"]["device"])] = None
        inference = entry.reported.inference
        if inference and (inference.hardware, inference.precision) == _USUAL:
            points.append(Point(inference.fps, entry.reported.metrics["mIoU"], _label(entry)))
    here = f" Measured: {', '.join(devices)}." if devices else ""
    return scatter(
        points,
        Axis("pictures a second (fps), logarithmic", log=True),
        _MIOU,
        title=f"{datasets()[dataset].title}: mIoU against speed",
        note=f"Published figures: V100, FP32, batch 1.{here} Up and to the right is better.",
    )


def _memory(dataset: str, logs: Logs) -> str:
    points = [
        Point(entry.reported.train_memory_gb, entry.reported.metrics["mIoU"], _label(entry))
        for entry in _entries(dataset)
        if entry.reported.train_memory_gb is not None
    ]
    return scatter(
        points,
        Axis("training memory of a GPU (GB), logarithmic", more_is_better=False, log=True),
        _MIOU,
        title=f"{datasets()[dataset].title}: mIoU against training memory",
        note="Published figures, each with the crop and the batch of its recipe. Up and to the left is better.",
    )


def _parameters(dataset: str, logs: Logs) -> str:
    points = [
        Point(logs.cost[entry.name]["parameters"] / 1e6, entry.reported.metrics["mIoU"], _label(entry))
        for entry in _entries(dataset)
        if entry.name in logs.cost
    ]
    return scatter(
        points,
        Axis("parameters (millions), logarithmic", more_is_better=False, log=True),
        _MIOU,
        title=f"{datasets()[dataset].title}: mIoU against parameters",
        note="Published mIoU, the best of each method and backbone; parameters counted. Up and to the left is better.",
    )


def _embedded(logs: Logs) -> str:
    (entry,) = (entry for entry in default_index().entries.values() if entry.dataset == _DRAWN)
    record = logs.accuracy.get((entry.name, "single-scale"), {})
    found = record.get("iou", {})
    items = [
        Bar(name, found.get(name), colour) for name, colour in zip(entry.classes, entry.palette, strict=True) if record
    ]
    mean = record.get("metrics", {}).get("mIoU")
    parts = []
    if cost := logs.cost.get(entry.name):
        parts.append(f"{cost['parameters'] / 1e6:.2f} M parameters, {cost['flops'] / 1e9:.1f} GFLOP a picture")
    if speed := logs.speed.get((entry.name, "model-zoo")):
        about = speed["environment"]
        number = about.get("threads")
        threads = f", {number} thread{'s' if number > 1 else ''}" if number else ""
        threads += ", busy" if busy(speed) else ""
        device = about.get("device_name") or about["device"]
        parts.append(f"{speed['fps']:.1f} fps at {size_text(tuple(speed['input_size']))} ({device}{threads})")
    return bars(
        items,
        title=f"{entry.name}: mIoU {figure(mean)} on {record.get('pictures', ABSENT)} streets it has not seen",
        note="; ".join(parts) or "speed and cost: no figures in the logs yet",
        mean=mean,
    )


def _over_zoo(draw: Callable[[str, Logs], str], dataset: str) -> Callable[[Logs], str]:
    return lambda logs: draw(dataset, logs)


PLOTS: Mapping[str, Callable[[Logs], str]] = {
    **{
        f"{dataset}-{name}": _over_zoo(draw, dataset)
        for dataset in ("cityscapes", "ade20k")
        for name, draw in (("speed", _speed), ("parameters", _parameters), ("memory", _memory))
    },
    "embedded": _embedded,
}
