"""From the numbers in a label file to classes: the one place where labels are mapped."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from segzoo.datasets.base import IGNORE
from segzoo.errors import DatasetError

__all__ = ["label_table", "map_labels"]

_NO_CLASS = -1


def label_table(
    num_classes: int, *, reduce_zero_label: bool = False, values: Mapping[int, int] | None = None
) -> np.ndarray:
    """What each number from 0 to 255 in a label file means: int16 (256,); a class, 255 (does not count) or -1 (wrong).

    Args:
        num_classes: classes are 0 to ``num_classes`` - 1, and 255 does not count.
        reduce_zero_label: 0 does not count and classes begin at 1; applied before ``values``, as published: 0 to 255,
            all others one less, and 255 stays 255.
        values: from the file's numbers to classes, where these differ; a number that is not listed is wrong, but for
            255, which does not count.
    """
    means = np.arange(256)
    if reduce_zero_label:
        means = np.where(means == 0, IGNORE, means - 1)
        means[255] = IGNORE
    if values is not None:
        translated = np.full(256, _NO_CLASS)
        translated[IGNORE] = IGNORE
        for number, label in values.items():
            translated[number] = label
        means = translated[means]
    wrong = (means != IGNORE) & ((means < 0) | (means >= num_classes))
    return np.where(wrong, _NO_CLASS, means).astype(np.int16)


def map_labels(raw: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Class of each pixel, uint8 (H, W), from a file's numbers (H, W) by a table of :func:`label_table`.

    Raises:
        DatasetError: a number that is no class and not left out; the message lists them.
    """
    in_table = raw.dtype == np.uint8 or (raw.size and raw.min() >= 0 and raw.max() <= 255)
    labels = table[raw] if in_table else np.full(1, _NO_CLASS)
    if labels.size and labels.min() == _NO_CLASS:
        present = (int(number) for number in np.unique(raw))
        wrong = [number for number in present if not 0 <= number <= 255 or table[number] == _NO_CLASS]
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        allowed = [int(number) for number in np.flatnonzero(table != _NO_CLASS)]
        raise DatasetError(f"holds {', '.join(map(str, wrong[:5]))}{more}; expected {_runs(allowed)}")
    return labels.astype(np.uint8)


def _runs(numbers: list[int]) -> str:
    """'0 to 18, 255' for sorted numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in runs)
