"""BEiT and MAE: plain vision transformers with relative positions, for one size of picture.

Papers: Bao, Dong, Piao, Wei, "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022
(https://arxiv.org/abs/2106.08254), section 2 and appendix; He et al., "Masked Autoencoders Are Scalable Vision
Learners", CVPR 2022 (https://arxiv.org/abs/2111.06377), appendix A.4 (semantic segmentation).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.backbones.plain_transformer import PlainTransformer, as_map
from segzoo.errors import InputSizeError
from segzoo.layers.attention import RelativePositionAttention
from segzoo.layers.drop_path import drop_path_rates
from segzoo.layers.transformer import FeedForward, TransformerBlock, init_linear

__all__ = ["MAE", "BEiT", "BEiTAttention"]


class BEiTAttention(RelativePositionAttention):
    """Relative positions and a class token; queries and values have a bias, keys have none."""

    def __init__(self, dim: int, num_heads: int, grid: tuple[int, int]) -> None:
        super().__init__(dim, num_heads, grid, class_token=True, qkv_bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))

    def project(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        return F.linear(x, self.qkv.weight, bias)


class BEiT(PlainTransformer):
    """BEiT; its positions are those of one grid, so it takes pictures of ``image_size`` only.

    Args:
        image_size: height and width of the pictures.
        embed_dims, num_layers, num_heads: width, blocks, and heads of each block.
        patch_size: side of a patch.
        mlp_ratio: width of the feed-forward layers over ``embed_dims``.
        out_indices: the blocks whose tokens are returned, as maps; negative ones count from the last.
        layer_scale: initial value of the learned scale of each branch.
        drop_path_rate: probability of dropping a branch of the last block, in training; it grows from 0 at the first.

    Shapes: (N, 3, *image_size) -> one (N, embed_dims, H / patch_size, W / patch_size) per out index.

    Raises:
        InputSizeError: pictures of another size.
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
        layer_scale: float = 0.1,
        drop_path_rate: float = 0.0,
    ) -> None:
        height, width = image_size
        self.image_size = (height, width)
        grid = (height // patch_size, width // patch_size)
        super().__init__(
            (
                TransformerBlock(
                    embed_dims,
                    self.attention(embed_dims, num_heads, grid),
                    FeedForward(embed_dims, mlp_ratio * embed_dims),
                    norm_eps=1e-6,
                    norm_name="ln",
                    drop_path=rate,
                    layer_scale=layer_scale,
                )
                for rate in drop_path_rates(drop_path_rate, [num_layers])[0]
            ),
            image_size=image_size,
            embed_dims=embed_dims,
            patch_size=patch_size,
            patch_bias=True,
            out_indices=out_indices,
        )
        self.apply(init_linear)

    def attention(self, dim: int, num_heads: int, grid: tuple[int, int]) -> RelativePositionAttention:
        """The attention of a block; MAE puts another here."""
        return BEiTAttention(dim, num_heads, grid)

    def forward(self, x: Tensor) -> list[Tensor]:
        if tuple(x.shape[2:]) != self.image_size:
            height, width = self.image_size
            raise InputSizeError(
                f"found a picture of {x.shape[2]} x {x.shape[3]}; the positions of {type(self).__name__} are fixed, "
                f"and it takes pictures, or windows of them, of {height} x {width}"
            )
        tokens = self.place(self.tokens(self.patch_embed(x)))
        return [as_map(feature[:, 1:], self.grid) for feature in self.run(tokens)]

    def place(self, tokens: Tensor) -> Tensor:
        """Adds what is known of the absolute positions: nothing here."""
        return tokens


class MAE(BEiT):
    """MAE, fine-tuned: as BEiT, but keys have a bias too, and a learned table of positions is added at the start."""

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
        layer_scale: float = 1.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(
            image_size=image_size,
            embed_dims=embed_dims,
            num_layers=num_layers,
            num_heads=num_heads,
            patch_size=patch_size,
            mlp_ratio=mlp_ratio,
            out_indices=out_indices,
            layer_scale=layer_scale,
            drop_path_rate=drop_path_rate,
        )
        rows, columns = self.grid
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + rows * columns, embed_dims))

    def attention(self, dim: int, num_heads: int, grid: tuple[int, int]) -> RelativePositionAttention:
        return RelativePositionAttention(dim, num_heads, grid, class_token=True)

    def place(self, tokens: Tensor) -> Tensor:
        return tokens + self.pos_embed
