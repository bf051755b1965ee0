"""Repeatable chance: every random decision of a drawing comes from here."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

import numpy as np

__all__ = ["Dice"]

T = TypeVar("T")


class Dice:
    """Random numbers that are the same in every Python and NumPy version.

    Only ``random.Random.random`` is used for decisions, since it is the one method whose sequence Python
    promises to keep, and only raw bytes of NumPy's frozen ``RandomState`` for noise.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed).random
        self._bytes = np.random.RandomState([seed & 0xFFFFFFFF, seed >> 32])

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self._random()

    def whole(self, low: int, high: int) -> int:
        """A whole number in [low, high], both ends included."""
        return low + int(self._random() * (high - low + 1))

    def chance(self, share: float) -> bool:
        """True in the given share of cases."""
        return self._random() < share

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self._random() * len(options))]

    def grey(self, height: int, width: int) -> np.ndarray:
        """Uniform noise, uint8 (height, width)."""
        return np.frombuffer(self._bytes.bytes(height * width), np.uint8).reshape(height, width)

    def normal(self, height: int, width: int, channels: int) -> np.ndarray:
        """Nearly normal noise of mean 0 and deviation 1, float32 (height, width, channels).

        The sum of four bytes: exact in integers, so it does not depend on a machine's logarithm.
        """
        raw = np.frombuffer(self._bytes.bytes(height * width * channels * 4), np.uint8)
        total = raw.reshape(4, height, width, channels).sum(axis=0, dtype=np.int16)
        return (total.astype(np.float32) - 510.0) / 147.8
