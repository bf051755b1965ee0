"""The model that ships inside the package: it is what the index says, and as good as the log says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

import segzoo
from segzoo.datasets.drawn_streets import CLASSES, draw, sample_paths, seeds
from segzoo.evaluation.metrics import ConfusionMatrix
from segzoo.index import find
from segzoo.records import read
from segzoo.weights import fetch

ENTRY = "fast_scnn_drawn_streets"
LOG = Path(__file__).resolve().parents[2] / "benchmarks" / "logs" / "drawn_streets.jsonl"
LARGEST = 3_000_000  # bytes
UNSEEN = 38  # number of the data set that the log is of; training draws data set 0


def newest_record() -> dict:
    kinds = {"kind": "accuracy", "entry": ENTRY, "protocol": "single-scale"}
    return [record for record in read([LOG]) if kinds.items() <= record.items()][-1]


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
    record = newest_record()
    assert record["as_tested"]
    drawn = seeds("val", record["pictures"], UNSEEN)
    names = [sample_paths(Path(), "val", seed)[0].stem.removesuffix("_leftImg8bit") for seed in (drawn[0], drawn[-1])]
    assert [name.rpartition("/")[2] for name in record["first_and_last"]] == names
    trained, looked_at = seeds("train", 1_000_000), seeds("val", 1_000_000)
    assert not set(trained) & set(drawn)
    assert not set(looked_at) & set(drawn)
