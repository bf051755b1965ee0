"""PointRend: a coarse prediction, enlarged step by step and predicted anew where it is least sure.

Paper: Kirillov, Wu, He, Girshick, "PointRend: Image Segmentation as Rendering", CVPR 2020
(https://arxiv.org/abs/1912.08193), section 3.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.heads.base import DecodeHead
from segzoo.layers.point_sampling import most_uncertain_points, point_sample, random_uncertain_points

__all__ = ["PointHead"]


class PointHead(DecodeHead):
    """The second head of a cascade: it predicts single points from the features and the first head's logits there.

    ``forward`` refines the first head's logits by subdivision. Training has no need of that: it takes
    :meth:`training_points`, and compares :meth:`point_logits` with the labels at these points.

    Args:
        channels: width of the layers.
        num_fcs: fully connected layers before the classifier.
        coarse_pred_each_layer: whether every layer, not only the first, sees the first head's logits.
        subdivision_steps: how often the logits are enlarged.
        subdivision_num_points: points predicted anew after each enlargement.
        scale_factor: factor of each enlargement.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int | Sequence[int] = 0,
        num_fcs: int = 3,
        coarse_pred_each_layer: bool = True,
        subdivision_steps: int = 2,
        subdivision_num_points: int = 8196,
        scale_factor: int = 2,
        dropout_ratio: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            num_classes=num_classes,
            channels=channels,
            in_index=in_index,
            dropout_ratio=dropout_ratio,
            align_corners=align_corners,
        )
        del self.conv_seg  # the base's classifier is for maps; fc_seg is the one for points
        self.coarse_pred_each_layer = coarse_pred_each_layer
        self.subdivision_steps = subdivision_steps
        self.subdivision_num_points = subdivision_num_points
        self.scale_factor = scale_factor
        width = sum(self.in_channels) + num_classes
        self.fcs = nn.ModuleList()
        for _ in range(num_fcs):
            layer = OrderedDict[str, nn.Module](conv=nn.Conv1d(width, channels, 1), activate=nn.ReLU(inplace=True))
            self.fcs.append(nn.Sequential(layer))
            width = channels + (num_classes if coarse_pred_each_layer else 0)
        self.fc_seg = nn.Conv1d(width, num_classes, 1)

    def point_logits(self, features: Sequence[Tensor], coarse: Tensor, points: Tensor) -> Tensor:
        """Logits (N, num_classes, P) at points (N, P, 2), in fractions of the width and the height.

        ``coarse`` is the first head's logits (N, num_classes, H, W).
        """
        there = point_sample(coarse, points, align_corners=self.align_corners)
        fine = [point_sample(x, points, align_corners=self.align_corners) for x in self.select(features)]
        x = torch.cat([*fine, there], dim=1)
        for layer in self.fcs:
            x = layer(x)
            if self.coarse_pred_each_layer:
                x = torch.cat([x, there], dim=1)
        return self.fc_seg(F.dropout(x, self.dropout.p, self.training))

    def training_points(
        self,
        coarse: Tensor,
        *,
        num_points: int = 2048,
        oversample_ratio: float = 3.0,
        importance_sample_ratio: float = 0.75,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Points (N, num_points, 2) to train on, the more where ``coarse`` (N, num_classes, H, W) is unsure.

        The defaults are those that the published networks were trained with.
        """
        return random_uncertain_points(
            coarse,
            num_points,
            oversample_ratio=oversample_ratio,
            importance_sample_ratio=importance_sample_ratio,
            align_corners=self.align_corners,
            generator=generator,
        )

    def forward(self, features: Sequence[Tensor], previous: Tensor) -> Tensor:
        """The first head's logits (N, num_classes, H, W), enlarged ``scale_factor ** subdivision_steps`` times."""
        refined = previous
        for _ in range(self.subdivision_steps):
            height, width = (self.scale_factor * n for n in refined.shape[2:])
            refined = F.interpolate(refined, size=(height, width), mode="bilinear", align_corners=self.align_corners)
            indices, points = most_uncertain_points(refined.detach(), self.subdivision_num_points)
            logits = self.point_logits(features, previous, points).to(refined.dtype)
            where = indices.unsqueeze(1).expand_as(logits)
            refined = refined.flatten(2).scatter(2, where, logits).unflatten(2, (height, width))
        return refined
