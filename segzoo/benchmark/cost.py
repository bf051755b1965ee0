"""What a picture costs, whatever the machine: parameters and floating-point operations."""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from segzoo.build import build
from segzoo.index import Entry
from segzoo.inference.options import Options
from segzoo.inference.taps import window_starts
from segzoo.segmentor import Segmentor

__all__ = ["flops", "parameters"]


def parameters(model: torch.nn.Module) -> int:
    """Numbers that training changes; buffers, such as running means, are none."""
    return sum(weight.numel() for weight in model.parameters())


def flops(entry: Entry, size: tuple[int, int], options: Options) -> tuple[int, int]:
    """(floating-point operations, windows) of the network for a picture of ``size`` (height, width).

    A multiplication with its addition counts as two. Counted by ``torch.utils.flop_counter`` (matrix products,
    convolutions, attention; no norms, activations or resizes) on tensors that have a shape and no values, so that it
    takes neither time nor memory; without auxiliary heads.
    """
    crop = options.crop or size
    stride = options.stride or crop
    windows = len(window_starts(size[0], crop[0], stride[0])) * len(window_starts(size[1], crop[1], stride[1]))
    counter = FlopCounterMode(display=False)
    model = build(entry, model_class=Segmentor, device="meta").eval().requires_grad_(False)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), counter:
        model.to_empty(device="cpu")  # as autocast and random draws know no device without values
        model.logits(torch.empty(1, 3, min(crop[0], size[0]), min(crop[1], size[1])))
    return counter.get_total_flops() * windows, windows
