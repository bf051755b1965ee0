"""The integer resize, against OpenCV's results and a loop over pixels."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest

from segzoo.inference.resample import resize_bilinear

# height, width, new height, new width, crc32 of what OpenCV 5.0's INTER_LINEAR gives
MEASURED = json.loads((Path(__file__).parents[1] / "golden" / "predict" / "resize.json").read_text())


@pytest.mark.parametrize("case", MEASURED, ids=lambda case: "{}x{}-{}x{}".format(*case))
def test_equals_opencv(case: list[int]) -> None:
    height, width, *size, crc = case
    image = np.random.RandomState(height * 1000 + width).randint(0, 256, (height, width, 3), dtype=np.uint8)
    out = resize_bilinear(image, (size[0], size[1]))
    assert out.shape == (*size, 3)
    assert zlib.crc32(out.tobytes()) == crc


def test_one_pixel_at_a_time() -> None:
    image = np.random.RandomState(0).randint(0, 256, (7, 11, 3), dtype=np.uint8)
    out = resize_bilinear(image, (17, 6))

    def neighbours(i: int, size_in: int, size_out: int) -> tuple[int, int, float]:
        position = (i + 0.5) * size_in / size_out - 0.5
        lower = math.floor(position)
        return min(max(lower, 0), size_in - 1), min(max(lower + 1, 0), size_in - 1), position - lower

    for y in range(17):
        for x in range(6):
            y0, y1, fy = neighbours(y, 7, 17)
            x0, x1, fx = neighbours(x, 11, 6)
            top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
            bottom = image[y1, x0] * (1 - fx) + image[y1, x1] * fx
            assert np.abs(out[y, x] - (top * (1 - fy) + bottom * fy)).max() <= 1


def test_flat_pictures_stay_flat() -> None:
    for level in (0, 1, 127, 254, 255):
        out = resize_bilinear(np.full((13, 9, 3), level, np.uint8), (40, 50))
        # at the upper and lower edge OpenCV rounds each half of the weight down
        assert (out[2:-2] == level).all()


def test_same_size_is_the_same_picture_and_views_are_taken() -> None:
    image = np.random.RandomState(0).randint(0, 256, (20, 30, 3), dtype=np.uint8)
    assert resize_bilinear(image, (20, 30)) is image
    assert np.array_equal(resize_bilinear(image[:, ::-1], (11, 13)), resize_bilinear(image[:, ::-1].copy(), (11, 13)))
