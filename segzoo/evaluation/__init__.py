"""Accuracy over whole data sets. Names are imported when first used: the command line needs no torch to begin."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segzoo.evaluation.accuracy import Evaluation, evaluate, measure
    from segzoo.evaluation.metrics import ConfusionMatrix

_HOMES = {"ConfusionMatrix": "metrics", "Evaluation": "accuracy", "evaluate": "accuracy", "measure": "accuracy"}

__all__ = ["ConfusionMatrix", "Evaluation", "evaluate", "measure"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
