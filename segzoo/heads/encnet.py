"""EncNet: context encoding, with a side loss on which classes a picture holds.

Paper: Zhang, Dana, Shi, Zhang, Wang, Tyagi, Agrawal, "Context Encoding for Semantic Segmentation", CVPR 2018
(https://arxiv.org/abs/1803.08904), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.encoding import ContextEncoding
from segzoo.layers.resize import resize

__all__ = ["EncHead"]


class EncHead(DecodeHead):
    """Encodes the deepest feature; ``add_lateral`` first joins the others to it.

    With ``use_se_loss`` a linear layer (``se_layer``) predicts from the encoding which classes are in the picture
    (section 3.2); only the training loss uses it.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: Sequence[int] = (1, 2, 3),
        num_codes: int = 32,
        use_se_loss: bool = True,
        add_lateral: bool = False,
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
        self.bottleneck = ConvNormAct(self.in_channels[-1], channels, 3)
        self.add_lateral = add_lateral
        if add_lateral:
            self.lateral_convs = nn.ModuleList(ConvNormAct(width, channels) for width in self.in_channels[:-1])
            self.fusion = ConvNormAct(len(self.in_channels) * channels, channels, 3)
        self.enc_module = ContextEncoding(channels, num_codes)
        self.use_se_loss = use_se_loss
        if use_se_loss:
            self.se_layer = nn.Linear(channels, num_classes)

    def encode(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The encoding (N, channels) and the scaled features (N, channels, H, W)."""
        inputs = self.select(features)
        x = self.bottleneck(inputs[-1])
        if self.add_lateral:
            laterals = [
                resize(conv(feature), x.shape[2:], align_corners=self.align_corners)
                for conv, feature in zip(self.lateral_convs, inputs[:-1], strict=True)
            ]
            x = self.fusion(torch.cat([x, *laterals], dim=1))
        return self.enc_module(x)

    def class_presence(self, features: Sequence[Tensor]) -> Tensor:
        """Logits (N, num_classes) of each class being anywhere in the picture; needs ``use_se_loss``."""
        return self.se_layer(self.encode(features)[0])

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.classify(self.encode(features)[1])
