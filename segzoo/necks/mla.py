"""The neck of SETR-MLA: every feature also gets the sum of the deeper ones.

Paper: Zheng et al., "Rethinking Semantic Segmentation from a Sequence-to-Sequence Perspective with Transformers",
CVPR 2021 (https://arxiv.org/abs/2012.15840), section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segzoo.layers.conv import ConvNormAct
from segzoo.layers.norm import LayerNorm2d

__all__ = ["MLAModule", "MLANeck"]


class MLAModule(nn.Module):
    """Brings every feature to ``out_channels``, adds the deeper ones to it, and convolves each sum; deepest first."""

    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.channel_proj = nn.ModuleList(ConvNormAct(width, out_channels) for width in in_channels)
        self.feat_extract = nn.ModuleList(ConvNormAct(out_channels, out_channels, 3) for _ in in_channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        projected = [conv(feature) for conv, feature in zip(self.channel_proj, features, strict=True)]
        sums = [projected.pop()]
        while projected:
            sums.append(sums[-1] + projected.pop())
        return [conv(x) for conv, x in zip(self.feat_extract, sums, strict=True)]


class MLANeck(nn.Module):
    """A norm of each feature over its channels, then :class:`MLAModule`."""

    def __init__(self, in_channels: Sequence[int], in_strides: Sequence[int], *, out_channels: int) -> None:
        super().__init__()
        self.channels = (out_channels,) * len(in_channels)
        self.strides = tuple(reversed(in_strides))
        self.norm = nn.ModuleList(LayerNorm2d(width, eps=1e-6) for width in in_channels)
        self.mla = MLAModule(in_channels, out_channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return self.mla([norm(feature) for norm, feature in zip(self.norm, features, strict=True)])
