"""HRNet: branches of several resolutions side by side, exchanging features all along.

Papers: Sun, Zhao, Jiang, Cheng, Xiao, Liu, Mu, Wang, Liu, Wang, "High-Resolution Representations for Labeling Pixels
and Regions", 2019 (https://arxiv.org/abs/1904.04514), section 3; Wang et al., "Deep High-Resolution Representation
Learning for Visual Recognition", 2020 (https://arxiv.org/abs/1908.07919), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.backbones.resnet import BasicBlock, Bottleneck
from segzoo.layers.resize import resize

__all__ = ["HRNet"]


def _conv_norm(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    ]


def _downward(in_channels: int, out_channels: int, steps: int) -> nn.Sequential:
    """``steps`` convolutions of stride 2; only the last changes the width, and it has no activation."""
    layers = [
        nn.Sequential(*_conv_norm(in_channels, in_channels, stride=2), nn.ReLU(inplace=True)) for _ in range(steps - 1)
    ]
    return nn.Sequential(*layers, nn.Sequential(*_conv_norm(in_channels, out_channels, stride=2)))


class Fusion(nn.ModuleList):
    """The sum of all branches, brought to the width and size of branch ``target``.

    Shapes: one (N, widths[i], Hi, Wi) per branch -> (N, widths[target], H, W) at the target's size.
    """

    def __init__(self, widths: Sequence[int], target: int) -> None:
        super().__init__()
        self.target = target
        for source, width in enumerate(widths):
            if source > target:
                # By the factor first, then to the size: on sizes that do not divide by it these are two steps.
                enlarge = nn.Upsample(scale_factor=2 ** (source - target), mode="bilinear")
                self.append(nn.Sequential(*_conv_norm(width, widths[target], kernel_size=1), enlarge))
            elif source < target:
                self.append(_downward(width, widths[target], target - source))
            else:
                self.append(nn.Identity())

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        size = features[self.target].shape[2:]
        # The published networks never align corners here, whatever the heads do.
        first, *others = (resize(path(x), size) for path, x in zip(self, features, strict=True))
        return torch.relu(sum(others, start=first))


class Exchange(nn.Module):
    """Convolves each branch by itself, then gives each the sum of all.

    Shapes: one (N, widths[i], Hi, Wi) per branch -> the same.
    """

    def __init__(self, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, width, 1, 1, None) for _ in range(blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(Fusion(widths, target) for target in range(len(widths)))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        features = [branch(x) for branch, x in zip(self.branches, features, strict=True)]
        return [fuse(features) for fuse in self.fuse_layers]


class HRNet(nn.Module):
    """HRNetV2 of ``width`` 18, 32 or 48: four branches of strides 4, 8, 16, 32, each twice as wide as the one before.

    Args:
        width: channels of the finest branch.
        modules: exchanges in each of the stages of two, three and four branches.
        blocks: residual blocks in each branch between two exchanges, and in the first stage.
        out_indices: the branches whose features are returned.

    Shapes: (N, 3, H, W) -> one (N, channels[i], H / strides[i], W / strides[i]) per out index.
    """

    def __init__(
        self,
        *,
        width: int,
        modules: Sequence[int] = (1, 4, 3),
        blocks: int = 4,
        out_indices: Sequence[int] = (0, 1, 2, 3),
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv_norm(3, 64, stride=2)
        self.conv2, self.bn2 = _conv_norm(64, 64, stride=2)
        self.relu = nn.ReLU(inplace=True)
        downsample = nn.Sequential(*_conv_norm(64, 256, kernel_size=1))
        self.layer1 = nn.Sequential(
            Bottleneck(64, 64, 1, 1, downsample), *(Bottleneck(256, 64, 1, 1, None) for _ in range(blocks - 1))
        )
        widths = [256]
        for stage, count in enumerate(modules, start=2):
            before, widths = widths, [width * 2**i for i in range(stage)]
            setattr(self, f"transition{stage - 1}", self._transition(before, widths))
            setattr(self, f"stage{stage}", nn.Sequential(*(Exchange(widths, blocks) for _ in range(count))))
        self.out_indices = tuple(out_indices)
        self.channels = tuple(widths[i] for i in self.out_indices)
        self.strides = tuple(4 * 2**i for i in self.out_indices)

    @staticmethod
    def _transition(before: Sequence[int], widths: Sequence[int]) -> nn.ModuleList:
        """To the branches there are, a change of width where one is due; to the new one, a step down."""
        layers: list[nn.Module] = []
        for old, new in zip(before, widths, strict=False):
            layers.append(nn.Identity() if old == new else nn.Sequential(*_conv_norm(old, new), nn.ReLU(inplace=True)))
        down = nn.Sequential(*_conv_norm(before[-1], widths[-1], stride=2), nn.ReLU(inplace=True))
        return nn.ModuleList([*layers, nn.Sequential(down)])

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        features = [self.layer1(x)]
        for stage in (2, 3, 4):
            inputs = [*features, features[-1]]
            transition = getattr(self, f"transition{stage - 1}")
            features = [layer(feature) for layer, feature in zip(transition, inputs, strict=True)]
            features = getattr(self, f"stage{stage}")(features)
        return [features[i] for i in self.out_indices]
