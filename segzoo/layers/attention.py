"""Multi-head attention, in the forms that the vision transformers are made of.

Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (https://arxiv.org/abs/1706.03762), section 3.2.
Spatial reduction: Wang et al., "Pyramid Vision Transformer", ICCV 2021 (https://arxiv.org/abs/2102.12122), section
3.3. Relative positions: Liu et al., "Swin Transformer", ICCV 2021 (https://arxiv.org/abs/2103.14030), section 3.2.
Sub-modules are named as in the published state dicts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "MultiheadAttention",
    "QKVAttention",
    "RelativePositionAttention",
    "SelfAttention",
    "attend",
    "relative_position_index",
]


def attend(query: Tensor, key: Tensor, value: Tensor, num_heads: int, bias: Tensor | None = None) -> Tensor:
    """softmax(query key' / sqrt(C / num_heads) + bias) value, each head on its own slice of the channels.

    Args:
        query: (N, L, C).
        key, value: (N, S, C).
        num_heads: number of heads; divides C.
        bias: what is added to the scores; broadcasts to (N, num_heads, L, S).

    Returns:
        (N, L, C).
    """
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)


class MultiheadAttention(nn.Module):
    """Attention with its projections; the parameters are those of :class:`torch.nn.MultiheadAttention`.

    Shapes: query (N, L, dim), context (N, S, dim) -> (N, L, dim).
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if query is context:
            q, k, v = F.linear(query, weight, bias).chunk(3, dim=-1)
        else:
            dim = query.shape[-1]
            q = F.linear(query, weight[:dim], bias[:dim])
            k, v = F.linear(context, weight[dim:], bias[dim:]).chunk(2, dim=-1)
        return self.out_proj(attend(q, k, v, self.num_heads))


class SelfAttention(nn.Module):
    """Attention of every position to every position; ``reduction`` makes keys and values a coarser map.

    With a ``reduction`` above 1 a convolution of that kernel and stride, then a norm, makes the map that is attended
    to: the cost falls by its square.

    Shapes: (N, L, dim), or (N, H, W, dim) -> the same. A reduction needs the latter, and H and W of at least its size.
    """

    def __init__(self, dim: int, num_heads: int, *, reduction: int = 1, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.attn = MultiheadAttention(dim, num_heads)
        self.reduces = reduction > 1
        if self.reduces:
            self.sr = nn.Conv2d(dim, dim, reduction, stride=reduction)
            self.norm = nn.LayerNorm(dim, eps=norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1, -2)
        context = tokens
        if self.reduces:
            context = self.norm(self.sr(x.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2))
        return self.attn(tokens, context).view_as(x)


class QKVAttention(nn.Module):
    """Self-attention with one projection for queries, keys and values.

    Shapes: (N, L, dim) -> the same.
    """

    def __init__(self, dim: int, num_heads: int, *, qkv_bias: bool = True) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def project(self, x: Tensor) -> Tensor:
        """Queries, keys and values (N, L, 3 * dim), side by side."""
        return self.qkv(x)

    def attention(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attention among tokens (N, L, dim); ``bias`` on the scores broadcasts to (N, num_heads, L, L)."""
        query, key, value = self.project(x).chunk(3, dim=-1)
        return self.proj(attend(query, key, value, self.num_heads, bias))

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x)


def relative_position_index(height: int, width: int, *, class_token: bool = False) -> Tensor:
    """Row of the table of relative positions for every pair of positions of a grid.

    Rows are numbered by vertical, then horizontal distance, from the most negative on. With ``class_token`` there is
    a token before the grid, and three more rows: class token to grid, grid to class token, class token to itself.

    Returns:
        int64 (L, L), L = height * width, plus 1 with a class token.
    """
    rows = torch.arange(height)
    columns = torch.arange(width)
    vertical = rows[:, None] - rows[None, :] + height - 1
    horizontal = columns[:, None] - columns[None, :] + width - 1
    index = vertical[:, None, :, None] * (2 * width - 1) + horizontal[None, :, None, :]
    index = index.reshape(height * width, height * width)
    if class_token:
        distances = (2 * height - 1) * (2 * width - 1)
        index = F.pad(index, (1, 0, 1, 0), value=distances)
        index[1:, 0] = distances + 1
        index[0, 0] = distances + 2
    return index


class RelativePositionAttention(QKVAttention):
    """Self-attention on a grid of fixed size; each head adds a learned bias per relative position to its scores.

    Args:
        grid: height and width of the grid.
        class_token: whether a token that is in no place stands before the grid.

    Shapes: (N, L, dim), L = height * width, plus 1 with a class token -> the same. ``mask`` is added to the scores
    and broadcasts to (N, num_heads, L, L).
    """

    relative_position_index: Tensor

    def __init__(
        self,
        dim: int,
        num_heads: int,
        grid: tuple[int, int],
        *,
        class_token: bool = False,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__(dim, num_heads, qkv_bias=qkv_bias)
        height, width = grid
        entries = (2 * height - 1) * (2 * width - 1) + (3 if class_token else 0)
        self.relative_position_bias_table = nn.Parameter(0.02 * torch.randn(entries, num_heads))
        # The published files hold the index, though it follows from the grid.
        index = relative_position_index(height, width, class_token=class_token)
        self.register_buffer("relative_position_index", index)

    def position_bias(self) -> Tensor:
        """The bias (1, num_heads, L, L) of every pair of positions."""
        return self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        bias = self.position_bias()
        return self.attention(x, (bias if mask is None else bias + mask).contiguous())
