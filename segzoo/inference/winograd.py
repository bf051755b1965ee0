"""3 x 3 convolutions with a quarter of the multiplications.

The outputs of a tile of 4 x 4 share their inputs. Evaluated as polynomials at six points a side, inputs and weights of
a tile are multiplied point by point, 36 products instead of 144, and interpolated (Lavin and Gray, Fast Algorithms for
Convolutional Neural Networks, CVPR 2016, section 4). For each of the 36 the sum over channels is a product of
matrices; so are the transforms. With the points below, rounding moves the outputs by 1e-6 of their root mean square; a
direct float32 convolution moves them by 4e-7.

A dilated convolution is one on every d-th row and column, for each of d * d phases.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from segzoo.layers.lazy import both

__all__ = ["convolve", "may_pay", "pays", "rows_at_a_time"]

_TILE, _TAPS = 4, 3
_SIDE = _TILE + _TAPS - 1
# And infinity. Of the sets of small fractions these round least (Barabasz et al., Error Analysis and Improving the
# Accuracy of Winograd Convolution for Deep Neural Networks, ACM TOMS 2020, section 5).
_POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2))
# What stands at a time is to stay small beside the maps: tiles of a map, at most so many times the outputs, from so
# many channels.
_TILES, _SUMS, _CHANNELS = 512, 3 << 16, 128
# Work in multiplications at the rate of a matrix product, fitted to times of maps from 16 x 32 to 128 x 256 and of 64
# to 2048 channels: transforming a channel of a point, and making one's weights as if for so many tiles more.
_TRANSFORM, _WEIGHTS = 170, 80
_LEAST_GAIN = 1.25


def may_pay(module: nn.Module) -> bool:
    """Whether ``module`` is a convolution that gains by it on large maps."""
    if not isinstance(module, nn.Conv2d) or not _is_plain(module.weight, module.stride, module.dilation, module.groups):
        return False
    large = torch.empty(1, module.in_channels, 1024, 1024, device="meta")
    return pays(large, module.weight, module.stride, 1, 1, module.groups)


def pays(input: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> bool:
    """Whether this convolution of ``input`` (N, C, H, W) is faster so. It is with channels last, of which the weights
    tell; else copies from one layout to the other take what is gained."""
    if weight.stride(1) != 1 or not _is_plain(weight, stride, dilation, groups):
        return False
    grid = _grid(input, weight, padding, dilation)
    if min(grid.height, grid.width) < 1:
        return False
    return _gain(weight.shape, grid.height * grid.width, grid.tiles(grid.down), grid.blocks) >= _LEAST_GAIN


def rows_at_a_time(input: Tensor, weight: Tensor, padding: Any, dilation: Any) -> int:
    """Rows of the result for which the weights are transformed once: fewer should not be asked for."""
    grid = _grid(input, weight, padding, dilation)
    return min(grid.height, grid.rows * grid.side)


def convolve(input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any, dilation: Any) -> Tensor:
    """What ``torch.conv2d`` gives, in the layout of ``input``."""
    grid = _grid(input, weight, padding, dilation)
    outputs, channels = weight.shape[:2]
    taps = weight.permute(0, 2, 3, 1).reshape(outputs, _TAPS**2, channels)
    out = input.new_empty(input.shape[0], grid.height, grid.width, outputs)
    points = input.new_empty(_SIDE**2, grid.tiles(grid.rows), outputs)
    for picture, result in zip(input, out, strict=True):
        for first in range(0, grid.down, grid.rows):
            count = min(grid.rows, grid.down - first)
            some = points[:, : grid.tiles(count)]
            _multiply(picture, taps, grid, both(padding), (first, count), some)
            rows = result[first * grid.side : (first + count) * grid.side]
            _interpolate(some, grid, count, rows)
            if bias is not None:
                rows += bias
    maps = out.permute(0, 3, 1, 2)
    return maps.contiguous() if input.is_contiguous() else maps


def _is_plain(weight: Tensor, stride: Any, dilation: Any, groups: int) -> bool:
    step = both(dilation)
    return tuple(weight.shape[2:]) == (_TAPS, _TAPS) and both(stride) == (1, 1) and groups == 1 and step[0] == step[1]


def _gain(weight: Sequence[int], positions: int, tiles: int, blocks: int) -> float:
    """Time of the direct convolution over ours, by the work in both."""
    outputs, channels = weight[:2]
    direct = _TAPS**2 * positions * outputs * channels
    products = (tiles + _WEIGHTS * blocks) * outputs * channels
    return direct / (_SIDE**2 * (products + _TRANSFORM * tiles * (outputs + channels)))


@dataclass(frozen=True)
class _Grid:
    """A result (height, width) in tiles, of every ``step``-th row and column."""

    height: int
    width: int
    step: int
    most: int  # tiles of all phases to compute at a time

    @property
    def side(self) -> int:
        """Rows of the result that a row of tiles of all phases covers."""
        return _TILE * self.step

    @property
    def down(self) -> int:
        """Tiles of a phase, along the rows."""
        return -(-self.height // self.side)

    @property
    def across(self) -> int:
        """Tiles of a phase, along the columns."""
        return -(-self.width // self.side)

    @property
    def blocks(self) -> int:
        """In how many parts the tiles are computed: of about ``most`` tiles, since a small rest is not worth a part."""
        return min(self.down, max(1, round(self.tiles(self.down) / self.most)))

    @property
    def rows(self) -> int:
        """How many of ``down`` are computed at a time."""
        return -(-self.down // self.blocks)

    def tiles(self, rows: int) -> int:
        """Tiles of all phases in ``rows`` of ``down``."""
        return rows * self.across * self.step**2


def _grid(x: Tensor, weight: Tensor, padding: Any, dilation: Any) -> _Grid:
    step = both(dilation)[0]
    height, width = (n + 2 * p - step * (_TAPS - 1) for n, p in zip(x.shape[2:], both(padding), strict=True))
    return _Grid(height, width, step, min(_TILES, max(1, _SUMS // weight.shape[0])))


def _multiply(
    picture: Tensor, taps: Tensor, grid: _Grid, padding: tuple[int, int], part: tuple[int, int], out: Tensor
) -> None:
    """Write the results at each point, (points, tiles, outputs), of the rows of tiles from the first of ``part`` on, as
    many as the second says, to ``out``. ``picture`` is (C, H, W), ``taps`` (outputs, taps, C)."""
    _, of_weights, of_inputs = _transforms()
    step, side, (first, count) = grid.step, grid.side, part
    reach = (_TAPS - 1) * step
    for low in range(0, taps.shape[2], _CHANNELS):
        channels = slice(low, low + _CHANNELS)
        x = _rows(picture[channels], padding, first * side, (count * side + reach, grid.across * side + reach))
        row, col, _ = x.stride()
        windows = x.as_strided(
            (_SIDE, _SIDE, count, step, grid.across, step, x.shape[2]),
            (row * step, col * step, row * side, row, col * side, col, 1),
        )
        inputs = (of_inputs @ windows.reshape(_SIDE**2, -1)).view(_SIDE**2, -1, x.shape[2])
        weights = torch.matmul(of_weights, taps[..., channels]).permute(1, 2, 0)  # (points, channels, outputs)
        torch.baddbmm(out, inputs, weights, beta=int(low > 0), out=out)


def _rows(picture: Tensor, padding: tuple[int, int], first: int, size: tuple[int, int]) -> Tensor:
    """``size`` of the padded ``picture`` (C, H, W) from row ``first`` on, as (rows, cols, C); zeros lie outside it."""
    (top, left), (_, height, width) = padding, picture.shape
    low, high = max(first - top, 0), min(first - top + size[0], height)
    right = min(width, size[1] - left)
    out = picture.new_zeros(*size, picture.shape[0])
    if low < high:
        out[low - first + top : high - first + top, left : left + right] = picture[:, low:high, :right].permute(1, 2, 0)
    return out


def _interpolate(points: Tensor, grid: _Grid, count: int, rows: Tensor) -> None:
    """Write what ``count`` rows of tiles come to, given at each point, to ``rows`` (H, W, outputs)."""
    of_results, _, _ = _transforms()
    shape = (_TILE, _TILE, count, grid.step, grid.across, grid.step, points.shape[2])
    tiles = (of_results @ points.flatten(1)).view(shape).permute(2, 0, 3, 4, 1, 5, 6)
    whole = (count * grid.side, grid.across * grid.side)
    if rows.shape[:2] == whole:
        rows.view(tiles.shape).copy_(tiles)
    else:
        rows.copy_(tiles.reshape(*whole, -1)[: rows.shape[0], : rows.shape[1]])


@functools.cache
def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Of results (outputs of a tile, points), of weights (points, taps) and of inputs (points, inputs of a tile)."""
    # At infinity, the last point, a polynomial is its leading coefficient.
    results = [[p**i for p in _POINTS] + [Fraction(i == _TILE - 1)] for i in range(_TILE)]
    weights = [[p**i / _product(p, _POINTS) for i in range(_TAPS)] for p in _POINTS]
    weights.append([Fraction(i == _TAPS - 1) for i in range(_TAPS)])
    inputs = [[*_coefficients([q for q in _POINTS if q != p]), Fraction(0)] for p in _POINTS]
    inputs.append(_coefficients(_POINTS))
    one = [torch.tensor([[float(v) for v in row] for row in matrix]) for matrix in (results, weights, inputs)]
    both_sides = [torch.kron(matrix, matrix) for matrix in one]
    return both_sides[0], both_sides[1], both_sides[2]


def _product(p: Fraction, points: Sequence[Fraction]) -> Fraction:
    return math.prod((p - q for q in points if q != p), start=Fraction(1))


def _coefficients(roots: Sequence[Fraction]) -> list[Fraction]:
    """Of the polynomial with these roots, from the constant on."""
    found = [Fraction(1)]
    for root in roots:
        found = [low - root * high for low, high in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found
