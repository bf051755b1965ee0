"""Convolutions computed in other ways than the library's, where those are faster on CPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from segzoo.inference import depthwise, winograd

__all__ = ["Convolving", "another_way", "convolving"]

_Way = Callable[[Tensor, Tensor, Tensor | None, Any, Any], Tensor]


class Convolving(TorchFunctionMode):
    """While active, a convolution that gains by another way is computed in that."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.conv2d and args and type(args[0]) is Tensor:
            convolved = _convolve(*args, **kwargs)
            if convolved is not None:
                return convolved
        return func(*args, **kwargs)


def convolving(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function(x)``, each convolution in the way that is fastest."""
    with Convolving():
        return function(x)


def another_way(
    input: Tensor, weight: Tensor, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> _Way | None:
    """How to compute this convolution faster than ``torch.conv2d`` does, or None: that is in float32, without
    gradients."""
    if any(x.dtype != torch.float32 or x.device.type != "cpu" for x in (input, weight)):
        return None
    if isinstance(padding, str) or input.ndim != 4:
        return None
    if torch.is_grad_enabled() and (input.requires_grad or weight.requires_grad):
        return None
    for way in (winograd, depthwise):
        if way.pays(input, weight, stride, padding, dilation, groups):
            return way.convolve
    return None


def _convolve(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    way = another_way(input, weight, stride, padding, dilation, groups)
    return None if way is None else way(input, weight, bias, padding, dilation)
