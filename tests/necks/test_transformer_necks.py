"""The necks that make several scales of a plain transformer's features."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from segzoo.errors import InputSizeError
from segzoo.necks.feature2pyramid import Feature2Pyramid
from segzoo.necks.mla import MLAModule, MLANeck
from segzoo.necks.multi_level import MultiLevelNeck


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def pass_through(conv: nn.Conv2d) -> None:
    """Makes a convolution return its input."""
    nn.init.dirac_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)


def test_multi_level_scales_each_feature_by_its_factor() -> None:
    neck = MultiLevelNeck((3, 4, 5, 6), (16,) * 4, out_channels=2, scales=(4, 2, 1, 0.5))
    outputs = neck([torch.randn(1, width, 4, 6) for width in (3, 4, 5, 6)])
    assert neck.channels == (2, 2, 2, 2)
    assert neck.strides == (4, 8, 16, 32)
    assert [tuple(out.shape) for out in outputs] == [(1, 2, 16, 24), (1, 2, 8, 12), (1, 2, 4, 6), (1, 2, 2, 3)]


def test_multi_level_halves_by_the_factor_at_odd_sizes() -> None:
    neck = MultiLevelNeck((1,), (16,), out_channels=1, scales=(0.5,))
    pass_through(neck.lateral_convs[0].conv)
    pass_through(neck.convs[0].conv)
    x = torch.tensor([0.0, 2.0, 10.0, 20.0, 99.0]).view(1, 1, 1, 5).expand(1, 1, 5, 5)
    # Two positions, each halfway between two of the five; the last is left over.
    assert neck([x])[0].tolist() == [[[[1.0, 15.0], [1.0, 15.0]]]]


def test_multi_level_says_how_small_a_picture_may_be() -> None:
    neck = MultiLevelNeck((1, 1), (16, 16), out_channels=1, scales=(1, 0.5))
    with pytest.raises(InputSizeError, match="at least 17 x 17"):
        neck([torch.zeros(1, 1, 1, 4)] * 2)


def test_mla_adds_the_deeper_features_deepest_first() -> None:
    module = MLAModule((1, 1, 1), 1).eval()
    for conv in (*module.channel_proj, *module.feat_extract):
        nn.init.dirac_(conv.conv.weight)
        conv.bn.eps = 0.0
    outputs = module([torch.full((1, 1, 2, 2), value) for value in (1.0, 10.0, 100.0)])
    assert [out.flatten().tolist() for out in outputs] == [[100.0] * 4, [110.0] * 4, [111.0] * 4]


def test_mla_norms_each_feature_over_its_channels() -> None:
    neck = MLANeck((8, 8), (16, 16), out_channels=4).eval()
    features = [torch.randn(2, 8, 3, 5) for _ in range(2)]
    outputs = neck(features)
    changed = neck([7 * feature + 3 for feature in features])
    assert [out.shape for out in outputs] == [(2, 4, 3, 5)] * 2
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(outputs, changed, strict=True))


def test_feature2pyramid_scales_by_4_2_1_and_a_half() -> None:
    neck = Feature2Pyramid((2, 3, 4, 5), (16,) * 4).eval()
    features = [torch.randn(1, width, 4, 6) for width in (2, 3, 4, 5)]
    outputs = neck(features)
    assert neck.strides == (4, 8, 16, 32)
    assert [tuple(out.shape) for out in outputs] == [(1, 2, 16, 24), (1, 3, 8, 12), (1, 4, 4, 6), (1, 5, 2, 3)]
    assert torch.equal(outputs[2], features[2])
    assert torch.equal(outputs[3], features[3].unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5)))
