"""A running average of the weights."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from segzoo.model import Model

__all__ = ["RunningAverage"]


class RunningAverage:
    """An exponential moving average of a model's parameters and statistics (Polyak and Juditsky, 1992).

    After each step the average is ``decay`` times itself plus ``1 - decay`` times the model. It begins as the model
    after the first step. Whole numbers are copied.

    Attributes:
        model: a copy of the model, in evaluation mode, that holds the average.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._follow = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the model after ``step`` (from 1 on)."""
        own, other = _tensors(self.model), _tensors(model)
        for mine, theirs in zip(own, other, strict=True):
            if step == 1 or not mine.is_floating_point():
                mine.copy_(theirs)
        if step > 1:
            pairs = [pair for pair in zip(own, other, strict=True) if pair[0].is_floating_point()]
            self._follow([mine for mine, _ in pairs], [theirs for _, theirs in pairs], step)


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]
