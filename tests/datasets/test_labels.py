"""Label maps: what every number in a file means."""

from __future__ import annotations

import numpy as np
import pytest

from segzoo.datasets.labels import label_table, map_labels
from segzoo.errors import DatasetError
from segzoo.index import dataset


def test_plain_labels_are_kept() -> None:
    table = label_table(19)
    assert [table[number] for number in (0, 18, 19, 254, 255)] == [0, 18, -1, -1, 255]


def test_zero_label_reduction() -> None:
    """0 counts nowhere, 1 is the first class, and 255 stays what it is."""
    table = label_table(150, reduce_zero_label=True)
    assert [table[number] for number in (0, 1, 2, 150, 151, 254, 255)] == [255, 0, 1, 149, -1, -1, 255]
    # With the largest number of classes, 254 is the last class and not what is left of 255.
    assert label_table(254, reduce_zero_label=True)[254] == 253


def test_zero_labels_are_reduced_before_values_are_translated() -> None:
    table = label_table(3, reduce_zero_label=True, values={0: 2, 1: 0})
    assert [table[number] for number in (0, 1, 2, 3, 255)] == [255, 2, 0, -1, 255]


def test_cityscapes_ids_become_train_ids() -> None:
    cityscapes = dataset("cityscapes")
    train_ids, ids = cityscapes.layout.labels
    assert train_ids.values is None
    table = label_table(19, values=ids.values)
    named = {7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light"}
    named |= {20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car"}
    named |= {27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"}
    for number in range(34):
        label = int(table[number])
        assert (cityscapes.classes[label] if label != 255 else None) == named.get(number)
    assert (table[34], table[255]) == (-1, 255)


def test_vessels_are_one_or_255() -> None:
    for name in ("drive", "stare", "chase_db1", "hrf"):
        (form,) = dataset(name).layout.labels
        table = label_table(2, values=form.values)
        assert [table[number] for number in (0, 1, 2, 128, 254, 255)] == [0, 1, -1, -1, -1, 1]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_mapping(dtype: type) -> None:
    raw = np.array([[0, 1, 2], [255, 150, 3]], dtype)
    labels = map_labels(raw, label_table(150, reduce_zero_label=True))
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, [[255, 0, 1], [255, 149, 2]])
    assert map_labels(np.zeros((0, 3), np.uint8), label_table(2)).shape == (0, 3)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([0, 19, 7], r"holds 19; expected 0 to 18, 255"),
        ([19, 20, 21, 22, 23, 24, 33], r"holds 19, 20, 21, 22, 23 and 2 more; expected"),
        ([300], "holds 300; expected"),
        ([-1], "holds -1; expected"),
    ],
)
def test_a_wrong_number_is_named(numbers: list[int], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        map_labels(np.array([numbers], np.int32), label_table(19))
