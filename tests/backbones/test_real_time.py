"""BiSeNet V1 and V2, ICNet, STDC, ERFNet: declared shapes, and their own blocks written a second way."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segzoo.backbones.bisenet_v1 import BiSeNetV1, FeatureFusion
from segzoo.backbones.bisenet_v2 import BiSeNetV2, GatherExpansion, GuidedAggregation
from segzoo.backbones.erfnet import Downsampler, ERFNet, NonBottleneck1d
from segzoo.backbones.icnet import ICNet
from segzoo.backbones.stdc import STDCContextPath, STDCModule
from segzoo.necks.icneck import ICNeck


@pytest.mark.parametrize(
    "network",
    [
        BiSeNetV1(depth=18, context_channels=8, spatial_channels=(4, 4, 4, 8), out_channels=16),
        BiSeNetV2(detail_channels=(4, 4, 8), semantic_channels=(2, 4, 4, 8), expansion_ratio=2),
        ERFNet(encoder_channels=(8, 16, 32), encoder_blocks=(1, 2), decoder_channels=(16, 8), decoder_blocks=(1, 1)),
        STDCContextPath(blocks=(1, 1, 1), context_channels=8, out_channels=16),
        ICNet(depth=18, light_channels=4, psp_channels=8, out_channels=(4, 8, 8)),
    ],
    ids=lambda network: type(network).__name__,
)
@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_features_have_the_declared_channels_and_strides(network: nn.Module, size: tuple[int, int]) -> None:
    network.eval()
    with torch.inference_mode():
        features = network(torch.randn(1, 3, *size))
    assert tuple(feature.shape[1] for feature in features) == network.channels
    for feature, stride in zip(features, network.strides, strict=True):
        for side, length in zip(feature.shape[2:], size, strict=True):
            # ICNet rounds one pooling up, ERFNet works at an eighth of the size: a unit more is theirs.
            slack = {ICNet: 1, ERFNet: 8 // stride - 1}.get(type(network), 0)
            assert math.floor(length / stride) <= side <= math.ceil(length / stride) + slack


def test_the_gate_of_bisenet_v1_is_at_least_one_half() -> None:
    torch.manual_seed(0)
    layer = FeatureFusion(6, 4).eval()
    spatial, context = torch.randn(1, 2, 3, 3), torch.randn(1, 4, 3, 3)
    joined = layer.conv1(torch.cat([spatial, context], dim=1))
    gain = layer(spatial, context) / joined
    gain = gain[joined > 0]
    assert ((gain > 1.5 - 1e-5) & (gain < 2)).all()


@pytest.mark.parametrize(("stride", "channels"), [(1, 4), (2, 6)])
def test_gather_and_expansion_adds_its_shortcut(stride: int, channels: int) -> None:
    torch.manual_seed(0)
    layer = GatherExpansion(4, channels, stride=stride, expansion_ratio=3).eval()
    x = torch.randn(2, 4, 7, 8)
    widened = layer.conv1(x)
    for conv in layer.dwconv:
        widened = conv(widened)
    shortcut = x if stride == 1 else layer.shortcut(x)
    expected = F.relu(layer.conv2(widened) + shortcut)
    assert expected.shape == (2, channels, math.ceil(7 / stride), math.ceil(8 / stride))
    torch.testing.assert_close(layer(x), expected)


def test_guided_aggregation_gates_each_branch_by_the_other() -> None:
    torch.manual_seed(0)
    layer = GuidedAggregation(4, align_corners=False).eval()
    detail, semantic = torch.randn(1, 4, 8, 12), torch.randn(1, 4, 2, 3)
    enlarged = F.interpolate(layer.semantic_conv(semantic), scale_factor=4, mode="bilinear")
    fine = layer.detail_dwconv(detail) * enlarged.sigmoid()
    coarse = layer.detail_down(detail) * layer.semantic_dwconv(semantic).sigmoid()
    expected = layer.conv(fine + F.interpolate(coarse, scale_factor=4, mode="bilinear"))
    torch.testing.assert_close(layer(detail, semantic), expected)


def test_the_separable_convolutions_of_the_aggregation_end_without_norm() -> None:
    pointwise = GuidedAggregation(4, align_corners=False).detail_dwconv[0].pointwise_conv
    assert pointwise.conv.bias is not None
    assert not hasattr(pointwise, "bn")
    assert pointwise.activate is None


def test_icnet_pools_with_its_size_rounded_up() -> None:
    network = ICNet(depth=18, light_channels=4, psp_channels=8, out_channels=(4, 8, 8)).eval()
    with torch.inference_mode():
        shapes = [tuple(feature.shape[2:]) for feature in network(torch.randn(1, 3, 128, 256))]
    # 64 x 128 after the halving, 32 x 64 after the stem, 17 x 33 after the pooling.
    assert shapes == [(16, 32), (9, 17), (4, 8)]


def test_icnet_halves_by_exactly_one_half() -> None:
    network = ICNet(depth=18, light_channels=4, psp_channels=8, out_channels=(4, 8, 8))
    x = torch.arange(10.0).view(1, 1, 2, 5)
    torch.testing.assert_close(network.halve(x), torch.tensor([[[[3.0, 5.0]]]]))


def test_cascade_feature_fusion_returns_both_parts_and_the_sum() -> None:
    torch.manual_seed(0)
    neck = ICNeck((3, 4, 5), (8, 16, 32), out_channels=6).eval()
    assert neck.channels == (6, 6, 6)
    assert neck.strides == (16, 8, 8)
    fine, middle, coarse = torch.randn(1, 3, 8, 12), torch.randn(1, 4, 4, 6), torch.randn(1, 5, 2, 3)
    low = neck.cff_24.conv_low(F.interpolate(coarse, scale_factor=2, mode="bilinear"))
    fused = low + neck.cff_24.conv_high(middle)
    lower = neck.cff_12.conv_low(F.interpolate(fused, scale_factor=2, mode="bilinear"))
    expected = [low, lower, lower + neck.cff_12.conv_high(fine)]
    for found, wanted in zip(neck([fine, middle, coarse]), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("stride", [1, 2])
def test_an_stdc_module_concatenates_every_convolution(stride: int) -> None:
    torch.manual_seed(0)
    layer = STDCModule(5, 32, stride=stride).eval()
    assert [conv.conv.out_channels for conv in layer.layers] == [16, 8, 4, 4]
    x = torch.randn(2, 5, 7, 9)
    first = layer.layers[0](x)
    kept, passed = first, first
    if stride == 2:
        kept = F.avg_pool2d(first, 3, stride=2, padding=1)
        passed = layer.downsample(first)
    second = layer.layers[1](passed)
    third = layer.layers[2](second)
    expected = torch.cat([kept, second, third, layer.layers[3](third)], dim=1)
    torch.testing.assert_close(layer(x), expected)


def test_erfnet_downsampler_joins_convolution_and_pooling() -> None:
    torch.manual_seed(0)
    layer = Downsampler(3, 5).eval()
    assert layer.bn.eps == 1e-3
    x = torch.randn(1, 3, 6, 8)
    joined = torch.cat([F.conv2d(x, layer.conv.weight, layer.conv.bias, 2, 1), F.max_pool2d(x, 2)], dim=1)
    torch.testing.assert_close(layer(x), F.relu(joined / math.sqrt(1 + 1e-3)))
    assert layer(torch.randn(1, 3, 7, 9)).shape == (1, 5, 4, 5)


def test_erfnet_factorised_block_is_residual_and_dilated() -> None:
    torch.manual_seed(0)
    block = NonBottleneck1d(2, dilation=3).eval()
    with torch.no_grad():
        block.convs_layers[8].weight.zero_()
        block.convs_layers[8].bias.zero_()
    x = torch.randn(1, 2, 5, 6)
    torch.testing.assert_close(block(x), F.relu(x))
    assert [(conv.dilation, conv.padding) for conv in block.convs_layers if isinstance(conv, nn.Conv2d)] == [
        ((1, 1), (1, 0)),
        ((1, 1), (0, 1)),
        ((3, 1), (3, 0)),
        ((1, 3), (0, 3)),
    ]
