"""Split attention: parallel convolutions whose outputs are weighed against each other, channel by channel.

Source: Zhang, Wu, Zhang, Zhu, Lin, Zhang, Sun, He, Mueller, Manmatha, Li, Smola, "ResNeSt: Split-Attention Networks",
2020 (https://arxiv.org/abs/2004.08955), section 3.1. Sub-modules are named as in the published state dicts.
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["SplitAttention"]


class SplitAttention(nn.Module):
    """``radix`` convolutions of 3 x 3, each on its share of the channels, added with weights that the picture sets.

    The weights of a channel are positive and sum to one; two fully connected layers make them from the mean over all
    positions.

    Shapes: (N, in_channels, H, W) -> (N, channels, H, W).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        dilation: int = 1,
        radix: int = 2,
        reduction_factor: int = 4,
    ) -> None:
        super().__init__()
        self.radix = radix
        hidden = max(in_channels * radix // reduction_factor, 32)
        self.conv = nn.Conv2d(
            in_channels, radix * channels, 3, padding=dilation, dilation=dilation, groups=radix, bias=False
        )
        self.bn0 = nn.BatchNorm2d(radix * channels)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.fc2 = nn.Conv2d(hidden, radix * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        splits = self.relu(self.bn0(self.conv(x))).unflatten(1, (self.radix, -1))
        # The published order of the sums: in training, bn1 has one value per picture and magnifies their rounding.
        context = splits.sum(dim=1).mean(dim=(2, 3), keepdim=True)
        weights = self.fc2(self.relu(self.bn1(self.fc1(context)))).unflatten(1, (self.radix, -1)).softmax(dim=1)
        return (weights * splits).sum(dim=1)
