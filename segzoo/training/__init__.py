"""Training: losses, optimizer, schedule, and the engine that runs a recipe.

The names are imported when they are first used: ``segzoo list`` must not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segzoo.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _HOME)
