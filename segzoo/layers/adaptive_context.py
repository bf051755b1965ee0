"""The adaptive context module.

Source: He, Deng, Zhou, Wang, Qiao, "Adaptive Pyramid Context Network for Semantic Segmentation", CVPR 2019
(https://openaccess.thecvf.com/content_CVPR_2019/html/
He_Adaptive_Pyramid_Context_Network_for_Semantic_Segmentation_CVPR_2019_paper.html), section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.layers.conv import ConvNormAct

__all__ = ["AdaptiveContext"]


class AdaptiveContext(nn.Module):
    """Averages over a grid of ``pool_scale`` bins a side; each position weighs them by its local affinity.

    The affinity, a sigmoid, is predicted from the position and the mean of the picture (section 3.2, "GLA").

    Shapes: (N, in_channels, H, W) -> (N, channels, H, W).
    """

    def __init__(self, pool_scale: int, in_channels: int, channels: int) -> None:
        super().__init__()
        self.pool_scale = pool_scale
        self.pooled_redu_conv = ConvNormAct(in_channels, channels)
        self.input_redu_conv = ConvNormAct(in_channels, channels)
        self.global_info = ConvNormAct(channels, channels)
        self.gla = nn.Conv2d(channels, pool_scale**2, kernel_size=1)
        self.residual_conv = ConvNormAct(channels, channels)
        self.fusion_conv = ConvNormAct(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        regions = self.pooled_redu_conv(F.adaptive_avg_pool2d(x, self.pool_scale))
        x = self.input_redu_conv(x)
        affinity = self.gla(x + self.global_info(F.adaptive_avg_pool2d(x, 1))).sigmoid()
        context = (regions.flatten(2) @ affinity.flatten(2)).unflatten(2, x.shape[2:])
        return self.fusion_conv(torch.relu(self.residual_conv(context) + x))
