"""DPT: the features of a plain vision transformer, reassembled at four scales and fused from coarse to fine.

Paper: Ranftl, Bochkovskiy, Koltun, "Vision Transformers for Dense Prediction", ICCV 2021
(https://arxiv.org/abs/2103.13413), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.resize import resize

__all__ = ["DPTHead", "FusionBlock", "ReassembleBlocks"]


class ReassembleBlocks(nn.Module):
    """Maps of tokens, class token appended, to features of 4, 8, 16 and 32 times smaller than the picture.

    The class token is read into every position by a linear layer ("project" in the paper's table 7); a pointwise
    convolution and one that changes the size follow. Those sizes are for patches of 16.

    Shapes: four (N, 2 * embed_dims, H, W) -> (N, widths[i], ...) of 4, 2, 1 and half times the size.
    """

    def __init__(self, embed_dims: int, widths: Sequence[int]) -> None:
        super().__init__()
        first, second, _, last = widths
        self.readout_projects = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * embed_dims, embed_dims), nn.GELU()) for _ in widths
        )
        self.projects = nn.ModuleList(ConvNormAct(embed_dims, width, norm=None, activation=None) for width in widths)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(first, first, 4, stride=4),
                nn.ConvTranspose2d(second, second, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(last, last, 3, stride=2, padding=1),
            ]
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        outputs = []
        for x, readout, project, rescale in zip(
            features, self.readout_projects, self.projects, self.resize_layers, strict=True
        ):
            x = readout(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            outputs.append(rescale(project(x)))
        return outputs


class PreActivatedConv(nn.Module):
    """ReLU, a 3 x 3 convolution, then a batch norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(F.relu(x)))


class ResidualConvUnit(nn.Module):
    """Adds to its input what two pre-activated convolutions make of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = PreActivatedConv(channels)
        self.conv2 = PreActivatedConv(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


class FusionBlock(nn.Module):
    """Adds a finer feature to what came from the coarser ones, and doubles the size.

    The enlargement aligns the corners, whatever the head's own flag says. The first block has nothing to add.
    """

    def __init__(self, channels: int, *, first: bool) -> None:
        super().__init__()
        if not first:
            self.res_conv_unit1 = ResidualConvUnit(channels)
        self.res_conv_unit2 = ResidualConvUnit(channels)
        self.project = ConvNormAct(channels, channels, norm=None, activation=None)

    def forward(self, x: Tensor, finer: Tensor | None = None) -> Tensor:
        if finer is not None:
            x = x + self.res_conv_unit1(resize(finer, x.shape[2:]))
        x = self.res_conv_unit2(x)
        size = (2 * x.shape[2], 2 * x.shape[3])
        return self.project(resize(x, size, align_corners=True))


class DPTHead(DecodeHead):
    """Reassembles four features, brings each to ``channels``, and fuses them from the coarsest on.

    Args:
        embed_dims: channels of the backbone's tokens; its features hold the class token too, thus have twice as many.
        post_process_channels: channels of the four reassembled features.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        embed_dims: int = 768,
        post_process_channels: Sequence[int] = (96, 192, 384, 768),
        in_index: Sequence[int] = (0, 1, 2, 3),
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
        self.reassemble_blocks = ReassembleBlocks(embed_dims, post_process_channels)
        self.convs = nn.ModuleList(
            ConvNormAct(width, channels, 3, bias=False, norm=None, activation=None) for width in post_process_channels
        )
        self.fusion_blocks = nn.ModuleList(FusionBlock(channels, first=i == 0) for i in range(len(self.convs)))
        self.project = ConvNormAct(channels, channels, 3)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        reassembled = self.reassemble_blocks(self.select(features))
        *finer, coarsest = (conv(x) for conv, x in zip(self.convs, reassembled, strict=True))
        first, *others = self.fusion_blocks
        x = first(coarsest)
        for fuse, feature in zip(others, reversed(finer), strict=True):
            x = fuse(x, feature)
        return self.classify(self.project(x))
