"""What a picture costs, whatever the machine: parameters and floating-point operations."""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from segzoo.benchmark.conditions import tested_size
from segzoo.build import build
from segzoo.environment import environment
from segzoo.index import Entry, find
from segzoo.inference.taps import window_starts
from segzoo.segmentor import Segmentor

__all__ = ["flops", "measure", "parameters", "windows_of"]


def parameters(model: torch.nn.Module) -> int:
    """Numbers that training changes; buffers, such as running means, are none."""
    return sum(weight.numel() for weight in model.parameters())


def measure(name: str, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """The record of an entry's cost for a picture of ``size`` (height, width; default: as tested); takes no data.

    A multiplication with its addition counts as two operations. They are counted by ``torch.utils.flop_counter``
    (matrix products, convolutions, attention; no norms, activations or resizes), without auxiliary heads, on tensors
    that have a shape and no values, so that neither time nor memory is needed.
    """
    entry = find(name)
    size = size or tested_size(entry)
    crop, stride = windows_of(entry, size)
    model = build(entry, model_class=Segmentor, device="meta").eval().requires_grad_(False)
    windows = len(window_starts(size[0], crop[0], stride[0])) * len(window_starts(size[1], crop[1], stride[1]))
    return {
        "kind": "cost",
        "entry": entry.name,
        "input_size": list(size),
        "dtype": "float32",
        "as_tested": size == tested_size(entry),
        "mode": entry.protocol.mode,
        "parameters": parameters(model),
        "flops": flops(model, crop) * windows,
        "windows": windows,
        "environment": environment(),
    }


def windows_of(entry: Entry, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """(crop, stride) of an entry's windows, no larger than the picture; one window of its size in whole mode."""
    protocol = entry.protocol
    if protocol.mode == "whole" or protocol.crop_size is None or protocol.stride is None:
        return size, size
    crop = (min(protocol.crop_size[0], size[0]), min(protocol.crop_size[1], size[1]))
    return crop, (min(protocol.stride[0], crop[0]), min(protocol.stride[1], crop[1]))


def flops(model: Segmentor, size: tuple[int, int]) -> int:
    """Floating-point operations of one pass at ``size`` (height, width) of a model that lies on the meta device."""
    counter = FlopCounterMode(display=False)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), counter:
        model.to_empty(device="cpu")  # as autocast and random draws know no device without values
        model.logits(torch.empty(1, 3, *size))
    return counter.get_total_flops()
