"""What the figures of whole networks do not show: odd sizes, training, and how the attention heads are put together."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.heads.ann import ANNHead
from segzoo.heads.ccnet import CCHead
from segzoo.heads.danet import DAHead
from segzoo.heads.emanet import EMAHead
from segzoo.heads.isanet import ISAHead
from segzoo.heads.psanet import PSAHead
from segzoo.layers.point_wise_attention import collect, distribute


def lively(head: nn.Module) -> nn.Module:
    """Evaluation mode, and no branch switched off by an initial zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if name.endswith("gamma.scale") or not parameter.any():
                nn.init.normal_(parameter)
    return head.eval()


@torch.no_grad()
def test_ann_attends_to_pooled_positions() -> None:
    head = lively(
        ANNHead((6, 8), num_classes=3, channels=4, project_channels=5, in_index=(0, 1), key_pool_scales=(1, 2))
    )
    low, high = torch.randn(2, 6, 4, 6), torch.randn(2, 8, 4, 6)
    stage = head.fusion.stages[0]
    key, value = stage.key_project(low), stage.value_project(low)
    places = [(slice(0, 4), slice(0, 6)), *itertools.product((slice(0, 2), slice(2, 4)), (slice(0, 3), slice(3, 6)))]
    key, value = (torch.stack([m[:, :, y, x].mean((2, 3)) for y, x in places], dim=2) for m in (key, value))
    scores = torch.einsum("nchw,ncp->nhwp", stage.query_project(high), key) / 5**0.5
    context = stage.out_project(torch.einsum("nhwp,ncp->nchw", scores.softmax(3), value))
    expected = head.fusion.bottleneck(torch.cat([context, high], dim=1))
    torch.testing.assert_close(head.fusion(low, high), expected)
    assert expected.min() < 0
    assert head.context(head.bottleneck(expected), head.bottleneck(expected)).min() >= 0


def test_ann_has_one_projection_for_key_and_query_of_the_second_block() -> None:
    head = ANNHead((6, 8), num_classes=3, channels=4, project_channels=5, in_index=(0, 1))
    assert head.context.stages[0].key_project is head.context.stages[0].query_project
    assert head.fusion.stages[0].key_project is not head.fusion.stages[0].query_project


@torch.no_grad()
def test_criss_cross_attention_is_applied_again_with_the_same_weights() -> None:
    head = lively(CCHead((4,), num_classes=3, channels=8, recurrence=3))
    x = torch.randn(2, 8, 3, 5)
    torch.testing.assert_close(head.context(x), head.cca(head.cca(head.cca(x))))


@torch.no_grad()
def test_danet_sums_its_branches_and_classifies_each() -> None:
    head = lively(DAHead((4,), num_classes=3, channels=8, pam_channels=2))
    features = [torch.randn(2, 4, 3, 5)]
    fused, by_position, by_channel = head.branch_logits(features)
    assert torch.equal(head(features), fused)
    position, channel = head.branches(features)
    torch.testing.assert_close(fused, head.conv_seg(position + channel))
    torch.testing.assert_close(by_position, head.pam_conv_seg(position))
    torch.testing.assert_close(by_channel, head.cam_conv_seg(channel))


def group_by_group(head: ISAHead, x: Tensor) -> Tensor:
    """The interlaced attention with its groups picked by hand, from a map that blocks of ``down_factor`` tile."""
    high, wide = head.down_factor
    far = torch.empty_like(x)
    for i in range(high):
        for j in range(wide):
            group = x[:, :, i::high, j::wide]
            far[:, :, i::high, j::wide] = head.global_relation(group, group)
    near = torch.empty_like(x)
    for i in range(0, x.shape[2], high):
        for j in range(0, x.shape[3], wide):
            block = far[:, :, i : i + high, j : j + wide]
            near[:, :, i : i + high, j : j + wide] = head.local_relation(block, block)
    return near


@pytest.mark.parametrize(("size", "padding"), [((4, 6), (0, 0, 0, 0)), ((5, 4), (1, 1, 0, 1)), ((3, 8), (0, 1, 0, 1))])
@torch.no_grad()
def test_isanet_equals_attention_group_by_group(size: tuple[int, int], padding: tuple[int, int, int, int]) -> None:
    head = lively(ISAHead((4,), num_classes=3, channels=6, isa_channels=5, down_factor=(2, 3)))
    x = torch.randn(2, 6, *size)
    left, _, top, _ = padding
    expected = group_by_group(head, F.pad(x, padding))[:, :, top : top + size[0], left : left + size[1]]
    torch.testing.assert_close(head.relate(x), expected)


@pytest.mark.parametrize(
    ("size", "half", "aligned"),
    [((4, 6), (2, 3), False), ((5, 7), (3, 4), True), ((5, 6), (2, 3), False), ((4, 7), (2, 3), False)],
)
@pytest.mark.parametrize("align_corners", [False, True])
@torch.no_grad()
def test_psanet_aligns_corners_only_where_both_sides_are_odd(
    size: tuple[int, int], half: tuple[int, int], aligned: bool, align_corners: bool
) -> None:
    head = lively(PSAHead((4,), num_classes=3, channels=6, mask_size=(3, 5), align_corners=align_corners))
    x = torch.randn(2, 4, *size)
    parts = []
    for reduce, attention, operator in (
        (head.reduce, head.attention, collect),
        (head.reduce_p, head.attention_p, distribute),
    ):
        small = F.interpolate(reduce(x), half, mode="bilinear", align_corners=aligned)
        parts.append(operator(small, attention(small), (3, 5)))
    context = head.proj(torch.cat(parts, dim=1))
    assert context.shape[2:] == (half[0] + 2, half[1] + 2)
    context = F.interpolate(context, size, mode="bilinear", align_corners=aligned)
    expected = head.conv_seg(head.bottleneck(torch.cat([x, context], dim=1)))
    torch.testing.assert_close(head([x]), expected)


def test_emanet_learns_its_bases_and_keeps_its_frozen_convolution() -> None:
    torch.manual_seed(0)
    head = EMAHead((4,), num_classes=3, channels=6, ema_channels=8, num_bases=2, num_stages=2)
    before = head.ema_module.bases.clone()
    features = [torch.randn(2, 4, 5, 5)]
    head(features).square().mean().backward()
    assert not torch.equal(head.ema_module.bases, before)
    without = {name for name, parameter in head.named_parameters() if parameter.grad is None}
    assert without == {"ema_mid_conv.conv.weight", "ema_mid_conv.conv.bias"}
    after = head.ema_module.bases.clone()
    head.eval()(features)
    assert torch.equal(head.ema_module.bases, after)
