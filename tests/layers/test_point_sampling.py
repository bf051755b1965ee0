from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segzoo.layers.point_sampling import (
    most_uncertain_points,
    point_sample,
    random_uncertain_points,
    uncertainty,
)

MAP = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]).reshape(1, 1, 2, 3)


def points(*pairs: tuple[float, float]) -> Tensor:
    return torch.tensor(pairs).unsqueeze(0)


def test_the_centre_of_a_pixel_gives_the_pixel() -> None:
    found = point_sample(MAP, points((1 / 6, 0.25), (0.5, 0.25), (5 / 6, 0.75)))
    torch.testing.assert_close(found, torch.tensor([[[1.0, 2.0, 32.0]]]))


def test_between_centres_the_values_are_mixed_and_beyond_the_edge_are_zeros() -> None:
    found = point_sample(MAP, points((1 / 3, 0.25), (0.5, 0.5), (0.0, 0.25), (0.0, 0.0), (2.0, 0.5)))
    torch.testing.assert_close(found, torch.tensor([[[1.5, 9.0, 0.5, 0.25, 0.0]]]))


def test_aligned_corners_put_the_outermost_centres_on_the_edge() -> None:
    found = point_sample(MAP, points((0.0, 0.0), (0.5, 1.0), (0.25, 0.0)), align_corners=True)
    torch.testing.assert_close(found, torch.tensor([[[1.0, 16.0, 1.5]]]))


def test_labels_are_read_at_the_nearest_pixel() -> None:
    found = point_sample(MAP, points((0.3, 0.4), (0.4, 0.6)), mode="nearest")
    assert found.tolist() == [[[1.0, 16.0]]]


def written_out(x: Tensor, where: Tensor) -> Tensor:
    """Bilinear sampling, point by point and neighbour by neighbour."""
    height, width = x.shape[2:]
    out = torch.zeros(x.shape[0], x.shape[1], where.shape[1], dtype=x.dtype)
    for n in range(x.shape[0]):
        for p in range(where.shape[1]):
            column, row = where[n, p, 0].item() * width - 0.5, where[n, p, 1].item() * height - 0.5
            for i in range(height):
                for j in range(width):
                    weight = max(0.0, 1 - abs(row - i)) * max(0.0, 1 - abs(column - j))
                    out[n, :, p] += weight * x[n, :, i, j]
    return out


def test_equals_sampling_written_out() -> None:
    torch.manual_seed(0)
    x, where = torch.randn(2, 3, 4, 5), torch.rand(2, 20, 2)
    torch.testing.assert_close(point_sample(x, where), written_out(x, where))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_tells_the_pixels_of_a_large_map_apart(dtype: torch.dtype) -> None:
    x = torch.zeros(1, 1, 1, 4096, dtype=dtype)
    x[..., 4095] = 1
    found = point_sample(x, points((4094.5 / 4096, 0.5), (4095.5 / 4096, 0.5)))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), torch.tensor([[[0.0, 1.0]]]), atol=1e-2, rtol=0)


def test_uncertainty_is_the_gap_between_the_two_best_classes() -> None:
    logits = torch.tensor([[3.0, 1.0], [5.0, 1.0], [-2.0, 0.0]]).T.reshape(1, 2, 3, 1).transpose(1, 2)
    # Three classes, two positions: (3, 5, -2) and (1, 1, 0).
    assert uncertainty(logits.reshape(1, 3, 2)).tolist() == [[-2.0, 0.0]]


def test_with_one_class_uncertainty_is_nearness_to_zero() -> None:
    assert uncertainty(torch.tensor([[[-3.0, 0.5]]])).tolist() == [[-3.0, -0.5]]


def test_the_least_sure_pixels_are_found_with_their_centres() -> None:
    gaps = torch.tensor([[9.0, 1.0, 8.0, 7.0], [6.0, 5.0, 2.0, 3.0]])
    logits = torch.stack([gaps, torch.zeros(2, 4)]).unsqueeze(0)
    indices, centres = most_uncertain_points(logits, 3)
    assert indices.tolist() == [[1, 6, 7]]
    torch.testing.assert_close(centres, points((0.375, 0.25), (0.625, 0.75), (0.875, 0.75)))
    torch.testing.assert_close(point_sample(logits, centres)[:, 0], torch.tensor([[1.0, 2.0, 3.0]]))


def test_a_map_of_fewer_pixels_gives_them_all() -> None:
    indices, centres = most_uncertain_points(torch.randn(2, 3, 2, 2), 100)
    assert sorted(indices[1].tolist()) == [0, 1, 2, 3]
    assert centres.shape == (2, 4, 2)


def test_training_points_crowd_where_the_prediction_is_unsure() -> None:
    logits = torch.zeros(2, 2, 8, 8)
    logits[:, 0, :, :4] = 10.0  # the left half is sure of its class, the right half is not
    logits[:, 0, :, 4:] = 0.1
    where = random_uncertain_points(logits, 400, generator=torch.Generator().manual_seed(0))
    assert where.shape == (2, 400, 2)
    assert where.min() >= 0
    assert where.max() <= 1
    right = (where[..., 0] > 0.4).float().mean(dim=1)
    assert (right > 0.85).all()  # three quarters of the points, and half of the rest


def test_training_points_are_plainly_random_without_importance() -> None:
    logits = torch.zeros(1, 2, 4, 4)
    where = random_uncertain_points(logits, 50, importance_sample_ratio=0.0, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    torch.rand(1, 150, 2, generator=generator)  # the candidates, of which none is chosen
    assert torch.equal(where, torch.rand(1, 50, 2, generator=generator))


def test_no_gradient_flows_through_the_choice() -> None:
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    assert not random_uncertain_points(logits, 10).requires_grad
