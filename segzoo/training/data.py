"""Endless batches of augmented samples that depend on nothing but the seed and the step.

The draws of a run are numbered: step s of a run with N pictures a step takes the numbers s * N to (s + 1) * N - 1,
whatever processes and passes share them. A draw's number decides its picture and, with the seed, its augmentation. So
neither the number of workers nor an interruption changes what the network sees.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from segzoo.datasets.base import IGNORE, Sample, SegmentationData
from segzoo.errors import DatasetError, OptionError, SegzooError
from segzoo.recipe import Augmentation
from segzoo.training.transforms import augment, network_input

__all__ = ["Batches", "Draws", "InMemory", "Share", "batches", "default_workers"]

_ORDER, _VIEW = 0, 1  # two streams of random numbers from one seed


class InMemory:
    """A data set whose samples are kept once they have been read: decoding takes as long as augmenting.

    Worker processes keep what they read themselves, each for its own.
    """

    def __init__(self, data: SegmentationData) -> None:
        self._data = data
        self._samples: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int, /) -> Sample:
        if index not in self._samples:
            self._samples[index] = self._data[index]
        return self._samples[index]


class Draws(Dataset[tuple[Tensor, Tensor]]):
    """Draw number -> picture, float32 (3, H, W), normalised, and labels, uint8 (H, W); both of the crop's size.

    Each round over the data set has an order of its own. ``classes``: the number of classes the labels may name.
    """

    def __init__(
        self,
        data: SegmentationData | InMemory,
        augmentation: Augmentation,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        classes: int,
        seed: int = 0,
    ) -> None:
        if len(data) == 0:
            raise DatasetError("the training split has no pictures")
        if augmentation.crop_size is None:
            raise OptionError("the recipe has no augmentation.crop_size, which every picture of a batch has to have")
        self.data, self.augmentation, self.crop_size = data, augmentation, augmentation.crop_size
        self.mean, self.std, self.classes, self.seed = tuple(mean), tuple(std), classes, seed
        self._round, self._order = -1, np.empty(0, np.int64)

    def index(self, number: int) -> int:
        """The picture that a draw shows."""
        turn, place = divmod(number, len(self.data))
        if turn != self._round:
            self._round, self._order = turn, self._generator(_ORDER, turn).permutation(len(self.data))
        return int(self._order[place])

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        sample = self.data[self.index(number)]
        self._check(sample)
        view = augment(sample.image, sample.label, self.augmentation, self._generator(_VIEW, number))
        pixels, labels = network_input(*view, self.crop_size, self.mean, self.std)
        return torch.from_numpy(pixels), torch.from_numpy(labels)

    def _generator(self, stream: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream, number])

    def _check(self, sample: Sample) -> None:
        if sample.image.shape[:2] != sample.label.shape:
            sizes = f"{sample.image.shape[1]}x{sample.image.shape[0]}, {sample.label.shape[1]}x{sample.label.shape[0]}"
            raise DatasetError(f"{sample.name}: picture and label map differ in size ({sizes})")
        present = np.bincount(sample.label.ravel(), minlength=IGNORE + 1)
        wrong = np.flatnonzero(present[self.classes : IGNORE]) + self.classes
        if len(wrong):
            raise DatasetError(
                f"{sample.name}: its label map holds {wrong[0]}, but the model has {self.classes} classes (0 to "
                f"{self.classes - 1}; {IGNORE} is ignored); set num_classes, or correct the label maps"
            )


@dataclass(frozen=True)
class Share:
    """What one process does of every step: ``passes`` batches of ``size`` pictures, beside ``world`` - 1 others."""

    size: int
    passes: int = 1
    rank: int = 0
    world: int = 1

    @property
    def total(self) -> int:
        """Pictures a step, over all processes and passes."""
        return self.size * self.passes * self.world

    def numbers(self, step: int, number: int) -> range:
        """The draws of pass ``number`` of a step."""
        first = step * self.total + (number * self.world + self.rank) * self.size
        return range(first, first + self.size)


class _Numbers(Sampler[list[int]]):
    def __init__(self, share: Share, first: int, last: int) -> None:
        self.share, self.first, self.last = share, first, last

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.last):
            for number in range(self.share.passes):
                yield list(self.share.numbers(step, number))

    def __len__(self) -> int:
        return (self.last - self.first) * self.share.passes


class _Careful(Dataset[tuple[Tensor, Tensor] | SegzooError]):
    """Hands errors over instead of raising them: a worker's exception would arrive with its traceback as message."""

    def __init__(self, draws: Draws) -> None:
        self.draws = draws

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor] | SegzooError:
        try:
            return self.draws[number]
        except SegzooError as error:
            return error


def _collate(samples: list[tuple[Tensor, Tensor] | SegzooError]) -> tuple[Tensor, Tensor] | SegzooError:
    pairs = []
    for sample in samples:
        if isinstance(sample, SegzooError):
            return sample
        pairs.append(sample)
    return torch.stack([pixels for pixels, _ in pairs]), torch.stack([labels for _, labels in pairs])


def _deafen(worker: int) -> None:
    """Leave signals to the main process: Ctrl-C and schedulers reach every process of the group."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


Batches = Iterator[tuple[Tensor, Tensor]]


def batches(draws: Draws, share: Share, first: int, last: int, *, workers: int = 0, pinned: bool = False) -> Batches:
    """The batches of steps ``first`` to ``last`` - 1 in their order, ``share.passes`` a step.

    Args:
        draws: where samples come from.
        share: this process's part of every step.
        first, last: steps.
        workers: processes that read and augment ahead; 0 does it when a batch is asked for.
        pinned: puts batches where a GPU can fetch them.

    Yields:
        Pictures, float32 (N, 3, H, W), and labels, uint8 (N, H, W).

    Raises:
        SegzooError: whatever reading a sample raised, when its batch is due.
    """
    loader: DataLoader[tuple[Tensor, Tensor] | SegzooError] = DataLoader(
        _Careful(draws),
        batch_sampler=_Numbers(share, first, last),
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pinned,
        worker_init_fn=_deafen,
        # Draws are seeded one by one; the loader must not take a number from the caller's generator for its own.
        generator=torch.Generator(),
    )
    for batch in loader:
        if isinstance(batch, SegzooError):
            raise batch
        yield batch


def default_workers() -> int:
    """One process less than there are cores, so that the network has one to itself; four at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, cores - 1)
