"""Bilinear resizing of feature maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from segzoo.layers.symbolic import known

__all__ = ["concat_resized", "resize"]


def resize(x: Tensor, size: Sequence[int], *, align_corners: bool = False) -> Tensor:
    """Bilinear resize of (N, C, H, W) to (N, C, *size); the input itself where the size is already right."""
    if all(known(found == wanted) for found, wanted in zip(x.shape[2:], size, strict=True)):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=align_corners)


def concat_resized(features: Sequence[Tensor], *, align_corners: bool = False) -> Tensor:
    """Feature maps of (N, Ci, Hi, Wi), brought to the first one's size and concatenated along the channels."""
    if len(features) == 1:
        return features[0]
    size = features[0].shape[2:]
    return torch.cat([resize(f, size, align_corners=align_corners) for f in features], dim=1)
