"""Clocks that wait for the device, and what a list of times says."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

__all__ = ["as_published", "spread", "synchronise", "timed", "timings"]


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def as_published() -> Iterator[None]:
    """cuDNN does not try algorithms out, as in the published measurements; its flag is put back afterwards."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that ``work`` takes, the device's part included."""
    synchronise(device)
    started = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - started


def timings(
    work: Callable[[int], object],
    device: torch.device,
    *,
    count: int,
    not_counted: int,
    progress: Callable[[], object] | None = None,
) -> list[float]:
    """Seconds of each of ``count`` calls of ``work(i)`` but for the first ``not_counted``."""
    seconds = []
    for number in range(count):
        taken = timed(lambda i=number: work(i), device)  # type: ignore[misc]
        if number >= not_counted:
            seconds.append(taken)
        if progress:
            progress()
    return seconds


def spread(seconds: Sequence[float], factor: float = 1.0) -> dict[str, float]:
    """Median, mean and quartiles of times multiplied by ``factor`` (1000 for milliseconds)."""
    values = sorted(value * factor for value in seconds)
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    figures = {"median": quartiles[1], "mean": statistics.fmean(values), "q1": quartiles[0], "q3": quartiles[2]}
    return {name: float(f"{value:.6g}") for name, value in figures.items()}
