"""The zoo's augmentation: random size, crop with a limit on the largest class, mirroring, colours, padding.

Every function takes the numbers it draws from a generator that it is given, so a sample's augmentation is decided by
whoever makes the generator and by nothing else. Of the resized picture only what the crop shows is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from segzoo.datasets.base import IGNORE
from segzoo.inference.resample import resize_bilinear
from segzoo.recipe import Augmentation

__all__ = ["Window", "augment", "choose_window", "distort_colours", "network_input", "scaled_size", "view"]

CROP_TRIES = 10

# The distortion that the published recipes name without figures (Liu et al., SSD, 2016, section 3.6 of the preprint's
# data augmentation), in steps of 8-bit pictures; hue in degrees.
BRIGHTNESS = 32.0
CONTRAST = SATURATION = (0.5, 1.5)
HUE = 36.0


class Window(NamedTuple):
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def augment(
    image: np.ndarray, label: np.ndarray, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One random view of a picture.

    Args:
        image: uint8 (H, W, 3), RGB.
        label: uint8 (H, W); 255 is no class.
        augmentation: what may happen to it.
        rng: decides what does.

    Returns:
        Picture and labels of the same types, of at most the augmentation's crop size: a picture smaller than the
        crop is not padded yet.
    """
    size = scaled_size(label.shape, augmentation.scale, rng.uniform(*augmentation.ratio_range))
    window = choose_window(label, size, augmentation.crop_size or size, augmentation.cat_max_ratio, rng)
    image = resize_bilinear(image, size, window.slices)
    label = view(label, size, window)
    if rng.random() < augmentation.flip:
        image, label = image[:, ::-1], label[:, ::-1]
    if augmentation.photometric:
        image = distort_colours(image, rng)
    return image, label


def scaled_size(size: Sequence[int], scale: tuple[int, int] | None, ratio: float) -> tuple[int, int]:
    """(height, width) of a picture of (height, width) ``size`` once it is fitted into ``ratio`` times ``scale``.

    ``scale`` holds two lengths: the long side becomes at most the larger, the short side at most the smaller. None
    stands for the picture's own size.
    """
    height, width = size
    factor = ratio
    if scale is not None:
        # The bounds are whole pixels before the picture is fitted into them, as the published pipeline has it.
        bounds = sorted(int(side * ratio) for side in scale)
        factor = min(bounds[1] / max(size), bounds[0] / min(size))
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


def choose_window(
    label: np.ndarray,
    size: tuple[int, int],
    crop_size: tuple[int, int],
    cat_max_ratio: float,
    rng: np.random.Generator,
) -> Window:
    """Where the crop lies in the picture resized to ``size``.

    A window whose largest class covers ``cat_max_ratio`` of its labelled pixels or more, or that shows a single
    class, is drawn anew, up to ten times; the last one is taken as it is.
    """
    height, width = (min(pair) for pair in zip(size, crop_size, strict=True))

    def draw() -> Window:
        top, left = rng.integers(size[0] - height + 1), rng.integers(size[1] - width + 1)
        return Window(int(top), int(left), height, width)

    window = draw()
    if cat_max_ratio >= 1:
        return window
    for _ in range(CROP_TRIES):
        counts = np.bincount(view(label, size, window).ravel(), minlength=IGNORE + 1)[:IGNORE]
        if np.count_nonzero(counts) > 1 and counts.max() < cat_max_ratio * counts.sum():
            break
        window = draw()
    return window


def view(label: np.ndarray, size: tuple[int, int], window: Window) -> np.ndarray:
    """What ``window`` shows of ``label`` (H, W) resized to ``size`` by its nearest neighbours."""
    rows, columns = (
        (np.arange(start, start + length) * (before / after)).astype(np.int64).clip(max=before - 1)
        for start, length, before, after in zip(window[:2], window[2:], label.shape, size, strict=True)
    )
    return label[rows][:, columns]


def distort_colours(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other brightness, contrast, saturation and hue, each in every second picture.

    Args:
        image: uint8 (H, W, 3), RGB.

    Returns:
        The same type and shape. Values are cut off at 0 and 255 after each step. Contrast comes before or after
        saturation and hue, by chance.
    """
    brightness = rng.uniform(-BRIGHTNESS, BRIGHTNESS) if rng.random() < 0.5 else 0.0
    contrast = rng.uniform(*CONTRAST) if rng.random() < 0.5 else 1.0
    contrast_first = rng.random() < 0.5
    saturation = rng.uniform(*SATURATION) if rng.random() < 0.5 else 1.0
    hue = rng.uniform(-HUE, HUE) if rng.random() < 0.5 else 0.0
    levels = np.arange(256, dtype=np.float32)
    image = _mapped(image, levels + brightness)
    if contrast_first:
        image = _mapped(image, levels * contrast)
    image = _tinted(image, saturation, hue)
    return image if contrast_first else _mapped(image, levels * contrast)


def _mapped(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Each uint8 value replaced by its entry of ``levels`` (256), cut off at 0 and 255."""
    table = levels.clip(0, 255).astype(np.uint8)
    return values if np.array_equal(table, np.arange(256)) else table[values]


def _tinted(image: np.ndarray, saturation: float, hue: float) -> np.ndarray:
    """Saturation times a factor and hue turned by degrees, in 8-bit HSV."""
    if saturation == 1 and hue == 0:
        return image
    levels = np.arange(256, dtype=np.float32)
    hsv = np.array(Image.fromarray(np.ascontiguousarray(image)).convert("HSV"))
    hsv[..., 0] += np.uint8(round(hue / 360 * 256) % 256)  # hue is a circle of 256 steps: it wraps as uint8 does
    hsv[..., 1] = _mapped(hsv[..., 1], levels * saturation)
    return np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))


def network_input(
    image: np.ndarray,
    label: np.ndarray,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
) -> tuple[np.ndarray, np.ndarray]:
    """Normalise a picture, and pad it and its labels to ``size`` at the bottom and to the right.

    Returns:
        float32 (3, height, width), padded with 0 after the normalisation, and uint8 (height, width), padded with
        255.
    """
    height, width = label.shape
    pixels = np.zeros((3, *size), np.float32)
    for channel in range(3):
        # A table of 256 quotients: the same values as the division of every pixel, at less cost.
        table = (np.arange(256, dtype=np.float32) - np.float32(mean[channel])) / np.float32(std[channel])
        pixels[channel, :height, :width] = table[image[..., channel]]
    labels = np.full(size, IGNORE, np.uint8)
    labels[:height, :width] = label
    return pixels, labels
