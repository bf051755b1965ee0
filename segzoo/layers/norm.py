"""Normalisation over the channels of a map."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["LayerNorm2d"]


class LayerNorm2d(nn.LayerNorm):
    """Layer norm (Ba et al., 2016, https://arxiv.org/abs/1607.06450) of each position's channels.

    Shapes: (N, C, H, W) -> the same, in memory with the channels last.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
