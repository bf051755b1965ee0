"""Accuracy over whole data sets. Names are imported when first used: the command line needs no torch to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segzoo.lazy import lazy_names

if TYPE_CHECKING:
    from segzoo.evaluation.accuracy import Evaluation, evaluate, measure
    from segzoo.evaluation.metrics import ConfusionMatrix

_HOMES = {"ConfusionMatrix": "metrics", "Evaluation": "accuracy", "evaluate": "accuracy", "measure": "accuracy"}

__all__ = ["ConfusionMatrix", "Evaluation", "evaluate", "measure"]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
