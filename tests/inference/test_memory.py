"""Sliding windows need memory for the picture's width and the window's height, whatever the picture's height."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from segzoo.index import Protocol
from segzoo.inference import predict
from segzoo.inference.options import resolve
from segzoo.inference.predictor import predict_bands
from tests.inference.live import LiveTensors
from tests.inference.plain import Tiny

CLASSES, HEIGHT, WIDTH = 64, 320, 80
SLIDE = Protocol(
    (120.0, 120.0, 120.0), (50.0, 50.0, 50.0), mode="slide", scale=None, crop_size=(64, 64), stride=(48, 48)
)


class Rows:
    """A picture whose rows are drawn when they are asked for."""

    def __init__(self, height: int, width: int) -> None:
        self.shape = (height, width, 3)

    def __getitem__(self, rows: slice) -> np.ndarray:
        down = np.arange(self.shape[0], dtype=np.uint8)[rows, None, None]
        return down + np.arange(self.shape[1] * 3, dtype=np.uint8).reshape(-1, 3)


def peak(height: int, width: int, **options: Any) -> int:
    """The most bytes of tensors, and of arrays, that stood while the bands of a picture were taken."""
    model = Tiny(SLIDE, CLASSES)
    bands = predict_bands(model, Rows(height, width), resolve(model.entry, CLASSES, **options))
    tracemalloc.start()
    try:
        with LiveTensors() as tensors:
            rows = sum(len(labels) for _, labels in bands)
        arrays = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == height
    return tensors.peak + arrays


def planes(height: int, width: int) -> int:
    """Bytes of the picture's scores of all classes, float32."""
    return 4 * CLASSES * height * width


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """What is imported at the first call counts for none."""
    with LiveTensors():
        predict(Tiny(SLIDE, CLASSES), Rows(64, 64)[:], flip=True)


@pytest.mark.parametrize("flip", [False, True])
def test_a_taller_picture_takes_no_more_memory(flip: bool) -> None:
    low, tall = (peak(height, WIDTH, flip=flip) for height in (HEIGHT, 4 * HEIGHT))
    assert tall < planes(4 * HEIGHT, WIDTH) / 2
    assert tall - low < planes(3 * HEIGHT, WIDTH) / 16  # each row has its weights, and each window its place


def test_a_wider_picture_takes_as_much_more() -> None:
    narrow, wide = (peak(HEIGHT, width) for width in (WIDTH, 4 * WIDTH))
    assert 2 * narrow < wide < 5 * narrow


def test_planes_are_seen_where_they_are_kept() -> None:
    with LiveTensors() as tensors:
        predict(Tiny(SLIDE, CLASSES), Rows(HEIGHT, WIDTH)[:], probabilities=True)
    assert tensors.peak > planes(HEIGHT, WIDTH)
