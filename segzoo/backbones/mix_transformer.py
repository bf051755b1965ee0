"""The Mix Transformer (MiT) of SegFormer: overlapping patches, no position table, a convolution in each block.

Paper: Xie, Wang, Yu, Anandkumar, Alvarez, Luo, "SegFormer: Simple and Efficient Design for Semantic Segmentation
with Transformers", NeurIPS 2021 (https://arxiv.org/abs/2105.15203), section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segzoo.errors import InputSizeError
from segzoo.layers.attention import SelfAttention
from segzoo.layers.drop_path import drop_path_rates
from segzoo.layers.patch_embed import PatchEmbed
from segzoo.layers.transformer import TransformerBlock, init_linear

__all__ = ["MixFFN", "MixVisionTransformer"]


class MixFFN(nn.Module):
    """A feed-forward layer with a depthwise 3 x 3 convolution inside, whose zero padding tells where a token is.

    Shapes: (N, H, W, dim) -> the same.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(dim, hidden, 1),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
            nn.GELU(),
            nn.Identity(),  # a dropout in the published networks, of probability 0; it counts in the keys
            nn.Conv2d(hidden, dim, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class MixVisionTransformer(nn.Module):
    """MiT; B0 to B5 differ in width and depth.

    Args:
        embed_dims: channels of a head, thus of the first stage.
        num_layers: blocks of each stage.
        num_heads: heads of each stage; a stage has ``embed_dims`` channels per head.
        patch_sizes: side of the overlapping patches that begin each stage.
        strides: distance of these patches.
        sr_ratios: how much coarser than the queries the keys and values of each stage are.
        mlp_ratio: width of the feed-forward layers over that of their stage.
        drop_path_rate: probability of dropping a branch of the last block, in training; it grows from 0 at the first.
        out_indices: the stages whose features are returned.

    Shapes: (N, 3, H, W) -> one (N, channels[i], H / strides[i], W / strides[i]) per out index.

    Raises:
        InputSizeError: a stage is smaller than its ``sr_ratio``.
    """

    def __init__(
        self,
        *,
        embed_dims: int,
        num_layers: Sequence[int],
        num_heads: Sequence[int] = (1, 2, 5, 8),
        patch_sizes: Sequence[int] = (7, 3, 3, 3),
        strides: Sequence[int] = (4, 2, 2, 2),
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        mlp_ratio: int = 4,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
    ) -> None:
        super().__init__()
        self.out_indices = tuple(out_indices)
        self.layers = nn.ModuleList()
        rates = drop_path_rates(drop_path_rate, num_layers)
        in_channels, reduction, self.smallest = 3, 1, 1
        channels, reductions = [], []
        for i, heads in enumerate(num_heads):
            dim = embed_dims * heads
            embed = PatchEmbed(
                in_channels, dim, patch_sizes[i], stride=strides[i], padding=patch_sizes[i] // 2, norm_eps=1e-6
            )
            blocks = (
                TransformerBlock(
                    dim,
                    SelfAttention(dim, heads, reduction=sr_ratios[i], norm_eps=1e-6),
                    MixFFN(dim, mlp_ratio * dim),
                    norm_eps=1e-6,
                    drop_path=rate,
                )
                for rate in rates[i]
            )
            self.layers.append(nn.Sequential(embed, nn.Sequential(*blocks), nn.LayerNorm(dim, eps=1e-6)))
            in_channels, reduction = dim, reduction * strides[i]
            self.smallest = max(self.smallest, reduction * (sr_ratios[i] - 1) + 1)
            channels.append(dim)
            reductions.append(reduction)
        self.channels = tuple(channels[i] for i in self.out_indices)
        self.strides = tuple(reductions[i] for i in self.out_indices)
        self.apply(init_linear)

    def forward(self, x: Tensor) -> list[Tensor]:
        if any(side < self.smallest for side in x.shape[2:]):
            size = f"{self.smallest} x {self.smallest}"
            raise InputSizeError(f"found a picture of {x.shape[2]} x {x.shape[3]}; MiT takes at least {size}")
        features = []
        for i in range(max(self.out_indices) + 1):
            x = self.layers[i](x).permute(0, 3, 1, 2)
            if i in self.out_indices:
                features.append(x.contiguous())
        return features
