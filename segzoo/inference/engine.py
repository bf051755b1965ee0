"""From views of a picture to its labels, band by band."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from segzoo.inference.scores import interpolate, labels
from segzoo.inference.taps import Tiles
from segzoo.inference.views import View

__all__ = ["bands_on_device", "decide", "label_bands", "probabilities"]

_TILE = (8, 64)  # of the dense path: a tile is a small matrix product
_SMALLEST, _LARGEST = 8, 32  # sides of the sparse path's tiles
_BAND_VALUES = 1 << 21  # scores that stand in full at one time
_BAND_LABELS = 1 << 20  # labels that stand beside the finished mask at one time


def label_bands(views: Sequence[View], threshold: float | None) -> Iterator[tuple[int, np.ndarray]]:
    """Labels of the mean of ``views``, as (first row, labels (rows, W) int16) from top to bottom.

    ``threshold`` is given for models of one channel: label 1 where the sigmoid exceeds it.
    """
    return _on_host(bands_on_device(views, threshold))


def bands_on_device(views: Sequence[View], threshold: float | None) -> Iterator[tuple[int, torch.Tensor]]:
    """What :func:`label_bands` gives, as tensors that are still on the network's device."""
    if len(views) == 1 and threshold is None:
        yield from _best(views[0])
    elif _planes_are_smaller(views):
        yield from _decide_bands(probabilities(views, threshold is not None), threshold)
    else:
        yield from _mean_of_bands(views, threshold)


def probabilities(views: Sequence[View], one_channel: bool) -> torch.Tensor:
    """Mean over ``views`` of softmax (sigmoid for one channel), float32 (C, H, W)."""
    height, width = views[0].size
    mean: torch.Tensor | None = None
    for view in views:
        rows, cols = view.tiles(_TILE)
        for first, last in _bands(view, rows, _BAND_VALUES // view.classes):
            logits, band = view.read(_part(rows, first, last))
            top = first * rows.size
            scores = _normalise(interpolate(logits, band, cols), one_channel)[: height - top, :width]
            if mean is None:
                mean = torch.zeros(scores.shape[2], height, width, device=scores.device)
            mean[:, top : top + len(scores)] += scores.permute(2, 0, 1)
    assert mean is not None
    return mean.div_(len(views)) if len(views) > 1 else mean


def decide(scores: torch.Tensor, threshold: float | None) -> Iterator[tuple[int, np.ndarray]]:
    """Labels of full-size ``scores`` (C, H, W), in bands."""
    return _on_host(_decide_bands(scores, threshold))


def _on_host(bands: Iterator[tuple[int, torch.Tensor]]) -> Iterator[tuple[int, np.ndarray]]:
    for top, labelled in bands:
        yield top, labelled.cpu().numpy()


def _decide_bands(scores: torch.Tensor, threshold: float | None) -> Iterator[tuple[int, torch.Tensor]]:
    step = max(1, _BAND_VALUES // scores[:, 0].numel())
    for top in range(0, scores.shape[1], step):
        yield top, _decide(scores[:, top : top + step], 0, threshold)


def _best(view: View) -> Iterator[tuple[int, torch.Tensor]]:
    """Labels of a single view: the sparse path. Softmax keeps the order, so it is left out."""
    height, width = view.size
    low = view.low
    mosaic = [len(starts) * side for starts, side in zip((view.tops, view.lefts), low, strict=True)]
    side = [min(max(round(n / m), _SMALLEST), _LARGEST) for n, m in zip(view.size, mosaic, strict=True)]
    rows, cols = view.tiles((side[0], side[1]))
    for first, last in _bands(view, rows, _BAND_LABELS):
        logits, band = view.read(_part(rows, first, last))
        top = first * rows.size
        yield top, labels(logits, band, cols)[: height - top, :width]


def _mean_of_bands(views: Sequence[View], threshold: float | None) -> Iterator[tuple[int, torch.Tensor]]:
    """Labels of the mean of views whose logits are kept, while full scores exist for one band at a time."""
    height, width = views[0].size
    tiles = [view.tiles(_TILE) for view in views]
    for first, last in _bands(views[0], tiles[0][0], _BAND_VALUES // views[0].classes):
        top = first * _TILE[0]
        mean: torch.Tensor | None = None
        for view, (rows, cols) in zip(views, tiles, strict=True):
            logits, band = view.read(_part(rows, first, last))
            scores = _normalise(interpolate(logits, band, cols), threshold is not None)
            mean = scores if mean is None else mean.add_(scores)
        assert mean is not None
        yield top, _decide(mean.div_(len(views))[: height - top, :width], 2, threshold)


def _bands(view: View, rows: Tiles, most: int) -> Iterator[tuple[int, int]]:
    """Runs of at most ``most`` pixels of rows of tiles, [first, last), that end with the same row of windows."""
    needs = view.rows_of_windows(rows)
    most = max(1, most // (rows.size * view.size[1]))
    first = 0
    for last in range(1, len(needs) + 1):
        if last == len(needs) or needs[last] != needs[first] or last - first == most:
            yield first, last
            first = last


def _part(rows: Tiles, first: int, last: int) -> Tiles:
    return Tiles(rows.size, rows.index[first:last], rows.weight[first:last])


def _normalise(logits: torch.Tensor, one_channel: bool) -> torch.Tensor:
    return logits.sigmoid() if one_channel else logits.softmax(-1)


def _decide(scores: torch.Tensor, axis: int, threshold: float | None) -> torch.Tensor:
    decided = scores.argmax(axis) if threshold is None else scores.select(axis, 0) > threshold
    return decided.to(torch.int16)


def _planes_are_smaller(views: Sequence[View]) -> bool:
    """Whether the full-size planes of all classes take less memory than the logits of all views."""
    density = views[0].low[0] * views[0].low[1] / (views[0].window[0] * views[0].window[1])
    logits = density * sum(len(view.tops) * len(view.lefts) * view.window[0] * view.window[1] for view in views)
    return views[0].size[0] * views[0].size[1] <= logits
