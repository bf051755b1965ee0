"""One side's training steps as a process: ``python -m benchmarks.peers.training_side SIDE ENTRY FILES THREADS HxW N``.

FILES is a folder with ``weights.safetensors``, auxiliary heads included. Each line of input is answered with the
seconds and the loss of one step: losses of all heads, backward, SGD. Pictures and labels are made beforehand.
Dropout is off, so that both sides compute the same.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import segzoo
from benchmarks.parity import image
from benchmarks.peers.theirs import build
from segzoo.allocator import kept_memory
from segzoo.index import Entry, find

__all__: list[str] = []

Objective = Callable[[Tensor, Tensor], Tensor]


def ours(entry: Entry, weights: Path) -> tuple[nn.Module, Objective]:
    """segzoo's model in the layout that ``segzoo train`` chooses on a CPU, and its total loss."""
    from segzoo.training import compute_losses, total_loss
    from segzoo.training.layout import suits_channels_last

    model = segzoo.load(entry.name, pretrained=False, auxiliary=True)
    model.load_state_dict(load_file(weights))
    suits = suits_channels_last(model, torch.device("cpu"), "float32")
    layout = torch.channels_last if suits else torch.contiguous_format
    model.to(memory_format=layout)

    def objective(images: Tensor, labels: Tensor) -> Tensor:
        images = images.contiguous(memory_format=layout)
        return total_loss(compute_losses(model, images, labels))

    return model, objective


def theirs(entry: Entry, weights: Path) -> tuple[nn.Module, Objective]:
    """The peer's model and its total loss."""
    model: Any = build(entry)
    model.load_state_dict(load_file(weights))
    structures = importlib.import_module("mmseg.structures")
    pixel_data = importlib.import_module("mmengine.structures").PixelData

    def objective(images: Tensor, labels: Tensor) -> Tensor:
        samples = []
        for label in labels:
            sample = structures.SegDataSample()
            sample.gt_sem_seg = pixel_data(data=label.unsqueeze(0))
            samples.append(sample)
        total: Tensor = model.parse_losses(model.loss(images, samples))[0]
        return total

    return model, objective


def main(arguments: list[str]) -> None:
    side, name, files, threads, size, batch = arguments
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the peer prints; what is printed must not pass for an answer
    torch.set_num_threads(int(threads))
    entry, (height, width) = find(name), map(int, size.split("x"))
    model, objective = (ours if side == "ours" else theirs)(entry, Path(files) / "weights.safetensors")
    model.train()
    for module in model.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d)):
            module.p = 0.0
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)
    images = torch.cat([image(height, width, seed=seed) for seed in range(int(batch))])
    fixed = torch.Generator().manual_seed(0)
    coarse = torch.randint(entry.num_classes, (len(images), height // 16, width // 16), generator=fixed)
    labels = coarse.repeat_interleave(16, 1).repeat_interleave(16, 2)
    print(json.dumps({"torch": torch.__version__}), file=answers)
    with kept_memory() if side == "ours" else contextlib.nullcontext():  # as ``segzoo train`` does
        for _ in sys.stdin:
            started = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            loss = objective(images, labels)
            loss.backward()
            optimizer.step()
            value = float(loss)
            print(json.dumps({"seconds": time.perf_counter() - started, "loss": value}), file=answers)


if __name__ == "__main__":
    main(sys.argv[1:])
