"""The dynamic convolutional module.

Source: He, Deng, Qiao, "Dynamic Multi-Scale Filters for Semantic Segmentation", ICCV 2019
(https://openaccess.thecvf.com/content_ICCV_2019/html/
He_Dynamic_Multi-Scale_Filters_for_Semantic_Segmentation_ICCV_2019_paper.html), section 3.2.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.layers.conv import ConvNormAct

__all__ = ["DynamicConvolution", "depthwise_filter"]


def depthwise_filter(x: Tensor, filters: Tensor) -> Tensor:
    """Filters each channel of each picture by a kernel of its own (a cross-correlation, zeros outside).

    Shapes: x (N, C, H, W), filters (N, C, k, k) with odd k -> (N, C, H, W).
    """
    count, channels, size = filters.shape[:3]
    maps = x.reshape(1, count * channels, *x.shape[2:])
    kernels = filters.reshape(count * channels, 1, size, size)
    return F.conv2d(maps, kernels, padding=size // 2, groups=count * channels).view_as(x)


class DynamicConvolution(nn.Module):
    """Filters each channel by ``filter_size`` squared averages over the picture, projected.

    Shapes: (N, in_channels, H, W) -> (N, channels, H, W).
    """

    def __init__(self, filter_size: int, in_channels: int, channels: int) -> None:
        super().__init__()
        self.filter_size = filter_size
        self.filter_gen_conv = nn.Conv2d(in_channels, channels, kernel_size=1)
        self.input_redu_conv = ConvNormAct(in_channels, channels)
        self.norm = nn.BatchNorm2d(channels)
        self.activate = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        filters = self.filter_gen_conv(F.adaptive_avg_pool2d(x, self.filter_size))
        return self.activate(self.norm(depthwise_filter(self.input_redu_conv(x), filters)))
