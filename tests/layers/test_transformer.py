"""The transformer block against its definition."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segzoo.layers.transformer import FeedForward, TransformerBlock, init_linear


class Twice(nn.Module):
    """Stands in for attention, so that the sums can be followed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_feed_forward_is_two_layers_and_a_gelu() -> None:
    torch.manual_seed(0)
    layer = FeedForward(3, 5)
    x = torch.randn(2, 4, 3)
    first, second = layer.layers[0][0], layer.layers[1]
    expected = F.gelu(x @ first.weight.T + first.bias) @ second.weight.T + second.bias
    assert torch.allclose(layer(x), expected, atol=1e-6)
    assert set(layer.state_dict()) == {"layers.0.0.weight", "layers.0.0.bias", "layers.1.weight", "layers.1.bias"}


@pytest.mark.parametrize("scale", [None, 0.5])
def test_each_branch_is_added_to_what_it_sees_the_norm_of(scale: float | None) -> None:
    block = TransformerBlock(2, Twice(), Twice(), norm_eps=0.0, layer_scale=scale)
    # The norm of (0, 2) is (-1, 1); twice that, scaled, is added; the norm of the sum is the same again.
    factor = 1.0 if scale is None else scale
    expected = torch.tensor([[[0.0 - 4 * factor, 2.0 + 4 * factor]]])
    assert torch.allclose(block(torch.tensor([[[0.0, 2.0]]])), expected)


def test_the_keys_follow_the_name_of_the_norms() -> None:
    plain = TransformerBlock(4, Twice(), FeedForward(4, 8), norm_name="ln").state_dict()
    assert {key for key in plain if not key.startswith("ffn")} == {"ln1.weight", "ln1.bias", "ln2.weight", "ln2.bias"}
    scaled = TransformerBlock(4, Twice(), Twice(), layer_scale=1e-6).state_dict()
    assert {"gamma_1", "gamma_2", "norm1.weight", "norm2.weight"} <= set(scaled)


def test_dropping_both_branches_leaves_the_input() -> None:
    torch.manual_seed(0)
    block = TransformerBlock(4, Twice(), Twice(), drop_path=(1 - 1e-7, 1 - 1e-7))
    x = torch.randn(3, 5, 4)
    assert torch.equal(block.train()(x), x)
    assert not torch.equal(block.eval()(x), x)


def test_linear_layers_start_small_and_without_bias() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(100, 100), nn.Conv2d(3, 3, 1))
    kernel = layer[1].weight.clone()
    layer.apply(init_linear)
    assert layer[0].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not layer[0].bias.any()
    assert torch.equal(layer[1].weight, kernel)
