"""Drawn streets: exact, repeatable, complete, and laid out as Cityscapes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segzoo.cli import main
from segzoo.datasets.drawn_streets import CLASSES, draw, sample_paths, seeds, write
from segzoo.errors import OptionError
from segzoo.index import dataset

GOLDEN = Path(__file__).parents[1] / "golden" / "drawn_streets.json"


def test_same_seed_same_street() -> None:
    picture, labels = draw(11, (96, 192))
    again, labels_again = draw(11, (96, 192))
    np.testing.assert_array_equal(picture, again)
    np.testing.assert_array_equal(labels, labels_again)
    other, _ = draw(12, (96, 192))
    assert (picture != other).mean() > 0.5


def test_drawing_elsewhere_in_between_changes_nothing() -> None:
    np.random.seed(1)
    first, _ = draw(4, (64, 128))
    np.random.seed(2)
    draw(5, (64, 128))
    second, _ = draw(4, (64, 128))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("size", [(32, 32), (37, 91), (120, 60), (64, 400)])
def test_any_size(size: tuple[int, int]) -> None:
    picture, labels = draw(7, size)
    assert picture.shape == (*size, 3)
    assert picture.dtype == np.uint8
    assert labels.shape == size
    assert labels.dtype == np.uint8
    assert labels.max() < len(CLASSES)
    assert picture.std() > 10


def test_size_decides_only_how_finely_a_street_is_drawn() -> None:
    for seed in range(3):
        _, small = draw(seed, (96, 192))
        _, large = draw(seed, (288, 576))
        assert (small == large[1::3, 1::3]).mean() > 0.985


def test_every_class_is_drawn_and_none_dominates() -> None:
    counts = np.zeros(len(CLASSES), np.int64)
    pictures = 16
    present = np.zeros(len(CLASSES), np.int64)
    for seed in range(pictures):
        _, labels = draw(seed, (96, 192))
        found = np.bincount(labels.ravel(), minlength=len(CLASSES))
        counts += found
        present += found > 0
    assert (present >= 6).all(), dict(zip(CLASSES, present.tolist(), strict=True))
    assert counts.max() / counts.sum() < 0.5


def test_pictures_are_varied() -> None:
    """Times of day differ far more than sensor noise does."""
    brightness = [draw(seed, (48, 96))[0].mean() for seed in range(12)]
    assert max(brightness) - min(brightness) > 50


def test_labels_follow_the_picture() -> None:
    """A class boundary is an edge of the picture: the picture changes more across labels than within them."""
    across, within = [], []
    for seed in range(4):
        picture, labels = draw(seed, (128, 256))
        step = np.abs(np.diff(picture.astype(int), axis=1)).sum(axis=2)
        edge = np.diff(labels.astype(int), axis=1) != 0
        across.append(step[edge].mean())
        within.append(step[~edge].mean())
    assert min(np.array(across) / np.array(within)) > 2


def test_drawings_are_those_of_the_published_data_set() -> None:
    """Class shares and mean colours as recorded, within what Pillow's versions may differ by."""
    for case in json.loads(GOLDEN.read_text())["cases"]:
        picture, labels = draw(case["seed"], tuple(case["size"]))
        shares = np.bincount(labels.ravel(), minlength=len(CLASSES)) / labels.size
        np.testing.assert_allclose(shares, case["shares"], atol=0.002)
        np.testing.assert_allclose(picture.mean(axis=(0, 1)), case["mean_colour"], atol=1.0)


def test_index_knows_the_classes_and_cityscapes_colours() -> None:
    drawn, cityscapes = dataset("drawn_streets"), dataset("cityscapes")
    assert drawn.classes == CLASSES
    colours = dict(zip(cityscapes.classes, cityscapes.palette, strict=True))
    assert drawn.palette == tuple(colours[name] for name in CLASSES)


@pytest.mark.parametrize("seed", [-1, 1.5, True, 2**63, "3"])
def test_bad_seed(seed: object) -> None:
    with pytest.raises(OptionError, match="seed="):
        draw(seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(0, 64), (64, 31), (5000, 64), (64.0, 64), (64,), 64, (64, 64, 3), (True, 64)])
