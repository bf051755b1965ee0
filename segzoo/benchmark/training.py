"""A training step measured: forward with the auxiliary heads, every loss, backward, a step of SGD, on made pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

import segzoo
from segzoo import records
from segzoo.benchmark import memory
from segzoo.benchmark.conditions import TrainingConditions
from segzoo.benchmark.timing import as_published, spread, timings
from segzoo.training import compute_losses, total_loss

__all__ = ["measure"]

_IGNORE = 255
_LEARNING_RATE = 1e-4  # a small step: made labels would soon give NaN


def measure(
    conditions: TrainingConditions, progress: Callable[[str], object] = lambda _: None
) -> Iterator[dict[str, Any]]:
    """Seconds an iteration, and the most memory; the latter, on a CPU, in a fresh process only.

    Pictures and labels lie on the device from the start: what loads them is not measured.

    Raises:
        OptionError: the entry's losses are unknown; the errors of torch when memory runs out.
    """
    device, dtype = torch.device(conditions.device), getattr(torch, conditions.dtype)
    mixed = dtype is not torch.float32
    with as_published():
        model = segzoo.load(conditions.name, pretrained=False, auxiliary=True, device=device).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=_LEARNING_RATE, momentum=0.9, weight_decay=5e-4)
        scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
        images, labels = _made(conditions, model.num_classes, device)

        def step(_: int) -> None:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, dtype if mixed else None, enabled=mixed):
                total = total_loss(compute_losses(model, images, labels))
            scaler.scale(total).backward()
            scaler.step(optimizer)
            scaler.update()

        memory.reset(device)
        seconds = timings(
            step,
            device,
            count=conditions.iterations,
            not_counted=conditions.not_counted,
            progress=lambda: progress("training"),
        )
    common = {
        "entry": model.entry.name,
        "input_size": list(conditions.size),
        "dtype": conditions.dtype,
        "as_tested": conditions.as_tested,
        "batch_size": conditions.batch_size,
        "environment": records.environment(conditions.device),
    }
    yield {
        "kind": "training_speed",
        **common,
        "seconds_per_iteration": float(f"{sum(seconds) / len(seconds):.6g}"),
        "s": spread(seconds),
        "iterations": conditions.iterations,
        "not_counted": conditions.not_counted,
    }
    name, most = memory.peak(device)
    absent = {} if most is not None else {"absent": {"bytes": "the system does not tell a process's peak"}}
    yield {"kind": "memory", **common, "work": "training", "measure": name, "bytes": most, **absent}


def _made(conditions: TrainingConditions, classes: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised pictures (N, 3, H, W) and labels (N, H, W), int64, a twentieth of which is ignored."""
    draw = torch.Generator().manual_seed(0)
    shape = (conditions.batch_size, *conditions.size)
    images = torch.randn((shape[0], 3, *conditions.size), generator=draw)
    labels = torch.randint(0, max(classes, 2), shape, generator=draw)
    labels[torch.rand(shape, generator=draw) < 0.05] = _IGNORE
    return images.to(device), labels.to(device)
