from __future__ import annotations

import numpy as np
import pytest

from segzoo.inference.resample import resize_bilinear
from segzoo.recipe import Augmentation
from segzoo.training.transforms import Window, augment, choose_window, distort_colours, network_input, scaled_size, view
from tests.training.streets import sample


@pytest.mark.parametrize(
    ("size", "scale", "ratio", "expected"),
    [
        ((1024, 2048), (2048, 1024), 1.0, (1024, 2048)),
        ((1024, 2048), (2048, 1024), 0.5, (512, 1024)),
        ((480, 640), (2048, 512), 1.0, (512, 683)),  # the short side decides: 640 * 512 / 480 = 682.67
        ((200, 1000), (2048, 512), 1.0, (410, 2048)),  # the long side does: 200 * 2.048 = 409.6
        ((300, 301), (520, 520), 0.7531, (390, 391)),  # into whole bounds: int(391.6) = 391; 300 * 391 / 301 = 389.7
        ((100, 50), None, 1.25, (125, 63)),
        ((3, 3), None, 0.01, (1, 1)),
    ],
)
def test_scaled_size(
    size: tuple[int, int], scale: tuple[int, int] | None, ratio: float, expected: tuple[int, int]
) -> None:
    assert scaled_size(size, scale, ratio) == expected


def test_view_takes_the_nearest_label() -> None:
    label = np.array([[0, 1], [2, 3]], np.uint8)
    whole = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]], np.uint8)
    assert np.array_equal(view(label, (4, 4), Window(0, 0, 4, 4)), whole)
    assert np.array_equal(view(label, (4, 4), Window(1, 1, 2, 3)), whole[1:3, 1:4])
    # Down by 2/3: rows 0 and floor(1.5) of three.
    assert np.array_equal(view(np.array([[5], [6], [7]], np.uint8), (2, 1), Window(0, 0, 2, 1)), [[5], [6]])


def test_a_part_of_a_resized_picture_is_that_of_the_whole() -> None:
    image = sample(1).image
    for size in ((90, 100), (40, 33), image.shape[:2]):
        whole = resize_bilinear(image, size)
        window = Window(7, 5, 21, 26)
        assert np.array_equal(resize_bilinear(image, size, window.slices), whole[window.slices])


def test_crop_keeps_to_the_limit_of_the_largest_class() -> None:
    label = np.zeros((40, 400), np.uint8)
    label[:, 180:220] = 1  # a window that shows both, neither above 3/4, lies close to column 200
    windows = [choose_window(label, (40, 400), (40, 40), 0.75, np.random.default_rng(seed)) for seed in range(300)]
    free = [choose_window(label, (40, 400), (40, 40), 1.0, np.random.default_rng(seed)) for seed in range(300)]

    def sound(window: Window) -> bool:
        share = label[window.slices].mean()
        return bool(0.25 < share < 0.75)

    # Ten further tries at a chance of one in nine each: two thirds find one, against a ninth without the limit.
    assert sum(map(sound, windows)) > 170 > 60 > sum(map(sound, free)) > 10
    assert {window.height for window in windows} == {40}
    assert min(window.left for window in free) < 30
    assert max(window.left for window in free) > 330


def test_ignored_pixels_do_not_count_in_the_limit() -> None:
    label = np.full((8, 8), 255, np.uint8)
    label[0, 0], label[0, 1] = 3, 4  # half and half of what is labelled
    rng = np.random.default_rng(0)
    choose_window(label, (8, 8), (8, 8), 0.75, rng)
    assert rng.integers(1 << 30) == _after_draws(1)
    label[0, 2] = label[0, 3] = label[0, 4] = 3  # four of five
    rng = np.random.default_rng(0)
    choose_window(label, (8, 8), (8, 8), 0.75, rng)
    assert rng.integers(1 << 30) == _after_draws(11)


def _after_draws(count: int) -> int:
    rng = np.random.default_rng(0)
    for _ in range(count):
        rng.integers(1), rng.integers(1)
    return int(rng.integers(1 << 30))


def test_a_picture_smaller_than_the_crop_is_taken_whole() -> None:
    made = sample(2, (44, 50))
    plain = Augmentation(ratio_range=(1, 1), crop_size=(64, 64), flip=0, photometric=False)
    image, label = augment(made.image, made.label, plain, np.random.default_rng(0))
    assert np.array_equal(image, made.image)
    assert np.array_equal(label, made.label)


def test_flip_turns_picture_and_labels() -> None:
    made = sample(3)
    plain, flipped = (
        augment(
            made.image,
            made.label,
            Augmentation(ratio_range=(0.9, 1.1), crop_size=(48, 56), flip=flip, photometric=False),
            np.random.default_rng(5),
        )
        for flip in (0.0, 1.0)
    )
    assert plain[0].shape == (48, 56, 3)
    assert plain[1].shape == (48, 56)
    assert np.array_equal(flipped[0], plain[0][:, ::-1])
    assert np.array_equal(flipped[1], plain[1][:, ::-1])


def test_labels_stay_with_their_pixels() -> None:
    """Squares are 120 brighter than the ground at every size and place."""
    for seed in range(10):
        made = sample(seed)
        augmentation = Augmentation(ratio_range=(0.5, 2.0), crop_size=(48, 48), photometric=False)
        image, label = augment(made.image, made.label, augmentation, np.random.default_rng(seed))
        bright = image.mean(axis=2) > 120
        known = label != 255
        assert (bright == (label == 1))[known].mean() > 0.93


def test_colours_of_grey_stay_grey_and_within_bounds() -> None:
    grey = np.full((4, 5, 3), 100, np.uint8)
    seen = set()
    for seed in range(200):
        out = distort_colours(grey, np.random.default_rng(seed))
        assert out.dtype == np.uint8
        assert out.shape == grey.shape
        assert out.min() == out.max()
        seen.add(int(out.max()))
    assert min(seen) >= int((100 - 32) * 0.5) - 1
    assert max(seen) <= (100 + 32) * 1.5
    assert min(seen) < 50 < 150 < max(seen)
    assert 100 in seen  # neither brightness nor contrast: every fourth picture


def test_colours_change_saturation_and_hue() -> None:
    red = np.tile(np.array([200, 40, 40], np.uint8), (4, 4, 1))
    outs = [distort_colours(red, np.random.default_rng(seed))[0, 0].astype(int) for seed in range(200)]
    assert any(out[1] - out[2] > 20 for out in outs)  # towards yellow
    assert any(out[2] - out[1] > 20 for out in outs)  # towards magenta
    assert all(out[0] >= max(out[1], out[2]) for out in outs)  # at most 36 degrees: red stays the largest
    spread = [out.max() - out.min() for out in outs]
    assert min(spread) < 90
    assert max(spread) > 190


def test_network_input_normalises_and_pads() -> None:
    image = np.array([[[10, 20, 30], [255, 0, 128]]], np.uint8)
    label = np.array([[1, 255]], np.uint8)
    pixels, labels = network_input(image, label, (2, 3), (10.0, 20.0, 30.0), (2.0, 4.0, 5.0))
    assert pixels.dtype == np.float32
    expected = np.zeros((3, 2, 3), np.float32)
    expected[:, 0, 1] = np.array([245 / 2, -20 / 4, 98 / 5], np.float32)
    assert np.array_equal(pixels, expected)
    assert np.array_equal(labels, [[1, 255, 255], [255, 255, 255]])
