"""Convolutions moved before the resizes that feed them.

Heads bring coarse maps to the size of a fine one, join them and convolve: most of that work is on values that the
resize made up. Bilinear resizing acts on every channel alike and a convolution of stride 1 is a sum over channels and
taps, so the channels can be mixed at the coarse size and each tap's result resized and shifted instead: the same sum
in another order, exact but for rounding, and the multiplications shrink by the resize's ratio.

While :class:`Deferring` is active a bilinear resize gives a :class:`Resized`, which has a shape but no values yet.
Joining and convolving it keep it so; whatever else reads it makes the values first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from segzoo.layers.lazy import LazyMap, both, keeps_size, made

__all__ = ["Deferring", "Joined", "Resized", "deferred"]

_LARGEST = 128  # side of a map up to which its resize is cheap as a product of dense matrices
_GAIN = 2  # by how much multiplications must shrink for a convolution to be moved
_bilinear = torch.ops.aten.upsample_bilinear2d.default  # what interpolate calls, and Deferring does not put off


class _Lazy(LazyMap):
    """A map (N, C, H, W) that is known but not computed."""

    _dense: Tensor | None = None

    def dense(self) -> Tensor:
        """The values; the first call computes them, with gradients even if whoever asks first wants none."""
        if self._dense is None:
            with torch.set_grad_enabled(self.is_differentiable):
                self._dense = self._compute()
        return self._dense

    def _compute(self) -> Tensor:
        raise NotImplementedError

    @property
    def is_differentiable(self) -> bool:
        """Whether the values are part of a graph of gradients; the map itself does not say, as it is outside."""
        raise NotImplementedError


class Resized(_Lazy):
    """``source`` (N, C, h, w) resized to (N, C, H, W)."""

    def __init__(self, source: Tensor, shape: Sequence[int], align_corners: bool) -> None:
        self.source, self.align_corners = source, align_corners

    def _compute(self) -> Tensor:
        return self.resize(self.source)

    @property
    def is_differentiable(self) -> bool:
        return self.source.requires_grad

    def resize(self, x: Tensor) -> Tensor:
        """``x`` (N, any, h, w) at the size of this map."""
        if max(x.shape[2:]) > _LARGEST or (
            x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        ):
            return _bilinear(x, self.shape[2:], self.align_corners)
        # torch's own kernel takes ten times as long as a copy on this layout; the same sums as two products do not
        return _weights(self, 2, [0]) @ (x @ _weights(self, 3, [0]).T)


class Joined(_Lazy):
    """``parts``, some of them resized, side by side along the channels."""

    def __init__(self, like: Tensor, shape: Sequence[int], parts: list[Tensor]) -> None:
        self.parts = parts

    def _compute(self) -> Tensor:
        return torch.cat(made(self.parts), 1)

    @property
    def is_differentiable(self) -> bool:
        return any(_is_differentiable(part) for part in self.parts)


class Deferring(TorchFunctionMode):
    """While active, bilinear enlargements are put off. Values that leave the context must be dense."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        lazily: Tensor | None = None
        if func is F.interpolate:
            lazily = _defer(*args, **kwargs)
        elif func is torch.cat and args and any(isinstance(x, _Lazy) for x in args[0]):
            lazily = _join(*args, **kwargs)
        elif func is torch.conv2d and args and isinstance(args[0], _Lazy):
            lazily = _convolve(*args, **kwargs)
        return func(*args, **kwargs) if lazily is None else lazily


