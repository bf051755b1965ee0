"""A learned factor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Scale"]


class Scale(nn.Module):
    """Multiplies by one learned number, ``initial`` at first; shapes are kept."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(initial)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale
