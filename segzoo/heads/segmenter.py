"""Segmenter's mask transformer: a token per class, decoded with the patches; a mask is their similarity.

Paper: Strudel, Garcia, Laptev, Schmid, "Segmenter: Transformer for Semantic Segmentation", ICCV 2021
(https://arxiv.org/abs/2105.05633), section 3.2. Its linear head is an FCN head without convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.heads.base import DecodeHead
from segzoo.layers.attention import SelfAttention
from segzoo.layers.drop_path import drop_path_rates
from segzoo.layers.transformer import FeedForward, TransformerBlock, init_linear

__all__ = ["SegmenterMaskTransformerHead"]


class SegmenterMaskTransformerHead(DecodeHead):
    """``num_layers`` blocks over the patches and one learned token per class.

    The logits are the cosines of patches and classes, normalised over the classes at each position.

    Args:
        channels: channels of a token.
        num_layers, num_heads, mlp_ratio, drop_path_rate: as in the backbone.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        num_heads: int,
        num_layers: int = 2,
        mlp_ratio: int = 4,
        drop_path_rate: float = 0.1,
        in_index: int = -1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            num_classes=num_classes,
            channels=channels,
            in_index=in_index,
            align_corners=align_corners,
        )
        del self.conv_seg  # the class tokens classify
        self.layers = nn.Sequential(
            *(
                TransformerBlock(
                    channels,
                    SelfAttention(channels, num_heads),
                    FeedForward(channels, mlp_ratio * channels),
                    norm_name="ln",
                    drop_path=rate,
                )
                for rate in drop_path_rates(drop_path_rate, [num_layers])[0]
            )
        )
        (width,) = self.in_channels
        self.dec_proj = nn.Linear(width, channels)
        self.cls_emb = nn.Parameter(0.02 * torch.randn(1, num_classes, channels))
        self.patch_proj = nn.Linear(channels, channels, bias=False)
        self.classes_proj = nn.Linear(channels, channels, bias=False)
        self.decoder_norm = nn.LayerNorm(channels)
        self.mask_norm = nn.LayerNorm(num_classes)
        self.apply(init_linear)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = self.merge(features)
        n, size = len(x), x.shape[2:]
        patches = self.dec_proj(x.flatten(2).transpose(1, 2))
        tokens = torch.cat([patches, self.cls_emb.expand(n, -1, -1)], dim=1)
        tokens = self.decoder_norm(self.layers(tokens))
        patches, classes = tokens.split([size[0] * size[1], self.num_classes], dim=1)
        patches = F.normalize(self.patch_proj(patches), dim=2)
        classes = F.normalize(self.classes_proj(classes), dim=2)
        masks = self.mask_norm(patches @ classes.transpose(1, 2))
        return masks.transpose(1, 2).unflatten(2, tuple(size))