def deferred(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function(x)`` with its enlargements put off; the result is dense."""
    with Deferring():
        out = function(x)
    values: Tensor = made(out)
    return values


def _is_differentiable(x: Tensor) -> bool:
    return x.is_differentiable if isinstance(x, _Lazy) else x.requires_grad


def _defer(
    input: Tensor,
    size: Sequence[int] | None = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Resized | None:
    """A deferred enlargement, or None where it is to be done at once. The arguments are those of ``interpolate``."""
    if mode != "bilinear" or antialias or not isinstance(size, (tuple, list)) or isinstance(input, _Lazy):
        return None
    if size[0] * size[1] < 2 * input.shape[2] * input.shape[3]:
        return None
    if input.requires_grad and not torch.is_grad_enabled():
        return None  # what is read later, with gradients on, must not have any
    return Resized(input, (*input.shape[:2], *size), bool(align_corners))


def _join(tensors: Sequence[Tensor], dim: int = 0) -> Joined | None:
    if dim not in (1, -3) or any(t.ndim != 4 for t in tensors):
        return None
    parts = [p for t in tensors for p in (t.parts if isinstance(t, Joined) else [t])]
    if not torch.is_grad_enabled() and any(_is_differentiable(p) for p in parts):
        return None
    return Joined(parts[0], (parts[0].shape[0], sum(p.shape[1] for p in parts), *parts[0].shape[2:]), parts)


def _convolve(
    x: Resized | Joined,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    """The convolution of a lazy map, or None where it is to be computed on its values."""
    taps, step = weight.shape[2:], both(dilation)
    if groups != 1 or both(stride) != (1, 1) or not keeps_size(taps, padding, dilation):
        return None
    parts = x.parts if isinstance(x, Joined) else [x]
    dense: list[tuple[Tensor, Tensor]] = []
    coarse: list[tuple[Resized, Tensor]] = []
    for part, kernel in zip(parts, weight.split([p.shape[1] for p in parts], 1), strict=True):
        if isinstance(part, Resized) and _is_worth_it(part, kernel):
            coarse.append((part, kernel))
        else:
            dense.append((made(part), kernel))
    if not coarse:
        return None
    out = _mixed(coarse, step)
    for fine, kernel in _merged(dense):
        out.add_(F.conv2d(fine, kernel, None, 1, padding, dilation))
    return out if bias is None else out.add_(bias.view(1, -1, 1, 1))


def _merged(dense: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Maps and kernels whose convolutions sum to that of all: narrow maps are joined, while adding the results of wide
    ones costs less than joining them."""
    wide = [(x, kernel) for x, kernel in dense if x.shape[1] >= kernel.shape[0]]
    narrow = [(x, kernel) for x, kernel in dense if x.shape[1] < kernel.shape[0]]
    if len(narrow) > 1:
        xs, kernels = zip(*narrow, strict=True)
        narrow = [(torch.cat(xs, 1), torch.cat(kernels, 1))]
    return wide + narrow


def _is_worth_it(part: Resized, kernel: Tensor) -> bool:
    """Whether mixing at the source's size, and resizing what comes of it, is less work."""
    outputs, channels, down, across = kernel.shape
    (height, width), (tall, wide) = part.source.shape[2:], part.shape[2:]
    if down * across == 1:
        return outputs <= channels  # else more is resized than before
    if max(height, width) > _LARGEST:
        return False
    direct = channels * down * across * tall * wide
    moved = channels * down * across * height * width + down * height * wide * (across * width + tall)
    return moved * _GAIN <= direct


def _mixed(parts: list[tuple[Resized, Tensor]], step: tuple[int, int]) -> Tensor:
    """The convolution of ``parts`` joined: channels mixed at each one's own size, for each tap."""
    if parts[0][1].shape[2:].numel() == 1:
        return functools.reduce(Tensor.add_, (part.resize(F.conv2d(part.source, kernel)) for part, kernel in parts))
    rows, mixed = zip(*(_mixed_across(part, kernel, step) for part, kernel in parts), strict=True)
    return torch.cat(rows, 1) @ torch.cat(mixed, 2)


def _mixed_across(part: Resized, kernel: Tensor, step: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A factor for all columns (H, taps down * h), and what it is to be multiplied with, resized along the rows and
    its taps across summed: (N, outputs, taps down * h, W)."""
    outputs, channels, down, across = kernel.shape
    batch, _, height, width = part.source.shape
    mixed = kernel.permute(2, 3, 0, 1).reshape(-1, channels) @ part.source.flatten(2)
    mixed = mixed.view(batch, down, across, outputs, height, width).permute(0, 3, 1, 4, 2, 5)
    mixed = mixed.reshape(batch, outputs, down * height, across * width)
    rows, cols = ([d * (i - k // 2) for i in range(k)] for d, k in zip(step, (down, across), strict=True))
    return _weights(part, 2, rows), mixed @ _weights(part, 3, cols).T


def _weights(part: Resized, axis: int, shifts: list[int]) -> Tensor:
    """How the source's positions along ``axis`` weigh in every position of the resized map, shifted by each of
    ``shifts`` and nothing where that lies outside: (size, shifts * source's size)."""
    size_in, size_out = part.source.shape[axis], part.shape[axis]
    exact = torch.float64 if part.dtype == torch.float64 else torch.float32
    eye = torch.eye(size_in, dtype=exact, device=part.source.device)[None, :, :, None]
    weights = _bilinear(eye, (size_out, 1), part.align_corners)[0, :, :, 0].T
    out = weights.new_zeros(size_out, len(shifts), size_in)
    for tap, shift in enumerate(shifts):
        low, high = max(0, -shift), min(size_out, size_out - shift)
        if high > low:
            out[low:high, tap] = weights[low + shift : high + shift]
    return out.flatten(1).to(part.dtype)
