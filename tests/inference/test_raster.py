"""Pictures that are never whole in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segzoo.errors import ImageError, OptionError, SegzooError
from segzoo.index import Protocol
from segzoo.inference import predict, predict_raster
from segzoo.inference.options import resolve
from segzoo.inference.predictor import predict_bands
from segzoo.inference.taps import Tiles
from segzoo.inference.views import View
from tests.inference.plain import Tiny, picture

SLIDE = Protocol(
    (120.0, 120.0, 120.0), (50.0, 50.0, 50.0), mode="slide", scale=None, crop_size=(64, 64), stride=(48, 48)
)


@pytest.fixture
def rasterio() -> Any:
    return pytest.importorskip("rasterio")


def written(rasterio: Any, path: Path, pixels: np.ndarray, **profile: Any) -> Path:
    profile = {"driver": "GTiff", "height": pixels.shape[0], "width": pixels.shape[1], "dtype": pixels.dtype, **profile}
    with rasterio.open(path, "w", count=pixels.shape[2], **profile) as out:
        out.write(np.moveaxis(pixels, 2, 0))
    return path


def test_bands_of_a_memory_map_are_the_mask(tmp_path: Path) -> None:
    model, image = Tiny(SLIDE, 5), picture(700, 150)
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=image.shape)
    mapped[:] = image
    options = resolve(model.entry, 5)
    bands = list(predict_bands(model, mapped, options))
    assert [top for top, _ in bands] == list(np.cumsum([0] + [len(labels) for _, labels in bands[:-1]]))
    assert np.array_equal(np.concatenate([labels for _, labels in bands]), predict(model, image).mask)
    assert len(bands) > 5


def test_only_open_rows_of_windows_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = Tiny(SLIDE, 5), picture(1200, 64)
    kept: list[int] = []
    read = View.read

    def watching(self: View, rows: Tiles) -> tuple[Any, Tiles]:
        found = read(self, rows)
        kept.append(sum(len(logits) for logits in self._open.values()))
        return found

    monkeypatch.setattr(View, "read", watching)
    whole = np.concatenate([labels for _, labels in predict_bands(model, image, resolve(model.entry, 5))])
    assert whole.shape == (1200, 64)
    assert max(kept) == 2 * 16  # windows of 64 rows at stride 4 overlap by twos


def test_raster_equals_predict(tmp_path: Path, rasterio: Any) -> None:
    model, image = Tiny(SLIDE, 5), picture(600, 333)
    where = rasterio.transform.from_origin(100, 200, 0.5, 0.5)
    source = written(rasterio, tmp_path / "in.tif", image, crs="EPSG:32633", transform=where)
    steps: list[tuple[int, int]] = []
    predict_raster(model, source, tmp_path / "out.tif", progress=lambda done, total: steps.append((done, total)))
    with rasterio.open(tmp_path / "out.tif") as out:
        assert np.array_equal(out.read(1), predict(model, image).mask)
        assert out.crs.to_epsg() == 32633
        assert out.transform == where
        assert out.colormap(1)[2][:3] == model.palette[2]
    assert steps == [(256, 600), (512, 600), (600, 600)]
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_other_bands_and_no_data(tmp_path: Path, rasterio: Any) -> None:
    model, image = Tiny(SLIDE, 5), picture(130, 200)
    image = image.clip(1, 255)
    image[:, :40] = 0
    four = np.dstack([np.full_like(image[..., :1], 7), image[..., ::-1]])
    source = written(rasterio, tmp_path / "in.tif", four, nodata=0, photometric="minisblack", alpha="no")
    predict_raster(model, source, tmp_path / "out.tif", bands=(4, 3, 2), crop_size=96, stride=(50, 60))
    with rasterio.open(tmp_path / "out.tif") as out:
        labels = out.read(1)
    expected = predict(model, image, "slide", crop_size=96, stride=(50, 60)).mask
    assert np.array_equal(labels[:, 40:], expected[:, 40:])
    assert (labels[:, :40] == 255).sum() == 130 * 40


def test_bad_rasters(tmp_path: Path, rasterio: Any) -> None:
    model, image = Tiny(SLIDE, 5), picture(70, 70)
    (tmp_path / "words.tif").write_text("words")
    wide = written(rasterio, tmp_path / "wide.tif", image.astype(np.uint16))
    two = written(rasterio, tmp_path / "two.tif", image[..., :2])
    for bad, says in (
        ("words.tif", "cannot be opened"),
        ("absent.tif", "cannot be opened"),
        (wide, "uint16"),
        (two, "bands"),
    ):
        with pytest.raises(ImageError, match=says):
            predict_raster(model, tmp_path / bad, tmp_path / "out.tif")
    good = written(rasterio, tmp_path / "good.tif", image)
    with pytest.raises(OptionError, match="gaps"):
        predict_raster(model, good, tmp_path / "out.tif", crop_size=32, stride=33)
    assert not (tmp_path / "out.tif").exists()


def test_without_rasterio_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(SegzooError, match=r"segzoo\[geo\]"):
        predict_raster(Tiny(SLIDE, 5), "in.tif", tmp_path / "out.tif")
