"""Patch embedding: a convolution that makes tokens of a picture or a map.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021 (https://arxiv.org/abs/2010.11929), section
3.1; with overlapping patches, Xie et al., "SegFormer", NeurIPS 2021 (https://arxiv.org/abs/2105.15203), section 3.1.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.layers.symbolic import known

__all__ = ["PatchEmbed"]


class PatchEmbed(nn.Module):
    """Projects patches of ``patch_size`` a side, ``stride`` apart, to ``dim`` channels; then a norm, if wanted.

    Args:
        in_channels: channels of the picture or map.
        dim: channels of a token.
        patch_size: side of a patch.
        stride: distance of two patches; by default that of patches side by side.
        padding: zeros at every side. By default they are only at the bottom and right, as many as make whole patches.
        bias: whether the projection has a bias.
        norm_eps: epsilon of the layer norm on the tokens; None for no norm.

    Shapes: (N, in_channels, H, W) -> (N, H', W', dim), channels last.
    """

    def __init__(
        self,
        in_channels: int,
        dim: int,
        patch_size: int,
        *,
        stride: int | None = None,
        padding: int | None = None,
        bias: bool = True,
        norm_eps: float | None = None,
    ) -> None:
        super().__init__()
        self.stride = stride or patch_size
        self.completes = padding is None
        self.projection = nn.Conv2d(in_channels, dim, patch_size, stride=self.stride, padding=padding or 0, bias=bias)
        self.norm = nn.Identity() if norm_eps is None else nn.LayerNorm(dim, eps=norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        below, right = -x.shape[2] % self.stride, -x.shape[3] % self.stride
        if self.completes and not (known(below == 0) and known(right == 0)):
            x = F.pad(x, (0, right, 0, below))
        return self.norm(self.projection(x).permute(0, 2, 3, 1))
