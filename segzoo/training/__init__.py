"""Training: losses, optimizer, schedule, and the engine that runs a recipe.

The names are imported when they are first used: ``segzoo list`` must not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segzoo.training.compute import compute_losses, total_loss
    from segzoo.training.run import Outcome, train
    from segzoo.training.settings import Manner

__all__ = ["Manner", "Outcome", "compute_losses", "total_loss", "train"]

_HOME = {
    "Manner": "settings",
    "Outcome": "run",
    "compute_losses": "compute",
    "total_loss": "compute",
    "train": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
