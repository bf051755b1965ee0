"""Context encoding: residuals to a learned dictionary, pooled over the picture, scale the channels.

Source: Zhang et al., "Context Encoding for Semantic Segmentation", CVPR 2018 (https://arxiv.org/abs/1803.08904),
sections 2.1 and 2.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segzoo.layers.conv import ConvNormAct

__all__ = ["ContextEncoding", "Encoding"]


class Encoding(nn.Module):
    """Soft assignment of every position to ``num_codes`` codewords; returns the summed residuals.

    Shapes: (N, channels, H, W) -> (N, num_codes, channels).
    """

    def __init__(self, channels: int, num_codes: int) -> None:
        super().__init__()
        deviation = 1.0 / (num_codes * channels) ** 0.5
        self.codewords = nn.Parameter(torch.empty(num_codes, channels).uniform_(-deviation, deviation))
        self.scale = nn.Parameter(torch.empty(num_codes).uniform_(-1, 0))

    def forward(self, x: Tensor) -> Tensor:
        # Both the distances and the sums are expanded, so that no (positions, codes, channels) tensor exists.
        # The sums run over every position of a picture: in half precision they would overflow.
        with torch.autocast(x.device.type, enabled=False):
            positions = x.flatten(2).transpose(1, 2).float()
            codes, scale = self.codewords.float(), self.scale.float()
            distances = positions.square().sum(2, keepdim=True) - 2 * positions @ codes.t() + codes.square().sum(1)
            weights = (scale * distances).softmax(dim=2)
            sums = weights.transpose(1, 2) @ positions - weights.sum(1).unsqueeze(2) * codes
        return sums.to(x.dtype)


class ContextEncoding(nn.Module):
    """Channel scaling by the encoded context.

    Shapes: (N, channels, H, W) -> the encoding (N, channels), the scaled features (N, channels, H, W).
    """

    def __init__(self, channels: int, num_codes: int) -> None:
        super().__init__()
        self.encoding_project = ConvNormAct(channels, channels)
        self.encoding = nn.Sequential(Encoding(channels, num_codes), nn.BatchNorm1d(num_codes), nn.ReLU(inplace=True))
        self.fc = nn.Sequential(nn.Linear(channels, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        encoded = self.encoding(self.encoding_project(x)).mean(dim=1)
        scale = self.fc(encoded)[:, :, None, None]
        return encoded, torch.relu(x + x * scale)
