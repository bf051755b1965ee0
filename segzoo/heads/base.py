"""What every decode head shares: choosing its features, and the classifier."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segzoo.layers.resize import concat_resized

__all__ = ["DecodeHead"]


class DecodeHead(nn.Module):
    """Base of the decode heads.

    A head is given the channels of all features and takes those that ``in_index`` names. ``forward`` maps the list
    of features (N, Ci, Hi, Wi) to logits (N, num_classes, H', W') at the head's own resolution; a head of a cascade
    also takes the logits of the head before.

    Args:
        in_channels: channels of every feature map of the backbone or neck.
        num_classes: classes, thus channels of the logits.
        channels: width of the head, and of what its classifier sees.
        in_index: the feature, or features, that the head uses; several are resized to the first and concatenated
            by ``merge``, or taken one by one by ``select``.
        dropout_ratio: probability of dropping a whole channel before the classifier, in training.
        align_corners: the flag of every bilinear resize in the head, and of the final one after it.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int | Sequence[int] = -1,
        dropout_ratio: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.in_index = (in_index,) if isinstance(in_index, int) else tuple(in_index)
        self.in_channels = tuple(in_channels[i] for i in self.in_index)
        self.channels = channels
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.dropout = nn.Dropout2d(dropout_ratio)
        self.conv_seg = nn.Conv2d(channels, num_classes, kernel_size=1)

    def select(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The features that the head uses, in its order."""
        return [features[i] for i in self.in_index]

    def merge(self, features: Sequence[Tensor]) -> Tensor:
        """The features that the head uses as one map: (N, sum(in_channels), H, W) at the size of the first."""
        return concat_resized(self.select(features), align_corners=self.align_corners)

    def classify(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes, H, W) of the head's last features (N, channels, H, W)."""
        return self.conv_seg(self.dropout(x))
