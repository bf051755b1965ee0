"""ResNet, plain and with a deep stem, with dilated stages.

Papers: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016
(https://arxiv.org/abs/1512.03385); the deep stem (V1c) is from He et al., "Bag of Tricks for Image Classification",
CVPR 2019 (https://arxiv.org/abs/1812.01187), section 4.1; dilated stages from Yu, Koltun, Funkhouser, "Dilated
Residual Networks", CVPR 2017 (https://arxiv.org/abs/1705.09914).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "deep_stem_layers", "stage_dilations"]


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions; the stride and the dilation are the first's."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1; the stride and the dilation are the middle's."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


_DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def stage_dilations(blocks: int, dilation: int, multi_grid: Sequence[int] | None) -> list[int]:
    """Dilation of each block of a stage.

    The first block of a dilated stage still sees the resolution of the stage before, thus half the dilation. A
    ``multi_grid`` gives the dilations outright.
    """
    if multi_grid is not None:
        return [multi_grid[i] for i in range(blocks)]
    return [max(dilation // 2, 1), *[dilation] * (blocks - 1)]


class ResNet(nn.Module):
    """ResNet of ``depth`` 18, 34, 50, 101 or 152.

    Args:
        depth: number of layers.
        deep_stem: three 3 x 3 convolutions for the 7 x 7 one (V1c).
        strides: stride of each stage; (1, 2, 1, 1) has output stride 8.
        dilations: dilation of each stage.
        multi_grid: dilations of the last stage's blocks.
        out_indices: the stages whose features are returned.

    Shapes: (N, 3, H, W) -> one (N, channels[i], H / strides[i], W / strides[i]) per out index.
    """

    def __init__(
        self,
        *,
        depth: int,
        deep_stem: bool = False,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        multi_grid: Sequence[int] | None = None,
        out_indices: Sequence[int] = (0, 1, 2, 3),
    ) -> None:
        super().__init__()
        block, counts = _DEPTHS[depth]
        self.deep_stem = deep_stem
        if deep_stem:
            self.stem = deep_stem_layers(64)
        else:
            self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.out_indices = tuple(out_indices)
        in_channels, reduction = 64, 4
        channels, reductions = [], []
        for i, count in enumerate(counts):
            width = 64 * 2**i
            grid = stage_dilations(count, dilations[i], multi_grid if i == 3 else None)
            setattr(self, f"layer{i + 1}", _stage(block, in_channels, width, strides[i], grid))
            in_channels, reduction = width * block.expansion, reduction * strides[i]
            channels.append(in_channels)
            reductions.append(reduction)
        self.channels = tuple(channels[i] for i in self.out_indices)
        self.strides = tuple(reductions[i] for i in self.out_indices)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x) if self.deep_stem else self.relu(self.bn1(self.conv1(x)))
        x = self.maxpool(x)
        features = []
        for i in range(max(self.out_indices) + 1):
            x = getattr(self, f"layer{i + 1}")(x)
            if i in self.out_indices:
                features.append(x)
        return features


def deep_stem_layers(width: int) -> nn.Sequential:
    """The stem of three 3 x 3 convolutions, the first of stride 2, that ends ``width`` wide."""
    layers: list[nn.Module] = []
    for in_channels, out_channels, stride in (
        (3, width // 2, 2),
        (width // 2, width // 2, 1),
        (width // 2, width, 1),
    ):
        layers += [
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    in_channels: int,
    width: int,
    stride: int,
    dilations: Sequence[int],
) -> nn.Sequential:
    out_channels = width * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    blocks: list[nn.Module] = [block(in_channels, width, stride, dilations[0], downsample)]
    blocks += [block(out_channels, width, 1, dilation, None) for dilation in dilations[1:]]
    return nn.Sequential(*blocks)
