"""A network small enough to be evaluated on every data set."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.index import Entry, dataset, find

__all__ = ["Small"]


class Small(nn.Module):
    """Logits of the right number of classes at a quarter of the size, from one convolution."""

    def __init__(
        self, data: str, scale: tuple[int, int] | None = (64, 32), classes: tuple[str, ...] | None = None
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.classes = classes or dataset(data).classes
        self.palette = tuple((i % 256, 0, 0) for i in range(len(self.classes)))
        self.num_classes = len(self.classes)
        self.align_corners = False
        self.weight = nn.Parameter(torch.randn(self.num_classes, 3, 4, 4, generator=generator))
        known = find("fast_scnn_cityscapes")
        self.entry: Entry = dataclasses.replace(
            known, name="small", dataset=data, protocol=dataclasses.replace(known.protocol, scale=scale)
        )

    def logits(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, stride=4)
