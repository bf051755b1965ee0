"""UPerNet, Semantic FPN, OCRNet, LR-ASPP: each head against its steps written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.errors import InputSizeError
from segzoo.heads.lraspp import LRASPPHead
from segzoo.heads.ocrnet import ObjectAttention, OCRHead
from segzoo.heads.sem_fpn import FPNHead
from segzoo.heads.upernet import UPerHead


def pyramid(*widths: int, size: tuple[int, int] = (17, 13)) -> list[Tensor]:
    """Features of the given widths, each half the size of the one before, rounded up."""
    height, width = size
    features = []
    for channels in widths:
        features.append(torch.randn(2, channels, height, width).double())
        height, width = -(-height // 2), -(-width // 2)
    return features


def bilinear(x: Tensor, size: torch.Size, align_corners: bool) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


@torch.no_grad()
@pytest.mark.parametrize("align_corners", [False, True])
def test_upernet_adds_from_the_deepest_on(align_corners: bool) -> None:
    torch.manual_seed(0)
    head = UPerHead(
        (3, 4, 5), num_classes=2, channels=6, in_index=(0, 1, 2), pool_scales=(1, 2), align_corners=align_corners
    )
    head.double().eval()
    fine, middle, deep = pyramid(3, 4, 5)
    pooled = []
    for bins, project in zip((1, 2), head.psp_modules, strict=True):
        pooled.append(bilinear(project[1](F.adaptive_avg_pool2d(deep, bins)), deep.shape[2:], align_corners))
    p3 = head.bottleneck(torch.cat([deep, *pooled], 1))
    p2 = head.lateral_convs[1](middle) + bilinear(p3, middle.shape[2:], align_corners)
    p1 = head.lateral_convs[0](fine) + bilinear(p2, fine.shape[2:], align_corners)
    levels = [
        head.fpn_convs[0](p1),
        bilinear(head.fpn_convs[1](p2), fine.shape[2:], align_corners),
        bilinear(p3, fine.shape[2:], align_corners),
    ]
    expected = head.conv_seg(head.fpn_bottleneck(torch.cat(levels, 1)))
    torch.testing.assert_close(head([fine, middle, deep]), expected)


@torch.no_grad()
def test_semantic_fpn_sums_levels_that_were_doubled_step_by_step() -> None:
    torch.manual_seed(0)
    head = FPNHead((3, 3, 3), num_classes=2, channels=4, in_index=(0, 1, 2), feature_strides=(4, 8, 16))
    head.double().eval()
    fine, middle, deep = pyramid(3, 3, 3)

    def double(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    total = head.scale_heads[0][0](fine)
    total = total + bilinear(double(head.scale_heads[1][0](middle)), fine.shape[2:], False)
    twice = double(head.scale_heads[2][2](double(head.scale_heads[2][0](deep))))
    assert twice.shape[2:] == (20, 16)  # odd sizes overshoot, and are brought back
    total = total + bilinear(twice, fine.shape[2:], False)
    torch.testing.assert_close(head([fine, middle, deep]), head.conv_seg(total))


@torch.no_grad()
def test_ocrnet_describes_positions_by_regions() -> None:
    torch.manual_seed(0)
    head = OCRHead((4, 3), num_classes=5, channels=6, in_index=(0, 1), ocr_channels=4).double().eval()
    features, previous = pyramid(4, 3, size=(5, 4)), torch.randn(2, 5, 5, 4).double()
    x = head.bottleneck(torch.cat([features[0], bilinear(features[1], features[0].shape[2:], False)], 1))
    regions = torch.einsum("nkhw,nchw->nck", previous.flatten(2).softmax(2).view_as(previous), x)
    block = head.object_context_block
    query = block.query_project(x)
    key, value = block.key_project(regions[..., None])[..., 0], block.value_project(regions[..., None])[..., 0]
    likeness = (torch.einsum("nchw,nck->nkhw", query, key) / 4**0.5).softmax(1)
    context = block.out_project(torch.einsum("nkhw,nck->nchw", likeness, value))
    expected = head.conv_seg(block.bottleneck(torch.cat([context, x], 1)))
    torch.testing.assert_close(head(features, previous), expected)


def test_ocrnet_projects_queries_and_keys_twice_and_values_once() -> None:
    block = ObjectAttention(6, 4)
    assert len(block.query_project) == len(block.key_project) == 2
    assert isinstance(block.value_project.conv, nn.Conv2d)


def lraspp(pool_size: int = 3) -> LRASPPHead:
    torch.manual_seed(0)
    head = LRASPPHead(
        (3, 4, 5), num_classes=2, channels=6, branch_channels=(2, 3), pool_size=pool_size, pool_stride=(1, 2)
    )
    return head.double().eval()


@torch.no_grad()
def test_lraspp_scales_by_means_over_fixed_windows() -> None:
    head = lraspp()
    fine, middle, deep = pyramid(3, 4, 5)
    gate = torch.sigmoid(head.image_pool[1].conv(F.avg_pool2d(deep, 3, (1, 2))))
    x = head.conv_up_input(head.aspp_conv(deep) * bilinear(gate, deep.shape[2:], False))
    x = bilinear(x, middle.shape[2:], False)
    x = head.conv_ups.conv_up1(torch.cat([x, head.convs.conv1(middle)], 1))
    x = bilinear(x, fine.shape[2:], False)
    x = head.conv_ups.conv_up0(torch.cat([x, head.convs.conv0(fine)], 1))
    torch.testing.assert_close(head([fine, middle, deep]), head.conv_seg(x))


def test_lraspp_says_which_size_its_windows_need() -> None:
    features = pyramid(3, 4, 5)
    assert tuple(features[2].shape[2:]) == (5, 4)
    with pytest.raises(InputSizeError, match=r"windows of 5 positions a side.* 5 by 4: take one of at least 33 x 33"):
        lraspp(pool_size=5)(features)
