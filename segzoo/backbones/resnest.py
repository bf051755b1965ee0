"""ResNeSt: a ResNet whose 3 x 3 convolutions are split in two and weighed by attention.

Paper: Zhang, Wu, Zhang, Zhu, Lin, Zhang, Sun, He, Mueller, Manmatha, Li, Smola, "ResNeSt: Split-Attention Networks",
2020 (https://arxiv.org/abs/2004.08955), section 3; the pooled shortcuts (ResNet-D) are from He et al., "Bag of Tricks
for Image Classification", CVPR 2019 (https://arxiv.org/abs/1812.01187), section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segzoo.backbones.resnet import deep_stem_layers, stage_dilations
from segzoo.layers.split_attention import SplitAttention

__all__ = ["ResNeSt"]

_DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}


class SplitAttentionBottleneck(nn.Module):
    """1 x 1, split attention, 1 x 1; a stride is an average pooling after the split attention."""

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        dilation: int,
        downsample: nn.Module | None,
        *,
        radix: int,
        reduction_factor: int,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = SplitAttention(width, width, dilation=dilation, radix=radix, reduction_factor=reduction_factor)
        self.pool = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else None
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.relu(self.bn1(self.conv1(x))))
        if self.pool is not None:
            out = self.pool(out)
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNeSt(nn.Module):
    """ResNeSt of ``depth`` 50, 101, 152 or 200, with a deep stem.

    Args:
        depth: number of layers.
        stem_channels: width of the stem's output.
        radix: splits of each block.
        reduction_factor: how much narrower than its splits the attention of a block is.
        strides: stride of each stage; (1, 2, 1, 1) has output stride 8.
        dilations: dilation of each stage.
        out_indices: the stages whose features are returned.

    Shapes: (N, 3, H, W) -> one (N, channels[i], H / strides[i], W / strides[i]) per out index.
    """

    def __init__(
        self,
        *,
        depth: int,
        stem_channels: int = 64,
        radix: int = 2,
        reduction_factor: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
    ) -> None:
        super().__init__()
        self.stem = deep_stem_layers(stem_channels)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.out_indices = tuple(out_indices)
        in_channels, reduction = stem_channels, 4
        channels, reductions = [], []
        for i, count in enumerate(_DEPTHS[depth]):
            width = 64 * 2**i
            blocks: list[nn.Module] = []
            for j, dilation in enumerate(stage_dilations(count, dilations[i], None)):
                stride = 1 if j else strides[i]
                blocks.append(
                    SplitAttentionBottleneck(
                        in_channels,
                        width,
                        stride,
                        dilation,
                        None if j else _pooled_shortcut(in_channels, 4 * width, stride),
                        radix=radix,
                        reduction_factor=reduction_factor,
                    )
                )
                in_channels = 4 * width
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
            reduction *= strides[i]
            channels.append(in_channels)
            reductions.append(reduction)
        self.channels = tuple(channels[i] for i in self.out_indices)
        self.strides = tuple(reductions[i] for i in self.out_indices)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.maxpool(self.stem(x))
        features = []
        for i in range(max(self.out_indices) + 1):
            x = getattr(self, f"layer{i + 1}")(x)
            if i in self.out_indices:
                features.append(x)
        return features


def _pooled_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    # Windows that overhang the edge average what there is of them.
    return nn.Sequential(
        nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
    )
