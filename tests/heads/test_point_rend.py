from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.heads.point_rend import PointHead


class Painter(PointHead):
    """Predicts the same logits at every point, so that what was predicted anew can be seen."""

    def point_logits(self, features: object, coarse: Tensor, points: Tensor) -> Tensor:
        return torch.full((coarse.shape[0], coarse.shape[1], points.shape[1]), 99.0)


def painter(**options: int) -> Painter:
    return Painter((1,), num_classes=2, channels=4, **options)


def test_only_the_least_sure_pixels_of_each_step_are_predicted_anew() -> None:
    # Sure of the first class on the left, of the second on the right: unsure in the middle.
    coarse = torch.tensor([[[[6.0, -6.0]]], [[[-6.0, 6.0]]]]).reshape(1, 2, 1, 2)
    head = painter(subdivision_steps=1, subdivision_num_points=4)
    refined = head([torch.zeros(1, 1, 1, 2)], coarse)
    enlarged = F.interpolate(coarse, scale_factor=2, mode="bilinear")
    assert enlarged[0, 0].tolist() == [[6.0, 3.0, -3.0, -6.0]] * 2
    assert refined[0, 0].tolist() == [[6.0, 99.0, 99.0, -6.0]] * 2


def test_without_steps_the_coarse_logits_come_back() -> None:
    coarse = torch.randn(1, 2, 3, 3)
    assert torch.equal(painter(subdivision_steps=0)([torch.zeros(1, 1, 3, 3)], coarse), coarse)


def test_the_coarse_logits_are_left_as_they_are() -> None:
    coarse = torch.randn(1, 2, 3, 5)
    before = coarse.clone()
    refined = painter(subdivision_steps=2)([torch.zeros(1, 1, 3, 5)], coarse)
    assert refined.shape == (1, 2, 12, 20)
    assert (refined == 99).all()  # fewer pixels than points
    assert torch.equal(coarse, before)


@torch.no_grad()
@pytest.mark.parametrize("each_layer", [True, False])
def test_every_layer_sees_the_coarse_logits(each_layer: bool) -> None:
    torch.manual_seed(0)
    head = PointHead(
        (3, 5), num_classes=2, channels=4, in_index=(0, 1), num_fcs=2, coarse_pred_each_layer=each_layer
    ).eval()
    features = [torch.randn(2, 3, 4, 6), torch.randn(2, 5, 2, 3)]
    coarse = torch.randn(2, 2, 4, 6)
    # At the centre of pixel (1, 2) of the finer maps, which is a quarter pixel off centre in the coarser one.
    where = torch.tensor([[[2.5 / 6, 1.5 / 4]]] * 2)
    there = coarse[:, :, 1, 2]
    wide = features[1]
    between = 0.25 * (0.25 * wide[..., 1, 0] + 0.75 * wide[..., 1, 1]) + 0.75 * (
        0.25 * wide[..., 0, 0] + 0.75 * wide[..., 0, 1]
    )
    x = torch.cat([features[0][:, :, 1, 2], between, there], dim=1)
    for layer in head.fcs:
        x = F.relu(x @ layer.conv.weight[:, :, 0].T + layer.conv.bias)
        x = torch.cat([x, there], dim=1) if each_layer else x
    expected = x @ head.fc_seg.weight[:, :, 0].T + head.fc_seg.bias
    torch.testing.assert_close(head.point_logits(features, coarse, where)[..., 0], expected)


def test_training_compares_points_and_every_parameter_learns() -> None:
    torch.manual_seed(0)
    head = PointHead((3,), num_classes=4, channels=8)
    features, coarse = [torch.randn(2, 3, 8, 8)], torch.randn(2, 4, 8, 8, requires_grad=True)
    where = head.training_points(coarse, num_points=30, generator=torch.Generator().manual_seed(0))
    assert where.shape == (2, 30, 2)
    logits = head.point_logits(features, coarse, where)
    assert logits.shape == (2, 4, 30)
    F.cross_entropy(logits, torch.randint(0, 4, (2, 30))).backward()
    assert coarse.grad is not None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_it_classifies_points_only() -> None:
    head = PointHead((3,), num_classes=4, channels=8)
    assert not any(isinstance(module, nn.Conv2d) for module in head.modules())
