"""Interpolation as sparse weights along one axis.

The published chain resizes low-resolution logits to the network's input, averages overlapping windows there, and
resizes again to the picture. Each step is bilinear, so it acts on rows and on columns separately and is linear: along
one axis the whole chain is a matrix with a few non-negative entries per output position that sum to one. A
:class:`Taps` is that matrix; :func:`tile` cuts it into short dense pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Taps", "Tiles", "linear", "tile", "window_starts"]


@dataclass(frozen=True)
class Taps:
    """Output position i is ``sum_t weight[i, t] * input[index[i, t]]``; weights are non-negative and sum to one."""

    index: np.ndarray  # (outputs, taps) int64
    weight: np.ndarray  # (outputs, taps) float32

    def then(self, second: Taps) -> Taps:
        """The taps of applying this first and ``second`` to the result."""
        outputs = len(second.index)
        index = self.index[second.index].reshape(outputs, -1)
        weight = (self.weight[second.index] * second.weight[..., None]).reshape(outputs, -1)
        return Taps(index, weight)

    def reversed(self) -> Taps:
        """The same taps with the outputs in the opposite order (a flipped picture, flipped back)."""
        return Taps(self.index[::-1], self.weight[::-1])

    def over_windows(self, starts: list[int], size_in: int, size_out: int) -> Taps:
        """Windows laid side by side, averaged where they overlap.

        These taps give one window of length ``len(self.index)`` from ``size_in`` inputs. The result has ``size_out``
        outputs and reads the windows' inputs one after another: input j of window k stands at ``k * size_in + j``.
        """
        length = len(self.index)
        cover = [[k for k, start in enumerate(starts) if start <= i < start + length] for i in range(size_out)]
        most = max(len(windows) for windows in cover)
        index = np.zeros((size_out, most, self.index.shape[1]), np.int64)
        weight = np.zeros(index.shape, np.float32)
        first = np.array(starts)
        for rank in range(most):
            at = np.array([i for i, windows in enumerate(cover) if len(windows) > rank])
            window = np.array([cover[i][rank] for i in at])
            share = np.float32(1) / np.array([len(cover[i]) for i in at], np.float32)
            index[at, rank] = self.index[at - first[window]] + (window * size_in)[:, None]
            weight[at, rank] = self.weight[at - first[window]] * share[:, None]
        return Taps(index.reshape(size_out, -1), weight.reshape(size_out, -1))


def linear(size_in: int, size_out: int, align_corners: bool) -> Taps:
    """The taps of ``torch.nn.functional.interpolate(mode='bilinear')`` along one axis, computed in float32 as there."""
    output = np.arange(size_out, dtype=np.float32)
    if align_corners:
        scale = np.float32(size_in - 1) / np.float32(size_out - 1) if size_out > 1 else np.float32(0)
        position = output * scale
    else:
        scale = np.float32(size_in) / np.float32(size_out)
        position = np.maximum((output + np.float32(0.5)) * scale - np.float32(0.5), np.float32(0))
    lower = np.minimum(position.astype(np.int64), size_in - 1)
    upper = np.minimum(lower + 1, size_in - 1)
    fraction = np.minimum(position - lower.astype(np.float32), np.float32(1))
    return Taps(np.stack([lower, upper], 1), np.stack([np.float32(1) - fraction, fraction], 1))


def window_starts(length: int, crop: int, stride: int) -> list[int]:
    """First positions of the published sliding windows: the last one is pulled back to end at ``length``.

    A ``length`` below ``crop`` has one window, of that length: nothing is padded.
    """
    count = max(length - crop + stride - 1, 0) // stride + 1
    return [max(min(i * stride + crop, length) - crop, 0) for i in range(count)]


@dataclass(frozen=True)
class Tiles:
    """Taps cut into tiles of ``size`` outputs. A tile reads ``index[tile]`` and weighs it with ``weight[tile]``."""

    size: int
    index: torch.Tensor  # (tiles, inputs) int64
    weight: torch.Tensor  # (tiles, size, inputs) float32


def tile(taps: Taps, size: int, device: torch.device) -> Tiles:
    """Cut ``taps`` into tiles of ``size`` outputs; the last tile repeats the last output where it hangs over."""
    outputs = len(taps.index)
    count = -(-outputs // size)
    at = np.minimum(np.arange(count * size), outputs - 1)
    index = taps.index[at].reshape(count, -1)
    weight = taps.weight[at].reshape(count, -1)
    # taps of no weight read what another tap of the tile reads, so that they widen nothing
    some = index[np.arange(count), weight.argmax(1)]
    index = np.where(weight > 0, index, some[:, None])
    order = np.argsort(index, axis=1, kind="stable")
    ordered = np.take_along_axis(index, order, 1)
    rank_ordered = np.concatenate([np.zeros((count, 1), np.int64), (np.diff(ordered, axis=1) > 0).cumsum(1)], 1)
    rank = np.empty_like(rank_ordered)
    np.put_along_axis(rank, order, rank_ordered, 1)
    used = np.repeat(ordered[:, -1:], rank.max() + 1, axis=1)
    np.put_along_axis(used, rank, index, 1)
    dense = np.zeros((count, size, used.shape[1]), np.float32)
    tiles, taps_each = np.arange(count)[:, None], taps.index.shape[1]
    row = np.repeat(np.arange(size), taps_each)[None]
    np.add.at(dense, (tiles, row, rank), weight)
    return Tiles(size, torch.from_numpy(used).to(device), torch.from_numpy(dense).to(device))
