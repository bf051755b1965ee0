"""ViT and DeiT: the plain vision transformer, with a learned table of positions.

Papers: Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR 2021
(https://arxiv.org/abs/2010.11929), section 3; Touvron et al., "Training data-efficient image transformers &
distillation through attention", ICML 2021 (https://arxiv.org/abs/2012.12877), which trains the same network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.backbones.plain_transformer import PlainTransformer, as_map
from segzoo.layers.attention import SelfAttention
from segzoo.layers.drop_path import drop_path_rates
from segzoo.layers.symbolic import known
from segzoo.layers.transformer import FeedForward, TransformerBlock, init_linear

__all__ = ["VisionTransformer", "resize_positions"]


def resize_positions(
    table: Tensor, grid: Sequence[int], size: Sequence[int], mode: Literal["bilinear", "bicubic"]
) -> Tensor:
    """A table of positions for another size (section 3.2); the class token's row is kept.

    Args:
        table: (1, 1 + h * w, C) for a ``grid`` of h rows and w columns.
        size: rows and columns wanted.
        mode: interpolation.

    Returns:
        (1, 1 + size[0] * size[1], C).
    """
    places = table[:, 1:].transpose(1, 2).unflatten(2, tuple(grid))
    places = F.interpolate(places, size=tuple(size), mode=mode, align_corners=False)
    return torch.cat([table[:, :1], places.flatten(2).transpose(1, 2)], dim=1)


class VisionTransformer(PlainTransformer):
    """ViT; any size of picture, padded at the bottom and right to whole patches.

    Args:
        image_size: height and width that the table of positions is for; it is interpolated for others.
        embed_dims, num_layers, num_heads: width, blocks, and heads of each block.
        patch_size: side of a patch.
        mlp_ratio: width of the feed-forward layers over ``embed_dims``.
        out_indices: the blocks whose tokens are returned, as maps; negative ones count from the last.
        with_cls_token: whether the blocks see the class token; its parameter is there in any case.
        output_cls_token: appends the class token to every position of the maps, which doubles their channels.
        final_norm: whether a norm follows the last block.
        interpolate_mode: how the table of positions is interpolated.
        norm_eps: epsilon of the norms.
        drop_path_rate: probability of dropping a branch of the last block, in training; it grows from 0 at the first.

    Shapes: (N, 3, H, W) -> one (N, channels[i], H / patch_size, W / patch_size) per out index.
    """

    def __init__(
        self,
        *,
        image_size: Sequence[int],
        embed_dims: int,
        num_layers: int,
        num_heads: int,
        patch_size: int = 16,
        mlp_ratio: int = 4,
        out_indices: Sequence[int] = (-1,),
        with_cls_token: bool = True,
        output_cls_token: bool = False,
        final_norm: bool = False,
        interpolate_mode: Literal["bilinear", "bicubic"] = "bicubic",
        norm_eps: float = 1e-6,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(
            (
                TransformerBlock(
                    embed_dims,
                    SelfAttention(embed_dims, num_heads),
                    FeedForward(embed_dims, mlp_ratio * embed_dims),
                    norm_eps=norm_eps,
                    norm_name="ln",
                    drop_path=rate,
                )
                for rate in drop_path_rates(drop_path_rate, [num_layers])[0]
            ),
            image_size=image_size,
            embed_dims=embed_dims,
            patch_size=patch_size,
            patch_bias=False,
            out_indices=out_indices,
        )
        rows, columns = self.grid
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + rows * columns, embed_dims))
        self.ln1 = nn.LayerNorm(embed_dims, eps=norm_eps) if final_norm else nn.Identity()
        self.with_cls_token = with_cls_token
        self.output_cls_token = output_cls_token
        self.interpolate_mode = interpolate_mode
        if output_cls_token:
            self.channels = (2 * embed_dims,) * len(self.out_indices)
        self.apply(init_linear)

    def forward(self, x: Tensor) -> list[Tensor]:
        patches = self.patch_embed(x)
        size = patches.shape[1:3]
        tokens = self.tokens(patches)
        tokens = tokens + self.positions(size)
        features = self.run(tokens if self.with_cls_token else tokens[:, 1:])
        if self.out_indices[-1] == len(self.layers) - 1:
            features[-1] = self.ln1(features[-1])
        return [as_map(self.places(feature), size) for feature in features]

    def positions(self, size: Sequence[int]) -> Tensor:
        """The table of positions for ``size`` rows and columns of patches: (1, 1 + rows * columns, embed_dims)."""
        # The published networks look at the number of patches alone: a table for as many patches in another shape is
        # taken as it is, and the published figures were made so.
        # Where an export leaves the size open, the table is brought to every shape; to its own, that changes nothing.
        if known(size[0] * size[1] == self.grid[0] * self.grid[1]):
            return self.pos_embed
        return resize_positions(self.pos_embed, self.grid, size, self.interpolate_mode)

    def places(self, tokens: Tensor) -> Tensor:
        """The tokens (N, H * W, channels) that are in a place, of those that a block gives."""
        if not self.with_cls_token:
            return tokens
        places = tokens[:, 1:]
        if not self.output_cls_token:
            return places
        return torch.cat([places, tokens[:, :1].expand_as(places)], dim=2)
