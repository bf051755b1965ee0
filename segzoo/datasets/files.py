"""Reading a picture and its label map from their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segzoo.datasets.base import Sample
from segzoo.datasets.labels import map_labels
from segzoo.errors import DatasetError
from segzoo.inference.image import read_image

__all__ = ["FileData", "LabelTable", "Pair", "read_label"]

_ONE_CHANNEL = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True, eq=False)
class LabelTable:
    """What the numbers of one kind of label files mean: a suffix and a table of `label_table`."""

    suffix: str
    table: np.ndarray


@dataclass(frozen=True)
class Pair:
    """The files of a sample. ``form``: which of the data set's label tables reads the label map."""

    name: str
    image: Path
    label: Path
    form: int = 0


class FileData:
    """A split of a data set whose pictures and label maps are files: a :class:`~segzoo.datasets.base.SegmentationData`.

    Args:
        name, classes, palette: as of ``SegmentationData``.
        pairs: the files, in order.
        tables: what the numbers in the label files mean, by the pairs' ``form``.
        obtained: where the data set is obtained and how it is prepared; ends the message about a wrong file.
    """

    def __init__(
        self,
        name: str,
        classes: tuple[str, ...],
        palette: tuple[tuple[int, int, int], ...],
        pairs: Sequence[Pair],
        tables: Sequence[LabelTable],
        obtained: str,
    ) -> None:
        self.name = name
        self.classes = classes
        self.palette = palette
        self.pairs = tuple(pairs)
        self.tables = tuple(tables)
        self.obtained = obtained

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every sample, in their order."""
        return tuple(pair.name for pair in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int, /) -> Sample:
        """Read a sample.

        Raises:
            IndexError: there are not so many.
            ImageError: the picture cannot be read.
            DatasetError: the label map cannot be read, holds a number that is no class, or has another size.
        """
        pair = self.pairs[index]
        image = read_image(pair.image)
        label = self._mapped(read_label(pair.label), pair)
        if label.shape != image.shape[:2]:
            raise DatasetError(
                f"{pair.label} is {label.shape[1]}x{label.shape[0]}, but its picture {pair.image} is "
                f"{image.shape[1]}x{image.shape[0]}"
            )
        return Sample(image, label, pair.name)

    def _mapped(self, raw: np.ndarray, pair: Pair) -> np.ndarray:
        try:
            return map_labels(raw, self.tables[pair.form].table)
        except DatasetError as error:
            raise DatasetError(f"{pair.label} {error}{self._confusion(raw, pair)}. {self.obtained}") from None

    def _confusion(self, raw: np.ndarray, pair: Pair) -> str:
        """Says that a file holds the numbers of another form of the data set's label maps, if it does."""
        for number, form in enumerate(self.tables):
            if number != pair.form:
                try:
                    map_labels(raw, form.table)
                except DatasetError:
                    continue
                return f"; these are the numbers of a *{form.suffix} file, but it is named as *{self._suffix(pair)}"
        return ""

    def _suffix(self, pair: Pair) -> str:
        return self.tables[pair.form].suffix


def read_label(path: Path) -> np.ndarray:
    """The numbers in a label file, an integer array (H, W); of a palette picture the indices, not the colours.

    Raises:
        DatasetError: it is missing, no picture, damaged, or has several channels.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode not in _ONE_CHANNEL:
                raise DatasetError(
                    f"{path} is a colour picture (mode {picture.mode}); expected one channel of class numbers"
                )
            numbers = np.asarray(picture)
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such label map") from None
    except DatasetError:
        raise
    except Exception as error:  # Pillow's plugins raise many kinds on a damaged file
        raise DatasetError(f"{path} cannot be read as a label map: {error}") from None
    return numbers.astype(np.uint8) if numbers.dtype == bool else numbers
