"""Interpolation written as sparse weights, and windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segzoo.inference.taps import Taps, linear, tile, window_starts
from tests.inference.plain import starts


def dense(taps: Taps, size_in: int) -> np.ndarray:
    out = np.zeros((len(taps.index), size_in), np.float32)
    np.add.at(out, (np.arange(len(out))[:, None], taps.index), taps.weight)
    return out


def test_windows_as_published() -> None:
    assert window_starts(2048, 769, 513) == [0, 513, 1026, 1279]
    assert window_starts(2049, 769, 513) == [0, 513, 1026, 1280]
    assert window_starts(769, 769, 513) == [0]
    assert window_starts(500, 769, 513) == [0]
    assert window_starts(770, 769, 513) == [0, 1]


@pytest.mark.parametrize("length", [1, 5, 31, 32, 33, 47, 48, 64, 100, 1000])
@pytest.mark.parametrize(("crop", "stride"), [(32, 32), (32, 1), (32, 16), (32, 21), (5, 3)])
def test_windows_cover_everything(length: int, crop: int, stride: int) -> None:
    found = window_starts(length, crop, stride)
    assert [(s, s + min(crop, length)) for s in found] == starts(length, crop, stride)
    assert {i for s in found for i in range(s, s + min(crop, length))} == set(range(length))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 9), (9, 1), (16, 128), (17, 129), (100, 33), (50, 50), (2, 1000)])
def test_linear_is_torchs_interpolation(sizes: tuple[int, int], align_corners: bool) -> None:
    size_in, size_out = sizes
    eye = torch.eye(size_in)[None]
    expected = F.interpolate(eye[..., None], (size_out, 1), mode="bilinear", align_corners=align_corners)[0, :, :, 0].T
    assert np.abs(dense(linear(size_in, size_out, align_corners), size_in) - expected.numpy()).max() < 2e-5


def test_one_after_the_other_reversed_and_in_windows() -> None:
    first, second = linear(7, 20, False), linear(20, 13, True)
    both = dense(first.then(second), 7)
    assert np.allclose(both, dense(second, 20) @ dense(first, 7), atol=1e-6)
    assert np.array_equal(dense(first.reversed(), 7), dense(first, 7)[::-1])
    one = dense(linear(3, 8, False), 3)
    expected = np.zeros((14, 9), np.float32)
    count = np.zeros((14, 1), np.float32)
    for k, start in enumerate((0, 5, 6)):
        expected[start : start + 8, k * 3 : k * 3 + 3] += one
        count[start : start + 8] += 1
    windows = linear(3, 8, False).over_windows([0, 5, 6], 3, 14)
    assert np.allclose(dense(windows, 9), expected / count, atol=1e-6)


@pytest.mark.parametrize("size", [1, 4, 7, 50])
def test_tiles_hold_all_of_the_taps(size: int) -> None:
    taps = linear(9, 31, False).over_windows([0, 10, 20], 9, 51).then(linear(51, 45, False))
    tiles = tile(taps, size, torch.device("cpu"))
    expected = dense(taps, 27)
    for i, (index, weight) in enumerate(zip(tiles.index.numpy(), tiles.weight.numpy(), strict=True)):
        found = np.zeros((size, 27), np.float32)
        np.add.at(found, (np.arange(size)[:, None], index[None]), weight)
        part = expected[i * size : (i + 1) * size]
        assert np.allclose(found[: len(part)], part, atol=1e-6)
        assert set(index) == set(np.flatnonzero(part.sum(0)))
