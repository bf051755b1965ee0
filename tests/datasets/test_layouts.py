"""Data sets in their published folders, and what is said when a file is not as it should be."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segzoo.cli import main
from segzoo.datasets.base import open_dataset
from segzoo.datasets.drawn_streets import write
from segzoo.errors import DatasetError, ImageError, UnknownNameError
from segzoo.index import Dataset, dataset, datasets
from tests.datasets.made import make, save

ROWS = [(name, split) for name, data in datasets().items() for split in data.layout.splits]


@pytest.mark.parametrize(("name", "split"), ROWS)
def test_every_data_set_is_read_from_its_published_folders(name: str, split: str, tmp_path: Path) -> None:
    classes = make(tmp_path, name, split=split)
    data = open_dataset(name, tmp_path, split)
    assert data.names == tuple(classes)
    assert len(data) == 3 * len(dataset(name).layout.splits[split])
    assert (data.name, data.classes, data.palette) == (name, dataset(name).classes, dataset(name).palette)
    for number, each in enumerate(data.names):
        sample = data[number]
        assert (sample.name, sample.image.shape, sample.image.dtype) == (each, (24, 40, 3), np.uint8)
        assert sample.label.dtype == np.uint8
        np.testing.assert_array_equal(sample.label, classes[each])
    with pytest.raises(IndexError):
        data[len(data)]


# As published: mmsegmentation 0.x, where the models of the zoo were evaluated.
PUBLISHED = {
    "cityscapes": ("cityscapes", "leftImg8bit/val", "gtFine/val", None, False),
    "ade20k": ("ade/ADEChallengeData2016", "images/validation", "annotations/validation", None, True),
    "voc12aug": ("VOCdevkit/VOC2012", "JPEGImages", "SegmentationClass", "ImageSets/Segmentation/val.txt", False),
    "pascal_context": (
        "VOCdevkit/VOC2010",
        "JPEGImages",
        "SegmentationClassContext",
        "ImageSets/SegmentationContext/val.txt",
        False,
    ),
    "pascal_context_59": (
        "VOCdevkit/VOC2010",
        "JPEGImages",
        "SegmentationClassContext",
        "ImageSets/SegmentationContext/val.txt",
        True,
    ),
    "coco_stuff10k": ("coco_stuff10k", "images/test2014", "annotations/test2014", None, True),
    "coco_stuff164k": ("coco_stuff164k", "images/val2017", "annotations/val2017", None, False),
    "loveda": ("loveDA", "img_dir/val", "ann_dir/val", None, True),
    "potsdam": ("potsdam", "img_dir/val", "ann_dir/val", None, True),
    "vaihingen": ("vaihingen", "img_dir/val", "ann_dir/val", None, True),
    "isaid": ("iSAID", "img_dir/val", "ann_dir/val", None, False),
    "drive": ("DRIVE", "images/validation", "annotations/validation", None, False),
    "stare": ("STARE", "images/validation", "annotations/validation", None, False),
    "chase_db1": ("CHASE_DB1", "images/validation", "annotations/validation", None, False),
    "hrf": ("HRF", "images/validation", "annotations/validation", None, False),
}


def test_folders_are_the_published_ones() -> None:
    assert set(PUBLISHED) == set(datasets()) - {"drawn_streets"}
    for name, (folder, images, labels, names, reduced) in PUBLISHED.items():
        data = dataset(name)
        (part,) = data.layout.splits["val"]
        assert (data.layout.folder, part.images, part.labels, part.names) == (folder, images, labels, names)
        assert data.reduce_zero_label is reduced


def test_the_data_sets_own_folder_will_do_as_well(tmp_path: Path) -> None:
    make(tmp_path, "ade20k")
    inner = open_dataset("ade20k", tmp_path / "ade" / "ADEChallengeData2016")
    assert inner.names == open_dataset("ade20k", tmp_path).names


def test_without_a_root_data_is_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DatasetError, match=r"LoveDA: there is no folder img_dir/val in data nor in data.loveDA\. LoveDA"
    ):
        open_dataset("loveda")
    make(tmp_path / "data", "loveda")
    assert len(open_dataset("loveda")) == 3


def test_drawn_streets_are_read_as_they_are_written(tmp_path: Path) -> None:
    paths = list(write(tmp_path, train=1, val=2, size=(32, 48)))
    data = open_dataset("drawn_streets", tmp_path, "val")
    assert len(data) == 2
    with Image.open(paths[1]) as first:
        np.testing.assert_array_equal(data[0].image, np.asarray(first))
    assert data[0].label.max() < 13


def test_label_ids_of_cityscapes_are_read_where_there_are_no_train_ids(tmp_path: Path) -> None:
    ids = make(tmp_path, "cityscapes", form=1)
    data = open_dataset("cityscapes", tmp_path)
    for number, each in enumerate(data.names):
        np.testing.assert_array_equal(data[number].label, ids[each])
    train_ids = make(tmp_path, "cityscapes", form=0)
    both = open_dataset("cityscapes", tmp_path)
    assert {pair.label.name.endswith("_labelTrainIds.png") for pair in both.pairs} == {True}  # type: ignore[attr-defined]
    np.testing.assert_array_equal(both[0].label, train_ids[both.names[0]])


def test_torchvision_reads_the_same_from_the_same_files(tmp_path: Path) -> None:
    vision = pytest.importorskip("torchvision.datasets")
    make(tmp_path, "voc12aug")
    make(tmp_path, "cityscapes", form=1)
    (tmp_path / "cityscapes/leftImg8bit/train").mkdir()
    theirs = vision.VOCSegmentation(tmp_path, year="2012", image_set="val")
    ours = open_dataset("voc12aug", tmp_path)
    assert len(theirs) == len(ours) == 3
    for number, (image, label) in enumerate(theirs):
        np.testing.assert_array_equal(ours[number].image, np.asarray(image))
        np.testing.assert_array_equal(ours[number].label, np.asarray(label))
    towns = vision.Cityscapes(tmp_path / "cityscapes", split="val", mode="fine", target_type="semantic")
    train_id = {each.id: each.train_id % 256 for each in vision.Cityscapes.classes}
    ours = open_dataset("cityscapes", tmp_path)
    assert len(towns) == len(ours) == 3
    of_image = {Path(path).name: number for number, path in enumerate(towns.images)}
    for number, each in enumerate(ours.names):
        image, label = towns[of_image[f"{Path(each).name}_leftImg8bit.png"]]
        np.testing.assert_array_equal(ours[number].image, np.asarray(image))
        np.testing.assert_array_equal(ours[number].label, np.vectorize(train_id.__getitem__)(np.asarray(label)))


def test_ids_in_a_file_of_train_ids_are_named_as_such(tmp_path: Path) -> None:
    make(tmp_path, "cityscapes", form=1)
    for path in list(tmp_path.rglob("*_labelIds.png")):
        path.rename(path.with_name(path.name.replace("_labelIds", "_labelTrainIds")))
    data = open_dataset("cityscapes", tmp_path)
    with pytest.raises(
        DatasetError, match=r"0a_aaa_gtFine_labelTrainIds.png holds 19, .*; expected 0 to 18, 255; these "
    ):
        data[0]
    with pytest.raises(DatasetError, match=r"numbers of a \*_gtFine_labelIds.png file, but .*is obtained from https"):
        data[0]


@pytest.fixture
def ade(tmp_path: Path) -> Path:
    make(tmp_path, "ade20k")
    return tmp_path / "ade" / "ADEChallengeData2016"


def test_a_label_out_of_range_says_which_file_and_what_was_expected(ade: Path) -> None:
    path = ade / "annotations/validation/0b_bbb.png"
    save(path, np.full((24, 40), 151, np.uint8))
    data = open_dataset("ade20k", ade)
    assert data[0].label.shape == (24, 40)
    with pytest.raises(
        DatasetError, match=r"0b_bbb.png holds 151; expected 0 to 150, 255. ADE20K is obtained from http"
    ):
        data[1]


def test_a_label_of_another_size(ade: Path) -> None:
    save(ade / "annotations/validation/0a_aaa.png", np.zeros((12, 40), np.uint8))
    with pytest.raises(DatasetError, match=r"0a_aaa.png is 40x12, but its picture .*0a_aaa.jpg is 40x24"):
        open_dataset("ade20k", ade)[0]


def test_a_label_in_colours(ade: Path) -> None:
    save(ade / "annotations/validation/0a_aaa.png", np.zeros((24, 40, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"0a_aaa.png is a colour picture \(mode RGB\); expected one channel"):
        open_dataset("ade20k", ade)[0]


def test_damaged_files_are_named(ade: Path) -> None:
    (ade / "annotations/validation/0a_aaa.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    (ade / "images/validation/0b_bbb.jpg").write_bytes(b"no picture")
    data = open_dataset("ade20k", ade)
    with pytest.raises(DatasetError, match=r"0a_aaa.png cannot be read as a label map"):
        data[0]
    with pytest.raises(ImageError, match=r"0b_bbb.jpg is not a picture"):
        data[1]


def test_palette_and_bilevel_label_maps_hold_numbers(ade: Path, tmp_path: Path) -> None:
    numbers = np.arange(24 * 40, dtype=np.uint8).reshape(24, 40) % 151
    indexed = Image.fromarray(numbers)
    indexed.putpalette(bytes(range(256)) * 3)
    assert indexed.mode == "P"
    indexed.save(ade / "annotations/validation/0a_aaa.png")
    np.testing.assert_array_equal(open_dataset("ade20k", ade)[0].label, np.where(numbers == 0, 255, numbers - 1))
    make(tmp_path, "drive", size=(24, 40))
    path = tmp_path / "DRIVE/annotations/validation/0a_aaa_manual1.png"
    Image.fromarray(numbers % 2 == 1).save(path)
    np.testing.assert_array_equal(open_dataset("drive", tmp_path)[0].label, numbers % 2)


def test_missing_files_are_counted_and_the_first_is_named(ade: Path) -> None:
    for each in ("0b_bbb", "0c_ccc"):
        (ade / f"annotations/validation/{each}.png").unlink()
    with pytest.raises(
        DatasetError, match=r"ADE20K: 2 of 3 pictures have no label map, first 0b_bbb.png in .*validation"
    ):
        open_dataset("ade20k", ade)
    shutil.rmtree(ade / "annotations/validation")
    with pytest.raises(DatasetError, match=r"ADE20K: there is no folder .*annotations.validation\. ADE20K is obtained"):
        open_dataset("ade20k", ade)
    for path in (ade / "images/validation").iterdir():
        path.unlink()
    (ade / "annotations/validation").mkdir()
    with pytest.raises(DatasetError, match=r"ADE20K: no \*\.jpg in .*images.validation"):
        open_dataset("ade20k", ade)


def test_hidden_files_are_passed_over(ade: Path) -> None:
    (ade / "images/validation/._0a_aaa.jpg").write_bytes(b"of another system")
    assert len(open_dataset("ade20k", ade)) == 3


def test_lists_are_checked(tmp_path: Path) -> None:
    make(tmp_path, "voc12aug")
    names = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"
    assert open_dataset("voc12aug", tmp_path).names == ("0a_aaa", "0b_bbb", "0c_ccc")
    names.write_text("0c_ccc\n\n0a_aaa\n")
    assert open_dataset("voc12aug", tmp_path).names == ("0c_ccc", "0a_aaa")
    names.write_text("0c_ccc\n2007_000033\n")
    with pytest.raises(
        DatasetError, match=r"1 of the 2 pictures that .*val.txt lists are missing, first .*2007_000033.jpg"
    ):
        open_dataset("voc12aug", tmp_path)
    names.write_text("0c_ccc\n0c_ccc\n")
    with pytest.raises(DatasetError, match=r"val.txt holds 0c_ccc twice"):
        open_dataset("voc12aug", tmp_path)
    names.write_text("\n")
    with pytest.raises(DatasetError, match=r"val.txt is empty"):
        open_dataset("voc12aug", tmp_path)
    names.unlink()
    with pytest.raises(DatasetError, match=r"there is no list .*val.txt\. Pascal VOC 2012 \+ Aug is obtained"):
        open_dataset("voc12aug", tmp_path)


def test_unknown_names_and_splits(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no data set is named 'ade'"):
        open_dataset("ade", tmp_path)
    with pytest.raises(DatasetError, match="ADE20K has no split 'test'; there are train, val"):
        open_dataset("ade20k", tmp_path, "test")


@pytest.mark.parametrize("data", datasets().values(), ids=datasets())
def test_every_data_set_can_be_shown(data: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", data.name]) == 0
    shown = capsys.readouterr().out
    for part in data.layout.splits["val"]:
        assert f"{data.layout.folder}/{part.images}/*{data.layout.image_suffix}" in shown
        assert all(f"{data.layout.folder}/{part.labels}/*{form.suffix}" in shown for form in data.layout.labels)
    assert data.source in shown
    assert data.licence.split()[-1] in shown


def test_list_of_data_sets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1 : len(datasets()) + 1]] == list(datasets())
    assert all(any(data.licence in line for line in lines) for data in datasets().values())
    assert main(["datasets", "folder"]) == 0
    assert "classes.txt" in capsys.readouterr().out
    assert main(["datasets", "citiscapes"]) == 1
