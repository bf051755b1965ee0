"""Patches: whole ones, overlapping ones, and those that the edge cuts."""

from __future__ import annotations

import torch
from torch import nn

from segzoo.layers.patch_embed import PatchEmbed


def test_a_patch_is_projected_whole() -> None:
    layer = PatchEmbed(1, 1, 2)
    nn.init.ones_(layer.projection.weight)
    nn.init.zeros_(layer.projection.bias)
    x = torch.arange(8.0).view(1, 1, 2, 4)
    assert layer(x).tolist() == [[[[0 + 1 + 4 + 5], [2 + 3 + 6 + 7]]]]


def test_the_edge_is_completed_with_zeros_at_the_bottom_and_right() -> None:
    torch.manual_seed(0)
    layer = PatchEmbed(3, 5, 4, norm_eps=1e-6)
    x = torch.randn(2, 3, 9, 6)
    padded = torch.zeros(2, 3, 12, 8)
    padded[:, :, :9, :6] = x
    assert layer(x).shape == (2, 3, 2, 5)
    assert torch.equal(layer(x), layer(padded))


def test_overlapping_patches_are_padded_at_every_side() -> None:
    torch.manual_seed(0)
    layer = PatchEmbed(2, 3, 3, stride=2, padding=1)
    x = torch.randn(1, 2, 5, 8)
    expected = nn.functional.conv2d(x, layer.projection.weight, layer.projection.bias, stride=2, padding=1)
    assert torch.equal(layer(x), expected.permute(0, 2, 3, 1))


def test_the_norm_is_over_the_channels_of_a_token() -> None:
    torch.manual_seed(0)
    out = PatchEmbed(3, 64, 4, norm_eps=1e-6)(torch.randn(1, 3, 8, 8))
    assert torch.allclose(out.mean(-1), torch.zeros(1, 2, 2), atol=1e-5)
    assert torch.allclose(out.std(-1, unbiased=False), torch.ones(1, 2, 2), atol=1e-3)
