"""segzoo's side of the comparison: ``model.optimize()`` with its defaults, then ``predict`` of the decoded picture."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

import segzoo
from benchmarks.peers.rates import Work, count
from segzoo.inference.optimized import OptimizedModel
from segzoo.inference.options import Resize

__all__ = ["Ours"]


class Ours:
    """A prepared model; calls take a picture, uint8 RGB (H, W, 3), and give labels (H, W)."""

    def __init__(self, entry: str, weights: Path, fitted: bool) -> None:
        self.resize: Resize = "entry" if fitted else None
        model = segzoo.load(entry, weights=weights)
        started = time.perf_counter()
        self.model: OptimizedModel = model.optimize()
        self.preparing = time.perf_counter() - started
        self.done = str(self.model.report)

    def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, float]:
        """Labels, and the seconds that took."""
        started = time.perf_counter()
        mask = self.model.predict(picture, resize=self.resize).mask
        return mask, time.perf_counter() - started

    def work(self, picture: np.ndarray) -> Work:
        """Floating-point operations of a call, and the bytes that its operations read and write."""
        return count(lambda: self.model.predict(picture, resize=self.resize))
