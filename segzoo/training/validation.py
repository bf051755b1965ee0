"""The accuracy of a model in the middle of its training."""

from __future__ import annotations

import math

import torch

from segzoo.datasets.base import SegmentationData
from segzoo.evaluation.metrics import ConfusionMatrix
from segzoo.model import Model
from segzoo.training.distributed import Processes

__all__ = ["validate"]


def validate(
    model: Model, data: SegmentationData, processes: Processes, *, limit: int | None = None
) -> dict[str, float | None]:
    """mIoU, mAcc, aAcc and mDice, in percent, by the model's own test protocol; None where nothing was counted.

    Every process predicts its share of the pictures; ``limit``: how many pictures, evenly spread, None for all.
    """
    count = len(data) if limit is None else min(limit, len(data))
    chosen = [number * len(data) // count for number in range(count)] if count else []
    matrix = ConfusionMatrix(model.num_classes)
    for index in chosen[processes.rank :: processes.world]:
        sample = data[index]
        mask = model.predict(sample.image).mask
        matrix.update(torch.as_tensor(mask), torch.from_numpy(sample.label))
    matrix.matrix = processes.sum(matrix.matrix)
    return {name: value if math.isfinite(value) else None for name, value in matrix.summary().items()}
