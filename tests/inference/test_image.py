"""Every way a picture can come in, and every way it can be wrong."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segzoo.errors import ImageError, OptionError
from segzoo.inference import read_image
from tests.inference.plain import picture

RGB = picture(24, 36)


def test_all_ways_give_the_same_pixels(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(RGB).save(path)
    tensor = torch.from_numpy(RGB).permute(2, 0, 1)
    ways = [str(path), path, Image.open(path), Image.fromarray(RGB), RGB, tensor, tensor.contiguous()]
    for way in ways:
        found = read_image(way)
        assert found.dtype == np.uint8
        assert np.array_equal(found, RGB)
    assert np.array_equal(read_image(RGB[..., ::-1], channel_order="bgr"), RGB)
    assert np.array_equal(read_image(tensor.flip(0), channel_order="bgr"), RGB)
    assert np.array_equal(read_image(path, channel_order="bgr"), RGB)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "YCbCr", "1", "HSV", "LAB"])
def test_other_modes_become_rgb(mode: str) -> None:
    source = Image.fromarray(RGB).convert("RGB" if mode == "LAB" else mode)
    if mode == "LAB":
        source = Image.merge("LAB", source.split())
    found = read_image(source)
    assert found.shape == RGB.shape
    assert np.array_equal(found, np.asarray(source.convert("RGB")))


def test_files_of_other_modes(tmp_path: Path) -> None:
    for mode, suffix in (("L", "png"), ("P", "gif"), ("RGBA", "png"), ("CMYK", "jpg"), ("1", "png"), ("CMYK", "tif")):
        path = tmp_path / f"{mode}.{suffix}"
        Image.fromarray(RGB).convert(mode).save(path)
        assert read_image(path).shape == RGB.shape


def test_alpha_is_dropped_not_blended() -> None:
    clear = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    assert np.array_equal(read_image(Image.fromarray(clear)), RGB)


def test_16_bit_grey_keeps_the_high_byte(tmp_path: Path) -> None:
    samples = np.arange(24 * 36, dtype=np.uint16).reshape(24, 36) * 75
    for name in ("wide.png", "wide.tif"):
        Image.fromarray(samples).save(tmp_path / name)
        found = read_image(tmp_path / name)
        assert np.array_equal(found[..., 0], samples >> 8)
        assert (found == found[..., :1]).all()
    wide = Image.fromarray(samples.astype(np.int32))
    assert wide.mode == "I"
    assert np.array_equal(read_image(wide)[..., 2], samples >> 8)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    for orientation, turned in (
        (1, RGB),
        (3, RGB[::-1, ::-1]),
        (6, np.rot90(RGB, -1)),
        (8, np.rot90(RGB)),
        (2, RGB[:, ::-1]),
    ):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.png"
        Image.fromarray(RGB).save(path, exif=exif)
        assert np.array_equal(read_image(path), turned)
        assert np.array_equal(read_image(Image.open(path)), turned)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_exif_block_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    Image.fromarray(RGB).save(path, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff\x01\x12\x00\x03", quality=95)
    assert read_image(path).shape == RGB.shape


def test_the_first_frame_is_read(tmp_path: Path) -> None:
    path = tmp_path / "two.tif"
    Image.fromarray(RGB).save(path, save_all=True, append_images=[Image.fromarray(255 - RGB)])
    assert np.array_equal(read_image(path), RGB)


def saved(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, **options)
    return buffer.getvalue()


DAMAGED = "cannot be opened|damaged or cut short|not a picture|is empty"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.png", b"", "empty"),
        ("notes.txt", b"these are words", "not a picture"),
        ("html.jpg", b"<html>moved</html>", "not a picture"),
        ("cut.png", saved(format="PNG")[:700], "damaged or cut short"),
        ("cut.jpg", saved(format="JPEG")[:400], "Truncated|truncated|cut short"),
        ("cut.tif", saved(format="TIFF")[:500], DAMAGED),
        ("cut.webp", saved(format="WEBP")[:100], DAMAGED),
        ("header.png", saved(format="PNG")[:20], DAMAGED),
        (
            "flipped.png",
            saved(format="PNG")[:60] + b"\x00" * 200,
            DAMAGED,
        ),
        (
            "zero.gif",
            b"GIF89a" + struct.pack("<HH", 0, 0) + b"\x00" * 20,
            DAMAGED,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError, match=says) as caught:
        read_image(path)
    assert name in str(caught.value)


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(ImageError, match="folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="address"):
        read_image("https://example.org/street.jpg")


def test_pictures_beyond_pillows_limit_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    Image.fromarray(RGB).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="MAX_IMAGE_PIXELS"):
        read_image(path)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (RGB.astype(np.float32), "float32"),
        (np.full((4, 4, 3), np.nan), "float64"),
        (RGB.astype(np.uint16), "uint16"),
        (RGB[..., 0] > 9, "bool"),
        (RGB[..., 0], "one plane"),
        (RGB[None], "batch"),
        (np.moveaxis(RGB, 2, 0), "other side"),
        (np.dstack([RGB, RGB]), r"\(24, 36, 6\)"),
        (RGB[:0], "empty"),
        (torch.zeros(3, 8, 8), "float32"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), "other side"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "batch"),
        (torch.zeros(8, 8, dtype=torch.uint8), "one plane"),
        (torch.zeros(3, 0, 8, dtype=torch.uint8), "empty"),
        (Image.new("F", (4, 4)), "floating point"),
        (Image.fromarray(np.full((3, 3), 1 << 20, np.int32)), "32-bit"),
        (Image.new("RGB", (0, 4)), "empty"),
        (None, "NoneType"),
        (7, "int"),
        (b"bytes", "BytesIO"),
    ],
)
def test_bad_values(bad: object, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        read_image(bad)


def test_bad_channel_order() -> None:
    with pytest.raises(OptionError, match="bgr"):
        read_image(RGB, channel_order="BGR")
