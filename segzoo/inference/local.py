"""Operations that need only the rows around those that they give.

:data:`LOCAL` has, for each function of torch that is one, what reads a call's arguments: it gives a :class:`Local`, or
None for a call that is not local after all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segzoo.inference import winograd
from segzoo.inference.convolutions import another_way
from segzoo.layers.lazy import both

__all__ = ["DROPOUTS", "LOCAL", "Local", "Rows", "Window"]

DROPOUTS = (F.dropout, F.dropout2d)

Rows = tuple[int, int]  # from the first, up to the second


@dataclass(frozen=True)
class Window:
    """Along the rows: what an operation reads around each row that it gives."""

    size: int = 1
    stride: int = 1
    padding: int = 0
    outside: float = 0.0  # the value of what lies outside the map

    def reads(self, rows: Rows) -> Rows:
        """The rows that ``rows`` of the result are computed from; they may lie outside the map."""
        first = rows[0] * self.stride - self.padding
        return first, first + (rows[1] - rows[0] - 1) * self.stride + self.size


@dataclass(frozen=True)
class Local:
    """A call: ``run(padded, *inputs)`` gives rows of its map, of ``shape`` (N, C, H, W), from rows of ``inputs``.

    Along its rows an input lacks what ``window`` reads outside of it, unless ``padded``; an input of a single row goes
    with all. ``in_place``: the first input is to become the result.
    """

    run: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]
    shape: tuple[int, ...]
    window: Window = Window()
    in_place: bool = False
    least: int = 1  # rows of the result that are worth a call


def _sizes(x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any = 1) -> tuple[Window, tuple[int, int]]:
    """The window along the rows, and height and width of the result."""
    reach = [d * (k - 1) + 1 for d, k in zip(both(dilation), both(kernel), strict=True)]
    step, border = both(stride), both(padding)
    height, width = ((n + 2 * p - r) // s + 1 for n, p, r, s in zip(x.shape[2:], border, reach, step, strict=True))
    return Window(reach[0], step[0], border[0]), (height, width)


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Local | None:
    if isinstance(padding, str):
        return None
    way = another_way(input, weight, stride, padding, dilation, groups)
    if way not in (None, winograd.convolve):
        return None
    window, size = _sizes(input, weight.shape[2:], stride, padding, dilation)
    rows, cols = both(padding)

    def run(padded: bool, x: Tensor) -> Tensor:
        border = (0 if padded else rows, cols)
        if way is not None:
            return way(x, weight, bias, border, dilation)
        return F.conv2d(x, weight, bias, stride, border, dilation, groups)

    least = 1 if way is None else winograd.rows_at_a_time(input, weight, padding, dilation)
    return Local(run, (input,), (input.shape[0], weight.shape[0], *size), window, least=least)


def _max_pool(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Local | None:
    if ceil_mode or return_indices:
        return None
    stride = stride or kernel_size
    window, size = _sizes(input, kernel_size, stride, padding, dilation)
    rows, cols = both(padding)

    def run(padded: bool, x: Tensor) -> Tensor:
        return F.max_pool2d(x, kernel_size, stride, (0 if padded else rows, cols), dilation)

    window = Window(window.size, window.stride, window.padding, outside=float("-inf"))
    return Local(run, (input,), (*input.shape[:2], *size), window)


def _mean_pool(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Local | None:
    if ceil_mode or not count_include_pad:
        return None
    stride = stride or kernel_size
    window, size = _sizes(input, kernel_size, stride, padding)
    rows, cols = both(padding)

    def run(padded: bool, x: Tensor) -> Tensor:
        border = (0 if padded else rows, cols)
        return F.avg_pool2d(x, kernel_size, stride, border, divisor_override=divisor_override)

    return Local(run, (input,), (*input.shape[:2], *size), window)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Local | None:
    if training:
        return None

    def run(padded: bool, x: Tensor) -> Tensor:
        return F.batch_norm(x, running_mean, running_var, weight, bias, eps=eps)

    return Local(run, (input,), tuple(input.shape))


def _prelu(input: Tensor, weight: Tensor) -> Local:
    return Local(lambda padded, x: F.prelu(x, weight), (input,), tuple(input.shape))


def _hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Local:
    return Local(lambda padded, x: x.clamp(min_val, max_val), (input,), tuple(input.shape), in_place=inplace)


def _of_each(function: Callable[[Tensor], Tensor]) -> Callable[..., Local]:
    def read(input: Tensor, inplace: bool = False) -> Local:
        return Local(lambda padded, x: function(x), (input,), tuple(input.shape), in_place=inplace)

    return read


def _of_two(function: Callable[[Tensor, Tensor], Tensor], in_place: bool = False) -> Callable[..., Local | None]:
    def read(input: Any, other: Any) -> Local | None:
        if not (isinstance(input, Tensor) and isinstance(other, Tensor) and input.ndim == other.ndim == 4):
            return None
        shape = tuple(torch.broadcast_shapes(input.shape, other.shape))
        if in_place and shape != tuple(input.shape):
            return None
        return Local(lambda padded, a, b: function(a, b), (input, other), shape, in_place=in_place)

    return read


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Local | None:
    if dim not in (1, -3) or any(x.ndim != 4 for x in tensors):
        return None
    shape = (tensors[0].shape[0], sum(x.shape[1] for x in tensors), *tensors[0].shape[2:])
    return Local(lambda padded, *parts: torch.cat(parts, 1), tuple(tensors), shape)


LOCAL: dict[Callable[..., Any], Callable[..., Local | None]] = {
    torch.conv2d: _convolution,
    F.batch_norm: _batch_norm,
    F.relu: _of_each(torch.relu),
    torch.relu: _of_each(torch.relu),
    F.hardtanh: _hardtanh,
    F.hardswish: _of_each(F.hardswish),
    torch.sigmoid: _of_each(torch.sigmoid),
    Tensor.sigmoid: _of_each(torch.sigmoid),
    torch.prelu: _prelu,
    F.max_pool2d: _max_pool,
    torch.max_pool2d: _max_pool,
    F.avg_pool2d: _mean_pool,
    torch.add: _of_two(torch.add),
    Tensor.add: _of_two(torch.add),
    Tensor.__add__: _of_two(torch.add),
    Tensor.__iadd__: _of_two(torch.add, in_place=True),
    Tensor.add_: _of_two(torch.add, in_place=True),
    torch.mul: _of_two(torch.mul),
    Tensor.mul: _of_two(torch.mul),
    Tensor.__mul__: _of_two(torch.mul),
    torch.cat: _cat,
}
