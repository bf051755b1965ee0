"""segzoo's accuracy figures beside those of mmsegmentation's own metric, on the same predictions.

``FOLDER/bin/python -m benchmarks.peers.metric``, where FOLDER is what ``build.sh`` made, from the checkout's root. In
an environment without mmsegmentation it prints segzoo's figures of the same predictions alone.

The figures must be equal to the two decimals that tables print, class by class. The peer adds up areas in float32,
which holds whole numbers up to 16 777 216; with so many pictures that a class has more pixels, its own last digits
begin to move, and the comparison says by how much.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from segzoo.evaluation.metrics import ConfusionMatrix
from segzoo.records import append, environment

__all__ = ["main", "ours", "predictions", "theirs"]

CLASSES = (19, 150, 2)  # Cityscapes, ADE20K, vessels
SIZE = (256, 512)
BLOCK = 16
Figures = dict[str, float | list[float]]


def predictions(classes: int, pictures: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of prediction and label map, int64 (H, W), made of blocks: three in four right, an eighth not counted.

    The last class is in no label map and the one before it is never predicted.
    """
    rng = np.random.default_rng(classes)
    blocks = (SIZE[0] // BLOCK, SIZE[1] // BLOCK)
    for _ in range(pictures):
        label = rng.integers(0, max(classes - 1, 2), blocks)
        guess = np.where(rng.random(blocks) < 0.75, label, rng.integers(0, classes, blocks))
        if classes > 2:
            guess[guess == classes - 2] = classes - 1
        label = np.where(rng.random(blocks) < 0.125, 255, label)
        fine = [np.kron(each, np.ones((BLOCK, BLOCK), np.int64)) for each in (guess, label)]
        shift = int(rng.integers(0, BLOCK))
        yield torch.from_numpy(np.roll(fine[0], shift, 1)), torch.from_numpy(fine[1])


def ours(classes: int, pictures: int) -> Figures:
    """segzoo's figures, per cent: the means, and IoU, accuracy and Dice by class."""
    matrix = ConfusionMatrix(classes)
    for prediction, label in predictions(classes, pictures):
        matrix.update(prediction, label)
    by_class = {"IoU": matrix.iou(), "Acc": matrix.accuracy(), "Dice": matrix.dice()}
    return {**matrix.summary(), **{name: values.tolist() for name, values in by_class.items()}}


def theirs(classes: int, pictures: int) -> Figures:
    """mmsegmentation's figures, per cent: its means as it rounds them, those by class before it does."""
    metric = importlib.import_module("mmseg.evaluation").IoUMetric(iou_metrics=["mIoU", "mDice"])
    metric.dataset_meta = {"classes": tuple(map(str, range(classes)))}
    for prediction, label in predictions(classes, pictures):
        sample = {"pred_sem_seg": {"data": prediction[None]}, "gt_sem_seg": {"data": label[None]}}
        metric.process({}, [sample])
    areas = [sum(each) for each in zip(*metric.results, strict=True)]
    found = metric.total_area_to_metrics(*areas, metrics=["mIoU", "mDice"])
    by_class: Figures = {name: (100 * np.asarray(found[name], np.float64)).tolist() for name in ("IoU", "Acc", "Dice")}
    return {
        **{name: round(float(value), 2) for name, value in metric.compute_metrics(metric.results).items()},
        **by_class,
    }


def compare(classes: int, pictures: int, log: Path | None) -> bool:
    """Print both sides, and whether they are equal as printed; add records to the log."""
    mine, peer = ours(classes, pictures), theirs(classes, pictures)
    equal, largest = True, 0.0
    for name, figure in mine.items():
        pair = np.atleast_1d(np.asarray(figure)), np.atleast_1d(np.asarray(peer[name]))
        rounded = [np.round(each, 2) for each in pair]
        equal = equal and np.array_equal(rounded[0], rounded[1], equal_nan=True)
        if isinstance(figure, float):
            print(f"{classes:>4} classes  {name:<6} segzoo {figure:.6f}  mmsegmentation {peer[name]:.2f}")
        else:
            largest = max(largest, float(np.nanmax(np.abs(pair[0] - pair[1]))))
    verdict = "equal" if equal else "NOT equal"
    print(f"{classes:>4} classes  {verdict} to two decimals; by class they differ by at most {largest:.1e}")
    if log is not None:
        record = {
            "kind": "comparison",
            "subject": f"mIoU of {pictures} made predictions of {classes} classes",
            "peer": "mmsegmentation IoUMetric",
            "unit": "percent",
            "ours": mine["mIoU"],
            "theirs": peer["mIoU"],
            "equal_to_two_decimals": equal,
            "largest_difference_by_class": largest,
            "pixels": pictures * SIZE[0] * SIZE[1],
            "environment": environment(),
        }
        append(log, record)
    return equal


def main() -> int:
    """Compare where the peer is installed; exit code 1 if a figure differs as printed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=100, metavar="N", help="of each number of classes (100)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="add records to this JSON-lines file")
    args = parser.parse_args()
    if importlib.util.find_spec("mmseg") is None:
        for classes in CLASSES:
            figures = {name: value for name, value in ours(classes, args.pictures).items() if isinstance(value, float)}
            print(f"{classes:>4} classes  " + "  ".join(f"{name} {value:.6f}" for name, value in figures.items()))
        print("mmsegmentation is not installed here; see benchmarks/peers/build.sh")
        return 0
    equal = [compare(classes, args.pictures, args.log) for classes in CLASSES]
    return 0 if all(equal) else 1


if __name__ == "__main__":
    raise SystemExit(main())
