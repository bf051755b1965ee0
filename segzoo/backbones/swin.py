"""Swin: attention within windows that shift from block to block, in four stages.

Paper: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021
(https://arxiv.org/abs/2103.14030), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.layers.drop_path import drop_path_rates
from segzoo.layers.patch_embed import PatchEmbed
from segzoo.layers.symbolic import known
from segzoo.layers.transformer import FeedForward, TransformerBlock, init_linear
from segzoo.layers.windows import ShiftedWindowAttention

__all__ = ["PatchMerging", "SwinTransformer"]


class PatchMerging(nn.Module):
    """Joins every two by two positions, then a norm and a linear layer.

    The joined values are in the order of their channel, then of their row and column.

    Shapes: (N, H, W, in_channels) -> (N, ceil(H / 2), ceil(W / 2), out_channels).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * in_channels)
        self.reduction = nn.Linear(4 * in_channels, out_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        below, right = x.shape[1] % 2, x.shape[2] % 2
        if not (known(below == 0) and known(right == 0)):
            x = F.pad(x, (0, 0, 0, right, 0, below))
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
        return self.reduction(self.norm(x.permute(0, 1, 3, 5, 2, 4).flatten(3)))


class SwinStage(nn.Module):
    """A stack of blocks, every second one shifted, and the merging that leads to the next stage, if there is one.

    Shapes: (N, H, W, dim) -> the same, and the next stage's input (N, ceil(H / 2), ceil(W / 2), 2 * dim).
    """

    def __init__(
        self, dim: int, num_heads: int, window_size: int, mlp_ratio: int, rates: Sequence[float], *, merges: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                TransformerBlock(
                    dim,
                    ShiftedWindowAttention(dim, num_heads, window_size, shifted=i % 2 == 1),
                    FeedForward(dim, mlp_ratio * dim),
                    drop_path=rate,
                )
                for i, rate in enumerate(rates)
            )
        )
        self.downsample = PatchMerging(dim, 2 * dim) if merges else nn.Identity()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.blocks(x)
        return x, self.downsample(x)


class SwinTransformer(nn.Module):
    """Swin; any size of picture, padded to whole patches and windows.

    Args:
        embed_dims: channels of the first stage; each other has twice as many as the one before.
        depths, num_heads: blocks of each stage, and heads of each block.
        patch_size: side of a patch, thus stride of the first stage.
        window_size: side of a window.
        mlp_ratio: width of the feed-forward layers over that of their stage.
        drop_path_rate: probability of dropping a branch of the last block, in training; it grows from 0 at the first.
        out_indices: the stages whose features are returned, each after a norm of its own.

    Shapes: (N, 3, H, W) -> one (N, channels[i], H / strides[i], W / strides[i]) per out index.
    """

    def __init__(
        self,
        *,
        embed_dims: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        patch_size: int = 4,
        window_size: int = 7,
        mlp_ratio: int = 4,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
    ) -> None:
        super().__init__()
        self.out_indices = tuple(out_indices)
        self.patch_embed = PatchEmbed(3, embed_dims, patch_size, norm_eps=1e-5)
        rates = drop_path_rates(drop_path_rate, depths)
        widths = [embed_dims * 2**i for i in range(len(depths))]
        self.stages = nn.ModuleList(
            SwinStage(width, num_heads[i], window_size, mlp_ratio, rates[i], merges=i < len(depths) - 1)
            for i, width in enumerate(widths)
        )
        for i, width in enumerate(widths):
            setattr(self, f"norm{i}", nn.LayerNorm(width))
        self.channels = tuple(widths[i] for i in self.out_indices)
        self.strides = tuple(patch_size * 2**i for i in self.out_indices)
        self.apply(init_linear)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.patch_embed(x)
        features = []
        for i in range(max(self.out_indices) + 1):
            out, x = self.stages[i](x)
            if i in self.out_indices:
                features.append(getattr(self, f"norm{i}")(out).permute(0, 3, 1, 2).contiguous())
        return features
