"""The accuracy of a model on a data set, by the protocol that its published figures were measured by."""

from __future__ import annotations

import collections
import hashlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from tqdm import tqdm

from segzoo import weights as hub
from segzoo.datasets.base import FOLDER, IGNORE, Sample, SegmentationData, open_dataset
from segzoo.datasets.files import FileData
from segzoo.errors import OptionError, SegzooError
from segzoo.evaluation.metrics import ConfusionMatrix
from segzoo.evaluation.processes import add_up, device_of, joined, place, share
from segzoo.evaluation.progress import Progress
from segzoo.index import find
from segzoo.inference.predictor import Predictor, class_table, predict
from segzoo.model import is_saved_model, load
from segzoo.records import environment
from segzoo.weights.hashing import file_sha256

__all__ = ["PRECISIONS", "RATIOS", "Evaluation", "Precision", "Tta", "evaluate", "measure"]

Tta = Literal["0.x", "1.x"]
Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # of the published multi-scale figures, each also flipped
_AHEAD = 4  # samples that are decoded while the network runs
_DECODERS = 2


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation found.

    Attributes:
        entry: canonical name of the model's entry.
        weights_sha256: of the weight file.
        dataset, split: what it was evaluated on.
        protocol: ``'single-scale'``, ``'ms+flip 0.x'`` or ``'ms+flip 1.x'``.
        mode: ``'whole'`` or ``'slide'``.
        precision: the network's dtype.
        classes: class names, in the order of the matrix.
        matrix: counts over all pictures (of all processes).
        pictures: how many were counted, from the first of the split on.
        split_size: how many the split has.
        ends: names of the first and the last that were counted.
        as_tested: whether this is what published figures are of: the entry's own weights and data set, every picture
            of the split, float32.
        processes: how many shared them.
        device: what the network ran on.
    """

    entry: str
    weights_sha256: str
    dataset: str
    split: str
    protocol: str
    mode: str
    precision: str
    classes: tuple[str, ...]
    matrix: ConfusionMatrix
    pictures: int
    split_size: int
    ends: tuple[str, str]
    as_tested: bool
    processes: int
    device: str

    @property
    def metrics(self) -> dict[str, float]:
        """mIoU, mAcc, aAcc and mDice in per cent; of two classes also Dice, that of the second (the vessels)."""
        figures = self.matrix.summary()
        if len(self.classes) == 2:
            figures["Dice"] = float(self.matrix.dice()[1])
        return figures

    def record(self) -> dict[str, Any]:
        """The evaluation as a record of kind ``accuracy``; see :mod:`segzoo.records`."""
        per_class = {"iou": self.matrix.iou(), "accuracy": self.matrix.accuracy(), "dice": self.matrix.dice()}
        return {
            "kind": "accuracy",
            "entry": self.entry,
            "dataset": self.dataset,
            "split": self.split,
            "protocol": self.protocol,
            "mode": self.mode,
            "precision": self.precision,
            "metrics": {name: _or_none(value) for name, value in self.metrics.items()},
            **{
                name: {each: _or_none(value) for each, value in zip(self.classes, values.tolist(), strict=True)}
                for name, values in per_class.items()
            },
            "pictures": self.pictures,
            "split_size": self.split_size,
            "first_and_last": list(self.ends),
            "as_tested": self.as_tested,
            "processes": self.processes,
            "weights_sha256": self.weights_sha256,
            "environment": environment(self.device),
        }

    def table(self) -> str:
        """The figures for people: a line a class, then the means."""
        columns = [self.matrix.iou().tolist(), self.matrix.accuracy().tolist(), self.matrix.dice().tolist()]
        width = max(map(len, (*self.classes, "class")))
        lines = [f"{'class':<{width}}     IoU     Acc    Dice"]
        for name, *figures in zip(self.classes, *columns, strict=True):
            lines.append(f"{name:<{width}} {' '.join(map(_cell, figures))}")
        means = "  ".join(f"{name} {_cell(value).strip()}" for name, value in self.metrics.items())
        return "\n".join([*lines, "", means])


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cell(value: float) -> str:
    return f"{'-' if math.isnan(value) else format(value, '.2f'):>7}"


def evaluate(
    name: str,
    data: SegmentationData | str | Path | None = None,
    *,
    dataset: str | None = None,
    split: str = "val",
    tta: Tta | None = None,
    limit: int | None = None,
    weights: str | Path | None = None,
    precision: Precision = "float32",
    device: torch.device | str | None = None,
    state: str | Path | None = None,
    progress: bool = False,
) -> Evaluation:
    """Measure a model's accuracy as its published figures were measured.

    Under torchrun the pictures are shared out among the processes and the counts added up, so that every process
    returns the figures of the whole: the very same as one process finds.

    Args:
        name: any name of a model, or what ``model.save_pretrained`` wrote.
        data: the data set's folder, or one that holds it (default: ``data``); or an opened data set.
        dataset: key of the data set (default: the model's own), or ``'folder'`` for a folder of one's own.
        split: of the data set.
        tta: averages over six sizes and their mirror images: ``'0.x'`` scales the size that the picture is fitted
            into, as for the published "ms+flip" figures; ``'1.x'`` scales the picture's own size instead.
        limit: only so many pictures, the first ones.
        weights: other weights for the same architecture; see :func:`segzoo.load`.
        precision: the network's dtype.
        device: default: a GPU if there is one; under torchrun each process its own.
        state: file that keeps the counts of an interrupted evaluation, which then goes on; removed at the end. Under
            torchrun every process has one of its own, with its rank in the name.
        progress: shows a bar.

    Raises:
        OptionError: an option cannot be used, the classes are not the model's, or ``state`` is of another evaluation.
        DatasetError: a file of the data set is missing or wrong.
        and the errors of :func:`segzoo.load`.
    """
    if precision not in PRECISIONS:
        raise OptionError(f"precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
    with joined():
        chosen = device_of(device)
        model = load(name, weights=weights, device=chosen).to(getattr(torch, precision))
        sha256 = file_sha256(_weight_file(name, weights))
        if data is None or isinstance(data, (str, Path)):
            data = open_dataset(dataset or model.entry.dataset, data, split)
        elif dataset is not None and dataset != data.name:
            raise OptionError(f"dataset={dataset!r}, but the data set given is {data.name!r}")
        subject = {
            "entry": model.entry.name,
            "weights_sha256": sha256,
            "dataset": data.name,
            "split": split,
            "protocol": "single-scale" if tta is None else f"ms+flip {tta}",
            "mode": model.entry.protocol.mode,
            "precision": precision,
        }
        keep = None
        if state is not None:
            decisive = {**subject, "files": _files(data), "limit": limit, "device": chosen.type}
            keep = Progress(Path(state), decisive)
        matrix, pictures = measure(model, data, tta=tta, limit=limit, keep=keep, progress=progress)
        own = weights is None and not is_saved_model(name) and data.name == model.entry.dataset
        return Evaluation(
            **subject,
            classes=class_table(model)[0],
            matrix=matrix,
            pictures=pictures,
            split_size=len(data),
            ends=(data.names[0], data.names[pictures - 1]),
            as_tested=own and pictures == len(data) and precision == "float32",
            processes=place()[1],
            device=str(chosen),
        )


def measure(
    model: Predictor,
    data: SegmentationData,
    *,
    tta: Tta | None = None,
    limit: int | None = None,
    keep: Progress | None = None,
    progress: bool = False,
) -> tuple[ConfusionMatrix, int]:
    """Count a model's predictions on a data set, on the model's device; nothing is kept of a picture.

    In a group of processes (``torch.distributed``) each counts its share and all return the sum.

    Args:
        model: predicts by its entry's protocol; its mode is put back afterwards.
        data: its classes are the model's, in the same order.
        tta, limit, progress: see :func:`evaluate`.
        keep: takes up and keeps the counts of an evaluation that was interrupted.

    Returns:
        The counts, and of how many pictures they are.

    Raises:
        OptionError: see :func:`evaluate`.
    """
    options = _options(tta)
    classes = class_table(model)[0]
    _check_classes(model, classes, data)
    count = len(data) if limit is None else min(len(data), _positive("limit", limit))
    weight = next(model.parameters(), torch.empty(0))
    matrix = ConfusionMatrix(len(classes), ignore_index=IGNORE, device=weight.device)
    mine = share(count)
    done = 0 if keep is None else keep.load(matrix)
    consistent = True  # an interrupt between a count and its tally would count a picture twice
    bar = tqdm(total=len(mine), initial=done, unit="picture", disable=None if progress and place()[0] == 0 else True)
    try:
        with bar:
            for sample in _decoded(data, mine[done:]):
                mask = predict(model, sample.image, **options).mask
                consistent = False
                matrix.update(_on(mask, weight.device), _on(sample.label, weight.device))
                done += 1
                consistent = True
                bar.update()
                if keep is not None:
                    keep.save_now_and_then(matrix, done)
    finally:
        if keep is not None and consistent:
            keep.save(matrix, done)
    matrix.matrix = add_up(matrix.matrix)
    pictures = int(add_up(torch.tensor(done)))
    if pictures != count:
        raise SegzooError(f"{pictures} pictures were counted, not {count}: the processes do not see the same data set")
    if keep is not None:
        keep.remove()
    return matrix, count


def _options(tta: str | None) -> dict[str, Any]:
    if tta is None:
        return {}
    if tta not in get_args(Tta):
        raise OptionError(f"tta is {' or '.join(map(repr, get_args(Tta)))}, or None for a single scale; not {tta!r}")
    return {"scales": RATIOS, "flip": True, "resize": "entry" if tta == "0.x" else None}


def _positive(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise OptionError(f"{name} is a whole number of 1 or more, not {value!r}")
    return value


def _check_classes(model: Predictor, classes: Sequence[str], data: SegmentationData) -> None:
    if tuple(classes) == tuple(data.classes):
        return
    where = f"{model.entry.name} tells {len(classes)} classes apart, {data.name} has {len(data.classes)}"
    if len(classes) == len(data.classes):
        number = next(i for i, pair in enumerate(zip(classes, data.classes, strict=True)) if pair[0] != pair[1])
        where = f"class {number} of {model.entry.name} is {classes[number]!r}, of {data.name} {data.classes[number]!r}"
    hint = f"; their names in classes.txt are to be {', '.join(classes)}" if data.name == FOLDER else ""
    raise OptionError(f"{where}: a model is evaluated on the classes it was trained for{hint}")


def _on(labels: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.as_tensor(labels.astype(np.int16) if labels.dtype == np.uint16 else labels).to(device)


def _decoded(data: SegmentationData, indices: Sequence[int]) -> Iterator[Sample]:
    """The samples in order, a few of them read ahead in the background."""
    with ThreadPoolExecutor(_DECODERS, "segzoo-decode") as pool:
        waiting: collections.deque[Future[Sample]] = collections.deque()
        try:
            for index in indices:
                waiting.append(pool.submit(data.__getitem__, index))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _weight_file(name: str, weights: str | Path | None) -> Path:
    if weights is not None:
        return hub.fetch_address(str(weights))
    if is_saved_model(name):
        return hub.open_pretrained(name).weights
    entry = find(name)
    return hub.fetch(entry.weights, name=entry.name)


def _files(data: SegmentationData) -> str:
    """A digest that differs where the data set's files do."""
    lines = list(data.names)
    if isinstance(data, FileData):
        found = ((path, path.stat()) for pair in data.pairs for path in (pair.image, pair.label))
        lines += [f"{path.resolve()} {each.st_size} {each.st_mtime_ns}" for path, each in found]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
