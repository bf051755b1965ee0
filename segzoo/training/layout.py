"""Which memory layout suits a network."""

from __future__ import annotations

import torch
from torch import nn

from segzoo.recipe import Precision

__all__ = ["suits_channels_last"]

_WIDE = 256  # channels in


def suits_channels_last(model: nn.Module, device: torch.device, precision: Precision) -> bool:
    """Whether a network is trained faster with its maps and weights laid out channels-last.

    On CPUs unless half of its convolutions' weights or more are in dense ones over an area (3 x 3) of at least 256
    channels: their weights' gradients take up to twice as long in that layout, while narrow and depthwise convolutions
    gain (Fast-SCNN a third). On GPUs where tensor cores take half precision.
    """
    if device.type != "cpu":
        return precision != "float32"
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    wide = sum(module.weight.numel() for module in convolutions if _is_wide(module))
    return 2 * wide < sum(module.weight.numel() for module in convolutions)


def _is_wide(convolution: nn.Conv2d) -> bool:
    covers_an_area = convolution.weight[0, 0].numel() > 1
    return covers_an_area and convolution.groups == 1 and convolution.in_channels >= _WIDE
