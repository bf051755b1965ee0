"""The data sets of the index: classes, colours, folders, labels and where they are obtained."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from segzoo.errors import UnknownNameError

__all__ = ["Dataset", "LabelForm", "Layout", "SplitPart", "dataset", "datasets", "index_directory"]


@dataclass(frozen=True)
class SplitPart:
    """Folders of pictures and label maps, relative to the data set's own.

    ``names``: the file that lists the pictures, one name without suffix a line; without it, every picture counts.
    """

    images: str
    labels: str
    names: str | None = None


@dataclass(frozen=True)
class LabelForm:
    """A way in which a data set's label maps are published.

    A label map is named as its picture with ``suffix`` instead of the picture's. ``values`` translates what the file
    holds into class numbers; without it, the file holds class numbers.
    """

    suffix: str
    values: Mapping[int, int] | None = None


@dataclass(frozen=True)
class Layout:
    """Where a data set's files lie, once they have been prepared as its models' publishers did.

    ``folder`` is the data set's customary place under a folder of data sets. ``splits``: parts of each split.
    ``labels``: the forms that label maps may have, the first that is there counts.
    """

    folder: str
    image_suffix: str
    labels: tuple[LabelForm, ...]
    splits: Mapping[str, tuple[SplitPart, ...]]


@dataclass(frozen=True)
class Dataset:
    """A data set: names, colours, where its files lie and where they come from.

    ``palette``: one (red, green, blue), 0 to 255, per class. ``reduce_zero_label``: 0 in a label map is no class, and
    1 is the first. ``source``: the address it is obtained from; ``preparation``: what has to be done to the files.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    licence: str
    source: str
    layout: Layout
    reduce_zero_label: bool = False
    preparation: str | None = None


def index_directory() -> Path:
    """Where the YAML files are: inside an installed package, or beside ``segzoo/`` in a checkout."""
    package = Path(__file__).resolve().parent
    for directory in (package / "model_index", package.parent / "model_index"):
        if (directory / "datasets.yaml").is_file():
            return directory
    raise FileNotFoundError(f"model_index/ is neither in {package} nor beside it; reinstall segzoo")


@functools.cache
def datasets() -> Mapping[str, Dataset]:
    """Every data set of ``datasets.yaml`` by its key."""
    from segzoo.index_schema import read_datasets

    return read_datasets(index_directory() / "datasets.yaml")


def dataset(name: str) -> Dataset:
    """The data set with that key (``cityscapes``, ``ade20k`` ...).

    Raises:
        UnknownNameError: there is none; the message lists all keys.
    """
    known = datasets()
    if name not in known:
        raise UnknownNameError(f"no data set is named {name!r}; there are {', '.join(known)}")
    return known[name]
