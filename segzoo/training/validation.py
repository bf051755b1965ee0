"""The accuracy of a model in the middle of its training."""

from __future__ import annotations

import math

from segzoo.datasets.base import SegmentationData
from segzoo.evaluation.accuracy import measure
from segzoo.model import Model

__all__ = ["validate"]


def validate(model: Model, data: SegmentationData, *, limit: int | None = None) -> dict[str, float | None]:
    """mIoU, mAcc, aAcc and mDice, in percent, by the model's own test protocol; None where nothing was counted.

    Processes share the pictures and all get the figures of the whole. ``limit``: only the first pictures.
    """
    matrix, _ = measure(model, data, limit=limit)
    return {name: value if math.isfinite(value) else None for name, value in matrix.summary().items()}
