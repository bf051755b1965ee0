from __future__ import annotations

import math

import torch

from segzoo.layers.channel_attention import ChannelAttention


def test_unlike_channels_weigh_more() -> None:
    layer = ChannelAttention()
    with torch.no_grad():
        layer.gamma.scale.fill_(1.0)
    # Products: [[1, 0], [0, 4]]; each channel weighs another by exp(-product).
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).reshape(1, 2, 1, 2)
    first, second = 1 / (1 + math.e), 1 / (1 + math.exp(4.0))
    gathered = torch.tensor([[first, 2 * (1 - first)], [1 - second, 2 * second]]).reshape(1, 2, 1, 2)
    torch.testing.assert_close(layer(x), x + gathered)


def test_equals_the_form_with_the_largest_product_taken_off() -> None:
    torch.manual_seed(0)
    layer, x = ChannelAttention(), torch.randn(2, 5, 3, 4)
    with torch.no_grad():
        assert torch.equal(layer(x), x)
        layer.gamma.scale.fill_(0.7)
        products = torch.einsum("nchw,ndhw->ncd", x, x)
        weights = torch.softmax(products.amax(2, keepdim=True) - products, dim=2)
        torch.testing.assert_close(layer(x), x + 0.7 * torch.einsum("ncd,ndhw->nchw", weights, x))


def test_half_precision_does_not_overflow() -> None:
    layer = ChannelAttention()
    with torch.no_grad():
        layer.gamma.scale.fill_(1.0)
        x = torch.full((1, 2, 64, 64), 100.0)
        with torch.autocast("cpu", dtype=torch.float16):
            assert torch.equal(layer(x.half()), torch.full_like(x, 200.0).half())
