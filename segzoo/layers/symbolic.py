"""Sizes that an export leaves open: Python must not branch on them, or the export is tied to the sample's size."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["crop", "known"]


def known(condition: bool | torch.SymBool) -> bool:
    """Whether ``condition`` holds; of sizes that an export leaves open, whether it holds for all of them."""
    if isinstance(condition, bool):
        return condition
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return statically_known_true(condition)


def crop(x: Tensor, axis: int, start: int | torch.SymInt, length: int | torch.SymInt) -> Tensor:
    """``length`` positions of ``x`` along ``axis``, from ``start`` on; a view, unless an export leaves sizes open."""
    if isinstance(start, int) and isinstance(length, int):
        return x.narrow(axis, start, length)
    return x.index_select(axis, torch.arange(length, device=x.device) + start)
