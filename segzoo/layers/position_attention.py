"""Attention between the positions of feature maps.

Sources: Wang, Girshick, Gupta, He, "Non-local Neural Networks", CVPR 2018 (https://arxiv.org/abs/1711.07971),
section 3; Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (https://arxiv.org/abs/1706.03762), section 3.2.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.layers.conv import ConvNormAct

__all__ = ["PositionAttention", "attend_positions", "gather_context", "projection"]


def attend_positions(query: Tensor, key: Tensor, value: Tensor, *, scale: float | None = None) -> Tensor:
    """For each position of ``query``, the mean of ``value`` weighted by softmax(scale * query . key).

    No tensor of positions by positions is made where the hardware has a fused kernel for it.

    Args:
        query: (N, C, H, W).
        key: (N, C, *), any number of positions.
        value: (N, D, *), at the positions of ``key``.
        scale: 1 / sqrt(C) when None.

    Returns:
        (N, D, H, W).
    """
    if scale is None:
        scale = query.shape[1] ** -0.5
    # The fused kernels want the channels last and in one piece.
    q, k, v = (x.flatten(2).transpose(1, 2).unsqueeze(1).contiguous() for x in (query, key, value))
    missing = v.shape[3] - q.shape[3]
    if missing > 0 and q.device.type == "cpu":
        # The CPU's fused kernel takes one width only; zeros change no product.
        q, k = F.pad(q, (0, missing)), F.pad(k, (0, missing))
    out = F.scaled_dot_product_attention(q, k, v, scale=scale)
    return out.squeeze(1).transpose(1, 2).unflatten(2, query.shape[2:])


def gather_context(x: Tensor, scores: Tensor) -> Tensor:
    """The mean of the positions of ``x``, weighted by each score map's softmax over the positions.

    Shapes: x (N, C, H, W), scores (N, K, H, W) -> (N, C, K, 1).
    """
    weights = scores.flatten(2).softmax(dim=2)
    return (x.flatten(2) @ weights.transpose(1, 2)).unsqueeze(3)


def projection(in_channels: int, channels: int, num_convs: int = 1) -> nn.Module:
    """``num_convs`` 1 x 1 convolutions, each with its norm and activation."""
    if num_convs == 1:
        return ConvNormAct(in_channels, channels)
    widths = [in_channels, *[channels] * num_convs]
    return nn.Sequential(*(ConvNormAct(a, b) for a, b in pairwise(widths)))


class PositionAttention(nn.Module):
    """The positions of one map gather from those of another, after projections.

    Args:
        query_project: (N, C1, H, W) -> (N, C, H, W).
        key_project: (N, C2, H', W') -> (N, C, H', W'); may be the query's own.
        value_project: (N, C2, H', W') -> (N, D, H', W').
        out_project: applied to what was gathered, (N, D, H, W).
        key_pool: thins out the positions of keys and values: (N, *, H', W') -> (N, *, L).
        scale: of the products of query and key; 1 / sqrt(C) when None.

    Shapes: x (N, C1, H, W), source (N, C2, H', W') -> (N, D, H, W), or what ``out_project`` makes of it.
    """

    def __init__(
        self,
        *,
        query_project: nn.Module,
        key_project: nn.Module,
        value_project: nn.Module,
        out_project: nn.Module | None = None,
        key_pool: nn.Module | None = None,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        # The key's comes first: where both are one module, its tensors are known by the key's names.
        self.key_project = key_project
        self.query_project = query_project
        self.value_project = value_project
        self.out_project = out_project
        self.key_pool = key_pool
        self.scale = scale

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        query, key, value = self.query_project(x), self.key_project(source), self.value_project(source)
        if self.key_pool is not None:
            key, value = self.key_pool(key), self.key_pool(value)
        out = attend_positions(query, key, value, scale=self.scale)
        return out if self.out_project is None else self.out_project(out)
