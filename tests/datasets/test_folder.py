"""A folder of one's own pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segzoo.datasets.base import open_dataset
from segzoo.errors import DatasetError
from tests.datasets.made import make_folder, picture, save

CLASSES = ("road", "sky", "a tree, or two")


def test_splits_in_folders(tmp_path: Path) -> None:
    classes = make_folder(tmp_path, CLASSES[:2], split="val")
    make_folder(tmp_path, CLASSES[:2], split="train", count=2)
    data = open_dataset("folder", tmp_path, "val")
    assert (data.name, data.classes, data.names) == ("folder", CLASSES[:2], ("a", "b", "c"))
    np.testing.assert_array_equal(data[1].label, classes["b"])
    assert len(open_dataset("folder", tmp_path, "train")) == 2
    assert open_dataset("folder", tmp_path, "all").names == ("train/a", "train/b", "val/a", "val/b", "val/c")
    with pytest.raises(DatasetError, match=r"has no split 'test'; there is 'train', 'val', 'all'"):
        open_dataset("folder", tmp_path, "test")


def test_splits_in_lists(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES[:2], split=None)
    (tmp_path / "val.txt").write_text("c\na\n")
    assert open_dataset("folder", tmp_path, "val").names == ("c", "a")
    assert open_dataset("folder", tmp_path, "all").names == ("a", "b", "c")
    with pytest.raises(DatasetError, match=r"has no split 'train'; there is 'val', 'all'"):
        open_dataset("folder", tmp_path, "train")
    (tmp_path / "val.txt").write_text("c\nd\n")
    with pytest.raises(DatasetError, match=r"1 of 2 names have no picture in .*images, first d"):
        open_dataset("folder", tmp_path, "val")


def test_pictures_and_label_maps_of_other_kinds(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES[:2], split=None, count=1)
    rng = np.random.default_rng(0)
    save(tmp_path / "images/deep/er.JPG", picture(rng, (8, 8)))
    save(tmp_path / "labels/deep/er.tif", np.ones((8, 8), np.uint8))
    data = open_dataset("folder", tmp_path, "all")
    assert data.names == ("a", "deep/er")
    assert data[1].label.min() == 1
    save(tmp_path / "images/a.jpg", picture(rng, (8, 8)))
    with pytest.raises(DatasetError, match=r"holds both a.jpg and a.png"):
        open_dataset("folder", tmp_path, "all")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"there is no folder .*images. A data set of one's own is a folder with"):
        open_dataset("folder", tmp_path, "all")
    make_folder(tmp_path, CLASSES[:2], split=None)
    (tmp_path / "labels/b.png").unlink()
    with pytest.raises(DatasetError, match=r"1 of 3 names have no label map in .*labels, first b"):
        open_dataset("folder", tmp_path, "all")
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(DatasetError, match=r"neither .*classes.txt nor classes.csv"):
        open_dataset("folder", tmp_path, "all")


def test_a_number_without_a_class(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES[:2], split=None)
    save(tmp_path / "labels/a.png", np.full((24, 40), 2, np.uint8))
    with pytest.raises(DatasetError, match=r"a.png holds 2; expected 0 to 1, 255\. A data set of one's own"):
        open_dataset("folder", tmp_path, "all")[0]


@pytest.mark.parametrize(
    ("text", "names", "palette"),
    [
        ("road\nsky\n", ("road", "sky"), None),
        ("road,#804080\nsky,#4682B4\n", ("road", "sky"), ((128, 64, 128), (70, 130, 180))),
        ('name,r,g,b\nroad,128,64,128\n"tree, tall",0,0,7\n', ("road", "tree, tall"), ((128, 64, 128), (0, 0, 7))),
        ("\ufeffname,colour\n\nroad , #000001\n", ("road",), ((0, 0, 1),)),
    ],
)
def test_classes(tmp_path: Path, text: str, names: tuple[str, ...], palette: object) -> None:
    make_folder(tmp_path, ("x",), split=None, count=1)
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "classes.csv").write_text(text, encoding="utf-8")
    data = open_dataset("folder", tmp_path, "all")
    assert data.classes == names
    assert len(set(data.palette)) == len(names)
    if palette is not None:
        assert data.palette == palette


@pytest.mark.parametrize("text", ["", "road\nroad\n", "road,300,0,0\n", "road,red\n", ",#000000\n"])
def test_classes_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    make_folder(tmp_path, ("x",), split=None, count=1)
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DatasetError, match=r"classes\.txt"):
        open_dataset("folder", tmp_path, "all")
