"""K-Net: the classifier's kernels, one a class, are updated by what they have found in the picture.

Paper: Zhang, Pang, Chen, Loy, "K-Net: Towards Unified Image Segmentation", NeurIPS 2021
(https://arxiv.org/abs/2106.14855), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.heads.deeplab import ASPPHead
from segzoo.heads.fcn import FCNHead
from segzoo.heads.pspnet import PSPHead
from segzoo.heads.upernet import UPerHead
from segzoo.layers.attention import SelfAttention
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.transformer import FeedForward

__all__ = ["IterativeDecodeHead", "KernelUpdate", "KernelUpdateHead"]


class KernelUpdate(nn.Module):
    """Mixes each kernel with the features that its class has gathered, by two learned gates (equations 4 to 6).

    Shapes: gathered (..., channels), kernels (..., channels) -> (..., channels).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dynamic_layer = nn.Linear(channels, 2 * channels)
        self.input_layer = nn.Linear(channels, 2 * channels)
        self.input_gate = nn.Linear(channels, channels)
        self.update_gate = nn.Linear(channels, channels)
        self.norm_in = nn.LayerNorm(channels)
        self.norm_out = nn.LayerNorm(channels)
        self.input_norm_in = nn.LayerNorm(channels)
        self.input_norm_out = nn.LayerNorm(channels)
        self.fc_layer = nn.Linear(channels, channels)
        self.fc_norm = nn.LayerNorm(channels)

    def forward(self, gathered: Tensor, kernels: Tensor) -> Tensor:
        gathered_gate, gathered_value = self.dynamic_layer(gathered).chunk(2, dim=-1)
        kernel_gate, kernel_value = self.input_layer(kernels).chunk(2, dim=-1)
        both = kernel_gate * gathered_gate
        keep = self.input_norm_in(self.input_gate(both)).sigmoid()
        update = self.norm_in(self.update_gate(both)).sigmoid()
        mixed = update * self.norm_out(gathered_value) + keep * self.input_norm_out(kernel_value)
        return torch.relu(self.fc_norm(self.fc_layer(mixed)))


class KernelUpdateHead(nn.Module):
    """One stage: gather features by the masks, update the kernels, let them attend to each other, make new masks.

    Args:
        channels: width of the features and of the kernels.
        num_heads: heads of the attention between the kernels.
        feedforward_channels: width of the feed-forward layer after it.
        num_mask_fcs: linear layers, each with norm and activation, between a kernel and its mask.
        update_channels: width of the update; as published, it sees a kernel as ``channels / update_channels`` parts.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int,
        feedforward_channels: int,
        num_mask_fcs: int,
        update_channels: int,
    ) -> None:
        super().__init__()
        self.parts = (channels // update_channels, update_channels)
        self.attention = SelfAttention(channels, num_heads)
        self.attention_norm = nn.LayerNorm(channels)
        self.kernel_update_conv = KernelUpdate(update_channels)
        self.feat_transform = ConvNormAct(channels, channels, norm=None, activation=None)
        self.ffn = FeedForward(channels, feedforward_channels, activation=nn.ReLU)
        self.ffn_norm = nn.LayerNorm(channels)
        layers: list[nn.Module] = []
        for _ in range(num_mask_fcs):
            layers += [nn.Linear(channels, channels, bias=False), nn.LayerNorm(channels), nn.ReLU()]
        self.mask_fcs = nn.Sequential(*layers)
        self.fc_mask = nn.Linear(channels, channels)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, features: Tensor, kernels: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """New masks and kernels.

        Args:
            features: (N, channels, H, W).
            kernels: (N, num_classes, channels).
            masks: logits (N, num_classes, H, W).

        Returns:
            Logits (N, num_classes, H, W) and kernels (N, num_classes, channels).
        """
        x = self.feat_transform(features)
        # The gathered features are sums over all positions: in half precision they would overflow.
        with torch.autocast(x.device.type, enabled=False):
            gathered = masks.flatten(2).float().softmax(dim=1) @ x.flatten(2).transpose(1, 2).float()
            gathered, kernels = (t.to(self.fc_mask.weight.dtype).unflatten(2, self.parts) for t in (gathered, kernels))
            kernels = self.kernel_update_conv(gathered, kernels).flatten(2)
        kernels = self.attention_norm(kernels + self.attention(kernels))
        kernels = self.ffn_norm(kernels + self.ffn(kernels))
        masks = self.fc_mask(self.mask_fcs(kernels)) @ x.flatten(2)
        return masks.unflatten(2, x.shape[2:]), kernels


class IterativeDecodeHead(nn.Module):
    """A decode head whose kernels make the first masks, and the stages that update both.

    Args:
        in_channels: channels of every feature map of the backbone or neck.
        num_classes: classes.
        kernel_generate_head: the head before K-Net; its classifier's weights are the first kernels.
        num_stages: number of updates.
        num_heads, feedforward_channels, num_mask_fcs, update_channels: see :class:`KernelUpdateHead`.
        align_corners: the flag of the final resize.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        kernel_generate_head: ASPPHead | FCNHead | PSPHead | UPerHead,
        num_stages: int = 3,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        num_mask_fcs: int = 1,
        update_channels: int = 256,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = tuple(in_channels)
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.kernel_generate_head = kernel_generate_head
        self.kernel_update_head = nn.ModuleList(
            KernelUpdateHead(
                kernel_generate_head.channels,
                num_heads=num_heads,
                feedforward_channels=feedforward_channels,
                num_mask_fcs=num_mask_fcs,
                update_channels=update_channels,
            )
            for _ in range(num_stages)
        )

    def stages(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Logits (N, num_classes, H', W') of the first head and of every stage after it; training uses them all."""
        x = self.kernel_generate_head.embed(features)
        masks = [self.kernel_generate_head.classify(x)]
        kernels = self.kernel_generate_head.conv_seg.weight.flatten(1).expand(x.shape[0], -1, -1)
        for head in self.kernel_update_head:
            logits, kernels = head(x, kernels, masks[-1])
            masks.append(logits)
        return masks

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.stages(features)[-1]
