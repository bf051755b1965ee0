"""Rasters larger than memory, through rasterio (``pip install segzoo[geo]``)."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segzoo.errors import ImageError, OptionError, SegzooError
from segzoo.inference.options import Size, resolve
from segzoo.inference.predictor import Predictor, class_table, predict_bands

__all__ = ["predict_raster"]

_BLOCK = 256  # side of the blocks of the GeoTIFF that is written
_NO_DATA = 255


class _Rows:
    """A raster's pixels as rows of an array (H, W, 3) that are read when they are sliced."""

    def __init__(self, raster: Any, bands: Sequence[int]) -> None:
        self._raster, self._bands = raster, list(bands)
        self.shape = (raster.height, raster.width, 3)

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        window = ((start, stop), (0, self.shape[1]))
        return np.moveaxis(self._raster.read(self._bands, window=window), 0, -1)


def predict_raster(
    model: Predictor,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    bands: tuple[int, int, int] = (1, 2, 3),
    crop_size: Size | None = None,
    stride: Size | None = None,
    threshold: float | None = None,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Slide over a raster at its own size and write its classes as a GeoTIFF, block by block.

    Rows of windows are read as they are needed and rows of classes written as they are finished, so that memory grows
    with the raster's width and the window's height. The labels are those of :func:`~segzoo.inference.predict` with
    ``mode='slide'`` and ``resize=None``. Coordinates are carried over; where the source has no data, 255 is written.

    Args:
        source: anything rasterio opens, of 8-bit samples.
        target: the GeoTIFF to write; it has its name only once it is complete.
        bands: numbers of the red, green and blue bands, from 1.
        crop_size, stride, threshold, batch_size: as for :func:`~segzoo.inference.predict`.
        progress: called with (rows finished, rows in all).

    Raises:
        SegzooError: rasterio is not installed.
        ImageError: the source cannot be read, has other samples or too few bands.
        OptionError: as for ``predict``.
    """
    try:
        rasterio = importlib.import_module("rasterio")
    except ModuleNotFoundError:
        raise SegzooError("predict_raster needs rasterio: pip install 'segzoo[geo]'") from None
    options = resolve(
        model.entry,
        model.num_classes,
        mode="slide",
        crop_size=crop_size,
        stride=stride,
        resize=None,
        threshold=threshold,
        batch_size=batch_size,
    )
    try:
        raster = rasterio.open(source)
    except rasterio.errors.RasterioIOError as error:
        raise ImageError(f"{source} cannot be opened as a raster: {error}") from None
    partial = Path(target).with_name(f".{os.getpid()}.partial.tif")
    with raster:
        _check(raster, str(source), bands)
        profile = _profile(raster)
        try:
            with rasterio.open(partial, "w", **profile) as out:
                out.write_colormap(1, _colours(model))
                _fill(out, raster, bands, predict_bands(model, _Rows(raster, bands), options), progress)
            os.replace(partial, target)
        except rasterio.errors.RasterioIOError as error:
            raise ImageError(f"{source}: {error}") from None
        finally:
            partial.unlink(missing_ok=True)


def _check(raster: Any, name: str, bands: Sequence[int]) -> None:
    if len(bands) != 3:
        raise OptionError(f"bands are the numbers of red, green and blue, not {bands!r}")
    absent = [band for band in bands if band not in raster.indexes]
    if absent:
        raise ImageError(f"{name} has bands {list(raster.indexes)}, not {absent}: choose three with bands=(r, g, b)")
    kinds = {raster.dtypes[band - 1] for band in bands}
    if kinds != {"uint8"}:
        raise ImageError(
            f"{name} holds {', '.join(sorted(kinds))} samples: scale them to 8 bits first (gdal_translate)"
        )


def _profile(raster: Any) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "height": raster.height,
        "width": raster.width,
        "count": 1,
        "dtype": "uint8",
        "crs": raster.crs,
        "transform": raster.transform,
        "nodata": _NO_DATA,
        "tiled": True,
        "blockxsize": _BLOCK,
        "blockysize": _BLOCK,
        "compress": "deflate",
        "bigtiff": "if_safer",
    }


def _colours(model: Predictor) -> dict[int, tuple[int, int, int, int]]:
    names, palette = class_table(model)
    if len(names) > _NO_DATA:
        raise OptionError(f"a raster of classes has room for {_NO_DATA}, the model has {len(names)}")
    return {i: (*colour, 255) for i, colour in enumerate(palette)}


def _fill(
    out: Any,
    raster: Any,
    bands: Sequence[int],
    parts: Iterator[tuple[int, np.ndarray]],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write ``parts`` of any height as whole rows of blocks."""
    waiting: list[np.ndarray] = []
    first = 0
    for top, labels in parts:
        waiting.append(labels)
        end = top + len(labels)
        cut = raster.height if end == raster.height else end // _BLOCK * _BLOCK
        if cut <= first:
            continue
        rows = np.concatenate(waiting)
        window = ((first, cut), (0, raster.width))
        done = rows[: cut - first].astype(np.uint8)
        done[~raster.read_masks(list(bands), window=window).any(0)] = _NO_DATA
        out.write(done, 1, window=window)
        waiting, first = [rows[cut - first :]], cut
        if progress:
            progress(first, raster.height)
