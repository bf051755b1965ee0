"""ERFNet: residual blocks of 3 x 1 and 1 x 3 convolutions, down and up again.

Paper: Romera, Alvarez, Bergasa, Arroyo, "ERFNet: Efficient Residual Factorized ConvNet for Real-Time Semantic
Segmentation", IEEE T-ITS 2018 (http://www.robesafe.uah.es/personal/eduardo.romera/pdfs/Romera17tits.pdf), section III.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.layers.resize import resize

__all__ = ["ERFNet"]

NORM_EPS = 1e-3


class Downsampler(nn.Module):
    """Halves the size: a convolution beside a max pooling, joined (section III-B)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels - in_channels, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.bn = nn.BatchNorm2d(out_channels, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        convolved = self.conv(x)
        pooled = resize(self.pool(x), convolved.shape[2:])  # smaller by one where the size is odd
        return torch.relu(self.bn(torch.cat([convolved, pooled], dim=1)))


class NonBottleneck1d(nn.Module):
    """A residual block of two factorised convolutions, the second one dilated (section III-A)."""

    def __init__(self, channels: int, *, dilation: int = 1, dropout_ratio: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for spread, last in ((1, nn.ReLU()), (dilation, nn.Dropout(dropout_ratio))):
            layers += [
                nn.Conv2d(channels, channels, (3, 1), padding=(spread, 0), dilation=(spread, 1)),
                nn.ReLU(),
                nn.Conv2d(channels, channels, (1, 3), padding=(0, spread), dilation=(1, spread)),
                nn.BatchNorm2d(channels, eps=NORM_EPS),
                last,
            ]
        self.convs_layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.convs_layers(x))


class Upsampler(nn.Module):
    """Doubles the size by a transposed convolution (section III-B)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)
        self.bn = nn.BatchNorm2d(out_channels, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)))


class ERFNet(nn.Module):
    """ERFNet up to its classifier.

    Args:
        encoder_channels: width after each of the three downsamplers.
        encoder_blocks: residual blocks after the second and the third downsampler.
        dilations: of the blocks after the third, in turn.
        decoder_channels: width after each upsampler.
        decoder_blocks: residual blocks after each upsampler.
        dropout_ratio: of the encoder's blocks, in training.

    Shapes: (N, 3, H, W) -> one (N, decoder_channels[-1], 4 * ceil(H / 8), 4 * ceil(W / 8)).
    """

    def __init__(
        self,
        *,
        encoder_channels: Sequence[int] = (16, 64, 128),
        encoder_blocks: Sequence[int] = (5, 8),
        dilations: Sequence[int] = (2, 4, 8, 16),
        decoder_channels: Sequence[int] = (64, 16),
        decoder_blocks: Sequence[int] = (2, 2),
        dropout_ratio: float = 0.1,
    ) -> None:
        super().__init__()
        first, second, third = encoder_channels
        shallow, deep = encoder_blocks
        self.encoder = nn.Sequential(
            Downsampler(3, first),
            Downsampler(first, second),
            *(NonBottleneck1d(second, dropout_ratio=dropout_ratio) for _ in range(shallow)),
            Downsampler(second, third),
            *(
                NonBottleneck1d(third, dilation=dilations[i % len(dilations)], dropout_ratio=dropout_ratio)
                for i in range(deep)
            ),
        )
        layers: list[nn.Module] = []
        width = third
        for channels, blocks in zip(decoder_channels, decoder_blocks, strict=True):
            layers += [Upsampler(width, channels), *(NonBottleneck1d(channels) for _ in range(blocks))]
            width = channels
        self.decoder = nn.Sequential(*layers)
        self.channels = (width,)
        self.strides = (2,)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.decoder(self.encoder(x))]
