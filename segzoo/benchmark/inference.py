"""Inference measured: the two published definitions of its time, throughput, the first call, memory and cost.

``model-zoo``: batch 1, cuDNN's benchmark off; from the normalised picture on the device to its labels there: forward
and post-processing, no loading and no transfer. ``with-transfer``, the older definition, by which the published 0.x
tables were made: from the picture in host memory to its labels in host memory.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

import segzoo
from segzoo import records
from segzoo.benchmark import cost, memory
from segzoo.benchmark.conditions import InferenceConditions
from segzoo.benchmark.timing import as_published, spread, timed, timings
from segzoo.inference import engine
from segzoo.inference.options import Options, resolve
from segzoo.inference.predictor import Predictor, predict_bands
from segzoo.inference.views import Network, View
from segzoo.weights import fetch
from segzoo.weights.hashing import file_sha256

__all__ = ["measure"]

Progress = Callable[[str], object]

_PICTURES = 4  # different ones, used in turn
_MEMORY_PICTURES = 3  # the first call allocates most; later ones show what stays
_THROUGHPUT_CALLS = 10


class _OnDevice(Network):
    """Takes pictures that are on the device and normalised already, float (H, W, 3)."""

    def stack(self, windows: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack(list(windows)).permute(0, 3, 1, 2)

    def batch(self, pixels: torch.Tensor) -> torch.Tensor:
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        logits = self.forward(pixels.to(memory_format=layout))
        return logits.to(torch.float32).permute(0, 2, 3, 1).contiguous()


@dataclasses.dataclass(frozen=True)
class _Subject:
    """The model with what it is measured on."""

    conditions: InferenceConditions
    model: Predictor
    options: Options
    device: torch.device
    dtype: torch.dtype

    def picture(self, number: int) -> np.ndarray:
        """A made picture, uint8 (H, W, 3): what it shows takes no time."""
        draw = np.random.default_rng(number % _PICTURES)
        return draw.integers(0, 256, (*self.conditions.size, 3), dtype=np.uint8)

    @property
    def channels_last(self) -> bool:
        return self.conditions.prepared


def measure(conditions: InferenceConditions, progress: Progress = lambda _: None) -> Iterator[dict[str, Any]]:
    """The records of an entry, one by one, in the order in which they are taken.

    The first call and, on a CPU, the peak of memory mean something in a fresh process only. ``progress`` is called
    with the name of what goes on, once for each picture.

    Raises:
        the errors of :func:`segzoo.load`; those of torch when memory runs out.
    """
    with as_published():
        _, before = memory.peak(torch.device(conditions.device))
        started = time.perf_counter()
        subject = _subject(conditions)
        common = _common(subject)
        loaded = time.perf_counter() - started
        yield _first_call(subject, common, loaded)
        yield _memory(subject, common, before, progress)
        yield _model_zoo(subject, common, progress)
        yield _with_transfer(subject, common, progress)
        for batch_size in conditions.batch_sizes:
            yield _throughput(subject, common, batch_size, progress)
        yield cost.measure(conditions.name, conditions.size)


def _subject(conditions: InferenceConditions) -> _Subject:
    device, dtype = torch.device(conditions.device), getattr(torch, conditions.dtype)
    model = segzoo.load(conditions.name, pretrained=conditions.pretrained, device=device).to(dtype)
    prepared = model.optimize() if conditions.prepared else model
    # Batch 1 in sliding windows too: one goes through the network at a time, as published.
    options = resolve(model.entry, model.num_classes, resize=None, batch_size=1)
    if options.crop:
        crop, stride = cost.windows_of(model.entry, conditions.size)
        options = dataclasses.replace(options, crop=crop, stride=stride)
    return _Subject(conditions, prepared, options, device, dtype)


def _common(subject: _Subject) -> dict[str, Any]:
    """The fields of every record."""
    conditions, entry = subject.conditions, subject.model.entry
    weights = file_sha256(fetch(entry.weights, name=entry.name)) if conditions.pretrained else "random"
    return {
        "entry": entry.name,
        "input_size": list(conditions.size),
        "dtype": conditions.dtype,
        "as_tested": conditions.as_tested,
        "prepared": conditions.prepared,
        "weights": weights,
        "mode": entry.protocol.mode,
        "environment": records.environment(conditions.device),
    }


def _first_call(subject: _Subject, common: dict[str, Any], loaded: float) -> dict[str, Any]:
    picture = subject.picture(0)
    seconds = timed(lambda: _labels(subject, picture), subject.device)
    return {"kind": "first_call", **common, "ms": round(seconds * 1e3, 3), "loading_ms": round(loaded * 1e3, 3)}


def _memory(subject: _Subject, common: dict[str, Any], before: int | None, progress: Progress) -> dict[str, Any]:
    memory.reset(subject.device)
    for number in range(_MEMORY_PICTURES):
        _labels(subject, subject.picture(number))
        progress("memory")
    measure, most = memory.peak(subject.device)
    absent = {} if most is not None else {"absent": {"bytes": "the system does not tell a process's peak"}}
    figures = {"measure": measure, "bytes": most, "bytes_before_the_model": before}
    return {"kind": "memory", **common, "work": "inference", **figures, **absent}


def _model_zoo(subject: _Subject, common: dict[str, Any], progress: Progress) -> dict[str, Any]:
    protocol = subject.model.entry.protocol
    network = _OnDevice(
        subject.model.logits,
        protocol.mean,
        protocol.std,
        subject.device,
        subject.dtype,
        channels_last=subject.channels_last,
        align_corners=subject.model.align_corners,
        batch_size=1,
    )
    inputs = [_normalised(subject, subject.picture(number)) for number in range(_PICTURES)]

    @torch.inference_mode()
    def work(number: int) -> None:
        x: Any = inputs[number % _PICTURES]
        view = View(network, x, subject.conditions.size, crop=subject.options.crop, stride=subject.options.stride)
        for _ in engine.bands_on_device([view], subject.options.threshold):
            pass

    return _speed("model-zoo", subject, common, work, progress)


def _with_transfer(subject: _Subject, common: dict[str, Any], progress: Progress) -> dict[str, Any]:
    pictures = [subject.picture(number) for number in range(_PICTURES)]
    return _speed(
        "with-transfer", subject, common, lambda number: _labels(subject, pictures[number % _PICTURES]), progress
    )


def _speed(
    definition: str, subject: _Subject, common: dict[str, Any], work: Callable[[int], object], progress: Progress
) -> dict[str, Any]:
    conditions = subject.conditions
    seconds = timings(
        work,
        subject.device,
        count=conditions.images,
        not_counted=conditions.not_counted,
        progress=lambda: progress(definition),
    )
    return {
        "kind": "speed",
        **common,
        "definition": definition,
        "fps": float(f"{len(seconds) / sum(seconds):.6g}"),
        "ms": spread(seconds, 1e3),
        "batch_size": 1,
        "images": conditions.images,
        "not_counted": conditions.not_counted,
    }


def _throughput(subject: _Subject, common: dict[str, Any], batch_size: int, progress: Progress) -> dict[str, Any]:
    """Pictures a second when the network takes several at once; a sliding protocol's window is the picture here."""
    conditions = subject.conditions
    height, width = subject.options.crop or conditions.size
    pictures = torch.stack([_normalised(subject, subject.picture(n))[:height, :width] for n in range(_PICTURES)])
    x = pictures[torch.arange(batch_size, device=subject.device) % _PICTURES]
    layout = torch.channels_last if subject.channels_last else torch.contiguous_format
    x = x.permute(0, 3, 1, 2).contiguous(memory_format=layout)

    @torch.inference_mode()
    def work(_: int) -> None:
        subject.model.logits(x)

    # Few pictures asked for mean a short measurement here too.
    calls = min(_THROUGHPUT_CALLS, max(1, conditions.images - conditions.not_counted))
    seconds = timings(
        work, subject.device, count=calls + 1, not_counted=1, progress=lambda: progress(f"batch {batch_size}")
    )
    return {
        "kind": "throughput",
        **{**common, "input_size": [height, width]},
        "batch_size": batch_size,
        "images_per_second": float(f"{batch_size * len(seconds) / sum(seconds):.6g}"),
        "ms": spread(seconds, 1e3),
        "calls": len(seconds),
        "part": "network",
    }


def _normalised(subject: _Subject, picture: np.ndarray) -> torch.Tensor:
    """(H, W, 3) on the device, in the model's type."""
    protocol = subject.model.entry.protocol
    x = (picture - np.asarray(protocol.mean, np.float32)) / np.asarray(protocol.std, np.float32)
    return torch.from_numpy(x).to(subject.device, subject.dtype)


def _labels(subject: _Subject, picture: np.ndarray) -> None:
    for _ in predict_bands(subject.model, picture, subject.options):
        pass
