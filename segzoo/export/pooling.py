"""Adaptive average pooling in operations that every runtime has, for sizes that are not known yet.

Bin i of k along a side of n positions is the mean of positions floor(i n / k) to ceil((i + 1) n / k) - 1; neighbouring
bins share a position where k does not divide n. Pooling kernels of one size cannot say that, which is why exporters
refuse it or change it. As a matrix (k, n) of shares it can be said of any n, and two matrix products pool a map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["ExactPooling", "adaptive_average_pool", "shares"]


def shares(length: int, bins: int, like: Tensor) -> Tensor:
    """How much each of ``length`` positions counts in each of ``bins`` means: (bins, length), each row sums to 1.

    ``length`` may be symbolic. The result has the type and device of ``like``.
    """
    place = torch.arange(length, device=like.device)
    first = [i * length // bins for i in range(bins)]
    last = [((i + 1) * length + bins - 1) // bins for i in range(bins)]
    rows = [((place >= a) & (place < b)).to(like.dtype) / (b - a) for a, b in zip(first, last, strict=True)]
    return torch.stack(rows)


def adaptive_average_pool(x: Tensor, output_size: int | Sequence[int | None] | None) -> Tensor:
    """What ``torch.nn.functional.adaptive_avg_pool2d`` computes of ``x`` (N, C, H, W), as two matrix products."""
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    if tuple(given) == (1, 1):
        return x.mean((2, 3), keepdim=True)
    down, across = (side if bins is None else bins for bins, side in zip(given, x.shape[2:], strict=True))
    return shares(x.shape[2], down, x) @ (x @ shares(x.shape[3], across, x).T)


class ExactPooling(TorchFunctionMode):
    """While active, adaptive average pooling is :func:`adaptive_average_pool`."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.adaptive_avg_pool2d:
            return adaptive_average_pool(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))
