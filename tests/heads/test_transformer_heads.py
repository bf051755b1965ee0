"""The heads of SegFormer, Segmenter, SETR and DPT: what the reference's figures do not show."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segzoo.heads.dpt import DPTHead, FusionBlock, ReassembleBlocks
from segzoo.heads.segformer import SegformerHead
from segzoo.heads.segmenter import SegmenterMaskTransformerHead
from segzoo.heads.setr import SETRMLAHead, SETRUPHead


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_segformer_decodes_at_the_finest_size() -> None:
    head = SegformerHead((4, 6), in_index=(0, 1), num_classes=3, channels=8).eval()
    fine, coarse = torch.randn(2, 4, 8, 12), torch.randn(2, 6, 4, 6)
    parts = [head.convs[0](fine), F.interpolate(head.convs[1](coarse), (8, 12), mode="bilinear")]
    expected = head.conv_seg(head.fusion_conv(torch.cat(parts, dim=1)))
    assert torch.allclose(head([fine, coarse]), expected)


def test_segmenter_logits_are_cosines_normed_over_the_classes() -> None:
    head = SegmenterMaskTransformerHead((6,), num_classes=5, channels=8, num_heads=2).eval()
    logits = head([torch.randn(2, 6, 3, 4)])
    assert logits.shape == (2, 5, 3, 4)
    assert torch.allclose(logits.mean(1), torch.zeros(2, 3, 4), atol=1e-5)
    assert not any(key.startswith("conv_seg") for key in head.state_dict())


def test_segmenter_classes_follow_their_tokens() -> None:
    head = SegmenterMaskTransformerHead((6,), num_classes=5, channels=8, num_heads=2).eval()
    feature = torch.randn(1, 6, 3, 4)
    before = head([feature])
    order = torch.tensor([3, 1, 4, 0, 2])
    with torch.no_grad():
        head.cls_emb.copy_(head.cls_emb[:, order])
    assert torch.allclose(head([feature]), before[:, order], atol=1e-5)


@pytest.mark.parametrize(("convs", "scale", "size"), [(1, 4, (8, 12)), (4, 2, (32, 48))])
def test_setr_upsamples_after_each_convolution(convs: int, scale: int, size: tuple[int, int]) -> None:
    head = SETRUPHead((6, 6), in_index=1, num_classes=3, channels=4, num_convs=convs, up_scale=scale).eval()
    features = [torch.randn(1, 6, 2, 3) for _ in range(2)]
    x = F.layer_norm(features[1].permute(0, 2, 3, 1), (6,), eps=1e-6).permute(0, 3, 1, 2)
    for conv, _ in head.up_convs:
        x = F.interpolate(conv(x), scale_factor=scale, mode="bilinear")
    logits = head(features)
    assert logits.shape == (1, 3, *size)
    assert torch.allclose(logits, head.conv_seg(x), atol=1e-6)


def test_setr_mla_joins_the_levels() -> None:
    head = SETRMLAHead((4, 4), in_index=(0, 1), num_classes=3, channels=10, mla_channels=5).eval()
    features = [torch.randn(1, 4, 2, 3) for _ in range(2)]
    logits = head(features)
    assert logits.shape == (1, 3, 8, 12)
    features[0] = features[0] + 1
    assert not torch.allclose(head(features), logits)


def test_dpt_reads_the_class_token_into_every_position() -> None:
    blocks = ReassembleBlocks(8, (2, 3, 4, 5)).eval()
    features = [torch.randn(1, 16, 4, 6) for _ in range(4)]
    outputs = blocks(features)
    assert [tuple(out.shape) for out in outputs] == [(1, 2, 16, 24), (1, 3, 8, 12), (1, 4, 4, 6), (1, 5, 2, 3)]
    third = features[2].clone()
    third[:, 8:] += 1  # the class token's half
    assert not torch.allclose(blocks([*features[:2], third, features[3]])[2], outputs[2])


def test_dpt_fusion_adds_the_finer_feature_and_doubles_the_size() -> None:
    block = FusionBlock(3, first=False).eval()
    x, finer = torch.randn(1, 3, 4, 6), torch.randn(1, 3, 5, 7)
    joined = x + block.res_conv_unit1(F.interpolate(finer, (4, 6), mode="bilinear"))
    wide = F.interpolate(block.res_conv_unit2(joined), (8, 12), mode="bilinear", align_corners=True)
    assert torch.allclose(block(x, finer), block.project(wide), atol=1e-6)


def test_dpt_leaves_its_features_as_they_were() -> None:
    block = FusionBlock(3, first=True).eval()
    x = torch.randn(1, 3, 4, 6)
    kept = x.clone()
    block(x)
    assert torch.equal(x, kept)
    assert not hasattr(block, "res_conv_unit1")


def test_dpt_decodes_at_half_the_pictures_size() -> None:
    head = DPTHead((16,) * 4, num_classes=3, channels=6, embed_dims=8, post_process_channels=(2, 3, 4, 5)).eval()
    assert head([torch.randn(1, 16, 4, 6) for _ in range(4)]).shape == (1, 3, 32, 48)
    assert isinstance(head.conv_seg, nn.Conv2d)
