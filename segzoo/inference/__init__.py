"""From pictures to masks: one at a time, in lists, in folders, in rasters larger than memory.

The names are imported when they are first used: ``segzoo list`` must not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segzoo.inference.image import read_image
    from segzoo.inference.optimized import OptimizedModel, optimize
    from segzoo.inference.predictor import predict
    from segzoo.inference.raster import predict_raster
    from segzoo.inference.result import Segmentation

__all__ = ["OptimizedModel", "Segmentation", "optimize", "predict", "predict_raster", "read_image"]

_HOME = {
    "OptimizedModel": "optimized",
    "Segmentation": "result",
    "optimize": "optimized",
    "predict": "predictor",
    "predict_raster": "raster",
    "read_image": "image",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
