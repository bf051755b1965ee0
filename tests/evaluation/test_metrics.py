"""The accuracy figures against counts made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, recall_score

from benchmarks.peers.metric import ours, predictions
from segzoo.errors import OptionError
from segzoo.evaluation.metrics import ConfusionMatrix

LABEL = torch.tensor([[0, 0, 1, 1], [0, 2, 1, 255]], dtype=torch.uint8)
PREDICTION = torch.tensor([[0, 1, 1, 1], [0, 2, 0, 2]])
# Seven pixels count. Hits: 2, 2, 1. Labelled: 3, 3, 1. Predicted there: 3, 3, 1.


def test_counts_by_hand() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(PREDICTION, LABEL)
    assert matrix.matrix.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 1]]
    assert matrix.matrix.dtype == torch.int64
    torch.testing.assert_close(matrix.iou(), torch.tensor([50.0, 50.0, 100.0], dtype=torch.float64))
    third = 200 / 3
    torch.testing.assert_close(matrix.accuracy(), torch.tensor([third, third, 100.0], dtype=torch.float64))
    torch.testing.assert_close(matrix.dice(), torch.tensor([third, third, 100.0], dtype=torch.float64))
    expected = {"mIoU": 200 / 3, "mAcc": 700 / 9, "aAcc": 500 / 7, "mDice": 700 / 9}
    assert matrix.summary() == pytest.approx(expected)


def test_prediction_on_ignored_pixels_counts_nowhere() -> None:
    changed = PREDICTION.clone()
    matrix, other = ConfusionMatrix(3), ConfusionMatrix(3)
    matrix.update(changed, LABEL)
    changed[1, 3] = 1
    other.update(changed, LABEL)
    assert torch.equal(matrix.matrix, other.matrix)


def test_class_that_never_occurs_drops_out_of_the_mean() -> None:
    matrix = ConfusionMatrix(5)
    matrix.update(PREDICTION, LABEL)
    assert math.isnan(matrix.iou()[3])
    assert math.isnan(matrix.accuracy()[4])
    assert matrix.summary()["mIoU"] == pytest.approx(200 / 3)


def test_class_only_predicted_counts_as_zero_iou_but_has_no_accuracy() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(torch.tensor([0, 1]), torch.tensor([0, 0]))
    assert matrix.iou().tolist() == [50.0, 0.0]
    assert matrix.accuracy()[0] == 50.0
    assert math.isnan(matrix.accuracy()[1])
    assert matrix.summary()["mIoU"] == 25.0


def test_areas_are_summed_over_the_data_set_before_dividing() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(torch.tensor([1, 0, 0, 0]), torch.tensor([1, 1, 1, 1]))
    matrix.update(torch.tensor([1]), torch.tensor([1]))
    # 2 of 5 found; the mean of the two pictures' figures would be 62.5.
    assert matrix.iou()[1] == 40.0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_agrees_with_a_loop_over_pixels(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(5)
    label = rng.integers(0, 4, (2, 9, 11))
    label[rng.random(label.shape) < 0.2] = 255
    prediction = rng.integers(0, 4, label.shape)
    counts = [[0] * 4 for _ in range(4)]
    for true, predicted in zip(label.ravel(), prediction.ravel(), strict=True):
        if true != 255:
            counts[true][predicted] += 1
    matrix = ConfusionMatrix(4)
    matrix.update(torch.from_numpy(prediction).to(dtype), torch.from_numpy(label).to(dtype))
    assert matrix.matrix.tolist() == counts


def test_merging_parts_equals_counting_at_once() -> None:
    whole, first, second = ConfusionMatrix(3), ConfusionMatrix(3), ConfusionMatrix(3)
    whole.update(PREDICTION, LABEL)
    first.update(PREDICTION[:1], LABEL[:1])
    second.update(PREDICTION[1:], LABEL[1:])
    first.merge(second)
    assert torch.equal(whole.matrix, first.matrix)
    with pytest.raises(OptionError, match="4 classes to 3"):
        first.merge(ConfusionMatrix(4))


def test_counts_beyond_what_float32_holds() -> None:
    matrix = ConfusionMatrix(2)
    matrix.matrix[0, 0] = 2**24
    matrix.update(torch.tensor([0]), torch.tensor([0]))
    assert matrix.matrix[0, 0] == 2**24 + 1


def test_empty_and_all_ignored() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(torch.tensor([0, 1]), torch.tensor([255, 255]))
    assert matrix.matrix.sum() == 0
    assert math.isnan(matrix.summary()["mIoU"])


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        (torch.tensor([0, 1]), torch.tensor([0]), "differ in shape"),
        (torch.tensor([0.0]), torch.tensor([0]), r"prediction is torch\.float32"),
        (torch.tensor([0]), torch.tensor([True]), r"label is torch\.bool"),
        (torch.tensor([3]), torch.tensor([0]), "prediction holds the value 3"),
        (torch.tensor([0]), torch.tensor([7]), "label holds the value 7"),
        (torch.tensor([0]), torch.tensor([-1]), "label holds the value -1"),
    ],
)
def test_bad_input_is_named_and_not_counted(prediction: torch.Tensor, label: torch.Tensor, message: str) -> None:
    matrix = ConfusionMatrix(3)
    with pytest.raises(OptionError, match=message):
        matrix.update(prediction, label)
    assert matrix.matrix.sum() == 0


@pytest.mark.parametrize("number", [0, -1, 2.0, True])
def test_number_of_classes(number: object) -> None:
    with pytest.raises(OptionError, match="num_classes"):
        ConfusionMatrix(number)  # type: ignore[arg-type]


@pytest.mark.parametrize("classes", [2, 19, 150])
def test_figures_are_those_of_scikit_learn(classes: int) -> None:
    """Jaccard index, recall and F1 of scikit-learn on the same pixels, to the twelfth digit; counts exactly."""
    guesses, labels = zip(*predictions(classes, 2), strict=True)
    guess, label = torch.cat(guesses).flatten(), torch.cat(labels).flatten()
    counted = label != 255
    matrix = ConfusionMatrix(classes)
    matrix.update(guess, label)
    pair = label[counted].numpy(), guess[counted].numpy()
    np.testing.assert_array_equal(matrix.matrix.numpy(), confusion_matrix(*pair, labels=range(classes)))
    figures = ours(classes, 2)
    for name, function in (("IoU", jaccard_score), ("Acc", recall_score), ("Dice", f1_score)):
        expected = 100 * function(*pair, labels=range(classes), average=None, zero_division=0.0)
        there = ~np.isnan(np.asarray(figures[name]))
        np.testing.assert_allclose(np.asarray(figures[name])[there], expected[there], rtol=1e-12)
    assert figures["aAcc"] == pytest.approx(100 * np.mean(pair[0] == pair[1]), rel=1e-12)
    for name in ("IoU", "Acc", "Dice"):
        assert figures[f"m{name}"] == pytest.approx(np.nanmean(figures[name]), rel=1e-12)
