"""The model that ships inside the package: it is what the index says, and as good as the log says."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import pytest
import torch

import segzoo
from benchmarks.drawn_streets_accuracy import DEFAULT_LOG, ENTRY, add_record, measure
from segzoo.datasets.drawn_streets import CLASSES, draw, seeds
from segzoo.evaluation.metrics import ConfusionMatrix
from segzoo.index import find
from segzoo.weights import fetch

LARGEST = 3_000_000  # bytes


def newest_record() -> dict:
    records = [json.loads(line) for line in DEFAULT_LOG.read_text(encoding="utf-8").splitlines()]
    return [record for record in records if record["entry"] == ENTRY][-1]


def test_file_is_the_one_the_index_names() -> None:
    weights = find(ENTRY).weights
    path = fetch(weights, name=ENTRY)
    content = path.read_bytes()
    assert len(content) == weights.size
    assert len(content) <= LARGEST
    assert hashlib.sha256(content).hexdigest() == weights.sha256


def test_loads_by_name_as_float32_and_segments_streets_it_has_not_seen() -> None:
    model = segzoo.load(ENTRY)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training
    matrix = ConfusionMatrix(len(CLASSES))
    for seed in seeds("val", 4, 4242):
        picture, labels = draw(seed, (512, 1024))
        matrix.update(torch.as_tensor(model.predict(picture).mask), torch.from_numpy(labels))
    figures = matrix.summary()
    assert figures["aAcc"] > 95
    assert figures["mIoU"] > 80


def test_log_is_of_this_file_and_good_enough() -> None:
    record = newest_record()
    assert record["weights_sha256"] == find(ENTRY).weights.sha256
    assert record["metrics"]["mIoU"] >= 85
    assert record["pictures"] >= 100
    assert list(record["iou"]) == list(CLASSES)
    assert record["metrics"]["mIoU"] == pytest.approx(sum(record["iou"].values()) / len(CLASSES), abs=0.01)


def test_log_is_of_streets_that_training_cannot_draw() -> None:
    first, last = newest_record()["seeds"]
    trained, looked_at = seeds("train", 1_000_000), seeds("val", 1_000_000)
    assert not set(trained) & {first, last}
    assert not set(looked_at) & {first, last}


def test_measure_counts_what_predict_says(tmp_path: Path) -> None:
    record = measure(count=2, size=(128, 256), first_seed=5_000_000)
    model = segzoo.load(ENTRY)
    matrix = ConfusionMatrix(len(CLASSES))
    for seed in (5_000_000, 5_000_001):
        picture, labels = draw(seed, (128, 256))
        matrix.update(torch.as_tensor(model.predict(picture).mask), torch.from_numpy(labels))
    assert record["metrics"]["mIoU"] == round(matrix.summary()["mIoU"], 2)
    log = tmp_path / "logs" / "log.jsonl"
    add_record(record, log)
    add_record(record, log)
    lines = log.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert json.loads(lines[0])["entry"] == ENTRY
    assert all(value is None or math.isfinite(value) for value in json.loads(lines[0])["iou"].values())
