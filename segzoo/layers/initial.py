"""Initial values."""

from __future__ import annotations

from torch import nn

__all__ = ["start_at_zero"]


def start_at_zero(module: nn.Module) -> None:
    """Zeroes every parameter of ``module``, so that a branch which ends in it adds nothing at first."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
