"""Small made data sets, in the folders of any data set of the index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from segzoo.index import dataset

__all__ = ["make", "make_folder", "picture"]


def picture(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Noise, uint8 (H, W, 3)."""
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8)


def make(
    root: Path, name: str, *, split: str = "val", count: int = 3, size: tuple[int, int] = (24, 40), form: int = 0
) -> dict[str, np.ndarray]:
    """Write a split of a data set into its customary place below ``root``, and return the classes of each picture.

    Classes are spread over the picture at random, with 255 among them. ``form``: which form the label maps have.
    """
    data = dataset(name)
    layout = data.layout
    place = root / layout.folder
    rng = np.random.default_rng(len(name))
    written = {}
    for number, part in enumerate(layout.splits[split]):
        names = [f"{number}{letter}_{letter * 3}" for letter in "abcdefgh"[:count]]
        if name in ("cityscapes", "drawn_streets"):
            names = [f"town/{each}" for each in names]
        for each in names:
            labels = rng.integers(0, len(data.classes), size, dtype=np.uint8)
            labels[:2] = 255
            suffix = layout.labels[form].suffix
            save(place / part.images / (each + layout.image_suffix), picture(rng, size))
            save(place / part.labels / (each + suffix), as_written(labels, data.reduce_zero_label, name, form))
            written[each] = labels
        if part.names is not None:
            (place / part.names).parent.mkdir(parents=True, exist_ok=True)
            (place / part.names).write_text("".join(f"{each}\n" for each in names))
    if layout.labels[form].values and 255 in layout.labels[form].values:
        return {each: np.where(labels == 255, 1, labels) for each, labels in written.items()}  # vessels, as 255
    return written


def as_written(labels: np.ndarray, reduce_zero_label: bool, name: str, form: int) -> np.ndarray:
    """What a label file holds for these classes."""
    if reduce_zero_label:
        return np.where(labels == 255, 0, labels + 1).astype(np.uint8)
    values = dataset(name).layout.labels[form].values
    if values is None or 255 in values:
        return labels
    number_of = {label: number for number, label in values.items()}
    return np.vectorize(number_of.__getitem__)(labels).astype(np.uint8)


def make_folder(
    root: Path, classes: tuple[str, ...], *, split: str | None = "val", count: int = 3, size: tuple[int, int] = (24, 40)
) -> dict[str, np.ndarray]:
    """Write a folder of one's own, and return the classes of each picture."""
    rng = np.random.default_rng(count)
    written = {}
    for each in "abcdefgh"[:count]:
        labels = rng.integers(0, len(classes), size, dtype=np.uint8)
        labels[:, 0] = 255
        save(root / "images" / (split or "") / f"{each}.png", picture(rng, size))
        save(root / "labels" / (split or "") / f"{each}.png", labels)
        written[each] = labels
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    return written


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
