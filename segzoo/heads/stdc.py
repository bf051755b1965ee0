"""STDC's detail guidance: a side head that learns where the labels' edges are.

Paper: Fan, Lai, Huang, Wei, Chai, Luo, Wei, "Rethinking BiSeNet For Real-time Semantic Segmentation", CVPR 2021
(https://arxiv.org/abs/2104.13188), section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from segzoo.heads.fcn import FCNHead

__all__ = ["STDCHead"]


class STDCHead(FCNHead):
    """An FCN head for the edges of the labels, and the edges themselves.

    Its logits have two channels, no edge and edge, which the published loss takes for independent of each other
    (sigmoid, not softmax). Both kernels are constants that the published files hold.

    Args:
        boundary_threshold: how strong an edge must be to count.
    """

    fusion_kernel: Tensor
    laplacian_kernel: Tensor

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int | Sequence[int] = -1,
        num_convs: int = 2,
        kernel_size: int = 3,
        concat_input: bool = True,
        dilation: int = 1,
        boundary_threshold: float = 0.1,
        dropout_ratio: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            num_classes=num_classes,
            channels=channels,
            in_index=in_index,
            num_convs=num_convs,
            kernel_size=kernel_size,
            concat_input=concat_input,
            dilation=dilation,
            dropout_ratio=dropout_ratio,
            align_corners=align_corners,
        )
        self.boundary_threshold = boundary_threshold
        laplacian = torch.full((1, 1, 3, 3), -1.0)
        laplacian[..., 1, 1] = 8.0
        self.register_buffer("laplacian_kernel", laplacian)
        self.register_buffer("fusion_kernel", torch.tensor([0.6, 0.3, 0.1]).view(1, 3, 1, 1))

    def boundaries(self, labels: Tensor) -> Tensor:
        """Where the labels have edges, at any of three scales.

        A Laplacian of the labels (as numbers) at strides 1, 2 and 4, cut off at the threshold; the three, enlarged
        to the labels' size, are summed by the fusion kernel and cut off again.

        Args:
            labels: (N, H, W), whole numbers.

        Returns:
            int64 (N, H, W), 1 at an edge and 0 elsewhere.
        """
        # In half precision the differences of neighbouring labels would be rounded.
        with torch.no_grad(), torch.autocast(labels.device.type, enabled=False):
            values = labels.unsqueeze(1).to(self.laplacian_kernel.dtype)
            size = values.shape[2:]
            scales = []
            for stride in (1, 2, 4):
                edges = F.conv2d(values, self.laplacian_kernel, stride=stride, padding=1)
                scales.append((F.interpolate(edges, size, mode="nearest") > self.boundary_threshold).to(values.dtype))
            fused = F.conv2d(torch.cat(scales, dim=1), self.fusion_kernel)
            return (fused > self.boundary_threshold).squeeze(1).long()
