"""The training loop: step, log, evaluate, save; stop when asked to, and go on as if it had not stopped."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segzoo.errors import TrainingError
from segzoo.model import Model
from segzoo.recipe import Precision, Recipe
from segzoo.training.averaging import RunningAverage
from segzoo.training.compute import compute_losses, total_loss
from segzoo.training.data import Batches, Share
from segzoo.training.distributed import Processes, shared, synchronised
from segzoo.training.optim import build_optimizer
from segzoo.training.schedule import lr_at
from segzoo.training.settings import Settings
from segzoo.training.start import seed_step, train_mode

__all__ = ["Trainer", "Window"]

_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class _Objective(nn.Module):
    """A model and its losses as one module, so that DistributedDataParallel sees the whole pass."""

    def __init__(self, model: Model, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        found = compute_losses(self.model, images, labels, losses=self.recipe.losses)
        return total_loss(found), {name: value.detach() for name, value in found.items()}


@dataclass(frozen=True)
class Window:
    """Means over the steps since the last one: losses by name, and where the time of a step went, in seconds."""

    steps: int
    losses: dict[str, float]
    seconds: float
    data_seconds: float


class Trainer:
    """Everything that changes while a run goes on.

    Attributes:
        model: what is trained.
        step: steps done.
    """

    def __init__(
        self, model: Model, settings: Settings, processes: Processes, share: Share, *, channels_last: bool = False
    ) -> None:
        recipe = settings.recipe
        self.settings, self.recipe, self.processes, self.share = settings, recipe, processes, share
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        synchronised(model, processes)
        model.to(processes.device)
        model.to(memory_format=self.layout)
        self.model = model
        self.average = None if recipe.ema is None else RunningAverage(model, recipe.ema)
        self.optimizer = build_optimizer(model, recipe.optimizer)
        self.rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=recipe.precision == "float16")
        self.step = 0
        self._objective: nn.Module = _Objective(model, recipe)
        if processes.world > 1:
            self._objective = shared(self._objective, passes=share.passes)
        self._names: list[str] = []
        self._figures: list[Tensor] = []
        self._data_seconds = 0.0
        self._since = time.perf_counter()

    @property
    def result(self) -> Model:
        """The model to evaluate and write: the running average where there is one."""
        return self.model if self.average is None else self.average.model

    @property
    def rate(self) -> float:
        """The highest learning rate of the parameter groups at this step."""
        return max(self._rate(base) for base in self.rates)

    def _rate(self, base: float) -> float:
        return lr_at(self.recipe.schedule, base, self.step, self.recipe.iterations)

    def advance(self, batches: Batches) -> None:
        """One step: ``share.passes`` batches, one update of the weights."""
        train_mode(self.model, self.settings.freeze)
        seed_step(self.settings.seed, self.step, self.processes.rank)
        for group, base in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = self._rate(base)
        sums: Tensor | None = None
        for number in range(self.share.passes):
            images, labels = self._fetch(batches)
            with self._unsynchronised(number), _precision(self.recipe.precision, self.processes.device):
                total, found = self._objective(images, labels)
                total = total / self.share.passes
            with self._unsynchronised(number):
                self.scaler.scale(total).backward()
            self._names = list(found)
            figures = torch.stack([value.float() for value in found.values()])
            sums = figures if sums is None else sums + figures
        assert sums is not None
        self._update()
        self._figures.append(sums / self.share.passes)

    def _update(self) -> None:
        if self.recipe.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.average is not None:
            self.average.update(self.model, self.step)

    def _fetch(self, batches: Batches) -> tuple[Tensor, Tensor]:
        started = time.perf_counter()
        images, labels = next(batches)
        self._data_seconds += time.perf_counter() - started
        device = self.processes.device
        images = images.to(device, memory_format=self.layout, non_blocking=True)
        return images, labels.to(device, non_blocking=True)

    @contextlib.contextmanager
    def _unsynchronised(self, number: int) -> Iterator[None]:
        """Gradients are exchanged in the last pass of a step only."""
        objective = self._objective
        if isinstance(objective, DistributedDataParallel) and number + 1 < self.share.passes:
            with objective.no_sync():
                yield
        else:
            yield

    def window(self) -> Window:
        """Means since the last call, over all processes.

        Raises:
            TrainingError: a loss of one of the steps is not finite; names step and loss.
        """
        steps = len(self._figures)
        if not steps:
            return Window(0, {}, 0.0, 0.0)
        table = self.processes.mean(torch.stack(self._figures)).tolist()
        first = self.step - steps
        for number, row in enumerate(table):
            for name, value in zip(self._names, row, strict=True):
                if not math.isfinite(value):
                    raise TrainingError(f"{name} is {value} at step {first + number + 1}")
        losses = {name: sum(row[i] for row in table) / steps for i, name in enumerate(self._names)}
        now = time.perf_counter()
        window = Window(steps, losses, (now - self._since) / steps, self._data_seconds / steps)
        self.restart_clock()
        self._figures.clear()
        return window

    def restart_clock(self) -> None:
        """Leave out what has passed since the last step (an evaluation, a save)."""
        self._since, self._data_seconds = time.perf_counter(), 0.0

    def require_finite_weights(self) -> None:
        """Raises TrainingError if a weight is not finite, which the loss shows only a step later."""
        for name, value in self.model.state_dict().items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise TrainingError(f"{name} is not finite after step {self.step}")

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs. Random numbers are decided by seed and step; they need no state."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.model.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        self.step = state["step"]


def _precision(precision: Precision, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, _TYPES[precision], enabled=precision != "float32")
