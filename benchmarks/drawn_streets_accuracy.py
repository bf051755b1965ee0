"""The accuracy of the embedded model on streets that its training never saw, through the file that ships."""

from __future__ import annotations

import hashlib
import math
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import segzoo
from segzoo import records
from segzoo.datasets.drawn_streets import draw
from segzoo.evaluation.metrics import ConfusionMatrix
from segzoo.index import find
from segzoo.weights import fetch

__all__ = ["DEFAULT_LOG", "ENTRY", "add_record", "measure", "print_table"]

ENTRY = "fast_scnn_drawn_streets"
DEFAULT_LOG = Path(__file__).resolve().parent / "logs" / "drawn_streets.jsonl"
FIRST_SEED = 77_000_000  # data set 38's validation split: training draws data set 0


def measure(*, count: int, size: tuple[int, int], name: str = ENTRY, first_seed: int = FIRST_SEED) -> dict[str, Any]:
    """Draw `count` streets of (height, width) `size`, predict each with the named model, and return a log record."""
    entry = find(name)
    model = segzoo.load(name)
    matrix = ConfusionMatrix(model.num_classes)
    seconds = 0.0
    for seed in tqdm(range(first_seed, first_seed + count), desc="measuring", unit="picture"):
        picture, labels = draw(seed, size)
        started = time.perf_counter()
        mask = model.predict(picture).mask
        seconds += time.perf_counter() - started
        matrix.update(torch.as_tensor(mask), torch.from_numpy(labels))
    iou = dict(zip(entry.classes, (rounded(value) for value in matrix.iou().tolist()), strict=True))
    weights = fetch(entry.weights, name=entry.name)
    return {
        "kind": "accuracy",
        "entry": entry.name,
        "dataset": entry.dataset,
        "split": "val",
        "protocol": "single-scale",
        "mode": "whole",
        "metrics": {key: rounded(value) for key, value in matrix.summary().items()},
        "iou": iou,
        "pictures": count,
        "seeds": [first_seed, first_seed + count - 1],
        "size": list(size),
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "seconds_per_picture": round(seconds / max(count, 1), 4),
        "environment": records.environment("cpu"),
    }


def rounded(value: float) -> float | None:
    """Two decimals; None where there is no figure, since JSON has no NaN."""
    return None if math.isnan(value) else round(value, 2)


def add_record(record: dict[str, Any], path: Path) -> None:
    """Append a record to a JSON-lines file."""
    records.append(path, record)
    print(f"recorded in {path}")


def print_table(record: dict[str, Any]) -> None:
    """Print the figures of a record."""
    for title, value in (*record["iou"].items(), *record["metrics"].items()):
        print(f"{title:>14}  {'-' if value is None else format(value, '6.2f')}")