def test_bad_size(size: object) -> None:
    with pytest.raises(OptionError, match="size="):
        draw(0, size)  # type: ignore[arg-type]


def test_seeds_of_splits_and_data_sets_never_meet() -> None:
    million = 1_000_000
    ranges = [seeds(split, million, number) for number in range(3) for split in ("train", "val")]
    ends = sorted((r.start, r.stop) for r in ranges)
    assert all(stop <= start for (_, stop), (start, _) in itertools.pairwise(ends))
    assert len(seeds("val", 5)) == 5
    with pytest.raises(OptionError, match="split='test'"):
        seeds("test", 1)
    with pytest.raises(OptionError, match="train=1000001"):
        seeds("train", million + 1)
    with pytest.raises(OptionError, match="seed=-1"):
        seeds("train", 1, -1)


def test_write_in_the_cityscapes_layout(tmp_path: Path) -> None:
    paths = list(write(tmp_path, train=2, val=1, size=(48, 96), seed=1))
    assert len(paths) == 3
    layout = dataset("drawn_streets").layout
    for split, count in (("train", 2), ("val", 1)):
        pictures = sorted((tmp_path / "leftImg8bit" / split).glob(f"*/*{layout.image_suffix}"))
        assert len(pictures) == count
        for path in pictures:
            stem = path.name.removesuffix(layout.image_suffix)
            labels = tmp_path / "gtFine" / split / path.parent.name / f"{stem}{layout.labels[0].suffix}"
            assert labels.is_file()
            assert stem.startswith(f"{path.parent.name}_")
    number = seeds("train", 2, 1)[1]
    picture_path, label_path = sample_paths(tmp_path, "train", number)
    picture, labels = draw(number, (48, 96))
    with Image.open(picture_path) as read, Image.open(label_path) as read_labels:
        assert (read.mode, read_labels.mode) == ("RGB", "L")
        np.testing.assert_array_equal(np.asarray(read), picture)
        np.testing.assert_array_equal(np.asarray(read_labels), labels)
    assert not list(tmp_path.rglob("*.part"))


def test_write_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    first = next(write(tmp_path, train=3, val=0, size=(32, 64)))
    written = first.stat().st_mtime_ns
    paths = list(write(tmp_path, train=3, val=0, size=(32, 64)))
    assert first.stat().st_mtime_ns == written
    before = paths[1].read_bytes()
    paths[1].unlink()
    list(write(tmp_path, train=3, val=0, size=(32, 64)))
    assert paths[1].read_bytes() == before


def test_write_refuses_to_mix_sizes(tmp_path: Path) -> None:
    list(write(tmp_path, train=1, val=0, size=(32, 64)))
    with pytest.raises(OptionError, match="64x32, not 96x48"):
        list(write(tmp_path, train=1, val=0, size=(48, 96)))


def test_write_checks_its_arguments_before_the_first_picture(tmp_path: Path) -> None:
    for arguments in ({"train": -1}, {"size": (8, 8)}, {"seed": -2}):
        with pytest.raises(OptionError):
            write(tmp_path / "new", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "streets"
    assert main(["draw-streets", str(out), "--train", "1", "--val", "1", "--size", "64x32", "--seed", "2"]) == 0
    captured = capsys.readouterr()
    assert "2 pictures" in captured.out
    assert "drawing" in captured.err
    with Image.open(next(out.rglob("*_leftImg8bit.png"))) as picture:
        assert picture.size == (64, 32)


def test_command_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["draw-streets", str(tmp_path), "--size", "64"])
    assert stopped.value.code == 2
    assert "WIDTHxHEIGHT" in capsys.readouterr().err
    assert main(["draw-streets", str(tmp_path), "--train", "-4"]) == 1
    assert "train=-4" in capsys.readouterr().err
    file = tmp_path / "file"
    file.touch()
    assert main(["draw-streets", str(file), "--train", "1", "--val", "0", "--size", "64x32"]) == 1
    assert "file" in capsys.readouterr().err
