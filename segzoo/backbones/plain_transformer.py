"""What the vision transformers of one width and resolution share: patches, a class token, a stack of blocks.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR 2021
(https://arxiv.org/abs/2010.11929), section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from segzoo.layers.patch_embed import PatchEmbed

__all__ = ["PlainTransformer", "as_map"]


class PlainTransformer(nn.Module):
    """Base of ViT, BEiT and MAE.

    Args:
        blocks: the transformer blocks, each from tokens (N, L, embed_dims) to tokens.
        image_size: height and width that the positions are made for.
        embed_dims: channels of a token.
        patch_size: side of a patch.
        patch_bias: whether the projection of the patches has a bias.
        out_indices: the blocks whose tokens are returned, as maps; negative ones count from the last.

    Attributes:
        grid: rows and columns of patches in a picture of ``image_size``.
    """

    def __init__(
        self,
        blocks: Iterable[nn.Module],
        *,
        image_size: Sequence[int],
        embed_dims: int,
        patch_size: int,
        patch_bias: bool,
        out_indices: Sequence[int],
    ) -> None:
        super().__init__()
        height, width = image_size
        self.grid = (height // patch_size, width // patch_size)
        self.patch_embed = PatchEmbed(3, embed_dims, patch_size, bias=patch_bias)
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, embed_dims))
        self.layers = nn.ModuleList(blocks)
        self.out_indices = tuple(sorted(i % len(self.layers) for i in out_indices))
        self.channels = (embed_dims,) * len(self.out_indices)
        self.strides = (patch_size,) * len(self.out_indices)

    def tokens(self, patches: Tensor) -> Tensor:
        """Patches (N, H, W, C) as a sequence behind the class token: (N, 1 + H * W, C)."""
        return torch.cat([self.cls_token.expand(len(patches), -1, -1), patches.flatten(1, 2)], dim=1)

    def run(self, tokens: Tensor) -> list[Tensor]:
        """Tokens after each block of ``out_indices``."""
        features = []
        for i in range(max(self.out_indices) + 1):
            tokens = self.layers[i](tokens)
            if i in self.out_indices:
                features.append(tokens)
        return features


def as_map(tokens: Tensor, size: Sequence[int]) -> Tensor:
    """Tokens (N, H * W, C) as a map (N, C, H, W)."""
    return tokens.transpose(1, 2).unflatten(2, tuple(size)).contiguous()
