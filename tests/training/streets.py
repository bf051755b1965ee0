"""A folder of a few small pictures to train on: bright squares (1) on a dark ground (0) below a rim that is ignored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from segzoo.datasets.base import Sample
from segzoo.recipe import Augmentation, HeadLoss, Losses, LossTerm, OptimizerSpec, Recipe, ScheduleSpec

__all__ = ["CROP", "NAME", "InArrays", "recipe", "sample", "write_folder"]

NAME = "fast_scnn_drawn_streets"
CROP = (64, 64)


def sample(number: int, size: tuple[int, int] = (72, 80)) -> Sample:
    """One picture with its labels; the number decides all of it."""
    rng = np.random.default_rng(number)
    label = np.zeros(size, np.uint8)
    top, left = rng.integers(8, size[0] - 32), rng.integers(0, size[1] - 32)
    label[top : top + 32, left : left + 32] = 1
    image = (label[..., None] * 120 + rng.integers(20, 100, (*size, 3))).astype(np.uint8)
    label[:4] = 255
    return Sample(image, label, f"picture{number}")


class InArrays:
    """Pictures 0 to ``count`` - 1 as a data set."""

    name = "folder"
    classes = ("ground", "square")
    palette = ((0, 0, 0), (255, 0, 0))

    def __init__(self, count: int) -> None:
        self.count = count

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"picture{number}" for number in range(self.count))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Sample:
        return sample(index)


def write_folder(root: Path, *, train: int = 5, val: int = 2) -> Path:
    """The same pictures as a folder of one's own."""
    for split, numbers in (("train", range(train)), ("val", range(100, 100 + val))):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for number in numbers:
            made = sample(number)
            Image.fromarray(made.image).save(root / "images" / split / f"{made.name}.png")
            Image.fromarray(made.label).save(root / "labels" / split / f"{made.name}.png")
    (root / "classes.txt").write_text("ground\nsquare\n")
    return root


def recipe(iterations: int = 6, batch_size: int = 2, lr: float = 0.01, ema: float | None = None) -> Recipe:
    """A short recipe of plain cross-entropies."""
    return Recipe(
        iterations=iterations,
        batch_size=batch_size,
        optimizer=OptimizerSpec(lr=lr),
        schedule=ScheduleSpec(min_lr=0.0),
        augmentation=Augmentation(ratio_range=(0.8, 1.25), crop_size=CROP),
        losses=Losses(auxiliary=(HeadLoss((LossTerm(weight=0.4),)),)),
        ema=ema,
    )
