"""The pre-norm transformer block that every vision transformer here is a stack of.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021 (https://arxiv.org/abs/2010.11929), section
3.1; the learned scale of each branch, Touvron et al., "Going deeper with Image Transformers", ICCV 2021
(https://arxiv.org/abs/2103.17239), section 2.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from segzoo.layers.conv import Factory
from segzoo.layers.drop_path import DropPath

__all__ = ["FeedForward", "TransformerBlock", "init_linear"]


class FeedForward(nn.Module):
    """Two linear layers with an activation between them, ``hidden`` wide.

    Shapes: (N, ..., dim) -> the same.
    """

    def __init__(self, dim: int, hidden: int, *, activation: Factory = nn.GELU) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Sequential(nn.Linear(dim, hidden), activation()), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class TransformerBlock(nn.Module):
    """Adds to its input the attention of its norm, and to the sum the feed-forward layer of its norm.

    Args:
        dim: channels.
        attention, feed_forward: modules that keep the shape; what one knows of the map, it reads off the shape.
        norm_eps: epsilon of both norms.
        norm_name: name of the norms in the state dict, followed by 1 and 2.
        drop_path: probability of dropping a branch, in training; or one for each branch.
        layer_scale: initial value of the learned scales of the two branches; None for no scales.

    Shapes: (N, ..., dim) -> the same.
    """

    def __init__(
        self,
        dim: int,
        attention: nn.Module,
        feed_forward: nn.Module,
        *,
        norm_eps: float = 1e-5,
        norm_name: Literal["ln", "norm"] = "norm",
        drop_path: float | tuple[float, float] = 0.0,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        rates = drop_path if isinstance(drop_path, tuple) else (drop_path, drop_path)
        self.norm_name = norm_name
        for i in (1, 2):
            setattr(self, f"{norm_name}{i}", nn.LayerNorm(dim, eps=norm_eps))
            setattr(self, f"drop_path{i}", DropPath(rates[i - 1]))
            scale = None if layer_scale is None else nn.Parameter(torch.full((dim,), layer_scale))
            self.register_parameter(f"gamma_{i}", scale)
        self.attn = attention
        self.ffn = feed_forward

    def branch(self, x: Tensor, i: int, layer: nn.Module) -> Tensor:
        """What branch ``i`` (1 or 2), with its ``layer``, adds to ``x``."""
        out = layer(getattr(self, f"{self.norm_name}{i}")(x))
        scale = getattr(self, f"gamma_{i}")
        return getattr(self, f"drop_path{i}")(out if scale is None else scale * out)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.branch(x, 1, self.attn)
        return x + self.branch(x, 2, self.ffn)


def init_linear(module: nn.Module) -> None:
    """Initialises a linear layer as the vision transformers are: a deviation of 0.02, no bias; for ``Module.apply``."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
