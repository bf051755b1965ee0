"""The result: counts, pictures, files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segzoo.errors import OptionError
from segzoo.inference import Segmentation
from tests.inference.plain import picture

CLASSES = ("road", "sky", "car", "tree")
PALETTE = ((128, 64, 128), (70, 130, 180), (0, 0, 142), (107, 142, 35))


def result(height: int = 60, width: int = 80) -> Segmentation:
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2] = 1
    mask[-5:, :5] = 3
    return Segmentation(mask, CLASSES, PALETTE, None, picture(height, width))


def test_counts_are_of_what_occurs_largest_first() -> None:
    assert result().counts() == {"sky": 2400, "road": 2375, "tree": 25}
    assert list(result().counts()) == ["sky", "road", "tree"]
    assert repr(result()) == "Segmentation(60 x 80, 4 classes: sky 50.0%, road 49.5%, tree 0.5%)"


def test_overlay_blends_and_outlines() -> None:
    r = result()
    flat = r.overlay(0)
    assert np.array_equal(np.asarray(flat), r.image)
    full = np.asarray(r.overlay(1.0))
    assert tuple(full[0, 0]) == PALETTE[1]
    assert tuple(full[29, 3]) != PALETTE[1]  # the last row of sky is its outline
    half = np.asarray(r.overlay(0.5)).astype(int)
    expected = (r.image.astype(int) + np.array(PALETTE)[r.mask]) / 2
    inside = np.ones(r.mask.shape, bool)
    inside[29] = inside[-6, :5] = inside[-5:, 4] = False
    assert np.abs(half - expected)[inside].max() <= 1
    assert np.array_equal(r.image, picture(60, 80))


@pytest.mark.parametrize("size", [(60, 80), (400, 300), (200, 700), (1, 1), (3, 500), (500, 2)])
def test_legend_keeps_the_picture(size: tuple[int, int]) -> None:
    r = (
        result(*size)
        if min(size) > 9
        else Segmentation(np.zeros(size, np.uint8), CLASSES, PALETTE, None, picture(*size))
    )
    plain, legend = r.overlay(), r.overlay(legend=True)
    assert legend.mode == "RGB"
    assert np.array_equal(np.asarray(legend)[: size[0], : size[1]], np.asarray(plain))
    assert legend.size != plain.size
    panel = np.asarray(legend).reshape(-1, 3)
    first = PALETTE[CLASSES.index(next(iter(r.counts())))]
    assert (panel == first).all(1).any()


def test_legend_folds_what_finds_no_room() -> None:
    many = tuple(f"class {i}" for i in range(200))
    palette = tuple((i, 255 - i, i // 2) for i in range(200))
    mask = (np.arange(90 * 100).reshape(90, 100) % 200).astype(np.uint8)
    r = Segmentation(mask, many, palette, None, picture(90, 100))
    assert r.overlay(legend=True).height <= 110


def test_saved_masks_hold_the_classes(tmp_path: Path) -> None:
    r = result()
    for name in ("mask.png", "mask.tif", "plain"):
        r.save(tmp_path / name)
        back = Image.open(tmp_path / name)
        assert np.array_equal(np.asarray(back), r.mask)
        assert np.array_equal(np.asarray(back.convert("RGB")), np.array(PALETTE, np.uint8)[r.mask])
    r.save(str(tmp_path / "colour.png"), "colour")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "colour.png")), np.asarray(r.colour()))
    r.save(tmp_path / "over.jpg", "overlay", alpha=0.3, legend=True)
    assert Image.open(tmp_path / "over.jpg").size == r.overlay(legend=True).size


def test_wide_masks_are_saved_in_16_bits(tmp_path: Path) -> None:
    mask = (np.arange(600, dtype=np.uint16).reshape(20, 30)) % 400
    r = Segmentation(mask, tuple(map(str, range(400))), PALETTE * 100, None, picture(20, 30))
    r.save(tmp_path / "wide.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "wide.png")), mask)
    assert r.overlay(legend=True).size[0] > 30


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("mask.jpg", {}, "class numbers"),
        ("mask.gif", {}, "class numbers"),
        ("mask.xyz", {}, "xyz"),
        ("mask.png", {"kind": "masks"}, "kind"),
        ("over.png", {"kind": "overlay", "alpha": 1.5}, "alpha"),
    ],
)
def test_bad_saves(tmp_path: Path, name: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        result().save(tmp_path / name, **options)
    assert not (tmp_path / name).exists()


def test_notebooks_show_a_small_overlay_with_its_legend() -> None:
    shown = Image.open(io.BytesIO(result(500, 1600)._repr_png_()))
    assert shown.format == "PNG"
    assert shown.width == 1024
    assert shown.height > 320
