"""What one of several processes does: a few steps of training, and a check of the batch normalisation they share.

Run with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set; writes what it found to the file it is given.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segzoo.index import find
from segzoo.training.data import Draws, Share, batches
from segzoo.training.distributed import Processes, ReducedBatchNorm2d, joined
from segzoo.training.engine import Trainer
from segzoo.training.settings import Settings
from segzoo.training.start import begin
from tests.training.streets import NAME, InArrays, recipe

STEPS = 3
BATCH = 4


def steps(processes: Processes, passes: int, freeze: tuple[str, ...] = ()) -> list[dict[str, float]]:
    """The losses of the first steps, in double precision: the first ones of a network amplify rounding thousandfold.

    Nothing is dropped: what a process drops is its own affair.
    """
    settings = Settings(NAME, "folder", recipe(STEPS, BATCH, ema=0.9), freeze=freeze)
    data = InArrays(6)
    torch.manual_seed(0)
    model = begin(find(NAME), settings, data).double()
    for module in model.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d)):
            module.p = 0.0
    share = Share(BATCH // passes // processes.world, passes, processes.rank, processes.world)
    trainer = Trainer(model, settings, processes, share)
    draws = Draws(data, settings.recipe.augmentation, mean=(90, 90, 90), std=(50, 50, 50), classes=2)
    loader = ((images.double(), labels) for images, labels in batches(draws, share, 0, STEPS))
    found = []
    for _ in range(STEPS):
        trainer.advance(loader)
        found.append(trainer.window().losses)
    return found


def normalisation_agrees(processes: Processes) -> dict[str, float]:
    """The largest differences from plain batch normalisation of all processes' pictures at once."""
    generator = torch.Generator().manual_seed(1)
    sizes = [3, 1]  # pictures of each process
    whole = torch.randn(4, 5, 6, 7, generator=generator, dtype=torch.float64) * 3 + 100
    weight = torch.randn(4, 5, 6, 7, generator=generator, dtype=torch.float64)  # so that gradients differ
    mine = slice(sum(sizes[: processes.rank]), sum(sizes[: processes.rank + 1]))
    plain, reduced = (kind(5, momentum=0.3, dtype=torch.float64) for kind in (nn.BatchNorm2d, ReducedBatchNorm2d))
    for norm in (plain, reduced):
        nn.init.uniform_(norm.weight, 0.5, 1.5, generator=torch.Generator().manual_seed(2))

    def through(norm: nn.Module, part: slice) -> tuple[Tensor, Tensor]:
        x = whole[part].clone().requires_grad_()
        out = norm(x)
        (out * weight[part]).sum().backward()
        assert x.grad is not None
        return out.detach(), x.grad

    expected, found = through(plain, slice(None)), through(reduced, mine)
    pairs: dict[str, tuple[Any, Any]] = {
        "output": (found[0], expected[0][mine]),
        "gradient": (found[1], expected[1][mine]),
        "weight gradient": (processes.sum(reduced.weight.grad), plain.weight.grad),
        "running mean": (reduced.running_mean, plain.running_mean),
        "running variance": (reduced.running_var, plain.running_var),
        "evaluation": (reduced.eval()(whole).detach(), plain.eval()(whole).detach()),
    }
    return {name: float((a - b).abs().max()) for name, (a, b) in pairs.items()}


if __name__ == "__main__":
    with joined("cpu") as group:
        result = {
            "losses": steps(group, 1),
            "norm": normalisation_agrees(group),
            "any": [group.any(group.rank == 1), group.any(False)],
        }
    Path(sys.argv[1]).write_text(json.dumps(result))
