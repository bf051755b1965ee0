"""Sizes that an export leaves open: Python must not branch on them, or the export is tied to the sample's size."""

from __future__ import annotations

import torch

__all__ = ["known"]


def known(condition: bool | torch.SymBool) -> bool:
    """Whether ``condition`` holds; of sizes that an export leaves open, whether it holds for all of them."""
    if isinstance(condition, bool):
        return condition
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return statically_known_true(condition)
