"""The data sets of the index in the folders that their models' publishers prepared them in.

One reader, since the data sets differ in folders, suffixes and numbers alone, which are data. torchvision reads two of
them from the same files, `VOCSegmentation` (without the augmented training set) and `Cityscapes` (label ids alone); the
tests hold this reader to both. It has none for the others, and is not among segzoo's dependencies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from segzoo.datasets.files import FileData, LabelTable, Pair
from segzoo.datasets.labels import label_table
from segzoo.errors import DatasetError
from segzoo.index import Dataset, SplitPart

__all__ = ["obtained", "open_layout", "read_names", "relative_files"]


def open_layout(data: Dataset, root: Path, split: str) -> FileData:
    """A split of a data set of the index; see :func:`segzoo.datasets.base.open_dataset`."""
    layout = data.layout
    if split not in layout.splits:
        raise DatasetError(f"{data.title} has no split {split!r}; there are {', '.join(layout.splits)}")
    parts = layout.splits[split]
    place = _place(data, root, parts[0])
    pairs = [pair for part in parts for pair in _pairs(data, place, part)]
    if not pairs:
        folder = place / parts[0].images
        raise DatasetError(f"{data.title}: no *{layout.image_suffix} in {folder}. {obtained(data)}")
    tables = [
        LabelTable(
            form.suffix,
            label_table(len(data.classes), reduce_zero_label=data.reduce_zero_label, values=form.values),
        )
        for form in layout.labels
    ]
    return FileData(data.name, data.classes, data.palette, pairs, tables, obtained(data))


def obtained(data: Dataset) -> str:
    """One sentence: where a data set comes from, and what shows its folders."""
    return f"{data.title} is obtained from {data.source}; `segzoo datasets {data.name}` shows its folders"


def _place(data: Dataset, root: Path, part: SplitPart) -> Path:
    """The data set's folder: ``root``, or its customary place below."""
    candidates = (root, root / data.layout.folder)
    for candidate in candidates:
        if (candidate / part.images).is_dir():
            return candidate
    places = " nor in ".join(map(str, candidates))
    raise DatasetError(f"{data.title}: there is no folder {part.images} in {places}. {obtained(data)}")


def _pairs(data: Dataset, place: Path, part: SplitPart) -> Iterator[Pair]:
    suffix = data.layout.image_suffix
    images, labels = place / part.images, place / part.labels
    if not labels.is_dir():
        raise DatasetError(f"{data.title}: there is no folder {labels}. {obtained(data)}")
    here = relative_files(images)
    if part.names is None:
        names = sorted(name.removesuffix(suffix) for name in here if name.endswith(suffix))
    else:
        names = read_names(place / part.names, obtained(data))
        missing = [name for name in names if name + suffix not in here]
        if missing:
            lacking = f"{len(missing)} of the {len(names)} pictures that {place / part.names} lists"
            raise DatasetError(f"{data.title}: {lacking} are missing, first {images / (missing[0] + suffix)}")
    maps = relative_files(labels)
    forms = data.layout.labels
    unlabelled = []
    for name in names:
        form = next((number for number, form in enumerate(forms) if name + form.suffix in maps), None)
        if form is None:
            unlabelled.append(name)
        else:
            yield Pair(name, images / (name + suffix), labels / (name + forms[form].suffix), form)
    if unlabelled:
        expected = " or ".join(unlabelled[0] + form.suffix for form in forms)
        raise DatasetError(
            f"{data.title}: {len(unlabelled)} of {len(names)} pictures have no label map, first {expected} "
            f"in {labels}. {obtained(data)}"
        )


def relative_files(folder: Path) -> set[str]:
    """Paths of all files below a folder, with slashes, relative to it; hidden files are left out, links followed."""
    found = set()
    for directory, _, files in os.walk(folder, followlinks=True):
        prefix = Path(directory).relative_to(folder).as_posix()
        found |= {name if prefix == "." else f"{prefix}/{name}" for name in files if not name.startswith(".")}
    return found


def read_names(path: Path, hint: str) -> list[str]:
    """The names that a list holds, one a line, each once.

    Raises:
        DatasetError: the list is missing, empty, or holds a name twice.
    """
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise DatasetError(f"there is no list {path}. {hint}") from None
    if not names:
        raise DatasetError(f"the list {path} is empty. {hint}")
    if len(set(names)) < len(names):
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise DatasetError(f"the list {path} holds {twice} twice")
    return names
