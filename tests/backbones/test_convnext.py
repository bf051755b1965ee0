from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from segzoo.backbones.convnext import Block, ConvNeXt
from segzoo.errors import InputSizeError


def test_a_block_is_the_papers_in_convolutions() -> None:
    torch.manual_seed(0)
    block = Block(4, drop_path=0.0, layer_scale=0.5).eval()
    x = torch.randn(2, 4, 9, 8)
    out = F.conv2d(x, block.depthwise_conv.weight, block.depthwise_conv.bias, padding=3, groups=4)
    mean, variance = out.mean(1, keepdim=True), out.var(1, keepdim=True, unbiased=False)
    out = (out - mean) / (variance + 1e-6).sqrt()
    first, second = block.pointwise_conv1, block.pointwise_conv2
    out = F.gelu(F.conv2d(out, first.weight[:, :, None, None], first.bias))
    out = F.conv2d(out, second.weight[:, :, None, None], second.bias)
    torch.testing.assert_close(block(x), x + 0.5 * out, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_features_have_the_declared_channels_and_sizes(size: tuple[int, int]) -> None:
    network = ConvNeXt(depths=(1, 1, 1, 1), dims=(4, 8, 12, 16)).eval()
    assert network.channels == (4, 8, 12, 16)
    assert network.strides == (4, 8, 16, 32)
    with torch.inference_mode():
        features = network(torch.randn(1, 3, *size))
    expected = [
        (1, channels, size[0] // stride, size[1] // stride)
        for channels, stride in zip(network.channels, network.strides, strict=True)
    ]
    assert [tuple(feature.shape) for feature in features] == expected


def test_chosen_stages_are_those_of_the_whole() -> None:
    torch.manual_seed(0)
    whole = ConvNeXt(depths=(1, 1, 1, 1), dims=(4, 8, 12, 16)).eval()
    some = ConvNeXt(depths=(1, 1, 1, 1), dims=(4, 8, 12, 16), out_indices=(0, 2)).eval()
    some.load_state_dict(whole.state_dict())
    assert some.channels == (4, 12)
    x = torch.randn(1, 3, 32, 32)
    features = whole(x)
    for found, expected in zip(some(x), (features[0], features[2]), strict=True):
        torch.testing.assert_close(found, expected)


def test_inputs_below_the_last_stride_are_refused() -> None:
    network = ConvNeXt(depths=(1, 1, 1, 1), dims=(4, 4, 4, 4)).eval()
    network(torch.randn(1, 3, 32, 32))
    with pytest.raises(InputSizeError, match="31 x 64 pixels; it needs at least 32 x 32"):
        network(torch.randn(1, 3, 31, 64))
