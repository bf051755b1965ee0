"""A folder of one's own pictures and label maps, with a file that names the classes."""

from __future__ import annotations

import colorsys
import csv
import re
from pathlib import Path

from segzoo.datasets.base import FOLDER
from segzoo.datasets.files import FileData, LabelTable, Pair
from segzoo.datasets.labels import label_table
from segzoo.datasets.layouts import read_names, relative_files
from segzoo.errors import DatasetError

__all__ = ["open_folder", "read_classes"]

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_LABELS = (".png", ".tif", ".tiff", ".bmp")
_ALL = "all"
_LAYOUT = (
    "A data set of one's own is a folder with images/, labels/ (one channel; class numbers from 0, 255 does not count; "
    "named as the picture) and classes.txt or classes.csv (one name a line); splits are folders images/train and "
    "labels/train, or lists train.txt of names without suffix"
)


def open_folder(root: Path, split: str = _ALL) -> FileData:
    """A split of a folder of pictures and label maps.

    Pictures lie in ``images/SPLIT`` and label maps in ``labels/SPLIT``; or in ``images`` and ``labels``, and the file
    ``SPLIT.txt`` lists the split's pictures, one name without suffix a line; or there are no splits, and the only
    one is ``'all'``. A label map is named as its picture and holds class numbers; 255 does not count. ``classes.txt``
    or ``classes.csv`` names the classes; see :func:`read_classes`.

    Raises:
        DatasetError: a folder, list or label map is missing; the message says which was expected.
    """
    images, labels = root / "images", root / "labels"
    for folder in (images, labels):
        if not folder.is_dir():
            raise DatasetError(f"there is no folder {folder}. {_LAYOUT}")
    classes, palette = read_classes(root)
    names: list[str] | None = None
    if (images / split).is_dir():
        images, labels = images / split, labels / split
    elif (root / f"{split}.txt").is_file():
        names = read_names(root / f"{split}.txt", _LAYOUT)
    elif split != _ALL:
        found = sorted({path.name for path in images.iterdir() if path.is_dir()})
        lists = sorted(path.stem for path in root.glob("*.txt") if path.stem != "classes")
        known = ", ".join(map(repr, (*found, *lists, _ALL)))
        raise DatasetError(f"{root} has no split {split!r}; there is {known}. {_LAYOUT}")
    table = LabelTable(".png", label_table(len(classes)))
    return FileData(FOLDER, classes, palette, _pairs(images, labels, names), [table], _LAYOUT)


def _pairs(images: Path, labels: Path, names: list[str] | None) -> list[Pair]:
    pictures = _by_name(images, _IMAGES)
    maps = _by_name(labels, _LABELS) if labels.is_dir() else {}
    chosen = sorted(pictures) if names is None else names
    if not chosen:
        raise DatasetError(f"no pictures ({', '.join(_IMAGES)}) in {images}. {_LAYOUT}")
    for what, folder, found in (("picture", images, pictures), ("label map", labels, maps)):
        missing = [name for name in chosen if name not in found]
        if missing:
            raise DatasetError(f"{len(missing)} of {len(chosen)} names have no {what} in {folder}, first {missing[0]}")
    return [Pair(name, images / pictures[name], labels / maps[name]) for name in chosen]


def _by_name(folder: Path, suffixes: tuple[str, ...]) -> dict[str, str]:
    """Files of some kinds by their path without suffix."""
    found: dict[str, str] = {}
    for file in sorted(relative_files(folder)):
        stem, dot, suffix = file.rpartition(".")
        if (dot + suffix).lower() in suffixes:
            if stem in found:
                raise DatasetError(f"{folder} holds both {found[stem]} and {file}: a name must be unique")
            found[stem] = file
    return found


def read_classes(root: Path) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """Names and colours from ``classes.txt`` or ``classes.csv``, in the order of the class numbers.

    A line is a name, or a name and its colour: ``road,#804080`` or ``road,128,64,128``; a first line ``name,...`` is
    taken for a heading. Where no line has a colour, colours are spread evenly.

    Raises:
        DatasetError: no such file, no names, a name twice, more than 255 classes, or a colour that is none.
    """
    path = next((p for p in (root / "classes.txt", root / "classes.csv") if p.is_file()), None)
    if path is None:
        raise DatasetError(f"there is neither {root / 'classes.txt'} nor classes.csv. {_LAYOUT}")
    rows = [[cell.strip() for cell in row] for row in csv.reader(path.read_text(encoding="utf-8-sig").splitlines())]
    rows = [row for row in rows if any(row)]
    if rows and rows[0][0].lower() == "name" and len(rows[0]) > 1:
        del rows[0]
    names = tuple(row[0] for row in rows)
    if not names or not all(names) or len(set(names)) < len(names) or len(names) > 255:
        raise DatasetError(f"{path} must hold from 1 to 255 names, each once; it has {len(names)} lines")
    colours = [_colour(row[1:], path) for row in rows]
    hues = (colorsys.hsv_to_rgb((i * 0.618034) % 1.0, 0.65, 0.9) for i in range(len(names)))
    spread = [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in hues]
    return names, tuple(own or other for own, other in zip(colours, spread, strict=True))


def _colour(cells: list[str], path: Path) -> tuple[int, int, int] | None:
    text = ",".join(cells).rstrip(",")
    if not text:
        return None
    if match := re.fullmatch(r"#([0-9a-fA-F]{6})", text):
        return int(match[1][:2], 16), int(match[1][2:4], 16), int(match[1][4:], 16)
    if (match := re.fullmatch(r"(\d{1,3}),(\d{1,3}),(\d{1,3})", text)) and all(
        int(part) <= 255 for part in match.groups()
    ):
        return int(match[1]), int(match[2]), int(match[3])
    raise DatasetError(f"{path}: {text!r} is no colour such as #804080 or 128,64,128")
