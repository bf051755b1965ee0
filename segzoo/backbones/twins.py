"""Twins: PCPVT, attention to a coarser map, and SVT, which alternates it with attention within windows.

Papers: Chu et al., "Twins: Revisiting the Design of Spatial Attention in Vision Transformers", NeurIPS 2021
(https://arxiv.org/abs/2104.13840), section 3; the positions are from Chu et al., "Conditional Positional Encodings for
Vision Transformers", ICLR 2023 (https://arxiv.org/abs/2102.10882), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segzoo.errors import InputSizeError
from segzoo.layers.attention import SelfAttention
from segzoo.layers.drop_path import drop_path_rates
from segzoo.layers.patch_embed import PatchEmbed
from segzoo.layers.transformer import FeedForward, TransformerBlock, init_linear
from segzoo.layers.windows import LocallyGroupedAttention

__all__ = ["PCPVT", "SVT", "ConditionalPositionEncoding"]


class ConditionalPositionEncoding(nn.Module):
    """Adds a depthwise 3 x 3 convolution of the map to it, whose zero padding tells where a token is.

    Shapes: (N, H, W, dim) -> the same.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def twice(rate: float) -> float:
    """The rate that dropping a branch at ``rate`` two times, one after the other, comes to."""
    return 1 - (1 - rate) ** 2


class PCPVT(nn.Module):
    """Twins-PCPVT; any size of picture at which no stage is smaller than its ``sr_ratio``.

    Args:
        embed_dims, depths, num_heads: channels and blocks of each stage, and heads of each block.
        patch_sizes: side of the patches that begin each stage, thus its stride on the one before.
        mlp_ratios: width of the feed-forward layers of each stage over its channels.
        sr_ratios: how much coarser than the queries the keys and values of each stage are.
        norm_after_stage: whether a norm follows each stage.
        drop_path_rate: probability of dropping a branch of the last block, in training; it grows from 0 at the first.
            The published networks drop a branch twice in a row, and so does this.
        out_indices: the stages whose features are returned.

    Shapes: (N, 3, H, W) -> one (N, channels[i], H / strides[i], W / strides[i]) per out index.

    Raises:
        InputSizeError: a stage is smaller than its ``sr_ratio``.
    """

    def __init__(
        self,
        *,
        embed_dims: Sequence[int],
        depths: Sequence[int],
        num_heads: Sequence[int],
        patch_sizes: Sequence[int] = (4, 2, 2, 2),
        mlp_ratios: Sequence[int] = (4, 4, 4, 4),
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        norm_after_stage: bool = False,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
    ) -> None:
        super().__init__()
        self.out_indices = tuple(out_indices)
        self.patch_embeds = nn.ModuleList()
        self.position_encodings = nn.ModuleList()
        self.layers = nn.ModuleList()
        self.norm_list = nn.ModuleList()
        rates = drop_path_rates(drop_path_rate, depths)
        in_channels, reduction, self.smallest = 3, 1, 1
        reductions = []
        for i, dim in enumerate(embed_dims):
            self.patch_embeds.append(PatchEmbed(in_channels, dim, patch_sizes[i], norm_eps=1e-5))
            self.position_encodings.append(ConditionalPositionEncoding(dim))
            self.layers.append(
                nn.ModuleList(
                    self.block(j, dim, num_heads[i], mlp_ratios[i] * dim, sr_ratios[i], rate)
                    for j, rate in enumerate(rates[i])
                )
            )
            self.norm_list.append(nn.LayerNorm(dim) if norm_after_stage else nn.Identity())
            in_channels, reduction = dim, reduction * patch_sizes[i]
            self.smallest = max(self.smallest, reduction * (sr_ratios[i] - 1) + 1)
            reductions.append(reduction)
        self.channels = tuple(embed_dims[i] for i in self.out_indices)
        self.strides = tuple(reductions[i] for i in self.out_indices)
        self.apply(init_linear)

    def block(self, index: int, dim: int, num_heads: int, hidden: int, reduction: int, rate: float) -> TransformerBlock:
        """Block ``index`` of a stage; SVT puts other ones at the even indices."""
        attention = SelfAttention(dim, num_heads, reduction=reduction)
        return TransformerBlock(dim, attention, FeedForward(dim, hidden), drop_path=twice(rate))

    def forward(self, x: Tensor) -> list[Tensor]:
        if any(side < self.smallest for side in x.shape[2:]):
            size = f"{self.smallest} x {self.smallest}"
            raise InputSizeError(f"found a picture of {x.shape[2]} x {x.shape[3]}; Twins takes at least {size}")
        features = []
        for i in range(max(self.out_indices) + 1):
            x = self.patch_embeds[i](x)
            for j, block in enumerate(self.stage(i)):
                x = block(x)
                if j == 0:
                    x = self.position_encodings[i](x)
            x = self.norm_list[i](x).permute(0, 3, 1, 2)
            if i in self.out_indices:
                features.append(x.contiguous())
        return features

    def stage(self, i: int) -> list[nn.Module]:
        """The blocks of stage ``i``."""
        return list(self.layers[i].children())


class SVT(PCPVT):
    """Twins-SVT: as PCPVT, but each stage's first, third ... block attends within windows of ``window_size``."""

    def __init__(
        self,
        *,
        embed_dims: Sequence[int],
        depths: Sequence[int],
        num_heads: Sequence[int],
        patch_sizes: Sequence[int] = (4, 2, 2, 2),
        mlp_ratios: Sequence[int] = (4, 4, 4, 4),
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        window_size: int = 7,
        norm_after_stage: bool = True,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
    ) -> None:
        self.window_size = window_size
        super().__init__(
            embed_dims=embed_dims,
            depths=depths,
            num_heads=num_heads,
            patch_sizes=patch_sizes,
            mlp_ratios=mlp_ratios,
            sr_ratios=sr_ratios,
            norm_after_stage=norm_after_stage,
            drop_path_rate=drop_path_rate,
            out_indices=out_indices,
        )

    def block(self, index: int, dim: int, num_heads: int, hidden: int, reduction: int, rate: float) -> TransformerBlock:
        if index % 2:
            return super().block(index, dim, num_heads, hidden, reduction, rate)
        attention = LocallyGroupedAttention(dim, num_heads, self.window_size)
        return TransformerBlock(dim, attention, FeedForward(dim, hidden), drop_path=(rate, twice(rate)))
