from __future__ import annotations

import torch
from torch import Tensor

from segzoo.backbones.poolformer import Block, PoolFormer


def normed(x: Tensor) -> Tensor:
    mean, variance = x.mean((1, 2, 3), keepdim=True), x.var((1, 2, 3), keepdim=True, unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt()


def neighbourhood(x: Tensor) -> Tensor:
    """The mean of the up to nine positions around each, one by one."""
    out = torch.empty_like(x)
    height, width = x.shape[2:]
    for i in range(height):
        for j in range(width):
            out[:, :, i, j] = x[:, :, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].mean((2, 3))
    return out


def test_a_block_pools_and_mixes() -> None:
    torch.manual_seed(0)
    block = Block(3, drop_path=0.0, layer_scale=0.5).eval()
    x = torch.randn(2, 3, 4, 5)
    mixed = x + 0.5 * (neighbourhood(normed(x)) - normed(x))
    torch.testing.assert_close(block(x), mixed + 0.5 * block.mlp(normed(mixed)), atol=1e-5, rtol=1e-5)


def test_features_have_the_declared_channels_and_strides() -> None:
    network = PoolFormer(depths=(1, 1, 1, 1), embed_dims=(4, 8, 12, 16)).eval()
    assert network.channels == (4, 8, 12, 16)
    assert network.strides == (4, 8, 16, 32)
    with torch.inference_mode():
        shapes = [tuple(feature.shape[1:]) for feature in network(torch.randn(1, 3, 64, 96))]
        odd = [tuple(feature.shape[2:]) for feature in network(torch.randn(1, 3, 67, 98))]
    assert shapes == [(4, 16, 24), (8, 8, 12), (12, 4, 6), (16, 2, 3)]
    assert odd == [(17, 24), (9, 12), (5, 6), (3, 3)]


def test_chosen_stages_are_those_of_the_whole() -> None:
    torch.manual_seed(0)
    whole = PoolFormer(depths=(1, 1, 1, 1), embed_dims=(4, 8, 12, 16)).eval()
    some = PoolFormer(depths=(1, 1, 1, 1), embed_dims=(4, 8, 12, 16), out_indices=(1, 3)).eval()
    some.load_state_dict(whole.state_dict())
    assert some.channels == (8, 16)
    x = torch.randn(1, 3, 32, 32)
    features = whole(x)
    for found, expected in zip(some(x), (features[1], features[3]), strict=True):
        torch.testing.assert_close(found, expected)


def test_fresh_blocks_hardly_change_their_input() -> None:
    block = Block(3, drop_path=0.0, layer_scale=1e-5).eval()
    x = torch.randn(1, 3, 6, 6)
    assert 0 < (block(x) - x).abs().max() < 1e-3
