"""Expectation-maximisation attention.

Source: Li, Zhong, Wu, Yang, Lin, Liu, "Expectation-Maximization Attention Networks for Semantic Segmentation", ICCV
2019 (https://arxiv.org/abs/1907.13426), section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

__all__ = ["ExpectationMaximizationAttention"]


class ExpectationMaximizationAttention(nn.Module):
    """Describes the positions by ``num_bases`` bases that ``num_stages`` steps of EM fit to each picture.

    The steps start from the buffer ``bases``, which follows the fitted ones in training (section 3.4): their mean
    over the batch, and over all processes where there are several, enters with weight ``momentum``. Nothing is
    differentiated: neither the bases nor the output pass a gradient on.

    Shapes: (N, channels, H, W) -> the same, of rank ``num_bases`` at most.
    """

    bases: Tensor

    def __init__(self, channels: int, *, num_bases: int, num_stages: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.num_stages = num_stages
        self.momentum = momentum
        bases = torch.empty(1, channels, num_bases).normal_(0.0, (2.0 / num_bases) ** 0.5)
        self.register_buffer("bases", F.normalize(bases, dim=1))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        # Both steps sum over every position: in half precision they would overflow.
        with torch.autocast(x.device.type, enabled=False):
            positions = x.flatten(2).float()
            bases = self.bases.float().expand(len(x), -1, -1)
            for _ in range(self.num_stages):
                shares = (positions.transpose(1, 2) @ bases).softmax(dim=2)
                bases = F.normalize(positions @ F.normalize(shares, p=1.0, dim=1), dim=1)
            if self.training:
                self.follow(bases)
            return (bases @ shares.transpose(1, 2)).view_as(x).to(x.dtype)

    def follow(self, fitted: Tensor) -> None:
        """Moves the buffer towards the mean of the fitted bases (N, channels, num_bases)."""
        mean = fitted.mean(dim=0, keepdim=True)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(mean)
            mean /= distributed.get_world_size()
        self.bases.lerp_(F.normalize(mean, dim=1).to(self.bases.dtype), self.momentum)
