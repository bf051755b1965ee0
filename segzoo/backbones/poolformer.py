"""PoolFormer: transformer blocks in which an average pooling stands for the attention.

Paper: Yu, Luo, Zhou, Si, Zhou, Wang, Feng, Yan, "MetaFormer Is Actually What You Need for Vision", CVPR 2022
(https://arxiv.org/abs/2111.11418), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.layers.drop_path import DropPath, drop_path_rates

__all__ = ["PoolFormer"]


class Embedding(nn.Module):
    """A strided convolution that makes the next stage's map."""

    def __init__(self, in_channels: int, dim: int, kernel_size: int, stride: int, padding: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel_size, stride=stride, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class Mlp(nn.Module):
    """Two linear layers on each position, as 1 x 1 convolutions."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(dim, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Adds the pooled neighbourhood less the position itself, then the linear layers (section 3.1, figure 2).

    The norms see a picture's whole map, channels and positions alike.
    """

    def __init__(self, dim: int, *, drop_path: float, layer_scale: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(1, dim)
        self.norm2 = nn.GroupNorm(1, dim)
        self.mlp = Mlp(dim, 4 * dim)
        self.layer_scale_1 = nn.Parameter(torch.full((dim,), layer_scale))
        self.layer_scale_2 = nn.Parameter(torch.full((dim,), layer_scale))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        mixed = F.avg_pool2d(normed, 3, stride=1, padding=1, count_include_pad=False) - normed
        x = x + self.drop_path(self.layer_scale_1[:, None, None] * mixed)
        return x + self.drop_path(self.layer_scale_2[:, None, None] * self.mlp(self.norm2(x)))


class PoolFormer(nn.Module):
    """PoolFormer: four stages of blocks, each but the first at half the size of the one before.

    Args:
        depths: blocks of each stage.
        embed_dims: channels of each stage.
        drop_path_rate: probability of dropping the last block's branches, in training; it rises evenly from 0.
        layer_scale: initial value of the learned scales.
        out_indices: the stages whose features are returned, each through a norm of its own.

    As published, the first embedding keeps the weights that it starts with.

    Shapes: (N, 3, H, W) -> one (N, channels[i], about H / strides[i], W / strides[i]) per out index.
    """

    def __init__(
        self,
        *,
        depths: Sequence[int],
        embed_dims: Sequence[int],
        drop_path_rate: float = 0.0,
        layer_scale: float = 1e-5,
        out_indices: Sequence[int] = (0, 1, 2, 3),
    ) -> None:
        super().__init__()
        self.out_indices = tuple(out_indices)
        self.channels = tuple(embed_dims[i] for i in self.out_indices)
        self.strides = tuple(4 * 2**i for i in self.out_indices)
        self.patch_embed = Embedding(3, embed_dims[0], 7, 4, 2)
        self.patch_embed.requires_grad_(False)
        # As published, stages and the embeddings between them are one list, and its places name the norms.
        self.network = nn.ModuleList()
        for i, rates in enumerate(drop_path_rates(drop_path_rate, depths)):
            dim = embed_dims[i]
            if i > 0:
                self.network.append(Embedding(embed_dims[i - 1], dim, 3, 2, 1))
            setattr(self, f"norm{2 * i}", nn.GroupNorm(1, dim))
            self.network.append(nn.Sequential(*(Block(dim, drop_path=rate, layer_scale=layer_scale) for rate in rates)))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.patch_embed(x)
        features = []
        for i in range(max(self.out_indices) + 1):
            if i > 0:
                x = self.network[2 * i - 1](x)
            x = self.network[2 * i](x)
            if i in self.out_indices:
                features.append(getattr(self, f"norm{2 * i}")(x))
        return features
