"""Drawn streets: a data set of any size, made by a program, with exact labels and nothing to download.

Every picture is a street in perspective under one of five kinds of light, with houses, shops, parks, walls, lamps,
signs, traffic lights, cars, buses, bicycles and people, drawn three times as finely as it is delivered. The label
map is drawn with the same strokes, so it is exact: the class at the centre of every pixel. A seed decides the whole
scene; the size decides only how finely it is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from segzoo.datasets.streets.develop import develop
from segzoo.datasets.streets.dice import Dice
from segzoo.datasets.streets.labels import Label
from segzoo.datasets.streets.scene import draw_scene
from segzoo.errors import OptionError

__all__ = ["CLASSES", "draw", "sample_paths", "seeds", "write"]

CLASSES: tuple[str, ...] = tuple(label.title for label in Label)
SMALLEST, LARGEST = 32, 4096
SEEDS_PER_SPLIT = 1_000_000
SPLITS = ("train", "val")


def draw(seed: int, size: tuple[int, int] = (256, 512)) -> tuple[np.ndarray, np.ndarray]:
    """Draw one street.

    Args:
        seed: decides everything that is in the picture; 0 or more.
        size: (height, width) in pixels, each from 32 to 4096.

    Returns:
        The picture, uint8 (height, width, 3) in RGB order, and its labels, uint8 (height, width), whose values
        are indices into `CLASSES`.

    Raises:
        OptionError: a seed below 0 or a size that cannot be drawn.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise OptionError(f"seed={seed!r}: give a whole number from 0 to 2**63 - 1")
    size = checked_size(size)
    dice = Dice(seed)
    canvas, light = draw_scene(dice, size)
    labels = canvas.label_map()
    return develop(canvas, labels, light, dice), labels


def checked_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size if it can be drawn.

    Raises:
        OptionError: it is not two whole numbers from 32 to 4096.
    """
    problem = f"size={size!r}: give (height, width), two whole numbers from {SMALLEST} to {LARGEST}"
    try:
        height, width = size
    except (TypeError, ValueError):
        raise OptionError(problem) from None
    for side in (height, width):
        if isinstance(side, bool) or not isinstance(side, int) or not SMALLEST <= side <= LARGEST:
            raise OptionError(problem)
    return height, width


def seeds(split: str, count: int, seed: int = 0) -> range:
    """The seeds of the pictures of a split; those of two splits, or of two values of `seed`, never meet.

    Args:
        split: 'train' or 'val'.
        count: number of pictures, up to a million.
        seed: number of the data set.

    Raises:
        OptionError: an unknown split, or a count or seed out of range.
    """
    if split not in SPLITS:
        raise OptionError(f"split={split!r}: there are {' and '.join(map(repr, SPLITS))}")
    if not 0 <= count <= SEEDS_PER_SPLIT:
        raise OptionError(f"{split}={count}: a split has from 0 to {SEEDS_PER_SPLIT} pictures")
    if seed < 0:
        raise OptionError(f"seed={seed}: give 0 or more")
    first = (seed * len(SPLITS) + SPLITS.index(split)) * SEEDS_PER_SPLIT
    return range(first, first + count)


def sample_paths(root: Path, split: str, seed: int) -> tuple[Path, Path]:
    """Where a picture and its label map lie in the Cityscapes folder layout."""
    city, stem = f"drawn{seed // SEEDS_PER_SPLIT:03d}", f"{seed % SEEDS_PER_SPLIT:06d}_000000"
    picture = root / "leftImg8bit" / split / city / f"{city}_{stem}_leftImg8bit.png"
    return picture, root / "gtFine" / split / city / f"{city}_{stem}_gtFine_labelTrainIds.png"


def write(
    root: str | Path,
    *,
    train: int = 500,
    val: int = 100,
    size: tuple[int, int] = (256, 512),
    seed: int = 0,
) -> Iterator[Path]:
    """Draw a data set into `root`, in the Cityscapes folder layout, and yield each picture's path once it is there.

    Pictures go to ``leftImg8bit/{train,val}/<city>/*_leftImg8bit.png``, label maps to
    ``gtFine/{train,val}/<city>/*_gtFine_labelTrainIds.png``. Equal arguments give equal files. A picture's label
    map is written first and each file is renamed into place when complete, so what lies there is whole; pictures
    that are there already are not drawn again.

    Args:
        root: folder; made if it is not there.
        train, val: number of pictures of each split.
        size: (height, width) in pixels.
        seed: number of the data set; another number gives other streets.

    Raises:
        OptionError: at once, if an argument cannot be used; or a picture of another size is in the way.
        OSError: the folder cannot be written.
    """
    size = checked_size(size)
    wanted = [
        (split, number)
        for split, count in zip(SPLITS, (train, val), strict=True)
        for number in seeds(split, count, seed)
    ]
    return written(Path(root), wanted, size)


def written(root: Path, wanted: list[tuple[str, int]], size: tuple[int, int]) -> Iterator[Path]:
    """Draw and save the wanted (split, seed) pairs one after another."""
    for split, number in wanted:
        picture_path, label_path = sample_paths(root, split, number)
        if picture_path.exists() and label_path.exists():
            refuse_other_size(picture_path, size)
        else:
            picture, labels = draw(number, size)
            save(labels, label_path)
            save(picture, picture_path)
        yield picture_path


def refuse_other_size(path: Path, size: tuple[int, int]) -> None:
    """Raise OptionError if the picture at `path` is not of (height, width) `size`."""
    with Image.open(path) as image:
        if image.size != (size[1], size[0]):
            raise OptionError(
                f"{path} is {image.width}x{image.height}, not {size[1]}x{size[0]}; "
                "draw into another folder or remove this one"
            )


def save(array: np.ndarray, path: Path) -> None:
    """Write a PNG whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    Image.fromarray(array).save(part, format="PNG", compress_level=3)
    part.replace(path)
