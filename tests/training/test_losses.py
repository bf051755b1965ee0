"""Losses against the published implementation's figures, and against numbers by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from segzoo.training import losses as L

CLASS_WEIGHT = torch.tensor([1.0, 2.0, 0.5, 3.0])


def batch() -> tuple[Tensor, Tensor]:
    """Logits (2, 4, 9, 7) and labels (2, 9, 7), a fifth of them ignored."""
    draw = np.random.RandomState(0)
    logits = torch.from_numpy(draw.standard_normal((2, 4, 9, 7)).astype(np.float32))
    labels = torch.from_numpy(draw.randint(0, 4, (2, 9, 7)))
    labels[torch.from_numpy(draw.random_sample((2, 9, 7)) < 0.2)] = L.IGNORED
    return logits, labels


# mmsegmentation 1.2.2 on the same arrays; its Dice loss of 0.x is tested by hand below.
@pytest.mark.parametrize(
    ("function", "options", "expected"),
    [
        (L.cross_entropy, {}, 1.316181421),
        (L.cross_entropy, {"avg_non_ignore": True}, 1.625871062),
        (L.binary_cross_entropy, {}, 0.638852596),
        (L.binary_cross_entropy, {"avg_non_ignore": True}, 0.789170861),
        (L.dice, {}, 0.572297513),
        (L.lovasz, {}, 0.743213773),
        (L.lovasz, {"class_weight": CLASS_WEIGHT}, 1.201583147),
        (L.tversky, {}, 0.677748978),
        (L.tversky, {"class_weight": CLASS_WEIGHT}, 1.096945405),
        (L.focal, {}, 0.133490503),
        (L.focal, {"class_weight": CLASS_WEIGHT}, 0.213360295),
    ],
)
def test_losses_are_the_published_ones(
    function: Callable[..., Tensor], options: dict[str, Any], expected: float
) -> None:
    assert function(*batch(), **options).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("threshold", "min_kept", "pixels", "expected"),
    [
        (0.7, 10, 100, 1.311951399),
        (0.3, 40, 80, 1.216643691),
        (None, 5, 10, 0.267853469),
        (0.05, 3, 9, 0.244189918),
    ],
)
def test_hard_pixels_are_the_published_ones(
    threshold: float | None, min_kept: int, pixels: int, expected: float
) -> None:
    logits, labels = batch()
    weight = L.hard_pixel_weight(logits, labels, min_kept=min_kept, threshold=threshold)
    assert weight.sum().item() == pixels
    assert not weight[labels == L.IGNORED].any()
    assert L.cross_entropy(logits, labels, pixel_weight=weight).item() == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_counts_ignored_pixels_in_its_average() -> None:
    logits = torch.zeros(1, 2, 1, 4)
    labels = torch.tensor([[[0, 1, 255, 255]]])
    log2 = float(np.log(2))
    assert L.cross_entropy(logits, labels).item() == pytest.approx(log2 / 2)
    assert L.cross_entropy(logits, labels, avg_non_ignore=True).item() == pytest.approx(log2)
    # A class's weight does not enter the average.
    weighted = L.cross_entropy(logits, labels, class_weight=torch.tensor([1.0, 3.0]))
    assert weighted.item() == pytest.approx(4 * log2 / 4)


def test_dice_per_class_by_hand() -> None:
    logits = torch.tensor([[[[0.0, 20.0, -20.0]], [[0.0, -20.0, 20.0]]]], dtype=torch.float64)
    labels = torch.tensor([[[0, 0, 1]]])
    # Found: 0.5, 1, 0 of the first class, 0.5, 0, 1 of the second.
    first = 1 - (2 * 1.5 + 1) / (1.25 + 2 + 1)
    second = 1 - (2 * 1.0 + 1) / (1.25 + 1 + 1)
    assert L.dice_per_class(logits, labels).item() == pytest.approx((first + second) / 2)
    weight = torch.tensor([1.0, 3.0], dtype=torch.float64)
    assert L.dice_per_class(logits, labels, class_weight=weight).item() == pytest.approx((first + 3 * second) / 2)
    # An ignored pixel is left out of what was found right, and stands for the last class in the denominator.
    ignored = torch.tensor([[[0, 255, 1]]])
    first = 1 - (2 * 0.5 + 1) / (1.25 + 1 + 1)
    second = 1 - (2 * 1.0 + 1) / (1.25 + 2 + 1)
    assert L.dice_per_class(logits, ignored).item() == pytest.approx((first + second) / 2)


def test_lovasz_is_the_jaccard_loss_of_a_hard_decision() -> None:
    # Sure everywhere: two of three pixels of class 1 are found, and one of class 0 is taken for it.
    truth, found = [0, 0, 1, 1, 1], [0, 1, 1, 1, 0]
    logits = torch.full((1, 2, 1, 5), -40.0, dtype=torch.float64)
    logits[0, found, 0, range(5)] = 40.0
    loss = L.lovasz(logits, torch.tensor([[truth]]))
    assert loss.item() == pytest.approx(((1 - 1 / 3) + (1 - 2 / 4)) / 2)


def test_jaccard_by_hand() -> None:
    logits = torch.tensor([[[[0.0, 20.0, -20.0]], [[0.0, -20.0, 20.0]]]], dtype=torch.float64)
    labels = torch.tensor([[[0, 255, 1]]])
    # Found, where labelled: 0.5 and 0 of the first class, 0.5 and 1 of the second.
    expected = ((1 - 0.5 / 1.0) + (1 - 1 / 1.5)) / 2
    assert L.jaccard(logits, labels).item() == pytest.approx(expected)


def test_presence_asks_which_classes_are_in_each_picture() -> None:
    labels = torch.tensor([[[0, 2], [255, 2]], [[1, 1], [1, 1]]])
    present = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, present)
    assert L.class_presence_loss(logits, labels).item() == pytest.approx(expected.item())


def test_accuracy_is_over_labelled_pixels() -> None:
    logits = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]]])
    assert L.accuracy(logits, torch.tensor([[[0, 1, 1, 255]]])).item() == pytest.approx(100 * 2 / 3)


@pytest.mark.parametrize(
    "function",
    [L.cross_entropy, L.binary_cross_entropy, L.focal, L.lovasz, L.tversky, L.jaccard, L.dice, L.dice_per_class],
)
def test_a_batch_without_labels_is_harmless(function: Callable[..., Tensor]) -> None:
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.full((2, 4, 5), L.IGNORED)
    loss = function(logits, labels)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()  # type: ignore[arg-type]
    if function in (L.cross_entropy, L.binary_cross_entropy, L.focal, L.lovasz, L.jaccard):
        assert loss.item() == 0
        assert not logits.grad.any()  # type: ignore[union-attr]
    assert L.accuracy(logits, labels).item() == 0
    assert not L.hard_pixel_weight(logits, labels, min_kept=3).any()


@pytest.mark.parametrize(
    "function",
    [L.cross_entropy, L.binary_cross_entropy, L.focal, L.tversky, L.jaccard, L.dice, L.dice_per_class],
)
def test_gradients_are_those_of_the_loss(function: Callable[..., Tensor]) -> None:
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 2, 3, generator=draw, dtype=torch.float64).requires_grad_()
    labels = torch.randint(0, 3, (2, 2, 3), generator=draw)
    labels[0, 0, 0] = L.IGNORED
    assert torch.autograd.gradcheck(lambda x: function(x, labels), logits)
