"""Pictures with their label maps, from any data set of the index or from a folder of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

__all__ = ["FOLDER", "IGNORE", "Sample", "SegmentationData", "open_dataset"]

IGNORE = 255
FOLDER = "folder"


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture and its label map.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        label: uint8 (H, W); index of the class of each pixel, 255 where none counts.
        name: the picture's path below its folder, without suffix; unique in its split.
    """

    image: np.ndarray
    label: np.ndarray
    name: str


class SegmentationData(Protocol):
    """A split of a data set. Samples are read when they are asked for; reading is safe from several threads."""

    @property
    def name(self) -> str:
        """The data set's key, or ``'folder'``."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """(red, green, blue) of each class, 0 to 255."""

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every sample, in their order; reads nothing."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...


def open_dataset(name: str, root: str | Path | None = None, split: str = "val") -> SegmentationData:
    """A split of a data set, its files listed and each picture's label map found; pictures are read later.

    Args:
        name: key of a data set (``segzoo datasets`` lists them), or ``'folder'`` for pictures of one's own:
            see :func:`segzoo.datasets.folder.open_folder`.
        root: the data set's folder, or a folder that holds it under its customary name (``data`` for
            ``data/cityscapes``). Default: ``data``.
        split: ``'train'`` or ``'val'``; of a folder of one's own, any that it has, or ``'all'``.

    Raises:
        UnknownNameError: there is no such data set; the message lists all keys.
        DatasetError: folder, split, list or label map is missing; the message says which was expected, and where the
            data set is obtained.
    """
    from segzoo.datasets.folder import open_folder
    from segzoo.datasets.layouts import open_layout
    from segzoo.index import dataset

    place = Path("data") if root is None else Path(root)
    return open_folder(place, split) if name == FOLDER else open_layout(dataset(name), place, split)
