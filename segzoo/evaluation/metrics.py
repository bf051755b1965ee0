"""The zoo's accuracy figures, from one confusion matrix over a whole data set."""

from __future__ import annotations

import torch
from torch import Tensor

from segzoo.errors import OptionError

__all__ = ["ConfusionMatrix"]


class ConfusionMatrix:
    """Counts of pixels by true and predicted class, added up over a data set.

    All figures are those of the zoo's tables: areas are summed over the data set before they are divided, in
    per cent (0 to 100). A pixel labelled `ignore_index` counts nowhere, whatever was predicted there.

    Args:
        num_classes: number of classes, at least 1.
        ignore_index: label of pixels that do not count.
        device: where to count; put it where the predictions are.

    Attributes:
        matrix: int64 (num_classes, num_classes), rows true, columns predicted. Matrices of several processes may
            be added up in place.

    Raises:
        OptionError: `num_classes` is not a whole number of at least 1.
    """

    def __init__(self, num_classes: int, *, ignore_index: int = 255, device: torch.device | str | None = None) -> None:
        if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
            raise OptionError(f"num_classes={num_classes!r}: give a whole number of at least 1")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count one picture, or a batch of them.

        Args:
            prediction: class of each pixel, integer, any shape.
            label: true class of each pixel, or `ignore_index`; integer, the same shape.

        Raises:
            OptionError: shapes differ, a type is not an integer one, or a value is no class. Nothing is counted
                then.
        """
        if prediction.shape != label.shape:
            raise OptionError(
                f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)} differ in shape; "
                "resize the prediction to the label's size first"
            )
        for name, tensor in (("prediction", prediction), ("label", label)):
            if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
                raise OptionError(f"{name} is {tensor.dtype}; give class numbers of an integer type")
        counted = label != self.ignore_index
        true = label[counted].to(self.matrix.device, torch.int64)
        predicted = prediction[counted].to(self.matrix.device, torch.int64)
        if not true.numel():
            return
        for name, tensor in (("prediction", predicted), ("label", true)):
            low, high = (int(value) for value in torch.aminmax(tensor))
            if low < 0 or high >= self.num_classes:
                wrong = low if low < 0 else high
                raise OptionError(
                    f"{name} holds the value {wrong}; there are {self.num_classes} classes (0 to "
                    f"{self.num_classes - 1}) and pixels labelled {self.ignore_index} are left out"
                )
        cells = torch.bincount(true * self.num_classes + predicted, minlength=self.num_classes**2)
        self.matrix += cells.reshape(self.num_classes, self.num_classes)

    def merge(self, other: ConfusionMatrix) -> None:
        """Add the counts of another part of the data set.

        Raises:
            OptionError: the other matrix has another number of classes.
        """
        if other.num_classes != self.num_classes:
            raise OptionError(f"cannot add {other.num_classes} classes to {self.num_classes}")
        self.matrix += other.matrix.to(self.matrix.device)

    def iou(self) -> Tensor:
        """Intersection over union of each class, per cent, float64 (num_classes,).

        NaN for a class that was neither labelled nor predicted anywhere.
        """
        hit, labelled, predicted = self._areas()
        return 100 * hit / (labelled + predicted - hit)

    def accuracy(self) -> Tensor:
        """Share of each class's pixels that were found, per cent, float64 (num_classes,); NaN if it has none."""
        hit, labelled, _ = self._areas()
        return 100 * hit / labelled

    def dice(self) -> Tensor:
        """Dice coefficient of each class, per cent, float64 (num_classes,); NaN as in `iou`."""
        hit, labelled, predicted = self._areas()
        return 200 * hit / (labelled + predicted)

    def summary(self) -> dict[str, float]:
        """The figures under their published names: mIoU, mAcc, aAcc, mDice; per cent.

        Means are over the classes that have a figure; NaN if nothing was counted.
        """
        hit, labelled, _ = self._areas()
        return {
            "mIoU": float(self.iou().nanmean()),
            "mAcc": float(self.accuracy().nanmean()),
            "aAcc": float(100 * hit.sum() / labelled.sum()),
            "mDice": float(self.dice().nanmean()),
        }

    def _areas(self) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels found, labelled and predicted, by class. On the CPU: not every device has float64."""
        counts = self.matrix.cpu()
        hit, labelled, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
        return hit.double(), labelled.double(), predicted.double()
