"""HRNet, ResNeSt, MobileNetV2 and V3, CGNet: sizes, and the steps that a plain picture would not show."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.backbones.cgnet import CGNet, ContextGuidedBlock
from segzoo.backbones.hrnet import Fusion, HRNet
from segzoo.backbones.mobilenet_v2 import MobileNetV2
from segzoo.backbones.mobilenet_v3 import MobileNetV3
from segzoo.backbones.resnest import ResNeSt

SMALL_HRNET = {"width": 4, "modules": (1, 1, 1), "blocks": 1}


def backbones() -> list[nn.Module]:
    with torch.random.fork_rng():
        return [
            HRNet(**SMALL_HRNET),
            HRNet(**SMALL_HRNET, out_indices=(0, 3)),
            ResNeSt(depth=50, stem_channels=32, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), out_indices=(0, 3)),
            MobileNetV2(),
            MobileNetV2(strides=(1, 2, 2, 1, 1, 1, 1), dilations=(1, 1, 1, 2, 2, 4, 4), out_indices=(0, 6)),
            MobileNetV3(arch="small", out_indices=(0, 1, 12)),
            MobileNetV3(arch="large", out_indices=(1, 3, 16)),
            CGNet(num_blocks=(2, 2)),
            CGNet(num_blocks=(2, 2), out_indices=(2,)),
        ]


@torch.inference_mode()
@pytest.mark.parametrize("size", [(64, 96), (65, 33)])
def test_features_are_as_wide_and_as_small_as_declared(size: tuple[int, int]) -> None:
    for backbone in backbones():
        features = backbone.eval()(torch.randn(1, 3, *size))
        assert len(features) == len(backbone.channels) == len(backbone.strides)
        for feature, channels, stride in zip(features, backbone.channels, backbone.strides, strict=True):
            assert feature.shape == (1, channels, *(-(-n // stride) for n in size)), type(backbone).__name__


@torch.no_grad()
def test_hrnet_enlarges_by_the_factor_and_then_to_the_size() -> None:
    torch.manual_seed(0)
    fusion = Fusion((2, 4, 8), 0).double().eval()
    features = [torch.randn(1, c, h, w).double() for c, h, w in ((2, 9, 10), (4, 5, 5), (8, 3, 3))]

    def up(source: int, factor: int) -> Tensor:
        conv, norm = fusion[source][0], fusion[source][1]
        return F.interpolate(norm(conv(features[source])), scale_factor=factor, mode="bilinear")

    assert up(1, 2).shape[2:] == (10, 10)
    total = features[0] + F.interpolate(up(1, 2), size=(9, 10), mode="bilinear")
    total += F.interpolate(up(2, 4), size=(9, 10), mode="bilinear")
    torch.testing.assert_close(fusion(features), total.clamp(min=0))


@torch.no_grad()
def test_hrnet_steps_down_with_an_activation_between_but_none_at_the_end() -> None:
    torch.manual_seed(0)
    fusion = Fusion((2, 4, 8), 2).double().eval()
    features = [torch.randn(1, c, h, w).double() for c, h, w in ((2, 9, 10), (4, 5, 5), (8, 3, 3))]
    twice, once = fusion[0], fusion[1]
    total = features[2] + once[0][1](once[0][0](features[1]))
    total += twice[1][1](twice[1][0](twice[0][1](twice[0][0](features[0])).clamp(min=0)))
    torch.testing.assert_close(fusion(features), total.clamp(min=0))


def dilations(backbone: nn.Module) -> list[tuple[int, int, int]]:
    """Stride, dilation and padding of each depthwise convolution."""
    convs = [m for m in backbone.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    return [(c.stride[0], c.dilation[0], int(c.padding[0])) for c in convs]


def test_mobilenet_v2_dilates_the_first_block_of_a_stage_only() -> None:
    found = dilations(MobileNetV2(strides=(1, 2, 2, 1, 1, 1, 1), dilations=(1, 1, 1, 2, 2, 4, 4)))
    plain, half = (1, 1, 1), (2, 1, 1)
    assert found == [
        *[plain],
        *[half, plain],
        *[half, plain, plain],
        *[(1, 2, 2), plain, plain, plain],
        *[(1, 2, 2), plain, plain],
        *[(1, 4, 4), plain, plain],
        *[(1, 4, 4)],
    ]


@pytest.mark.parametrize(
    ("arch", "halving", "first_dilated", "second_dilated"), [("small", (1, 2), 4, 9), ("large", (2, 4), 7, 13)]
)
def test_mobilenet_v3_dilates_from_stride_eight_on(
    arch: str, halving: tuple[int, int], first_dilated: int, second_dilated: int
) -> None:
    for i, (stride, dilation, _) in enumerate(dilations(MobileNetV3(arch=arch, out_indices=(0,))), start=1):
        assert stride == (2 if i in halving else 1)
        assert dilation == (4 if i >= second_dilated else 2 if i >= first_dilated else 1)


@torch.no_grad()
def test_cgnet_joins_the_neighbourhood_and_the_surroundings() -> None:
    torch.manual_seed(0)
    block = ContextGuidedBlock(4, 4, dilation=2, reduction=2).double().eval()
    x = torch.randn(1, 4, 6, 7).double()
    narrow = block.conv1x1(x)
    near = F.conv2d(narrow, block.f_loc.weight, padding=1, groups=2)
    far = F.conv2d(narrow, block.f_sur.weight, padding=2, dilation=2, groups=2)
    joint = torch.cat([near, far], 1) / (1 + 1e-3) ** 0.5  # a fresh norm, at its epsilon
    joint = torch.where(joint > 0, joint, 0.25 * joint)  # a fresh PReLU
    expected = x + joint * block.f_glo.fc(joint.mean((2, 3)))[:, :, None, None]
    torch.testing.assert_close(block(x), expected)
